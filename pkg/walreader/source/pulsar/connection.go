package pulsar

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

const (
	dialTimeout = 5 * time.Second
	// operationTimeout bounds one request of the client. It can't be cancelled, so
	// it is also how long a client outlives its reader where the broker is away.
	operationTimeout = 5 * time.Second
	// closeWithin is how long a close is waited for; a broker that hangs would
	// hold it longer, and then it ends behind the caller's back.
	closeWithin = 800 * time.Millisecond
)

// connection is one client with one non-durable reader.
type connection struct {
	client       client.Client
	reader       client.Reader
	subscription string
	losses       *losses
	opened       int64 // losses when the reader was opened
	bytes        *prometheus.GaugeVec
	slot         context.Context // a wait's deadline, used for many messages
	inSlot       int             // messages that came within it
	cancelSlot   context.CancelFunc
	done         chan struct{} // closed when the client is closed
}

// newClient opens a client that shares nothing with the process: no logger, no
// metrics, one connection.
func (s *Source) newClient(why *causes, registry prometheus.Registerer) (client.Client, error) {
	opts := client.ClientOptions{URL: s.cfg.ServiceURL, ConnectionTimeout: dialTimeout, OperationTimeout: operationTimeout,
		Logger: why, MetricsRegisterer: registry, MaxConnectionsPerBroker: 1, ListenerName: s.cfg.ListenerName,
		MemoryLimitBytes: s.cfg.Memory}
	if strings.HasPrefix(s.cfg.ServiceURL, "pulsar+ssl://") {
		cfg, err := s.cfg.tls()
		if err != nil {
			return nil, err
		}
		opts.TLSConfig = cfg
	}
	if s.cfg.TokenFile != "" || s.cfg.Token != "" {
		opts.Authentication = client.NewAuthenticationTokenFromSupplier(s.cfg.token)
	}
	return client.NewClient(opts)
}

// connect opens a reader at an id (inclusive; zero = the first message). Opening
// can't be cancelled in the client: it is left to a goroutine the source waits
// for where the context ends first.
func (s *Source) connect(ctx context.Context, from message.ID, queueSize int) (*connection, error) {
	if err := s.hello(ctx); err != nil {
		return nil, &unheard{err}
	}
	defer s.waits.begin(s.cfg.service())()
	why, gauges := newCauses(s.cfg), &registry{Registry: prometheus.NewRegistry()}
	c, err := s.newClient(why, gauges)
	if err != nil {
		return nil, s.cfg.reach(s.cfg.service(), err)
	}
	conn := &connection{client: c, losses: &losses{}, bytes: gauges.bytes, subscription: s.subscription(), done: make(chan struct{})}
	start := client.EarliestMessageID()
	if from == message.LatestID() {
		start = client.LatestMessageID()
	} else if !from.IsZero() {
		start = client.NewMessageID(from.A, from.B, from.Batch, 0)
	}
	type result struct {
		r   client.Reader
		err error
	}
	opened := make(chan result, 1)
	s.spawn(func() {
		r, err := c.CreateReader(client.ReaderOptions{Topic: s.cfg.name(), Name: conn.subscription,
			SubscriptionName: conn.subscription, StartMessageID: start, StartMessageIDInclusive: true,
			ReceiverQueueSize: queueSize, BackoffPolicyFunc: conn.losses.policy})
		opened <- result{r, err}
	})
	select {
	case got := <-opened:
		if got.err != nil {
			s.spawn(c.Close)
			if err := why.given(); err != nil && !s.connected.Load() {
				return nil, err
			}
			return nil, openError(why.explain(got.err))
		}
		conn.reader, conn.opened = got.r, conn.losses.n.Load()
		return conn, nil
	case <-s.hopeless(why):
		s.spawn(func() {
			<-opened
			c.Close()
		})
		return nil, why.given()
	case <-ctx.Done():
		s.spawn(func() {
			<-opened
			c.Close()
		})
		return nil, ctx.Err()
	}
}

// hopeless is closed where trying on is of no use. A broker that let us in once
// may refuse while it restarts: that passes.
func (s *Source) hopeless(why *causes) <-chan struct{} {
	if s.connected.Load() {
		return nil
	}
	return why.fatal
}

