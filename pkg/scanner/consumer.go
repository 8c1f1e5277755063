package scanner

import (
	"fmt"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Mode is what a scanner reads: the log, or the buffer.
type Mode uint8

// The modes.
const (
	CatchUp Mode = iota
	Tailing
)

// String returns the word Milvus's metrics use.
func (m Mode) String() string { return [...]string{"catchup", "tailing"}[min(m, Tailing)] }

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Switch is a change of a scanner's mode.
type Switch struct {
	Mode      Mode   `json:"mode"`
	Place     Place  `json:"at"` // of tailing: the TimeTick it switched at; else: what it had consumed last
	Answer    Answer `json:"answer,omitempty"`
	VirtualMS int64  `json:"virtual_ms"` // since the buffer was born
}

// consumer is a scanner that opens with the WAL, follows it, and whose consumer stops once.
//
// The scanner hands out what it copied from the buffer: while the consumer stands it keeps
// the rest of the copy in which the consumer stopped, and copies nothing more. Where the
// consumer stopped at the end of a copy, one more is made.
type consumer struct {
	at       Place // the log's last TimeTick when the scanner opened
	mode     Mode
	forced   bool // it switched over at the TimeTick written for it
	stopped  bool
	resumed  bool
	found    bool // the consumer got the record it stops after
	last     Place
	next     int64 // place in the buffer of what it reads next
	more     bool  // one more copy is made while it stands
	since    int64 // when the consumer stopped
	from     int64 // catching up: TimeTicks read before this ordinal count no more
	evicted  bool  // it catches up for the second time, from what it consumed last
	floor    uint64
	switches []Switch
}

// openConsumer opens the scanner at the birth of the buffer.
func openConsumer(s *run) *consumer {
	c := &consumer{at: s.born, last: s.born}
	starts := s.starts(s.born)
	switch {
	case s.o.ResumeAt >= 0 && s.o.ResumeAt <= s.born.I:
		c.resumed = true
	case s.isPaused && s.paused.I < s.born.I && starts(s.paused):
		c.stop(s.now, false)
		c.from = s.paused.I + 1
		return c
	}
	if starts(s.born) && s.o.Start.Kind != StartLatest {
		c.tail(s, s.born, s.buf.offer(s.born.TimeTick))
	} else if s.o.Policy.forces() {
		c.forced = true
		c.tail(s, s.born, AtEnd)
	}
	if c.mode == Tailing && s.isPaused && s.paused.I == s.born.I {
		c.stop(s.now, true)
	}
	return c
}

func (c *consumer) stop(now int64, more bool) {
	c.found = true
	if !c.resumed {
		c.stopped, c.more, c.since = true, more, now
	}
}

// tail switches over to the buffer.
func (c *consumer) tail(s *run, at Place, a Answer) {
	c.mode, c.last, c.next = Tailing, at, s.buf.given
	c.switches = append(c.switches, Switch{Tailing, at, a, s.sinceBirth()})
}

// raw: the record the consumer stops after stands in the log.
func (c *consumer) raw(p Place, starts func(Place) bool) {
	if c.mode == CatchUp && !c.stopped && starts(p) {
		c.from = p.I + 1
		c.stop(0, false)
	}
}

// given: the buffer was given what a TimeTick confirms. inside says that the record the
// consumer stops after was among it, tick that it was the TimeTick.
func (c *consumer) given(s *run, inside, tick bool) {
	switch {
	case c.stopped && c.more:
		c.more = false
		c.last, c.next = s.last, s.buf.given
		if c.since+tickEvery < s.now { // a TimeTick that was not written came first
			c.memory(c.since + tickEvery)
			c.next = s.buf.given - s.buf.newest
		}
	case c.stopped:
	case c.mode == Tailing:
		c.last, c.next = s.last, s.buf.given
		if inside || tick {
			c.stop(s.now, tick)
		}
	default:
		c.read(s, tick)
	}
}

// memory: the last consumed is a TimeTick that is in memory only.
func (c *consumer) memory(at int64) {
	c.last.TimeTick = max(c.last.TimeTick, message.ComposeTSO(at, 0))
}

// read: the scanner reads a TimeTick from the log.
func (c *consumer) read(s *run, tick bool) {
	if c.stopped || c.mode == Tailing {
		return
	}
	if c.wants(s)(s.last) {
		if a := s.buf.offer(s.last.TimeTick); a != Evicted {
			c.tail(s, s.last, a)
		}
		if tick {
			c.from = s.last.I + 1
			c.stop(s.now, c.mode == Tailing)
		}
	}
}

// wants tells which TimeTicks a scanner that catches up takes to the buffer: for the second
// time it reads from the last confirmed id of what it consumed last, which lies before all
// that is newer.
func (c *consumer) wants(s *run) func(Place) bool {
	starts := s.starts(c.at)
	return func(p Place) bool {
		return p.I >= c.from && p.TimeTick > c.floor && (c.evicted || starts(p))
	}
}

// resumeAt lets the consumer go on where the log has grown to the record named.
func (s *run) resumeAt() error {
	if s.slow != nil && s.o.ResumeAt >= 0 && s.i >= s.o.ResumeAt && !s.slow.resumed {
		s.goOn()
	}
	return nil
}

// goOn: the idle time passes, the log may be trimmed, and the consumer goes on.
func (s *run) goOn() {
	c := s.slow
	c.resumed = true
	idle := s.o.Idle.Milliseconds()
	s.buf.idle(s.now, idle)
	s.now += idle
	s.ahead += idle
	if !c.stopped {
		return
	}
	c.stopped = false
	if c.more && c.since+tickEvery <= s.now {
		c.memory(c.since + tickEvery)
	}
	c.more = false
	if c.mode == Tailing {
		if c.next >= s.buf.given || c.next >= s.buf.first() {
			c.last, c.next = s.tick, s.buf.given
			return
		}
		c.mode, c.evicted, c.floor, c.from = CatchUp, true, c.last.TimeTick, 0
		c.switches = append(c.switches, Switch{Mode: CatchUp, Place: c.last, VirtualMS: s.sinceBirth()})
	}
	s.sample()
	if s.o.Trimmed {
		c.from = s.i + 1
		return
	}
	if at, a := s.offers(c.wants(s)); at.I >= 0 {
		c.tail(s, at, a)
		c.last, c.next = s.tick, s.buf.given
	}
}

// NotReachedError says that the slow consumer never stopped: it never got the record.
type NotReachedError struct{ ID string }

// Error implements error.
func (e *NotReachedError) Error() string {
	return fmt.Sprintf("--pause-after %s: the scanner never hands out this record: it stands before the start, is confirmed by no TimeTick, or is not in what was read of the log", e.ID)
}

// finishSlow judges a slow consumer, the log read.
func (s *run) finishSlow() (*Result, error) {
	c := s.slow
	if !c.resumed {
		s.goOn()
	}
	if !c.found {
		return nil, &NotReachedError{s.o.PauseAfter}
	}
	r := s.result()
	r.Switch = c.switches
	s.sample()
	if c.mode == Tailing {
		w := c.switches[len(c.switches)-1]
		r.meet(w.Place, w.Answer)
		r.Forced, r.VirtualMS = c.forced && len(c.switches) == 1, w.VirtualMS
	}
	r.Trace = append(s.trace.values, s.point())
	return r, nil
}
