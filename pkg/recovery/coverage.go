package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Coverage is which part of the log a replay saw.
type Coverage struct {
	From        message.ID // the checkpoint's position; zero = the log's first record
	First, Last message.ID // read
	Records     int64
	Gaps        []Gap // in log order, at most maxIssues
	TornTail    bool  // the last record is incomplete, as after a crash

	print    fingerprint
	disorder bool // an id went backwards
}

// Contiguous reports whether every id from the checkpoint to the end was read.
// Where a ledger or segment ends is not in the log: the last records of one that
// was closed can be missing unseen.
func (c *Coverage) Contiguous() bool { return len(c.Gaps) == 0 }

// Gap is a stretch that was not read: behind After, before Before. After is zero
// before the first record read, Before zero at the end.
type Gap struct {
	After, Before message.ID
	Cause         error // nil: the ids themselves are missing
}

// String names the gap as an operator accepts it: 15/1516/0..16/2/0, start..16/2/0
// where nothing was read before it, 15/1516/0..end where nothing follows it.
func (g Gap) String() string { return g.From() + ".." + g.To() }

// From names the gap's lower end: an id, or "start".
func (g Gap) From() string { return endName(g.After, "start") }

// To names the gap's upper end: an id, or "end".
func (g Gap) To() string { return endName(g.Before, "end") }

func endName(id message.ID, none string) string {
	if id.IsZero() {
		return none
	}
	return id.String()
}

// coverage follows what is read.
type coverage struct {
	Coverage
	broken                error // met since the last record
	corrupt               []*source.CorruptError
	unread                int
	backwards             *message.Message
	toldGaps, toldCorrupt int
	entrySize             int32            // messages in the last record's entry; 0 = unknown
	ledgers               []source.Stretch // in log order
}

// Next implements source.Reader for the scanner: it passes records on and goes
// on behind what cannot be read.
func (p *replay) Next(ctx context.Context) (*message.Message, error) {
	for {
		m, err := p.reader.Next(ctx)
		if err == nil {
			p.saw(m)
			return m, nil
		}
		if !p.unreadable(err) {
			return nil, err
		}
	}
}

// unreadable notes a place after which the reader goes on.
func (p *replay) unreadable(err error) bool {
	var corrupt *source.CorruptError
	if !errors.As(err, &corrupt) {
		return false
	}
	p.cover.broken = corrupt
	p.sight.Unread()
	if p.cover.unread++; p.cover.unread <= maxIssues {
		p.cover.corrupt = append(p.cover.corrupt, corrupt)
	}
	return true
}

// Close implements source.Reader.
func (p *replay) Close() error { return p.reader.Close() }

const progressEvery = 1 << 13

func (p *replay) saw(m *message.Message) {
	c := &p.cover
	if c.Records++; c.Records == 1 {
		c.first(m, p.start)
	} else if message.StepTo(c.Last, c.entrySize, m.ID) != message.StepNext || c.broken != nil {
		c.gap(c.Last, m)
	}
	c.print.add(m)
	p.sight.Record(m.ID)
	c.names(m)
	c.Last, c.entrySize = m.ID, m.Form().BatchSize
	c.reached(m.ID)
	p.copy(m)
	if p.behind {
		p.tailed(m)
	}
	if p.bytes += m.PayloadSize; p.progress != nil && c.Records%progressEvery == 0 {
		p.progress(c.Records, p.bytes, -1)
	}
}

func (c *coverage) first(m *message.Message, start message.ID) {
	c.From, c.First = start, m.ID
	if c.broken != nil || !start.IsZero() && start != m.ID {
		c.gap(start, m)
	}
}

func (c *coverage) gap(after message.ID, m *message.Message) {
	if c.broken == nil && m.ID.Compare(after) <= 0 {
		if c.disorder = true; c.backwards == nil {
			c.backwards = m
		}
		return
	}
	if len(c.Gaps) < maxIssues {
		c.Gaps = append(c.Gaps, Gap{After: after, Before: m.ID, Cause: c.broken})
	}
	c.broken = nil
}

// reached notes a record read. Offsets have no ledgers.
func (c *coverage) reached(id message.ID) {
	if id.Backend.Offsets() {
		return
	}
	if n := len(c.ledgers); n > 0 && c.ledgers[n-1].Last.A == id.A {
		c.ledgers[n-1].Last = id
		return
	}
	c.ledgers = append(c.ledgers, source.Stretch{First: id, Last: id})
}

// names holds a message's last confirmed id against what was read: a writer took
// it from a record that was there, so one that is not is lost. Where a ledger or
// segment is missing whole, or its end, this is all that tells.
func (c *coverage) names(m *message.Message) {
	lc := m.LastConfirmed
	if !m.Has(message.HasLastConfirmed) || lc.Backend.Offsets() || !lc.SameWAL(m.ID) || !c.First.Less(lc) || !lc.Less(m.ID) {
		return
	}
	n, lost := source.LostBehind(len(c.ledgers), func(i int) source.Stretch { return c.ledgers[i] }, lc)
	if !lost {
		return // there, or in a gap that the ids of its ledger show
	}
	g := Gap{After: c.ledgers[n].Last, Before: m.ID}
	if n+1 < len(c.ledgers) {
		g.Before = c.ledgers[n+1].First
	}
	known := slices.ContainsFunc(c.Gaps, func(o Gap) bool { return o.After == g.After && o.Before == g.Before })
	if !known && len(c.Gaps) < maxIssues {
		c.Gaps = append(c.Gaps, g)
	}
}

