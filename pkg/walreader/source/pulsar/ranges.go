package pulsar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// timeMargin is how far before a wanted TimeTick the search by publish time
// begins: the producer's clock is not the one TimeTicks come from.
const timeMargin = 10 * time.Second

// Open implements source.Source. The end is fixed now, as the topic's last
// message; a position by time or with an offset is looked up by reading.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	last, err := s.lastID(ctx)
	if err != nil {
		return nil, err
	}
	whole, empty, err := s.span(ctx, r, last)
	if err != nil {
		return nil, err
	}
	if empty {
		whole = span{}
	} else if whole.from, err = s.survives(ctx, whole.from); err != nil {
		return nil, err
	}
	return s.start(ctx, whole, r, false)
}

// survives is an id to begin at, zero where the log begins after it. With its admin port
// closed a broker names no ledgers: whether the one of the id was deleted, or passed over,
// only the log's first message tells.
func (s *Source) survives(ctx context.Context, from message.ID) (message.ID, error) {
	if s.open || from.IsZero() {
		return from, nil
	}
	b, err := s.Bounds(ctx)
	if err != nil {
		return from, err
	}
	if !b.Lacks.Start && from.A < b.First.A {
		return message.ID{}, nil
	}
	return from, nil
}

// Follow implements source.FollowSource. Range.To is not looked at.
func (s *Source) Follow(ctx context.Context, r source.Range) (source.Reader, error) {
	r.To = source.Bound{}
	sp := span{}
	switch {
	case r.From.Kind == source.AtID && r.From.Offset == 0 && r.From.ID != message.LatestID():
		sp.from = r.From.ID
	case r.From != (source.Bound{}):
		last, err := s.lastID(ctx)
		if err != nil {
			return nil, err
		}
		if sp.from, err = s.resolveFrom(ctx, r.From, last); err != nil {
			return nil, err
		}
	}
	if sp.from == message.EarliestID() {
		sp.from = message.ID{}
	}
	return s.start(ctx, sp, r, true)
}

// span makes ids of a range's bounds. A To by time stays with the reader, which
// sees it when it comes.
func (s *Source) span(ctx context.Context, r source.Range, last message.ID) (sp span, empty bool, err error) {
	if last.IsZero() {
		return span{}, true, nil
	}
	sp = span{to: last}
	if sp.from, err = s.resolveFrom(ctx, r.From, last); err != nil {
		return span{}, false, err
	}
	if sp.to, err = s.resolveTo(ctx, r.To, last); err != nil {
		return span{}, false, err
	}
	return sp, sp.to.Less(sp.from) || entryOf(last).Less(entryOf(sp.from)), nil
}

// resolveFrom returns the id to begin at, zero = the first message.
func (s *Source) resolveFrom(ctx context.Context, b source.Bound, last message.ID) (message.ID, error) {
	at := message.ID{}
	switch b.Kind {
	case source.AtID:
		switch {
		case b.ID.Backend != message.BackendPulsar:
			return at, fmt.Errorf("read %s: %s is no Pulsar position", s.cfg.name(), b.ID)
		case b.ID == message.LatestID():
			at = last
		case b.ID != message.EarliestID():
			at = b.ID
		}
	case source.AtTime, source.AtTimeTick:
		var err error
		if at, err = s.findTimeTick(ctx, b, last); err != nil {
			return at, err
		}
	}
	if b.Offset == 0 {
		return at, nil
	}
	return s.shift(ctx, at, b.Offset, last)
}

// resolveTo returns the last id to return.
func (s *Source) resolveTo(ctx context.Context, b source.Bound, last message.ID) (message.ID, error) {
	at := last
	switch b.Kind {
	case source.AtID:
		switch {
		case b.ID.Backend != message.BackendPulsar:
			return at, fmt.Errorf("read %s: %s is no Pulsar position", s.cfg.name(), b.ID)
		case b.ID.Less(last):
			at = b.ID
		}
	case source.AtTime, source.AtTimeTick:
		if b.Offset == 0 {
			return last, nil
		}
		var err error
		if at, err = s.findEnd(ctx, b, last); err != nil {
			return at, err
		}
	}
	if b.Offset == 0 || b.Offset > 0 && at == last {
		return at, nil
	}
	if at, err := s.shift(ctx, at, b.Offset, last); err != nil || at.Less(last) {
		return at, err
	}
	return last, nil
}

