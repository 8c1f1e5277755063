// Package selector applies a range to the records of a log that can only be read
// from a place on: what a source without an index has in common.
package selector

import (
	"errors"
	"fmt"
	"math"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// MaxLookback bounds how many records a negative offset may hold back.
const MaxLookback = 1 << 17

// Item is a message, or an error in its place.
type Item struct {
	M   *message.Message
	Err error
}

// Selector applies a range to records that come in log order: Push and Corrupt
// put in, Pop takes out.
type Selector struct {
	rng     source.Range
	started bool
	closed  bool  // To was passed: nothing comes out any more
	seen    int64 // records since the place From names
	beyond  int64 // records since the place To names
	given   int64
	before  []Item // the last −From.Offset records before the start
	held    []Item // the last −To.Offset records, which To may cut off
	pending []Item // corrupt places right before the start: perhaps in range
	out     []Item
	at      int
}

// New returns a selector of a range, or why it cannot be held to.
func New(r source.Range) (Selector, error) {
	if r.From.Offset < -MaxLookback || r.To.Offset < -MaxLookback {
		return Selector{}, fmt.Errorf("a bound may reach at most %d records back in this kind of log: name an id instead", MaxLookback)
	}
	if r.Limit < 0 {
		return Selector{}, errors.New("a limit of records cannot be negative")
	}
	return Selector{rng: r}, nil
}

// Pop returns the next item in range, if there is one.
func (s *Selector) Pop() (Item, bool) {
	if s.at == len(s.out) || s.full() {
		s.out, s.at = s.out[:0], 0
		return Item{}, false
	}
	it := s.out[s.at]
	s.at++
	if it.M != nil {
		s.given++
	}
	return it, true
}

func (s *Selector) full() bool { return s.rng.Limit > 0 && s.given >= s.rng.Limit }

// Finished says, after pop had nothing, whether nothing can follow.
func (s *Selector) Finished() bool { return s.closed || s.full() }

// Adapt brings bounds that were written without knowing the backend to it.
func (s *Selector) Adapt(b message.Backend) error {
	for _, bound := range []*source.Bound{&s.rng.From, &s.rng.To} {
		id := &bound.ID
		switch {
		case bound.Kind != source.AtID || id.Backend == b:
		case id.A < 0 || id.A == math.MaxInt64: // earliest, latest
			id.Backend = b
		case b == message.BackendPulsar && id.Backend == message.BackendWoodpecker: // 12/345
			id.Backend = b
		case b == message.BackendOffset && (id.Backend == message.BackendKafka || id.Backend == message.BackendRocksMQ),
			b.Offsets() && id.Backend == message.BackendOffset:
			id.Backend = b
		default:
			return fmt.Errorf("%w of this log: the bound %s is a %s id, the log's are %s ids", message.ErrBadID, id, id.Backend, b)
		}
	}
	return nil
}

// Push takes the log's next record.
func (s *Selector) Push(m *message.Message) {
	it := Item{M: m}
	if !s.started {
		if !starts(&s.rng.From, m) {
			s.pending = s.pending[:0]
			s.before = keep(s.before, it, -s.rng.From.Offset)
			return
		}
		if f := &s.rng.From; f.Kind == source.AtID && f.Offset == 0 && m.ID.Compare(f.ID) == 0 {
			s.pending = nil // what From names is there: the damage lies before it
		}
		s.start()
	}
	s.seen++
	if s.seen <= s.rng.From.Offset {
		return
	}
	s.emit(it)
}

// start gives out what a negative From offset reaches back to.
func (s *Selector) start() {
	s.started = true
	for _, it := range s.before {
		s.emit(it)
	}
	for _, it := range s.pending {
		s.emit(it)
	}
	s.before, s.pending = nil, nil
}

// Corrupt takes what could not be read before the next record.
func (s *Selector) Corrupt(err error) {
	var c *source.CorruptError
	switch {
	case !errors.As(err, &c): // a torn tail ends the log, whatever the range
		s.End()
		s.out = append(s.out, Item{Err: err})
	case s.started || s.rng.From.Kind == source.Unbounded:
		s.emit(Item{Err: err})
	default:
		s.pending = keep(s.pending, Item{Err: err}, MaxLookback)
	}
}

// emit gives an item out unless To forbids it.
func (s *Selector) emit(it Item) {
	if it.M != nil && (s.beyond > 0 || ends(&s.rng.To, it.M)) {
		s.beyond++
	}
	if s.closed = s.closed || s.beyond > max(s.rng.To.Offset, 0); s.closed {
		return
	}
	if n := -s.rng.To.Offset; n > 0 {
		if s.held = append(s.held, it); int64(len(s.held)) <= n {
			return
		}
		it, s.held = s.held[0], s.held[1:]
	}
	s.out = append(s.out, it)
}

// End is called at the end of the log: a From that lies after it names the end.
func (s *Selector) End() {
	if !s.started {
		s.start()
	}
}

// keep appends to a list of at most n items, dropping the oldest.
func keep(list []Item, it Item, n int64) []Item {
	if n <= 0 {
		return list
	}
	if int64(len(list)) >= n {
		list = list[1:]
	}
	return append(list, it)
}

func starts(b *source.Bound, m *message.Message) bool {
	switch b.Kind {
	case source.AtID:
		return m.ID.Compare(b.ID) >= 0
	case source.AtTimeTick, source.AtTime:
		return m.Has(message.HasTimeTick) && b.Reached(m.TimeTick)
	}
	return true
}

func ends(b *source.Bound, m *message.Message) bool {
	switch b.Kind {
	case source.AtID:
		return m.ID.Compare(b.ID) > 0
	case source.AtTimeTick, source.AtTime:
		return m.Type == message.TypeTimeTick && b.Exceeded(m.TimeTick)
	}
	return false
}
