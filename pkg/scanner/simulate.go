// Package scanner runs Milvus's write-ahead buffer and the scanner that switches over to
// it over a real log, under a virtual clock, and tells whether a scanner's catch-up ends.
//
//	log ──► batches (what each TimeTick confirms) ──► buffer, evicted by size and age
//	   └──► TimeTicks, offered one by one ──────────► in the buffer: the scanner tails
//
// The clock is the log's own: a TimeTick comes at its time. After the last one the idle
// time passes, then the scanner opens and reads in no time. docs/rules.md#catch-up
package scanner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ErrNoTimeTick means that what was read of the log has no TimeTick, so no buffer is ever born.
var ErrNoTimeTick = errors.New("no TimeTick was read, so there is no buffer to simulate: `walctl inspect` says what is in the log")

// Simulate reads a log to its end and tells how a scanner fares on it. The reader has to
// bring properties, and needs no payload. Memory is what Milvus's own buffer would hold,
// some 24 bytes an entry, and the messages that wait for their TimeTick.
func Simulate(ctx context.Context, r source.Reader, o Options) (*Result, error) {
	s := &run{o: o}
	for {
		m, err := r.Next(ctx)
		if err != nil {
			more, fatal := o.ReadError.Of(err)
			switch {
			case fatal != nil:
				return nil, fmt.Errorf("read the log for the simulation: %w", fatal)
			case !more:
				return s.finish()
			}
			continue
		}
		if err := s.see(m); err != nil {
			return nil, err
		}
		if o.Progress != nil && s.records%1024 == 0 {
			o.Progress(s.records, 0, -1)
		}
	}
}

// Place is a record of the log.
type Place struct {
	I        int64  `json:"i"`
	IDs      string `json:"ids"`
	TimeTick uint64 `json:"time_tick,string"`
	id       message.ID
	lc       message.ID
}

func placeOf(m *message.Message, i int64) Place {
	return Place{I: i, IDs: m.TextID(), TimeTick: m.TimeTick, id: m.ID, lc: m.LastConfirmed}
}

// waiting is a message above the last TimeTick.
type waiting struct {
	entry
	pause bool // the consumer stops after it
}

// run is the state of one pass.
type run struct {
	o       Options
	records int64
	i       int64 // ordinal of the record being read
	last    Place // record read last
	pauseID message.ID
	startID message.ID

	buf     *buffer
	born    Place // the TimeTick the buffer was born with
	opened  bool  // it was an opening
	term    int64 // highest term read
	stale   int64 // terms up to this one are of writers before the opening
	pending []waiting
	// confirmed is the TimeTick the buffer was given last. The buffer's own newest one can
	// be ahead of the log, once an idle time has passed in the middle of it.
	confirmed uint64
	now       int64 // virtual, Unix milliseconds
	bornAt    int64
	ahead     int64 // how far the virtual clock is ahead of the log's, milliseconds

	tick  Place   // the TimeTick read last
	ticks []Place // TimeTicks read that the buffer does not hold for evicted
	early int64   // TimeTicks read before those
	path  thinned[Place]
	peak  int

	paused   Place // the record PauseAfter names, once it was read
	isPaused bool
	slow     *consumer
	trace    thinned[Point]
}

// see takes the next record.
func (s *run) see(m *message.Message) error {
	if s.records == 0 {
		if err := s.ids(m.ID.Backend); err != nil {
			return err
		}
		s.i = m.Ordinal - 1
	}
	s.records++
	s.i++
	s.last = placeOf(m, s.i)
	if m.Broken() != nil || !m.Has(message.HasTimeTick) {
		return s.resumeAt()
	}
	s.term = max(s.term, m.Term)
	pause := s.o.PauseAfter != "" && m.ID.Compare(s.pauseID) == 0
	if pause {
		s.paused, s.isPaused = s.last, true
	}
	if m.Type != message.TypeTimeTick {
		s.message(m, pause)
	} else if err := s.timeTick(m, pause); err != nil {
		return err
	}
	if err := checkHeld(len(s.pending), "messages that no TimeTick confirms"); err != nil {
		return err
	}
	return s.resumeAt()
}

// ids reads the ids that were typed.
func (s *run) ids(b message.Backend) (err error) {
	if s.startID, err = typedID("--start", s.o.Start.ID, b); err != nil {
		return err
	}
	s.pauseID, err = typedID("--pause-after", s.o.PauseAfter, b)
	return err
}

func (s *run) message(m *message.Message, pause bool) {
	if s.slow != nil && pause {
		s.slow.raw(s.last, s.starts(s.slow.at))
	}
	if s.buf == nil || m.Version == 0 || m.Term <= s.stale || m.TimeTick <= s.confirmed {
		return // another writer's, or one that comes too late: never given
	}
	s.pending = append(s.pending, waiting{entry{tick: m.TimeTick, bytes: messageBytes(m)}, pause})
}

