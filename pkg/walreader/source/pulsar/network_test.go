package pulsar_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// What lies between walctl and a broker: a port-forward whose other end names
// itself by a name that resolves nowhere else, and a network that holds back.
func TestBetweenClientAndBroker(t *testing.T) {
	proxy := newHolder(t)
	b := testenv.PrivatePulsar(t, map[string]string{"internalListenerName": "inside",
		"advertisedListeners": "inside:pulsar://127.0.0.1:${brokerServicePort}," +
			"outside:pulsar://pulsar-broker-0.pulsar-broker.milvus.invalid:6650,held:pulsar://" + proxy.addr()})
	proxy.serve(strings.TrimPrefix(b.URL, "pulsar://"))
	t.Run("port-forward", func(t *testing.T) { portForward(t, b) })
	t.Run("held back", func(t *testing.T) { heldBack(t, b, proxy) })
}

// The error says what the broker calls itself, and what helps.
func portForward(t *testing.T, b *testenv.Broker) {
	topic := b.Topic(t, "forwarded")
	b.Publish(t, topic, numbered(5, 100), 0)
	cfg := config(b, topic)
	cfg.ListenerName = "outside"
	_, err := open(t, cfg).Open(t.Context(), source.Range{})
	var rd source.Reader
	if err == nil {
		rd, err = open(t, cfg).Follow(t.Context(), source.Range{})
		if err == nil {
			defer func() { _ = rd.Close() }()
			_, err = rd.Next(t.Context())
		}
	}
	if !errors.Is(err, source.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	for _, words := range []string{"pulsar-broker-0.pulsar-broker.milvus.invalid", "port-forward", "run walctl as a pod"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
}

// Messages the broker has sent and the network still holds are waited for: they
// are no gap, though the broker's cursor lies after them.
func heldBack(t *testing.T, b *testenv.Broker, proxy *holder) {
	topic := b.Topic(t, "held")
	b.Publish(t, topic, numbered(30, 1000), 0)
	cfg := config(b, topic)
	cfg.ServiceURL, cfg.ListenerName = "pulsar://"+proxy.addr(), "held"
	if n := len(sourcetest.All(t, open(t, cfg), source.Range{Payload: source.PayloadAll})); n != 30 {
		t.Errorf("%d records, want 30", n)
	}
	if !proxy.held() {
		t.Error("nothing was held back: this test could not see a gap reported too early")
	}
}

// holder forwards connections. Once passed so many bytes of one it keeps what the
// broker sends to itself for a while, taking more from it all the same.
type holder struct {
	l    net.Listener
	wg   sync.WaitGroup
	once sync.Once
	hit  chan struct{} // closed when something was held back
}

const (
	holdBehind = 8 << 10
	holdFor    = 5 * time.Second // longer than a pump waits before it asks why
)

func newHolder(t *testing.T) *holder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{l: l, hit: make(chan struct{})}
	t.Cleanup(func() { _ = l.Close(); h.wg.Wait() })
	return h
}

func (h *holder) addr() string { return h.l.Addr().String() }

func (h *holder) held() bool {
	select {
	case <-h.hit:
		return true
	default:
		return false
	}
}

func (h *holder) serve(broker string) {
	h.wg.Go(func() {
		for {
			client, err := h.l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", broker)
			if err != nil {
				_ = client.Close()
				continue
			}
			h.wg.Go(func() { h.forward(server, client, func([]byte) {}) })
			sent := 0
			h.wg.Go(func() {
				h.forward(client, server, func(p []byte) {
					if sent += len(p); sent > holdBehind {
						h.once.Do(func() { close(h.hit); time.Sleep(holdFor) })
					}
				})
			})
		}
	})
}

// forward copies through memory, so that the side that sends is never held back.
func (h *holder) forward(to, from net.Conn, before func([]byte)) {
	chunks := make(chan []byte, 4096)
	h.wg.Go(func() {
		defer func() { _ = to.Close() }()
		for p := range chunks {
			before(p)
			if _, err := to.Write(p); err != nil {
				_ = from.Close()
			}
		}
	})
	defer close(chunks)
	for {
		p := make([]byte, 1024)
		n, err := from.Read(p)
		if err != nil {
			return
		}
		chunks <- p[:n]
	}
}

// A broker that is there and delivers nothing ends a bounded read, by type, with
// the place and what to do; with the admin port and without.
func TestBrokerDeliversNothing(t *testing.T) {
	b := testenv.Pulsar(t)
	namespace := b.Namespace(t)
	if err := b.Call(t.Context(), http.MethodPost, "namespaces/public/"+namespace+"/dispatchRate",
		map[string]int{"dispatchThrottlingRateInMsg": 1, "dispatchThrottlingRateInByte": -1, "ratePeriodInSecond": 3600}, nil); err != nil {
		t.Fatal(err)
	}
	topic := "persistent://public/" + namespace + "/throttled"
	b.CreateTopic(t, topic)
	published := b.Publish(t, topic, numbered(20, 100), 0)
	for _, admin := range []bool{true, false} {
		cfg := config(b, topic)
		cfg.Patience = 6 * time.Second
		if !admin {
			cfg.AdminURL, cfg.TopicExists, cfg.Touch = "http://127.0.0.1:1", true, true
		}
		rd, err := open(t, cfg).Open(t.Context(), source.Range{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = rd.Next(t.Context())
		}
		_ = rd.Close()
		n-- // the last call answered the error
		var stalled *pulsar.StalledError
		if !errors.As(err, &stalled) || !errors.Is(err, source.ErrUnavailable) {
			t.Fatalf("admin port %v: after %d records: %v, want a StalledError", admin, n, err)
		}
		t.Log(err)
		if stalled.End != published.IDs[19] || n > 0 && stalled.Next.Less(published.IDs[n-1]) {
			t.Errorf("admin port %v: after %d records it names %s and the end %s", admin, n, stalled.Next, stalled.End)
		}
		if says := strings.Contains(err.Error(), "--pulsar-admin"); says == admin || !strings.Contains(err.Error(), "--from") {
			t.Errorf("admin port %v: the error says %q", admin, err)
		}
	}
}
