package jsonl

import (
	"errors"
	"fmt"
	"math"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// maxLookback bounds how many records a negative offset may hold back.
const maxLookback = 1 << 17

// selector applies a range to records that come in log order.
type selector struct {
	rng     source.Range
	started bool
	closed  bool  // To was passed: nothing comes out any more
	seen    int64 // records since the place From names
	beyond  int64 // records since the place To names
	given   int64
	before  []item // the last −From.Offset records before the start
	held    []item // the last −To.Offset records, which To may cut off
	pending []item // corrupt places right before the start: perhaps in range
	out     []item
	at      int
}

func (s *selector) pop() (item, bool) {
	if s.at == len(s.out) || s.full() {
		s.out, s.at = s.out[:0], 0
		return item{}, false
	}
	it := s.out[s.at]
	s.at++
	if it.m != nil {
		s.given++
	}
	return it, true
}

func (s *selector) full() bool { return s.rng.Limit > 0 && s.given >= s.rng.Limit }

// finished says, after pop had nothing, whether nothing can follow.
func (s *selector) finished() bool { return s.closed || s.full() }

// adapt brings bounds that were written without knowing the backend to it.
func (s *selector) adapt(b message.Backend) error {
	for _, bound := range []*source.Bound{&s.rng.From, &s.rng.To} {
		id := &bound.ID
		switch {
		case bound.Kind != source.AtID || id.Backend == b:
		case id.A < 0 || id.A == math.MaxInt64: // earliest, latest
			id.Backend = b
		case b == message.BackendPulsar && id.Backend == message.BackendWoodpecker: // 12/345
			id.Backend = b
		case b == message.BackendOffset && (id.Backend == message.BackendKafka || id.Backend == message.BackendRocksMQ):
			id.Backend = b
		default:
			return fmt.Errorf("%w of this log: the bound %s is a %s id, the log's are %s ids", message.ErrBadID, id, id.Backend, b)
		}
	}
	return nil
}

func (s *selector) push(m *message.Message) {
	it := item{m: m}
	if !s.started {
		if !starts(&s.rng.From, m) {
			s.pending = s.pending[:0]
			s.before = keep(s.before, it, -s.rng.From.Offset)
			return
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
func (s *selector) start() {
	s.started = true
	for _, it := range s.before {
		s.emit(it)
	}
	for _, it := range s.pending {
		s.emit(it)
	}
	s.before, s.pending = nil, nil
}

func (s *selector) corrupt(err error) {
	var c *source.CorruptError
	switch {
	case !errors.As(err, &c): // a torn tail ends the log, whatever the range
		s.end()
		s.out = append(s.out, item{err: err})
	case s.started || s.rng.From.Kind == source.Unbounded:
		s.emit(item{err: err})
	default:
		s.pending = keep(s.pending, item{err: err}, maxLookback)
	}
}

// emit gives an item out unless To forbids it.
func (s *selector) emit(it item) {
	if it.m != nil && (s.beyond > 0 || ends(&s.rng.To, it.m)) {
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

// end is called at the end of the log: a From that lies behind it names the end.
func (s *selector) end() {
	if !s.started {
		s.start()
	}
}

// keep appends to a list of at most n items, dropping the oldest.
func keep(list []item, it item, n int64) []item {
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
	case source.AtTimeTick:
		return m.Has(message.HasTimeTick) && m.TimeTick >= b.TimeTick
	case source.AtTime:
		return m.Has(message.HasTimeTick) && !message.TimeOf(m.TimeTick).Before(b.Time)
	}
	return true
}

func ends(b *source.Bound, m *message.Message) bool {
	switch b.Kind {
	case source.AtID:
		return m.ID.Compare(b.ID) > 0
	case source.AtTimeTick:
		return m.Type == message.TypeTimeTick && m.TimeTick > b.TimeTick
	case source.AtTime:
		return m.Type == message.TypeTimeTick && message.TimeOf(m.TimeTick).After(b.Time)
	}
	return false
}
