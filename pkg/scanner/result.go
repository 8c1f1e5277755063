package scanner

import "time"

// Outcome is whether a catch-up ends.
type Outcome uint8

// The outcomes.
const (
	Hangs Outcome = iota
	Meets
)

// String returns the outcome's word.
func (o Outcome) String() string { return [...]string{"hangs", "meets"}[min(o, Meets)] }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Held is what a buffer holds at a moment.
type Held struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Oldest  uint64 `json:"earliest_time_tick,string"`
	Last    uint64 `json:"last_time_tick,string"`   // of the last entry, also of one evicted
	Newest  uint64 `json:"latest_time_tick,string"` // also one in memory only
}

// Point is a moment of the trace. Scanner is the TimeTick the scanner has come to; 0 = it
// has read none.
type Point struct {
	VirtualMS int64  `json:"virtual_ms"` // since the buffer was born
	Oldest    uint64 `json:"buffer_earliest,string"`
	Newest    uint64 `json:"buffer_latest,string"`
	Scanner   uint64 `json:"scanner,string"`
	Open      bool   `json:"open"` // the scanner is open
}

// Result is how a scanner fares on a log.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// AtI, AtIDs and AtTimeTick name the TimeTick record at which the scanner got over to
	// the buffer; −1 and "" where it never does. A forced one stands after the log's end.
	AtI        int64  `json:"at_i"`
	AtIDs      string `json:"at_ids"`
	AtTimeTick uint64 `json:"at_time_tick,string"`
	Forced     bool   `json:"forced"` // it is the TimeTick written for the scanner
	Answer     Answer `json:"answer"` // of the buffer, to that TimeTick
	// VirtualMS is when: since the scanner opened; of a slow consumer, since the buffer
	// was born.
	VirtualMS int64 `json:"virtual_ms"`

	Policy    Policy  `json:"policy"`
	Start     Start   `json:"start"`
	Capacity  int64   `json:"capacity_bytes"`
	Keepalive float64 `json:"keepalive_seconds"`
	Idle      float64 `json:"idle_seconds"`
	Trimmed   bool    `json:"trimmed"`
	Pause     string  `json:"pause_after,omitempty"`

	Records int64    `json:"records"`
	Born    Place    `json:"opening"` // the TimeTick the buffer was born with
	Opened  bool     `json:"opening_read"`
	Last    Place    `json:"last_time_tick"` // the log's last TimeTick
	Waiting int      `json:"unconfirmed_tail"`
	Buffer  Held     `json:"buffer"` // when the scanner opened, or the slow consumer went on
	Peak    int      `json:"peak_entries"`
	Switch  []Switch `json:"mode_switches,omitempty"`
	Trace   []Point  `json:"trace"`
}

func (s *run) sinceBirth() int64 { return s.now - s.bornAt }

// result is the answer before a verdict: it hangs.
func (s *run) result() *Result {
	o := &s.o
	return &Result{
		AtI: -1, Policy: o.Policy, Start: o.Start, Capacity: o.Capacity, Keepalive: seconds(o.Keepalive), Idle: seconds(o.Idle),
		Trimmed: o.Trimmed, Pause: o.PauseAfter, Records: s.records, Born: s.born, Opened: s.opened, Last: s.tick,
		Waiting: len(s.pending), Buffer: s.held(), Peak: s.peak,
	}
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func (s *run) held() Held {
	return Held{s.buf.len(), s.buf.bytes, s.buf.earliest(), s.buf.last, s.buf.latest}
}

func (r *Result) meet(at Place, a Answer) {
	r.Outcome, r.AtI, r.AtIDs, r.AtTimeTick, r.Answer = Meets, at.I, at.IDs, at.TimeTick, a
}
