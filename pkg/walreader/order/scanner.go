package order

import (
	"context"
	"math"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Options tune a Scanner. The zero value scans everything.
type Options struct {
	// Observer is told of every message dropped; nil = nobody.
	Observer Observer
	// Legacy completes messages written before streaming existed; nil = a new one,
	// which knows no vchannel but those the messages name.
	Legacy *message.Legacy
	// Account is told, now and then, by how many bytes what waits for a TimeTick
	// or a commit has grown (+) or shrunk (−). Its error ends the scan.
	Account func(delta int64) error
}

// Scanner delivers a reader's messages as a Milvus scanner would. It is not safe
// for concurrent use and starts no goroutine: the reader stays the caller's, who
// closes it.
type Scanner struct {
	r    source.Reader
	opts Options

	chunks   Chunks
	queue    queue
	txns     txnBuffer
	lastTick uint64 // of the last TimeTick read, from which on messages are stale

	draining bool
	tick     uint64
	tickMsg  *message.Message // delivered when the queue is drained up to tick

	bytes, accounted int64
	read             int64
}

// NewScanner scans what r returns from here on.
func NewScanner(r source.Reader, o Options) *Scanner {
	if o.Legacy == nil {
		o.Legacy = &message.Legacy{}
	}
	s := &Scanner{r: r, opts: o}
	s.txns = txnBuffer{open: make(map[int64]*Txn), drop: s.dropped}
	s.chunks = Chunks{Drop: s.report}
	return s
}

// Next returns the next delivery. Errors are those of the reader: io.EOF at the
// clean end; behind a *source.CorruptError the scan goes on with the next call.
// What still waits for a TimeTick then is not delivered: see Waiting and Flush.
func (s *Scanner) Next(ctx context.Context) (Delivery, error) {
	for {
		if s.draining {
			if d, ok := s.drain(); ok {
				return d, nil
			}
			if err := s.account(false); err != nil {
				return Delivery{}, err
			}
			continue
		}
		m, err := s.r.Next(ctx)
		if err != nil {
			return Delivery{}, err
		}
		if err := s.push(m); err != nil {
			return Delivery{}, err
		}
	}
}

// push takes the next message in log order. docs/rules.md#scanner
func (s *Scanner) push(m *message.Message) error {
	s.read++
	if m.Has(message.HasOtherProps | message.HasTimeTick) {
		before := s.chunks.Bytes()
		joined, split := s.chunks.Take(m)
		if err := s.grown(s.chunks.Bytes() - before); err != nil || split && joined == nil {
			return err
		}
		if split {
			m = joined
		}
	}
	if m.Version == 0 {
		adapted, ok := s.opts.Legacy.Adapt(m)
		if !ok {
			s.report(m, NoVChannel, 0)
			return nil
		}
		m = adapted
	}
	switch {
	case !m.Has(message.HasTimeTick):
		s.report(m, Undecodable, 0)
	case m.Type == message.TypeTimeTick:
		s.release(m.TimeTick, m)
	case m.TimeTick < s.lastTick:
		s.report(m, Stale, s.lastTick)
	case s.queue.has(m.ID):
		s.report(m, DuplicateID, 0)
	default:
		s.queue.push(m)
		return s.grown(held(m))
	}
	return nil
}

// grown accounts for what now waits.
func (s *Scanner) grown(bytes int64) error {
	if s.opts.Account == nil {
		return nil
	}
	if s.bytes += bytes; s.bytes-s.accounted > accountStep {
		return s.account(true)
	}
	return nil
}

func (s *Scanner) release(tick uint64, m *message.Message) {
	before := s.chunks.Bytes()
	s.chunks.Expire(tick)
	if s.opts.Account != nil {
		s.bytes += s.chunks.Bytes() - before
	}
	s.draining, s.tick, s.tickMsg = true, tick, m
	s.queue.release(tick)
	s.lastTick = tick
}

// drain returns the next delivery up to the current TimeTick, the TimeTick
// itself last; false when it delivered all.
func (s *Scanner) drain() (Delivery, bool) {
	for {
		m := s.queue.pop(s.tick)
		if m == nil {
			break
		}
		d, ok := s.txns.handle(m)
		if !ok {
			continue
		}
		if s.opts.Account != nil {
			s.letGo(d)
		}
		return d, true
	}
	if s.tickMsg != nil {
		m := s.tickMsg
		s.tickMsg = nil
		s.txns.expire(s.tick)
		return Delivery{Message: m, TimeTick: m.TimeTick}, true
	}
	s.draining = false
	return Delivery{}, false
}

func (s *Scanner) letGo(d Delivery) {
	s.bytes -= held(d.Message)
	if d.Begin != nil {
		s.bytes -= held(d.Begin)
	}
	for _, p := range d.Body {
		s.bytes -= held(p)
	}
}

// Flush releases everything that waits as a later TimeTick would, without
// expiring a transaction: what the next opening makes of the log's end. Call
// Next until it returns the reader's end again.
func (s *Scanner) Flush() {
	if !s.draining {
		s.release(math.MaxUint64, nil)
	}
}

// Waiting returns the messages no TimeTick has confirmed yet, in log order.
func (s *Scanner) Waiting() []*message.Message {
	out := append(s.queue.list(), s.chunks.waiting()...)
	slices.SortFunc(out, inLog)
	return out
}

// Uncommitted returns the open transactions by id: Milvus's transaction buffer.
func (s *Scanner) Uncommitted() []*Txn { return s.txns.sorted() }

// Read is the number of messages taken from the reader.
func (s *Scanner) Read() int64 { return s.read }

// Bytes estimates what waits for a TimeTick or a commit, in bytes of memory. It
// is counted only where Options.Account is set.
func (s *Scanner) Bytes() int64 { return s.bytes }

// dropped reports a message that was held until now.
func (s *Scanner) dropped(m *message.Message, why Reason, tick uint64) {
	if s.opts.Account != nil {
		s.bytes -= held(m)
	}
	s.report(m, why, tick)
}

func (s *Scanner) report(m *message.Message, why Reason, tick uint64) {
	if s.opts.Observer != nil {
		s.opts.Observer.Dropped(m, why, tick)
	}
}

const (
	accountStep   = 1 << 20
	heldByMessage = 512 // a Message and its place in the buffers
	heldByProp    = 64  // key and value headers and short values
)

func held(m *message.Message) int64 {
	return heldByMessage + int64(len(m.Payload)) + int64(len(m.Props))*heldByProp
}

func (s *Scanner) account(force bool) error {
	delta := s.bytes - s.accounted
	if s.opts.Account == nil || !force && delta < accountStep && delta > -accountStep {
		return nil
	}
	s.accounted = s.bytes
	return s.opts.Account(delta)
}
