package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// TickState says what time did in a stretch of a log. docs/rules.md#timetick-states
type TickState uint8

// The states, best first. TickIdle: nothing was appended, so no TimeTick is
// written. TickStalled: appends waited and nothing shows that they were
// acknowledged. TickLost: appends were acknowledged, as later last confirmed
// ids show, and yet no TimeTick confirmed them in time.
const (
	TickOK TickState = iota
	TickIdle
	TickStalled
	TickLost
)

// String returns the word used in JSON and tables.
func (s TickState) String() string {
	return [...]string{"ok", "idle", "stalled", "lost"}[min(s, TickLost)]
}

// MarshalText implements encoding.TextMarshaler.
func (s TickState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TickOptions say what counts as long. The zero value takes the defaults.
type TickOptions struct {
	WAL, PChannel string
	// Warn and Critical are waits for a TimeTick worth a finding; 1 s, which is
	// five of the writer's intervals, and 30 s.
	Warn, Critical time.Duration
	Idle           time.Duration // a silence worth showing; 1 s
	// Due is how long after a proven acknowledgement a TimeTick may come; the
	// writer makes one every 200 ms, so the default of 600 ms is three of them.
	Due      time.Duration
	Progress source.Progress
}

// Stretch is a time in which no TimeTick was written.
type Stretch struct {
	State    TickState     `json:"state"`
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"`
	Duration time.Duration `json:"-"`
	Seconds  float64       `json:"seconds"`
	FirstID  string        `json:"first_id"` // the first message that waited; of idle, the last before it
	LastID   string        `json:"last_id"`  // the record that ended it
	Messages int64         `json:"messages"` // that waited
	Closed   string        `json:"closed"`   // "timetick", "opening", "end"
}

// TickBucket is one step of the timeline.
type TickBucket struct {
	From      time.Time `json:"from"`
	Messages  int64     `json:"messages"`
	TimeTicks int64     `json:"time_ticks"`
	State     TickState `json:"state"`
}

// TickReport is what one pass found out about a log's time.
type TickReport struct {
	Records     int64          `json:"records"`
	TimeTicks   int64          `json:"time_ticks"`
	Openings    int64          `json:"openings"`
	From        time.Time      `json:"from"`
	To          time.Time      `json:"to"`
	LastTick    uint64         `json:"last_time_tick,string"` // of the last TimeTick read
	LastTickID  string         `json:"last_time_tick_id"`
	LongestWait float64        `json:"longest_wait_seconds"`
	LongestIdle float64        `json:"longest_idle_seconds"`
	Counts      map[string]int `json:"counts"` // stretches by state
	Regressions int            `json:"regressions"`
	Unconfirmed int            `json:"unconfirmed_tail"`
	Stretches   []Stretch      `json:"stretches"` // worst state, then longest first
	BucketWidth float64        `json:"bucket_seconds"`
	Buckets     []TickBucket   `json:"timeline"`
	Corrupt     int            `json:"corrupt_places"`
	Findings    []Finding      `json:"-"`
}

// TickColumns are the fields TimeTicks reads.
const TickColumns = message.ColumnID | message.ColumnVersion | message.ColumnType | message.ColumnFlags | message.ColumnTimeTick | message.ColumnLastConfirmed

// TimeTicks reads columns to their end and tells where a log's time stood still
// and why, in one pass. Memory is bounded by one TimeTick window.
func TimeTicks(ctx context.Context, r source.ColumnReader, opts TickOptions) (*TickReport, error) {
	opts.Warn, opts.Critical = cmp.Or(opts.Warn, time.Second), cmp.Or(opts.Critical, 30*time.Second)
	opts.Idle, opts.Due = cmp.Or(opts.Idle, time.Second), cmp.Or(opts.Due, 600*time.Millisecond)
	t := &ticker{opts: opts}
	t.timeline.width = int64(time.Second / time.Millisecond)
	for {
		c, err := r.NextColumns(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			t.batch(c)
			if opts.Progress != nil {
				opts.Progress(t.report.Records, 0, -1)
			}
		case errors.Is(err, io.EOF), errors.Is(err, source.ErrTornTail):
			return t.finish(), nil
		case errors.As(err, &corrupt):
			t.report.Corrupt++
			t.pending.Clear()
			t.havePrev = false
		default:
			return t.finish(), fmt.Errorf("read the log's TimeTicks: %w", err)
		}
	}
}

// ticker is the state of one pass. Times are Unix milliseconds.
type ticker struct {
	opts     TickOptions
	report   TickReport
	timeline timeline

	backend   message.Backend
	now       int64 // the latest time any record carries; of those behind a TimeTick that went back, where one did
	from, to  int64 // the earliest and latest of all
	havePrev  bool
	prev      position
	tick      uint64 // of the last TimeTick read, which confirms what follows it
	haveTick  bool
	pending   Backlog // appends above the last TimeTick
	acked     int64   // when an append of this window was proven acknowledged; 0 = not yet
	ackedAt   position
	idle      []Stretch
	stretches []Stretch
}

type pendingAppend struct {
	pos       position
	tt        uint64
	at        int64
	confirmed bool
}

// maxPending and maxStretches bound what a hostile log can make a pass hold.
const (
	maxPending   = 1 << 20
	maxStretches = 1 << 12
)

// span makes a duration of milliseconds (0 or more), the longest there is where they are more.
func span(ms int64) time.Duration {
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// leapt reports whether time went on from one TimeTick to the next by more than
// any pchannel is idle: ten years.
func leapt(from, to uint64) bool {
	const years = 10 * 365 * 24 * 3600 * 1000
	return to > from && message.PhysicalMillis(to)-message.PhysicalMillis(from) > years
}

func (t *ticker) batch(c *message.Columns) {
	t.backend = c.Backend
	for i := 0; i < c.N; i++ {
		if c.Flags[i]&message.HasTimeTick != 0 {
			t.row(c, i)
		}
	}
	t.report.Records += int64(c.N)
}

func (t *ticker) row(c *message.Columns, i int) {
	tt, pos := c.TimeTick[i], makePosition(c.A[i], c.B[i], c.Batch[i])
	at := message.PhysicalMillis(tt)
	streamed := c.Version[i] > 0 // what an older release wrote waits for no TimeTick
	opening := streamed && c.Type[i] == message.TypeTimeTick && c.Flags[i]&message.HasTerm == 0
	if !t.havePrev {
		t.havePrev, t.now = true, max(t.now, at)
	} else if at > t.now {
		if opening { // what waited is judged by the time the log was still written to
			t.judgeAbandoned(pos, tt)
		}
		if gap := at - t.now; t.pending.Len() == 0 && gap >= t.opts.Idle.Milliseconds() {
			t.keep(&t.idle, TickIdle, t.now, at, t.prev, pos, 0, "")
		}
		t.now = at
	}
	if !t.timeline.started {
		t.from, t.to = at, at
	}
	t.from, t.to = min(t.from, at), max(t.to, at)
	isTick := c.Type[i] == message.TypeTimeTick
	t.timeline.add(at, isTick)
	if isTick {
		t.timeTick(c, i, pos, opening)
	} else if streamed && tt > t.tick && t.pending.Len() < maxPending {
		t.pending.add(pendingAppend{pos: pos, tt: tt, at: at})
		if lc := makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i]); t.acked == 0 && !lc.less(t.pending.first().pos) && lc.less(pos) {
			t.acked, t.ackedAt = t.now, pos
		}
	}
	t.prev = pos
}

