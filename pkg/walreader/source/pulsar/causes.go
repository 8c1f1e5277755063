package pulsar

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/pulsar-client-go/pulsar/backoff"
	"github.com/apache/pulsar-client-go/pulsar/log"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// causes is the client's logger: it prints nothing and keeps the last error.
// The client tells why it could not connect to its log alone.
type causes struct {
	mu    sync.Mutex
	last  error
	shake string        // why the broker refused the handshake, "" where it did not
	fatal chan struct{} // closed at the first error that no second try mends
	cfg   Config
}

func newCauses(cfg Config) *causes { return &causes{cfg: cfg, fatal: make(chan struct{})} }

// handshakeRefused is the format the client logs a refused handshake with; the
// broker's reason is its one argument, and nothing else tells of it.
const handshakeRefused = "Failed to establish connection with broker: "

// Warnf implements log.Logger.
func (c *causes) Warnf(format string, args ...any) {
	if !strings.HasPrefix(format, handshakeRefused) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shake == "" {
		c.shake = c.redact(fmt.Sprintf(strings.TrimPrefix(format, handshakeRefused), args...))
		c.end()
	}
}

// redact takes the token out of what a broker says, should one repeat it.
func (c *causes) redact(text string) string {
	if token, err := c.cfg.token(); err == nil && token != "" {
		text = strings.ReplaceAll(text, token, "…")
	}
	return text
}

// end closes fatal once. The lock is held.
func (c *causes) end() {
	select {
	case <-c.fatal:
	default:
		close(c.fatal)
	}
}

// given is the error that ended the tries; nil where none did.
func (c *causes) given() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shake != "" {
		return fmt.Errorf("%w by the broker: %s (%s)", source.ErrDenied, c.cfg.refusedToken(time.Now()), c.shake)
	}
	if _, ok := c.cfg.untrusted(c.last); ok {
		return c.cfg.reach(c.cfg.service(), c.last)
	}
	return nil
}

func (c *causes) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// explain makes an error of ours of a client's and of what its log knew, with
// what helps where a broker behind a port-forward answered with a name only its
// cluster resolves.
func (c *causes) explain(err error) *ReachError {
	if cause := c.cause(); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	var e *ReachError
	_ = errors.As(c.cfg.reach(c.cfg.service(), err), &e) // reach returns nothing else
	var dns *net.DNSError
	if errors.As(err, &dns) {
		e.Words = fmt.Sprintf("the broker names itself %q, which does not resolve here, as behind a port-forward", dns.Name)
		e.Help = "forward the Pulsar proxy instead of the broker, run walctl as a pod in the cluster, or name an advertised listener that resolves here"
	}
	return e
}

func (c *causes) SubLogger(log.Fields) log.Logger { return c }
func (c *causes) WithFields(log.Fields) log.Entry { return entry{c, nil} }
func (c *causes) WithField(string, any) log.Entry { return entry{c, nil} }
func (c *causes) WithError(err error) log.Entry   { return entry{c, err} }
func (c *causes) Debug(...any)                    {}
func (c *causes) Info(...any)                     {}
func (c *causes) Warn(...any)                     {}
func (c *causes) Error(...any)                    {}
func (c *causes) Debugf(string, ...any)           {}
func (c *causes) Infof(string, ...any)            {}
func (c *causes) Errorf(string, ...any)           {}

type entry struct {
	c   *causes
	err error
}

// keep remembers an error. The client logs one failure several times, vaguer
// each time: what came from the network stays.
func (e entry) keep() {
	if e.err == nil {
		return
	}
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	var network *net.OpError
	if _, told := e.c.cfg.untrusted(e.c.last); told {
		return
	}
	if e.c.last == nil || errors.As(e.err, &network) || !errors.As(e.c.last, &network) {
		e.c.last = e.err
	}
	if _, ok := e.c.cfg.untrusted(e.c.last); ok {
		e.c.end()
	}
}

func (e entry) WithFields(log.Fields) log.Entry { return e }
func (e entry) WithField(string, any) log.Entry { return e }
func (e entry) Debug(...any)                    {}
func (e entry) Info(...any)                     {}
func (e entry) Warn(...any)                     { e.keep() }
func (e entry) Error(...any)                    { e.keep() }
func (e entry) Debugf(string, ...any)           {}
func (e entry) Infof(string, ...any)            {}
func (e entry) Warnf(format string, args ...any) {
	e.keep()
	e.c.Warnf(format, args...)
}
func (e entry) Errorf(string, ...any) { e.keep() }

// losses is a back-off policy that counts how often the client asked for one:
// it does when a connection was lost, before it connects again. The client may
// drop the entry it had in hand then, so the pump reads on from a reader of its
// own instead of trusting that.
type losses struct{ n atomic.Int64 }

func (l *losses) policy() backoff.Policy {
	l.n.Add(1)
	return steady{}
}

// steady retries twice a second: the pump replaces the reader anyway.
type steady struct{}

func (steady) Next() time.Duration       { return 500 * time.Millisecond }
func (steady) IsMaxBackoffReached() bool { return false }
func (steady) Reset()                    {}
