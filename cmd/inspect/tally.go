package inspect

import (
	"context"
	"math/bits"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// count is what is known of a group of messages.
type count struct {
	Messages int64  `json:"count"`
	Bytes    int64  `json:"bytes"` // payload bytes as stored
	Rows     uint64 `json:"rows,omitempty"`
	LastTick uint64 `json:"last_time_tick,string"`
}

func (c *count) add(bytes int64, rows, tick uint64) {
	c.Messages++
	c.Bytes += bytes
	c.Rows += rows
	if tick > c.LastTick {
		c.LastTick = tick
	}
}

// wants says what a tally counts, and so which columns have to be read.
type wants struct{ types, vchannels, sizes, terms, progress bool }

// columns is what to ask an archive for.
func (w wants) columns(f *cli.Filter) message.ColumnSet {
	set := message.ColumnTimeTick | message.ColumnPayloadSize | message.ColumnRows
	for _, c := range []struct {
		on  bool
		set message.ColumnSet
	}{
		{w.types || !f.Empty(), message.ColumnType},
		{w.vchannels || !f.Empty(), message.ColumnVChannel},
		{w.terms, message.ColumnTerm | message.ColumnFlags},
		{w.progress, message.ColumnID | message.ColumnType | message.ColumnFlags | message.ColumnVersion | message.ColumnTxn | message.ColumnDefects},
		{!f.Empty(), message.ColumnCollection},
	} {
		if c.on {
			set |= c.set
		}
	}
	return set
}

// openFor opens a range for counting. whole tells whether the envelopes of broken
// messages come with it, so that they can be counted.
func openFor(ctx context.Context, s source.Source, rng source.Range, w wants, f *cli.Filter) (r source.ColumnReader, whole bool, err error) {
	rng.Columns = w.columns(f)
	_, native := s.(source.ColumnSource)
	r, err = source.OpenColumns(ctx, s, rng)
	return r, !native || rng.Columns&message.ColumnDefects != 0, err
}

// knownTypes bounds the types counted in an array; others are rare.
const knownTypes = 1024

// tally counts one pass over a log, column by column.
type tally struct {
	wants
	filter *cli.Filter
	whole  bool            // envelopes come along: defects can be counted
	picked message.Columns // rows that pass a filter

	all         count
	first, last message.ID
	firstTick   uint64 // smallest TimeTick seen
	types       [knownTypes]count
	oddTypes    map[message.Type]*count
	byVChannel  []count // indexed like Columns.VChannels
	names       []string
	passes      []bool // by vchannel: the filter lets it through
	sizes       [65]count
	terms       map[int64]*count

	openings, timeTicks     int64
	begun, committed, ended int64
	open                    map[int64]struct{}
	lastPersisted           uint64 // largest TimeTick of a TimeTick message
	lastPersistedID         message.ID
	tail                    diagnose.Backlog // those above it
	behind                  int64
	defects                 int64
}

func newTally(filter *cli.Filter, w wants) *tally {
	return &tally{wants: w, filter: filter, oddTypes: map[message.Type]*count{}, terms: map[int64]*count{}, open: map[int64]struct{}{}}
}

// maxOpen bounds what a hostile log can make the tally hold.
const maxOpen = 1 << 20

func (t *tally) add(c *message.Columns) {
	if !t.filter.Empty() {
		c = t.pick(c)
	}
	if c.N == 0 {
		return
	}
	t.total(c)
	if t.wants.types {
		t.addTypes(c)
	}
	if t.vchannels {
		t.addVChannels(c)
	}
	if t.wants.sizes {
		for i, b := range c.PayloadSize {
			t.sizes[bits.Len64(uint64(max(b, 0)))].add(b, c.Rows[i], c.TimeTick[i])
		}
	}
	if t.wants.terms {
		t.addTerms(c)
	}
	if t.progress {
		t.follow(c)
	}
}

// pick copies the rows that pass the filter, with the columns counted.
func (t *tally) pick(c *message.Columns) *message.Columns {
	for len(t.passes) < len(c.VChannels) {
		t.passes = append(t.passes, t.filter.MatchesVChannel(c.VChannels[len(t.passes)]))
	}
	p := &t.picked
	p.Reset()
	p.Backend, p.VChannels = c.Backend, c.VChannels
	for i := range c.N {
		if !t.filter.MatchCollection(c.Collection[i]) || !t.passes[c.VChannel[i]] || !t.filter.MatchType(c.Type[i]) {
			continue
		}
		if m := c.Full[i]; m != nil && len(m.Defects) > 0 {
			if p.Full == nil {
				p.Full = map[int]*message.Message{}
			}
			p.Full[p.N] = m
		}
		p.Type, p.VChannel = append(p.Type, c.Type[i]), append(p.VChannel, c.VChannel[i])
		p.TimeTick, p.Rows = append(p.TimeTick, c.TimeTick[i]), append(p.Rows, c.Rows[i])
		p.PayloadSize = append(p.PayloadSize, c.PayloadSize[i])
		if len(c.Term) > 0 {
			p.Term = append(p.Term, c.Term[i])
		}
		if len(c.Flags) > 0 {
			p.Flags = append(p.Flags, c.Flags[i])
		}
		if len(c.A) > 0 {
			p.A, p.B, p.Batch = append(p.A, c.A[i]), append(p.B, c.B[i]), append(p.Batch, c.Batch[i])
		}
		if len(c.Version) > 0 {
			p.Version, p.TxnID = append(p.Version, c.Version[i]), append(p.TxnID, c.TxnID[i])
		}
		p.N++
	}
	return p
}

func (t *tally) total(c *message.Columns) {
	if len(c.A) > 0 {
		if t.all.Messages == 0 {
			t.first = c.ID(0)
		}
		t.last = c.ID(c.N - 1)
	}
	bytes, rows, top, low := int64(0), uint64(0), t.all.LastTick, t.firstTick
	for _, b := range c.PayloadSize {
		bytes += b
	}
	for _, r := range c.Rows {
		rows += r
	}
	for _, tick := range c.TimeTick {
		if tick > top {
			top = tick
		}
		if tick-1 < low-1 { // 0 is no TimeTick
			low = tick
		}
	}
	t.all.Messages += int64(c.N)
	t.all.Bytes, t.all.Rows, t.all.LastTick, t.firstTick = t.all.Bytes+bytes, t.all.Rows+rows, top, low
}

// addTypes sums runs of one type aside: a sum in memory for each row would wait
// for the one before it.
func (t *tally) addTypes(c *message.Columns) {
	sizes, rows, ticks, types := c.PayloadSize[:c.N], c.Rows[:c.N], c.TimeTick[:c.N], c.Type[:c.N]
	for i := 0; i < len(types); {
		typ, from := types[i], i
		run := count{}
		for ; i < len(types) && types[i] == typ; i++ {
			run.Bytes += sizes[i]
			run.Rows += rows[i]
			run.LastTick = max(run.LastTick, ticks[i])
		}
		run.Messages = int64(i - from)
		var g *count
		if typ < knownTypes {
			g = &t.types[typ]
		} else {
			g = group(t.oddTypes, typ)
		}
		if g != nil {
			g.Messages, g.Bytes, g.Rows, g.LastTick = g.Messages+run.Messages, g.Bytes+run.Bytes, g.Rows+run.Rows, max(g.LastTick, run.LastTick)
		}
	}
}

func (t *tally) addVChannels(c *message.Columns) {
	for len(t.byVChannel) < len(c.VChannels) {
		t.byVChannel = append(t.byVChannel, count{})
	}
	t.names = c.VChannels
	groups := t.byVChannel
	for i, v := range c.VChannel[:c.N] {
		groups[v].add(c.PayloadSize[i], c.Rows[i], c.TimeTick[i])
	}
}

// addTerms keeps the term at hand, for it hardly ever changes.
func (t *tally) addTerms(c *message.Columns) {
	var at int64
	var g *count
	for i, term := range c.Term[:c.N] {
		if c.Flags[i]&message.HasTerm == 0 {
			continue
		}
		if g == nil || term != at {
			at, g = term, group(t.terms, term)
		}
		if g != nil {
			g.add(c.PayloadSize[i], c.Rows[i], c.TimeTick[i])
		}
	}
}

// follow watches TimeTicks, transactions and defects.
func (t *tally) follow(c *message.Columns) {
	for _, m := range c.Full {
		if len(m.Defects) > 0 {
			t.defects++
		}
	}
	for i, typ := range c.Type[:c.N] {
		tick := c.TimeTick[i]
		switch typ {
		case message.TypeTimeTick:
			t.timeTick(c, i, tick)
			continue
		case message.TypeBeginTxn:
			t.begun++
			if len(t.open) < maxOpen {
				t.open[c.TxnID[i]] = struct{}{}
			}
		case message.TypeCommitTxn, message.TypeRollbackTxn:
			if typ == message.TypeCommitTxn {
				t.committed++
			} else {
				t.ended++
			}
			delete(t.open, c.TxnID[i])
		}
		if c.Version[i] == 0 {
			continue // acknowledged without a TimeTick
		}
		if tick > t.lastPersisted {
			if t.tail.Len() < maxOpen {
				t.tail.Add(tick)
			}
		} else if tick < t.lastPersisted {
			t.behind++
		}
	}
}

func (t *tally) timeTick(c *message.Columns, i int, tick uint64) {
	t.timeTicks++
	if c.Flags[i]&message.HasTerm == 0 && c.Version[i] > 0 {
		t.openings++
	}
	t.lastPersisted, t.lastPersistedID = max(t.lastPersisted, tick), c.ID(i)
	t.tail.Confirm(t.lastPersisted)
}

// maxGroups bounds the groups of a hostile log; what is over stands in the total.
const maxGroups = 1 << 16

func group[K comparable](m map[K]*count, k K) *count {
	c := m[k]
	if c == nil && len(m) < maxGroups {
		c = &count{}
		m[k] = c
	}
	return c
}