func (t *ticker) timeTick(c *message.Columns, i int, pos position, opening bool) {
	r, tt := &t.report, c.TimeTick[i]
	r.TimeTicks++
	closed := "timetick"
	if opening {
		r.Openings++
		closed = "opening"
	}
	if tt == t.tick {
		return // a retry, or verify's to judge
	}
	if tt < t.tick {
		r.Regressions++
		t.finding(timeTickRegress, false, t.id(pos), "", tt, 1, t.against(tt)...)
		t.now = message.PhysicalMillis(tt) // what follows waits by the clock as it now runs
	}
	if t.haveTick && leapt(t.tick, tt) {
		t.finding(timeTickJump, false, t.id(pos), "", tt, 1, t.against(tt)...)
	}
	t.haveTick = true
	t.tick = tt
	r.LastTick, r.LastTickID = tt, t.id(pos)
	t.close(pos, closed, tt)
}

func (t *ticker) against(tt uint64) []Evidence {
	return []Evidence{{"TimeTick before it", fmt.Sprint(t.tick)}, {"TimeTick", fmt.Sprint(tt)}}
}

// close judges how long the appends a TimeTick confirms had waited.
func (t *ticker) close(pos position, how string, tick uint64) {
	if t.pending.Len() == 0 {
		return
	}
	first := *t.pending.first()
	if waited := t.pending.Confirm(tick); waited > 0 {
		t.judge(first, pos, waited, how)
	}
	t.acked = 0
}

func (t *ticker) judge(first pendingAppend, pos position, waited int64, how string) {
	wait := t.now - first.at
	t.report.LongestWait = max(t.report.LongestWait, float64(wait)/1000)
	switch {
	case t.acked > 0 && t.now-t.acked > t.opts.Due.Milliseconds():
		t.keep(&t.stretches, TickLost, first.at, t.now, first.pos, pos, waited, how)
	case wait >= t.opts.Warn.Milliseconds():
		t.keep(&t.stretches, TickStalled, first.at, t.now, first.pos, pos, waited, how)
	}
}

