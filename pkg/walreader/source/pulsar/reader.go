package pulsar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// errClosed is what Next answers after Close.
var errClosed = errors.New("the reader is closed")

// reader hands on what its pumps bring, span after span.
type reader struct {
	s      *Source
	ctx    context.Context
	cancel context.CancelFunc
	bound  source.Range

	spans []span // not yet begun
	ahead []*pump
	items []item
	at    int
	n     int64 // records returned
	whole span
	last  message.ID // of the record returned last; zero = none yet
	err   error      // final
	begin func(span) *pump
	pumps sync.WaitGroup
}

// start opens a reader over a span.
func (s *Source) start(ctx context.Context, whole span, r source.Range, follow bool) (*reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var ledgers []ledger
	if s.open {
		if stats, err := s.admin.internalStats(ctx); err == nil {
			ledgers = stats.Ledgers
		}
	}
	rd := &reader{s: s, bound: r, whole: whole}
	rd.ctx, rd.cancel = context.WithCancel(context.Background())
	switch {
	case follow || !whole.to.IsZero() && s.cfg.Parallel == 1:
		rd.spans = []span{whole}
	case !whole.to.IsZero():
		rd.spans = split(whole, ledgers, s.cfg.Memory/2)
	}
	rd.begin = func(sp span) *pump {
		p := &pump{s: s, span: sp, ledgers: ledgers, keep: r.Payload, follow: follow, q: newQueue(s.cfg.Memory / 2)}
		rd.pumps.Add(1)
		s.spawn(func() {
			defer rd.pumps.Done()
			p.run(rd.ctx)
		})
		return p
	}
	s.mu.Lock()
	s.readers[rd] = struct{}{}
	s.mu.Unlock()
	rd.fill()
	return rd, nil
}

// fill keeps as many pumps at work as connections are allowed.
func (r *reader) fill() {
	for len(r.ahead) < r.s.cfg.Parallel && len(r.spans) > 0 {
		r.ahead = append(r.ahead, r.begin(r.spans[0]))
		r.spans = r.spans[1:]
	}
}

// Next implements source.Reader.
func (r *reader) Next(ctx context.Context) (*message.Message, error) {
	for {
		if r.err != nil {
			return nil, r.err
		}
		if r.ctx.Err() != nil {
			return nil, errClosed
		}
		if r.bound.Limit > 0 && r.n >= r.bound.Limit {
			return nil, r.finish(io.EOF)
		}
		if r.at == len(r.items) {
			if err := r.refill(ctx); err != nil {
				return nil, err
			}
			continue
		}
		it := r.items[r.at]
		r.items[r.at] = item{}
		r.at++
		if it.err != nil {
			var corrupt *source.CorruptError
			if errors.As(it.err, &corrupt) {
				return nil, it.err
			}
			return nil, r.finish(r.broken(it.err))
		}
		if endsBefore(r.bound.To, it.m) {
			return nil, r.finish(io.EOF)
		}
		if err := r.pace(ctx, it.m); err != nil {
			r.at-- // not lost: the next call returns it
			r.items[r.at] = it
			return nil, err
		}
		it.m.Ordinal, r.last = r.n, it.m.ID
		r.n++
		return it.m, nil
	}
}

// refill takes what the current span's pump has, or goes on to the next span.
func (r *reader) refill(ctx context.Context) error {
	if len(r.ahead) == 0 {
		return r.finish(io.EOF)
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(r.ctx, stop)()
	items, more, err := r.ahead[0].q.take(waiting, r.items)
	r.items, r.at = items, 0
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return errClosed
	case !more && !r.ahead[0].q.isWhole():
		return r.finish(r.broken(&ReachError{Addr: r.s.cfg.service(), Trouble: TroubleClosed,
			Words: "connection closed by " + r.s.cfg.service()}))
	case !more:
		r.ahead = r.ahead[1:]
		r.fill()
	}
	return nil
}

// broken says how far a read came that could not be ended.
func (r *reader) broken(cause error) error {
	return &BrokenReadError{Topic: r.s.cfg.name(), Reached: r.last, End: r.whole.to, Cause: cause}
}

// BrokenReadError is a read that did not reach the end it was to reach. It
// unwraps to why.
type BrokenReadError struct {
	Topic   string
	Reached message.ID // the last record returned; zero = none
	End     message.ID // where the read was to end; zero = it follows
	Cause   error
}

// Error implements error.
func (e *BrokenReadError) Error() string {
	var stalled *StalledError
	if errors.As(e.Cause, &stalled) { // it names the places itself
		return stalled.Error()
	}
	end := ""
	if !e.End.IsZero() {
		end = " of " + entryOf(e.End).String()
	}
	if e.Reached.IsZero() {
		return fmt.Sprintf("read %s: read nothing%s: %s", e.Topic, end, e.Cause)
	}
	return fmt.Sprintf("read %s: read to %s%s: %s", e.Topic, e.Reached, end, e.Cause)
}

// Unwrap returns the cause.
func (e *BrokenReadError) Unwrap() error { return e.Cause }

// pace keeps to the source's rate.
func (r *reader) pace(ctx context.Context, m *message.Message) error {
	if r.s.limit == nil {
		return nil
	}
	wait := r.s.limit.ReserveN(time.Now(), min(int(m.PayloadSize)+m.Props.Size(), r.s.limit.Burst()))
	if wait.Delay() == 0 {
		return nil
	}
	t := time.NewTimer(wait.Delay())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		wait.Cancel()
		return ctx.Err()
	case <-r.ctx.Done():
		wait.Cancel()
		return errClosed
	}
}

// finish ends the read and its pumps.
func (r *reader) finish(err error) error {
	r.err = err
	r.cancel()
	r.s.forget(r)
	return err
}

// Close implements source.Reader: the pumps stop at once, their connections
// within a second.
func (r *reader) Close() error {
	r.cancel()
	r.s.forget(r)
	done := make(chan struct{})
	go func() {
		r.pumps.Wait()
		close(done)
	}()
	waitFor(done, closeWithin+100*time.Millisecond)
	return nil
}

func (s *Source) forget(r *reader) {
	s.mu.Lock()
	delete(s.readers, r)
	s.mu.Unlock()
}