// endsBefore reports whether a To bound by time ends before a message.
func endsBefore(b source.Bound, m *message.Message) bool {
	if m.Type != message.TypeTimeTick || b.Kind != source.AtTime && b.Kind != source.AtTimeTick {
		return false
	}
	return b.Exceeded(m.TimeTick)
}

func (b boundTime) time() time.Time {
	if b.Kind == source.AtTime {
		return b.Time
	}
	return message.TimeOf(b.TimeTick)
}

type boundTime struct{ source.Bound }

// findTimeTick finds the first message at or after a TimeTick: by publish time
// to a place safely before it, by reading from there. Where the first message
// read is already behind it, it begins earlier.
func (s *Source) findTimeTick(ctx context.Context, b source.Bound, last message.ID) (message.ID, error) {
	for margin := timeMargin; ; margin *= 10 {
		from := message.ID{}
		if s.open && margin < 1000*timeMargin {
			p, err := s.admin.messageAt(ctx, boundTime{b}.time().Add(-margin))
			if err == nil {
				from = message.ID{Backend: message.BackendPulsar, A: p.Ledger, B: max(p.Entry, 0)}
			}
		}
		if entryOf(last).Less(from) {
			from = entryOf(last)
		}
		n, found := 0, message.ID{}
		err := s.scan(ctx, span{from: from, to: last}, func(m *message.Message) bool {
			n++
			if b.Reached(m.TimeTick) {
				found = m.ID
			}
			return found.IsZero()
		})
		switch {
		case err != nil:
			return message.ID{}, err
		case found.IsZero(): // everything lies before it
			return message.ID{Backend: message.BackendPulsar, A: last.A, B: last.B + 1}, nil
		case n > 1 || from.IsZero():
			return found, nil
		}
	}
}

// findEnd is the id of the last message a To bound by time lets through.
func (s *Source) findEnd(ctx context.Context, b source.Bound, last message.ID) (message.ID, error) {
	at := message.ID{}
	err := s.scan(ctx, span{to: last}, func(m *message.Message) bool {
		if endsBefore(b, m) {
			return false
		}
		at = m.ID
		return true
	})
	return at, err
}

// shift walks n messages on from an id, or back, and stops at the log's ends.
func (s *Source) shift(ctx context.Context, at message.ID, n int64, last message.ID) (message.ID, error) {
	if n > 0 {
		to := at
		err := s.scan(ctx, span{from: at, to: last}, func(m *message.Message) bool {
			if to = m.ID; n == 0 {
				return false
			}
			n--
			return true
		})
		if err == nil && n > 0 {
			to = message.ID{Backend: message.BackendPulsar, A: last.A, B: last.B + 1}
		}
		return to, err
	}
	if at.IsZero() {
		return at, nil
	}
	from := s.entriesBack(ctx, at, -n)
	var ring []message.ID // the ids before at, as many as asked for
	size, next := int(-n), 0
	err := s.scan(ctx, span{from: from, to: last}, func(m *message.Message) bool {
		switch {
		case !m.ID.Less(at):
			return false
		case len(ring) < size:
			ring = append(ring, m.ID)
		default:
			ring[next] = m.ID
			next = (next + 1) % size
		}
		return true
	})
	if len(ring) == 0 {
		return at, err
	}
	return ring[next], err
}

// entriesBack is the id n entries before another: every entry holds at least one
// message. Zero, the log's begin, where the ledgers are not known.
func (s *Source) entriesBack(ctx context.Context, at message.ID, n int64) message.ID {
	if !s.open {
		return message.ID{}
	}
	stats, err := s.admin.internalStats(ctx)
	if err != nil {
		return message.ID{}
	}
	for i := len(stats.Ledgers) - 1; i >= 0; i-- {
		l := stats.Ledgers[i]
		before := l.Entries // entries of this ledger that lie before at
		if l.ID > at.A {
			continue
		} else if l.ID == at.A {
			before = min(before, at.B)
		}
		if n <= before {
			return message.ID{Backend: message.BackendPulsar, A: l.ID, B: before - n}
		}
		n -= before
	}
	return message.ID{}
}

// scan reads a span without payload until fn says stop. Places that can't be
// read are passed over: the real read reports them.
func (s *Source) scan(ctx context.Context, sp span, fn func(*message.Message) bool) error {
	r, err := s.start(ctx, sp, source.Range{Payload: source.PayloadNone}, false)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for {
		m, err := r.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &corrupt):
			continue
		case err != nil:
			return fmt.Errorf("look for a position in %s: %w", s.cfg.name(), err)
		case !fn(m):
			return nil
		}
	}
}