// judgeAbandoned closes the window of a node that went away: its appends waited
// for it while it lived; the silence after them is nobody's stall.
func (t *ticker) judgeAbandoned(pos position, tick uint64) {
	last := t.now
	t.close(pos, "opening", tick)
	if gap := message.PhysicalMillis(tick) - last; gap >= t.opts.Idle.Milliseconds() {
		t.keep(&t.idle, TickIdle, last, message.PhysicalMillis(tick), t.prev, pos, 0, "opening")
		t.now = message.PhysicalMillis(tick)
	}
}

func (t *ticker) keep(list *[]Stretch, s TickState, from, to int64, first, last position, n int64, how string) {
	if s == TickIdle {
		t.report.LongestIdle = max(t.report.LongestIdle, float64(to-from)/1000)
	}
	if t.report.Counts == nil {
		t.report.Counts = map[string]int{}
	}
	t.report.Counts[s.String()]++
	t.timeline.mark(s, from, to)
	if len(*list) >= maxStretches {
		longestFirst(*list)
		*list = (*list)[:maxStretches/2]
	}
	d := span(to - from)
	*list = append(*list, Stretch{State: s, From: time.UnixMilli(from).UTC(), To: time.UnixMilli(to).UTC(), Duration: d, Seconds: float64(to-from) / 1000,
		FirstID: t.id(first), LastID: t.id(last), Messages: n, Closed: how})
}

func longestFirst(s []Stretch) {
	slices.SortStableFunc(s, func(a, b Stretch) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(b.Duration, a.Duration), a.From.Compare(b.From))
	})
}

func (t *ticker) id(p position) string {
	return message.ID{Backend: t.backend, A: p.a, B: p.b >> 16, Batch: int32(p.b & 0xffff)}.String()
}

func (t *ticker) finish() *TickReport {
	r := &t.report
	if n := t.pending.Len(); n > 0 {
		r.Unconfirmed = n
		first := *t.pending.first()
		t.judge(first, t.prev, int64(n), "end")
		t.finding(unconfirmedTail, false, t.id(first.pos), t.id(t.prev), first.tt, int64(n))
	}
	if r.Counts == nil {
		r.Counts = map[string]int{}
	}
	r.Buckets, r.BucketWidth = t.timeline.buckets()
	if len(r.Buckets) > 0 {
		r.From, r.To = time.UnixMilli(t.from).UTC(), time.UnixMilli(t.to).UTC()
	}
	longestFirst(t.stretches)
	longestFirst(t.idle)
	for i := range t.stretches {
		t.tell(&t.stretches[i])
	}
	r.Stretches = append(t.stretches, t.idle[:min(len(t.idle), 10)]...)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return r
}

// maxTold bounds the findings of one code; the stretches hold the rest.
const maxTold = 20

func (t *ticker) tell(s *Stretch) {
	c := timeTickLost
	if s.State == TickStalled {
		c = timeTickStalled
	}
	told := 0
	for i := range t.report.Findings {
		if t.report.Findings[i].Code == c.Code {
			told++
		}
	}
	if told >= maxTold {
		return
	}
	t.finding(c, s.Duration >= t.opts.Critical, s.FirstID, s.LastID, 0, s.Messages,
		Evidence{"waited", s.Duration.String()}, Evidence{"from", s.From.Format(time.RFC3339Nano)}, Evidence{"closed by", s.Closed})
}

func (t *ticker) finding(c *Check, other bool, id, to string, tt uint64, n int64, evidence ...Evidence) {
	if len(t.report.Findings) >= maxStretches {
		return
	}
	f := raise(c, other, Where{PChannel: t.opts.PChannel, ID: id, To: to, TimeTick: tt}, evidence)
	f.Count = n
	if t.opts.WAL != "" && f.Severity > SeverityInfo {
		f.Next = "walctl inspect " + source.ShellWord(t.opts.WAL) + " --records --from " + id
		if to != "" {
			f.Next += " --to " + to
		}
	}
	t.report.Findings = append(t.report.Findings, f)
}

var timeTickStalled = &Check{
	Code: "timetick-stalled", Severity: SeverityWarning, Else: check.Else{Severity: check.Critical, Where: "the wait reached --critical, 30 s unless given"},
	Title:   "appends waited for a TimeTick",
	Meaning: "Nothing written in this time could be read until it ended: queries waited or timed out. Nothing is lost.",
	Cause:   "One append was not acknowledged, and all later ones wait for it: the broker was slow, refused, or rolled a ledger over.",
	Do:      "Look at the broker and at wal_impls_append_message_retry_total of that time.",
	Threads: []string{"milvus#48998", "milvus#51423", "milvus#52341"},
}

var timeTickLost = &Check{
	Code: "timetick-lost", Severity: SeverityError,
	Title:   "a TimeTick is missing",
	Meaning: "Appends were acknowledged, as later last confirmed ids show, but the TimeTick that confirms them is not in the log: readers stood still until the next one.",
	Cause:   "TimeTicks were lost from the log, or the node stopped making them.",
	Do:      "Run verify: a ledger-hole shows lost messages. Look at the node's log of that time.",
	Threads: []string{"milvus#41062", "milvus#36960"},
}