// end closes what was read: a corrupt place met last is a gap up to the log's end.
func (c *coverage) end(start message.ID) {
	if c.broken == nil {
		return
	}
	after := c.Last
	if c.Records == 0 {
		after, c.From = start, start
	}
	c.Gaps = append(c.Gaps, Gap{After: after, Cause: c.broken})
	c.broken = nil
}

// NotHeldError is the cause of a gap that only this copy of the log has: its
// origin held more than was captured.
type NotHeldError struct{ Extent source.Extent }

// Error implements error.
func (e *NotHeldError) Error() string {
	return cmp.Or(e.Extent.Detail, "this copy of the log does not hold it")
}

// extent holds what was read against the end that the origin named: only that
// proves that nothing is missing there.
func (p *replay) extent(ctx context.Context, src source.Source) error {
	of, copied := source.As[source.ExtentSource](src)
	if !copied || p.opts.Until.Kind == source.AtID {
		return nil
	}
	x, err := of.Extent(ctx)
	if err != nil {
		return fmt.Errorf("ask how much of the log this copy holds: %w", err)
	}
	c := &p.cover
	reached := x.End.IsZero() || !c.Last.Less(x.End)
	if n := len(c.Gaps); n > 0 && c.Gaps[n-1].Before.IsZero() || x.Whole && (reached || c.Records == 0) {
		return nil
	}
	c.Gaps = append(c.Gaps, Gap{After: c.Last, Cause: &NotHeldError{x}})
	return nil
}

// coverageIssues says what the reading itself met up to the stop. It belongs in
// front of what the replay met: a node meets it first.
func (p *replay) coverageIssues() {
	var found Issues
	if p.standing.Gone() {
		found.add(p.goneIssue())
	}
	p.readingIssues(&found)
	found.append(&p.state.issues)
	p.state.issues = found
}

// readingIssues adds what was met since it was last called.
func (p *replay) readingIssues(to *Issues) {
	c := &p.cover
	for ; c.toldGaps < len(c.Gaps); c.toldGaps++ {
		if g := &c.Gaps[c.toldGaps]; g.Cause == nil && !(c.toldGaps == 0 && g.After == p.start && !p.start.IsZero()) {
			to.add(Issue{Code: CodeGap, ID: g.After.String(), Detail: g.String()})
		}
	}
	for ; c.toldCorrupt < len(c.corrupt); c.toldCorrupt++ {
		e := c.corrupt[c.toldCorrupt]
		to.add(Issue{Code: CodeUnreadable, ID: e.Place, Detail: e.Error()})
	}
	if c.backwards != nil {
		to.add(about(CodeIDBackwards, c.backwards))
		c.backwards = nil
	}
}

// Dropped implements order.Observer.
func (p *replay) Dropped(m *message.Message, why order.Reason, tick uint64) {
	state := p.state
	if p.behind {
		state = p.tailState
	} else {
		d := p.res.Dropped[why]
		d.Messages++
		if m.Type == message.TypeInsert {
			d.Rows += m.Rows
		}
		p.res.Dropped[why] = d
	}
	if m.TimeTick <= p.startTick && why != order.Undecodable {
		return // in the catalog already: the opening before dealt with it
	}
	if loses(why) && m.Type != message.TypeRollbackTxn {
		state.lose(m)
	}
	code, listed := dropCodes[why]
	if !listed || why == order.ChunksUnfinished && tick == math.MaxUint64 {
		return // at the log's end its writer may be at it still
	}
	i := about(code, m)
	i.Detail = why.String()
	if tick != 0 && why == order.Stale {
		i.Detail = "the TimeTick of " + message.FormatTSO(tick) + " had already passed its time"
	}
	if why == order.Undecodable {
		i.Stops = AllLines
		if err := m.Broken(); err != nil {
			i.Detail = err.Error()
		}
	}
	state.issues.add(i)
}

// dropCodes are the drops worth listing; a rollback is a writer's decision.
var dropCodes = map[order.Reason]Code{
	order.Stale: CodeStale, order.DuplicateID: CodeDuplicateID, order.BodyWithoutBegin: CodeTxnBroken, order.CommitWithoutBegin: CodeTxnBroken,
	order.ChunksMissing: CodeChunksMissing, order.ChunksBroken: CodeChunksMissing, order.ChunksUnfinished: CodeChunksUnfinished,
	order.Expired: CodeTxnExpired, order.Superseded: CodeTxnDiscarded, order.ForcePromoted: CodeTxnDiscarded, order.Undecodable: CodeEnvelope,
}