// openError tells what passes by itself from what does not.
func openError(err *ReachError) error {
	text := err.foreign.Error()
	var known *client.Error
	switch {
	case strings.Contains(text, "TopicNotFound"), errors.As(err.foreign, &known) && known.Result() == client.TopicNotFound:
		return fmt.Errorf("%w: the broker has no such topic", source.ErrNotFound)
	case strings.Contains(text, "AuthorizationError"), strings.Contains(text, "AuthenticationError"):
		help := "give a token that may consume from it"
		if strings.Contains(text, "subscription name") {
			help = "give the role as --subscription-prefix"
		}
		return fmt.Errorf("%w by the broker: %s; %s", source.ErrDenied, plain(text), help)
	}
	return err
}

// unheard is a broker that did not even greet: one that never did is told at once.
type unheard struct{ error }

// Unwrap returns why.
func (e *unheard) Unwrap() error { return e.error }

// slow reports whether a broker that is there had not answered in time: it may
// still be loading the topic, so asking again helps.
func slow(err error) bool {
	var silent *unheard
	var r *ReachError
	return !errors.As(err, &silent) && errors.As(err, &r) && r.Trouble == TroubleSilent
}

func (s *Source) subscription() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return s.cfg.SubscriptionPrefix + "-" + hex.EncodeToString(b[:])
}

// next waits for a message for at most about wait. Where it gives up, inSlot
// tells whether nothing came for all that time.
func (c *connection) next(ctx context.Context, wait time.Duration) (client.Message, error) {
	if c.slot == nil || c.slot.Err() != nil {
		if c.cancelSlot != nil {
			c.cancelSlot()
		}
		c.slot, c.cancelSlot = context.WithTimeout(ctx, wait)
		c.inSlot = 0
	}
	m, err := c.reader.Next(c.slot)
	if err == nil {
		c.inSlot++
	}
	return m, err
}

// overtake asks the broker something over the connection the messages come by:
// its answer is behind every message it had sent until then. False where no
// answer came.
func (c *connection) overtake(ctx context.Context, s *Source) bool {
	answered := make(chan bool, 1)
	before := c.losses.n.Load()
	s.spawn(func() {
		_, err := c.reader.GetLastMessageID()
		answered <- err == nil
	})
	select {
	case ok := <-answered:
		if ok && c.losses.n.Load() == before+1 { // the client asks for a back-off before every such call
			c.opened++
		}
		return ok
	case <-ctx.Done():
		return false
	}
}

// lost reports whether the connection broke since the reader was opened.
func (c *connection) lost() bool { return c.losses.n.Load() != c.opened }

// prefetched is how many bytes of payload the client holds ahead.
func (c *connection) prefetched() int64 {
	if c.bytes == nil {
		return 0
	}
	ch := make(chan prometheus.Metric, 16)
	c.bytes.Collect(ch)
	close(ch)
	total := 0.0
	for m := range ch {
		var d dto.Metric
		if m.Write(&d) == nil {
			total += d.GetGauge().GetValue()
		}
	}
	return int64(math.Max(total, 0))
}

// registry is a private registry that keeps hold of one gauge.
type registry struct {
	*prometheus.Registry
	bytes *prometheus.GaugeVec
}

// Register implements prometheus.Registerer.
func (r *registry) Register(c prometheus.Collector) error {
	if g, ok := c.(*prometheus.GaugeVec); ok {
		desc := make(chan *prometheus.Desc, 4)
		g.Describe(desc)
		close(desc)
		for d := range desc {
			if strings.Contains(d.String(), `"pulsar_client_consumer_prefetched_bytes"`) {
				r.bytes = g
			}
		}
	}
	return r.Registry.Register(c)
}

// close ends the reader and its connection, waiting for less than a second, and
// not at all where the connection is gone: the client is then busy reconnecting.
func (c *connection) close(s *Source) {
	if c.cancelSlot != nil {
		c.cancelSlot()
	}
	s.spawn(func() {
		defer close(c.done)
		c.client.Close() // closes the reader first
	})
	if !c.lost() {
		waitFor(c.done, closeWithin)
	}
}