func (s *run) timeTick(m *message.Message, pause bool) error {
	s.tick = s.last
	s.path.add(s.last)
	switch {
	case m.Version == 0:
	case m.OpensTerm():
		s.stale = s.term
		s.bear(m, true)
		return nil
	case s.buf == nil:
		s.bear(m, false)
		return nil
	case m.Term > s.stale && m.TimeTick > s.confirmed:
		messages, paused := s.confirm(m.TimeTick)
		s.now, s.confirmed = message.PhysicalMillis(m.TimeTick)+s.ahead, m.TimeTick
		s.buf.give(s.now, messages, entry{tick: m.TimeTick, bytes: messageBytes(m)}, true)
		s.keepTick()
		if s.slow != nil {
			s.slow.given(s, paused, pause)
		}
		s.sample()
		return checkHeld(s.buf.len()+len(s.ticks), "entries of the buffer")
	}
	s.keepTick()
	if s.slow != nil {
		s.slow.read(s, pause)
	}
	return nil
}

// bear begins anew at an opening, or at the first TimeTick of a log that has lost it.
func (s *run) bear(m *message.Message, opening bool) {
	s.now, s.confirmed = message.PhysicalMillis(m.TimeTick)+s.ahead, m.TimeTick
	s.buf = newBuffer(&s.o, entry{m.TimeTick, messageBytes(m), s.now})
	s.born, s.bornAt, s.opened, s.pending = s.last, s.now, opening, nil
	s.trace = thinned[Point]{}
	s.keepTick()
	if s.o.PauseAfter != "" {
		s.slow = openConsumer(s)
	}
	s.sample()
}

// confirm takes out of what waits the messages up to a TimeTick, in TimeTick order, a retried
// one once.
func (s *run) confirm(tick uint64) (messages []entry, paused bool) {
	rest := s.pending[:0]
	for _, w := range s.pending {
		if w.tick > tick {
			rest = append(rest, w)
			continue
		}
		messages = append(messages, w.entry)
		paused = paused || w.pause
	}
	s.pending = rest
	slices.SortStableFunc(messages, func(a, b entry) int { return cmp.Compare(a.tick, b.tick) })
	return slices.CompactFunc(messages, func(a, b entry) bool { return a.tick == b.tick && a.bytes == b.bytes }), paused
}

// keepTick keeps the TimeTick just read, and lets go of those that were evicted.
func (s *run) keepTick() {
	s.ticks = append(s.ticks, s.last)
	if s.buf == nil {
		s.early += int64(len(s.ticks))
		s.ticks = s.ticks[:0]
		return
	}
	s.peak = max(s.peak, s.buf.len())
	n := 0
	for n < len(s.ticks) && s.buf.offer(s.ticks[n].TimeTick) == Evicted {
		n++
	}
	s.early += int64(n)
	s.ticks = append(s.ticks[:0], s.ticks[n:]...)
}

// starts tells which records stand at or after the start, as it was when at was the log's
// last TimeTick.
func (s *run) starts(at Place) func(Place) bool {
	from := func(id message.ID) func(Place) bool { return func(p Place) bool { return p.id.Compare(id) >= 0 } }
	after := func(id message.ID) func(Place) bool { return func(p Place) bool { return p.id.Compare(id) > 0 } }
	switch s.o.Start.Kind {
	case StartLatest, StartAfterLast:
		return after(at.id)
	case StartFromOpening:
		return from(s.born.id)
	case StartFromLastConfirmed:
		return from(at.lc)
	case StartAfterLastConfirmed:
		return after(at.lc)
	case StartFromLast:
		return from(at.id)
	case StartFromID:
		return from(s.startID)
	case StartAfterID:
		return after(s.startID)
	}
	return func(Place) bool { return true }
}

// offers is the first TimeTick that a scanner takes to the buffer with success.
func (s *run) offers(wanted func(Place) bool) (Place, Answer) {
	for _, t := range s.ticks {
		if wanted(t) {
			if a := s.buf.offer(t.TimeTick); a != Evicted {
				return t, a
			}
		}
	}
	return Place{I: -1}, Evicted
}

// finish judges, the log read.
func (s *run) finish() (*Result, error) {
	if s.buf == nil {
		return nil, ErrNoTimeTick
	}
	if s.o.PauseAfter != "" {
		return s.finishSlow()
	}
	idle := s.o.Idle.Milliseconds()
	s.buf.idle(s.now, idle)
	s.now += idle
	r := s.result()
	s.sample()
	starts := s.starts(s.tick)
	latest := func(Place) bool { return false }
	wanted := starts
	if s.o.Trimmed || s.o.Start.Kind == StartLatest {
		wanted = latest
	}
	at, answer := s.offers(wanted)
	switch {
	case at.I >= 0:
		r.meet(at, answer)
		if answer == Wait && !s.o.Policy.forces() {
			r.VirtualMS = tickEvery
		} else if answer == Wait {
			r.VirtualMS = forcedAfter // what is forced is newer
		}
	case s.o.Policy.forces():
		r.meet(s.forced(), AtEnd)
		r.Forced, r.VirtualMS = true, forcedAfter
		if s.o.Policy < Policy41470 {
			r.Answer, r.VirtualMS = Wait, forcedAfter+tickEvery // it is no entry of the buffer
		}
	default:
		r.VirtualMS = 0
	}
	s.tracePath(r, starts)
	return r, nil
}

// forced is the TimeTick that is written for a new scanner.
func (s *run) forced() Place {
	id := s.last.id.Following()
	return Place{I: s.last.I + 1, IDs: id.String(), TimeTick: message.ComposeTSO(s.now+forcedAfter, 0), id: id}
}
