package pulsar_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// numbered makes n records of about size bytes whose payload tells their number.
func numbered(n, size int) []testenv.Record {
	out := make([]testenv.Record, n)
	for i := range out {
		payload := make([]byte, size)
		for j := range 8 {
			payload[size-1-j] = byte(i >> (8 * j))
		}
		out[i] = testenv.Record{ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(i)}, Payload: payload,
			Props: map[string]string{"_v": "1", "_t": "2", "_tt": "3kpvu3tx8ef4", "_lcs": "", "_h": ""}}
	}
	return out
}

// One broker is killed and restarted under all of these, and stays dead at last.
func TestBrokerThatDies(t *testing.T) {
	b := testenv.PrivatePulsar(t, nil)
	t.Run("during a scan", func(t *testing.T) { killedDuringScan(t, b) })
	t.Run("under a follower", func(t *testing.T) { followAcrossRestart(t, b) })
	t.Run("close from every state", func(t *testing.T) { closeFromEveryState(t, b) })
}

// A broker killed and restarted in the middle of a scan costs time and no message.
func killedDuringScan(t *testing.T, b *testenv.Broker) {
	topic := b.Topic(t, "killed")
	records := goldenRecords(t, "10k-persist")
	want := wanted(records, b.Publish(t, topic, records, 3000))
	for name, parallel := range map[string]int{"one connection": 1, "three connections": 3} {
		t.Run(name, func(t *testing.T) {
			cfg := config(b, topic)
			cfg.Parallel, cfg.Memory = parallel, 256<<10 // most of the log is still on the broker when it dies
			rd, err := open(t, cfg).Open(t.Context(), source.Range{Props: true, Payload: source.PayloadAll})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rd.Close() }()
			for i, w := range want {
				if i == 2000 {
					if err := b.Restart(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				m, err := rd.Next(t.Context())
				if err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
				if err := sourcetest.Equal(m, w); err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
			}
			if _, err := rd.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Fatalf("behind the end: %v", err)
			}
		})
	}
}

// A following reader waits at the end, goes on with what comes, and survives a restart.
func followAcrossRestart(t *testing.T, b *testenv.Broker) {
	topic := b.Topic(t, "followed")
	records := numbered(30, 100)
	published := b.Publish(t, topic, records[:10], 0)
	rd, err := open(t, config(b, topic)).Follow(t.Context(), source.Range{Props: true, Payload: source.PayloadAll})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	next := func(i int) {
		t.Helper()
		m, err := rd.Next(t.Context())
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if int(m.Payload[99])|int(m.Payload[98])<<8 != i {
			t.Fatalf("record %d came where %d was due", m.Payload[99], i)
		}
	}
	for i := range 10 {
		next(i)
	}
	_ = published
	waiting, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	if m, err := rd.Next(waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("at the end: %v, %v", m, err)
	}
	stop()
	b.Publish(t, topic, records[10:20], 0)
	for i := 10; i < 20; i++ {
		next(i)
	}
	if err := b.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Publish(t, topic, records[20:], 0)
	for i := 20; i < 30; i++ {
		next(i)
	}
}

// Close comes back whatever state the reader is in, and leaves nothing running.
func closeFromEveryState(t *testing.T, b *testenv.Broker) {
	topic := b.Topic(t, "closed")
	b.Publish(t, topic, numbered(2000, 1000), 0)
	ignore := goleak.IgnoreCurrent()
	cfg := config(b, topic)
	cfg.Memory = 64 << 10
	type state struct {
		name    string
		arrange func(t *testing.T, s *pulsar.Source) source.Reader
	}
	follow := func(t *testing.T, s *pulsar.Source, r source.Range) source.Reader {
		rd, err := s.Follow(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return rd
	}
	read := func(t *testing.T, rd source.Reader, n int) {
		for range n {
			if _, err := rd.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := source.Range{From: source.Bound{Kind: source.AtID, ID: message.LatestID()}}
	states := []state{
		{"connecting", func(t *testing.T, s *pulsar.Source) source.Reader { return follow(t, s, source.Range{}) }},
		{"full and waiting for its caller", func(t *testing.T, s *pulsar.Source) source.Reader {
			rd := follow(t, s, source.Range{})
			read(t, rd, 1)
			time.Sleep(200 * time.Millisecond)
			return rd
		}},
		{"waiting at the end", func(t *testing.T, s *pulsar.Source) source.Reader {
			rd := follow(t, s, end)
			read(t, rd, 1)
			return rd
		}},
		{"broker down", func(t *testing.T, s *pulsar.Source) source.Reader {
			rd := follow(t, s, end)
			read(t, rd, 1)
			b.Kill()
			time.Sleep(300 * time.Millisecond)
			return rd
		}},
	}
	for _, st := range states {
		t.Run(st.name, func(t *testing.T) {
			s, err := pulsar.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			rd := st.arrange(t, s)
			from := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = rd.Close(), rd.Close()
			}()
			if _, err := rd.Next(context.Background()); err == nil {
				_, err = rd.Next(context.Background())
				_ = err // what was queued may still come; it must not hang
			}
			<-done
			_ = s.Close()
			t.Logf("closed in %s", time.Since(from).Round(time.Millisecond))
		})
	}
	// A client whose broker is gone ends with its last request.
	var left error
	for range 20 {
		if left = goleak.Find(ignore); left == nil {
			return
		}
	}
	t.Fatal(left)
}

// A broker that is not there is told at once, by type.
func TestBrokerNotThere(t *testing.T) {
	cfg := pulsar.Config{ServiceURL: "pulsar://127.0.0.1:1", AdminURL: "http://127.0.0.1:1", Topic: "t"}
	if _, err := pulsar.Open(t.Context(), cfg); !errors.Is(err, source.ErrUnavailable) || errors.Is(err, source.ErrRefused) {
		t.Errorf("both ports dead: %v, want ErrUnavailable", err)
	}
	cfg.TopicExists, cfg.Touch = true, true
	s := open(t, cfg)
	if _, err := s.Open(t.Context(), source.Range{}); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("open: %v, want ErrUnavailable", err)
	}
	if e, p := s.Metadata(t.Context()); e.Errors["protection"] == "" || p.Told || p.RetentionKnown || !p.LostAt.IsZero() {
		t.Errorf("protection without an admin port: %+v, %v", p, e.Errors)
	}
}
