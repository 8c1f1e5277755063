package pulsar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Source is one topic on a running broker.
type Source struct {
	cfg   Config
	admin *admin
	open  bool // the admin port answers
	seen  protection
	parts int // of a partitioned topic, whose first part is read; 0 = it has none
	limit *rate.Limiter
	waits *waits
	// connected: a reader was open once, so a broker that is away may come back.
	connected atomic.Bool

	mu      sync.Mutex
	readers map[*reader]struct{}
	wg      sync.WaitGroup // every goroutine of this source
}

var (
	_ source.FollowSource      = (*Source)(nil)
	_ source.WitnessSource     = (*Source)(nil)
	_ source.ProtectedSource   = (*Source)(nil)
	_ source.ProducerSource    = (*Source)(nil)
	_ source.LayoutSource      = (*Source)(nil)
	_ source.PartitionedSource = (*Source)(nil)
)

// Open makes first contact with a topic and refuses where reading it would
// create or destroy something (a *RefusedError, source.ErrRefused). Errors wrap
// source.ErrNotFound and source.ErrUnavailable. docs/rules.md#pulsar
func Open(ctx context.Context, cfg Config) (*Source, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Topic == "" {
		return nil, errors.New("open a Pulsar topic: no topic given")
	}
	if _, err := cfg.token(); err != nil {
		return nil, err
	}
	a, err := newAdmin(cfg)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, admin: a, readers: make(map[*reader]struct{}), waits: &waits{show: cfg.Waiting}}
	a.waits = s.waits
	if cfg.RateBytes > 0 {
		s.limit = rate.NewLimiter(rate.Limit(cfg.RateBytes), int(max(cfg.RateBytes/4, 8<<20)))
	}
	if s.open, err = s.firstContact(ctx); err != nil {
		a.close()
		return nil, err
	}
	return s, nil
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: "pulsar", Location: s.cfg.name(), PChannel: Unpartitioned(s.cfg.Topic), Backend: message.BackendPulsar}
}

// Protection implements source.ProtectedSource. Where the admin port did not answer
// when the source was opened, it is not told.
func (s *Source) Protection() source.Protection { return s.told(s.seen) }

// told is what a look found, and whether the admin port tells.
func (s *Source) told(p protection) source.Protection {
	p.Told = s.open
	return p.Protection
}

// Bounds implements source.Source. It loads the topic.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	last, err := s.lastID(ctx)
	if err != nil {
		return source.Bounds{}, err
	}
	b := source.Bounds{Last: last, Records: -1, Empty: last.IsZero()}
	if b.Empty {
		b.Records = 0
		return b, nil
	}
	r, err := s.start(ctx, span{to: last}, source.Range{Payload: source.PayloadNone}, false)
	if err != nil {
		return source.Bounds{}, err
	}
	defer func() { _ = r.Close() }()
	for {
		m, err := r.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case errors.As(err, &corrupt):
			b.Lacks.Start = true
		case errors.Is(err, io.EOF) && b.Lacks.Start: // there are entries, and none can be read
			return source.Bounds{Empty: true, Lacks: source.Lacks{Start: true, End: true, Of: last}}, nil
		case err != nil:
			return source.Bounds{}, err // it names the topic and the place
		default:
			b.First = m.ID
			return b, nil
		}
	}
}

// lastID is the id of the topic's last message now, zero where it is empty. Its
// batch index is the entry's last. A broker that was met and is away now is
// waited for, as a reader waits for it.
func (s *Source) lastID(ctx context.Context) (message.ID, error) {
	defer s.waits.begin(s.cfg.service())()
	for since := time.Now(); ; {
		id, met, err := s.lastIDNow(ctx)
		if err == nil || !met || time.Since(since) > s.cfg.Patience {
			return id, err
		}
		select {
		case <-ctx.Done():
			return message.ID{}, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// lastIDNow asks once. met tells, with an error, that the broker had answered
// before and may do so again: what fails at the first try is told at once.
func (s *Source) lastIDNow(ctx context.Context) (id message.ID, met bool, err error) {
	var unreached *ReachError
	if s.open {
		p, err := s.admin.lastMessage(ctx)
		if err == nil {
			return p.last(), false, nil
		}
		if !errors.Is(err, errAdminClosed) {
			var status *statusError
			met = errors.As(err, &status) && status.startingUp() && s.connected.Load()
			return message.ID{}, met, fmt.Errorf("last message of %s: %w: %w", s.cfg.name(), source.ErrUnavailable, err)
		}
		met = errors.As(err, &unreached)
	}
	id, err = s.askLast(ctx)
	return id, errors.As(err, &unreached) && (met || s.connected.Load()), err
}

// askLast asks the broker itself, over a reader that is closed again.
func (s *Source) askLast(ctx context.Context) (message.ID, error) {
	conn, err := s.connect(ctx, message.LatestID(), 1)
	if err != nil {
		return message.ID{}, fmt.Errorf("last message of %s: %w", s.cfg.name(), err)
	}
	defer conn.close(s)
	type result struct {
		id  message.ID
		err error
	}
	got := make(chan result, 1)
	s.spawn(func() {
		mid, err := conn.reader.GetLastMessageID()
		r := result{err: err}
		if err == nil && mid.EntryID() >= 0 {
			r.id = message.ID{Backend: message.BackendPulsar, A: mid.LedgerID(), B: mid.EntryID(), Batch: max(mid.BatchIdx(), 0)}
		}
		got <- r
	})
	select {
	case r := <-got:
		if r.err != nil {
			return message.ID{}, fmt.Errorf("last message of %s: %w", s.cfg.name(), s.cfg.reach(s.cfg.service(), r.err))
		}
		return r.id, nil
	case <-ctx.Done():
		return message.ID{}, ctx.Err()
	}
}

// spawn runs fn in a goroutine Close waits for.
func (s *Source) spawn(fn func()) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		fn()
	}()
}

// Close closes the readers that are open and releases every connection. It
// waits for less than a second: a broker that hangs is left to its timeouts.
func (s *Source) Close() error {
	s.mu.Lock()
	open := make([]*reader, 0, len(s.readers))
	for r := range s.readers {
		open = append(open, r)
	}
	s.mu.Unlock()
	for _, r := range open {
		r.cancel()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	waitFor(done, closeWithin)
	s.admin.close()
	return nil
}

func waitFor(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
