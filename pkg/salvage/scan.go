package salvage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// pass is what one reading of the log is for.
type pass interface {
	order.Observer
	read(m *message.Message)
	deliver(ctx context.Context, d order.Delivery) error
	// rest is told of what was read but not delivered: what waits for a TimeTick
	// or a commit, and with cut what lies after UntilTimeTick.
	rest(waiting []*message.Message, open []*order.Txn, cut bool)
}

// tap counts what a pass reads and ends it after limit records.
type tap struct {
	source.Reader
	pass  pass
	limit int64 // −1 = none

	records, bytes int64
	first, last    string
	progress       source.Progress
}

const progressEvery = 1 << 12

func (t *tap) Next(ctx context.Context) (*message.Message, error) {
	if t.records == t.limit {
		return nil, io.EOF
	}
	m, err := t.Reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	if t.records == 0 {
		t.first = m.TextID()
	}
	t.last = m.TextID()
	t.records++
	t.bytes += m.PayloadSize
	if t.progress != nil && t.records%progressEvery == 0 {
		t.progress(t.records, t.bytes, t.limit)
	}
	t.pass.read(m)
	return m, nil
}

// scan reads the log once. limit is the number of records, −1 for all.
func (r *run) scan(ctx context.Context, p pass, limit int64, onError func(error) (bool, error)) (*tap, error) {
	rng := r.opts.Range
	rng.Payload, rng.Props = source.PayloadAll, true
	rd, err := r.src.Open(ctx, rng)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = rd.Close() }) // a reader may wait for a broker and forget its context
	defer func() {
		stop()
		_ = rd.Close()
	}()
	t := &tap{Reader: rd, pass: p, limit: limit, progress: r.opts.Progress}
	s := order.NewScanner(t, order.Options{Observer: p})
	cut, err := r.deliveries(ctx, s, p, onError)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		p.rest(s.Waiting(), s.Uncommitted(), cut)
	}
	return t, err
}

func (r *run) deliveries(ctx context.Context, s *order.Scanner, p pass, onError func(error) (bool, error)) (cut bool, err error) {
	flushed := !r.opts.Tail
	for {
		d, err := s.Next(ctx)
		if err != nil {
			more, fatal := onError(err)
			switch {
			case fatal != nil:
				return false, fatal
			case more:
				continue
			case flushed:
				return false, nil
			}
			flushed = true
			s.Flush()
			continue
		}
		if u := r.opts.UntilTimeTick; u > 0 && d.TimeTick > u {
			p.rest(parts(d), nil, true)
			return true, nil
		}
		if err := p.deliver(ctx, d); err != nil {
			return false, err
		}
	}
}

// again sorts a read error the second time it is met: it was told already.
func again(err error) (bool, error) {
	var corrupt *source.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return true, nil
	case errors.Is(err, io.EOF), errors.Is(err, source.ErrTornTail):
		return false, nil
	}
	return false, err
}

// parts are a delivery's messages that can carry rows or keys.
func parts(d order.Delivery) []*message.Message {
	if d.Begin != nil {
		return d.Body
	}
	return []*message.Message{d.Message}
}

// same reports whether two messages are one append that stands in the log twice.
func same(a, b *message.Message) bool {
	return a.TimeTick == b.TimeTick && a.VChannel == b.VChannel && bytes.Equal(a.Payload, b.Payload) && slices.Equal(a.Props, b.Props)
}

// appends finds appends that stand in the log again. Retries share a TimeTick,
// and deliveries come in TimeTick order: only those of one TimeTick are kept.
// Where TimeTicks went back, what was delivered there before is kept too.
type appends struct {
	tick   uint64
	recent copies // of that TimeTick

	// From floor to ceiling TimeTicks stand in the log more than once.
	floor, ceiling uint64
	before         map[append1]struct{}
	hold           func(int64) error
}

// append1 tells one append from every other.
type append1 struct{ tick, checksum uint64 }

// heldByAppend is the memory an append1 takes in its map.
const heldByAppend = 40

// seen reports whether the message was there before.
func (a *appends) seen(m *message.Message) bool {
	if m.TimeTick != a.tick {
		a.tick = m.TimeTick
		a.recent.clear()
	}
	if a.recent.has(m) {
		return true
	}
	a.recent.add(m)
	return false
}

// copies finds messages that are the same append. A few are compared one by one;
// of many, those that sum up alike.
type copies struct {
	list  []*message.Message
	bySum map[uint64][]*message.Message // nil while there are few
}

// fewCopies is up to how many are compared one by one.
const fewCopies = 8

func (c *copies) clear() { c.list, c.bySum = c.list[:0], nil }

// find returns those that are the same append.
func (c *copies) find(m *message.Message) (found []*message.Message) {
	list := c.list
	if c.bySum != nil {
		list = c.bySum[sumOf(m)]
	}
	for _, o := range list {
		if same(o, m) {
			found = append(found, o)
		}
	}
	return found
}

func (c *copies) has(m *message.Message) bool { return len(c.find(m)) > 0 }

func (c *copies) add(m *message.Message) {
	c.list = append(c.list, m)
	switch {
	case c.bySum != nil:
		c.bySum[sumOf(m)] = append(c.bySum[sumOf(m)], m)
	case len(c.list) > fewCopies:
		c.bySum = make(map[uint64][]*message.Message, len(c.list))
		for _, o := range c.list {
			c.bySum[sumOf(o)] = append(c.bySum[sumOf(o)], o)
		}
	}
}

func sumOf(m *message.Message) uint64 { return message.ComputeChecksum(m.Props, m.Payload) }

// seenBefore is seen where TimeTicks went back.
func (a *appends) seenBefore(m *message.Message) (bool, error) {
	if m.TimeTick < a.floor || m.TimeTick > a.ceiling {
		return false, nil
	}
	if a.before == nil {
		a.before = map[append1]struct{}{}
	}
	k := append1{m.TimeTick, sumOf(m)}
	if _, ok := a.before[k]; ok {
		return true, nil
	}
	a.before[k] = struct{}{}
	return false, a.hold(heldByAppend)
}

// inserts returns a delivery's Inserts, each append once, and those that are
// there again.
func (a *appends) inserts(d order.Delivery) (once, twice []*message.Message, err error) {
	body := &appends{} // a part's TimeTick is its own, below the commit's
	if d.Begin == nil {
		body = a
	}
	for _, m := range parts(d) {
		if m.Type != message.TypeInsert {
			continue
		}
		again := body.seen(m)
		if !again && a.ceiling > 0 {
			if again, err = a.seenBefore(m); err != nil {
				return nil, nil, err
			}
		}
		if again {
			twice = append(twice, m)
		} else {
			once = append(once, m)
		}
	}
	return once, twice, nil
}
