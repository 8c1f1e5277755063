package diagnose

import (
	"cmp"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// occurrence is one place where a check found something. Text is made of it
// only for the few that are shown.
type occurrence struct {
	pos      position
	tt       uint64
	vchannel uint32
	typ      message.Type
	rows     uint64
	term     int64
	note     string // what is wrong there; a constant, it groups occurrences
	other    position
	otherTT  uint64
	hasOther bool
	detail   string // rare: text of this very place
	lesser   bool   // in the check's other case
}

// group gathers the occurrences of one check with one cause.
type group struct {
	check       *Check
	lesser      bool
	note        string
	count       int64
	rows        uint64 // of Inserts and transactions
	deletes     uint64 // keys of Deletes
	first, last occurrence
	examples    []occurrence
	byVChannel  []int64 // messages, indexed like Columns.VChannels
	rowsBy      []uint64
}

// maxExamples and maxGroups cap what a hostile log can make a report grow to.
const (
	maxExamples = 5
	maxGroups   = 64
)

type collector struct {
	groups []*group
	counts map[*Check]int64 // but for those in the other case
}

func (c *collector) add(check *Check, o *occurrence) {
	if !o.lesser {
		c.count(check)
	}
	var g *group
	for _, h := range c.groups {
		if h.check == check && h.lesser == o.lesser && h.note == o.note {
			g = h
			break
		}
	}
	if g == nil {
		if len(c.groups) >= maxGroups {
			return
		}
		g = &group{check: check, lesser: o.lesser, note: o.note, first: *o}
		c.groups = append(c.groups, g)
	}
	g.count++
	rows := o.rows
	if o.typ == message.TypeDelete {
		g.deletes, rows = g.deletes+rows, 0
	}
	g.rows += rows
	g.last = *o
	if len(g.examples) < maxExamples {
		g.examples = append(g.examples, *o)
	}
	for int(o.vchannel) >= len(g.byVChannel) {
		g.byVChannel, g.rowsBy = append(g.byVChannel, 0), append(g.rowsBy, 0)
	}
	g.byVChannel[o.vchannel]++
	g.rowsBy[o.vchannel] += rows
}

// count notes that a check found something.
func (c *collector) count(check *Check) {
	if c.counts == nil {
		c.counts = map[*Check]int64{}
	}
	c.counts[check]++
}

func (g *group) severity() Severity { return g.check.SeverityWhere(g.lesser) }

// findings turns the groups into findings, worst first, then by place.
func (v *verifier) findings() []Finding {
	sort.SliceStable(v.found.groups, func(i, j int) bool {
		a, b := v.found.groups[i], v.found.groups[j]
		if sa, sb := a.severity(), b.severity(); sa != sb {
			return sa > sb
		}
		return a.first.pos.less(b.first.pos)
	})
	out := make([]Finding, 0, len(v.found.groups))
	for _, g := range v.found.groups {
		out = append(out, v.finding(g))
	}
	return out
}

func (v *verifier) finding(g *group) Finding {
	f := raise(g.check, g.lesser, Where{PChannel: v.opts.PChannel, ID: v.id(g.first.pos), TimeTick: g.first.tt}, nil)
	f.Count, f.Meaning = g.count, g.check.Meaning
	if g.count > 1 {
		f.Where.To = v.id(g.last.pos)
	}
	if g.check == entryHole { // both bounds: the last message before, the first after
		f.Where.ID, f.Where.To = v.id(g.first.other), v.id(g.last.pos)
	}
	vchannels := 0
	for i, n := range g.byVChannel {
		if n > 0 && i > 0 {
			vchannels++
			f.Where.VChannel = v.vchannelName(uint32(i))
		}
	}
	if vchannels != 1 {
		f.Where.VChannel = ""
	}
	add := func(name, value string) { f.Evidence = append(f.Evidence, Evidence{name, value}) }
	if g.note != "" {
		add("what", g.note)
	}
	add("messages", strconv.FormatInt(g.count, 10))
	if g.note == noteOpenCommitted || g.note == noteOpenAbandoned {
		add("transactions", strconv.FormatInt(g.count, 10))
	}
	if g.rows > 0 {
		add("rows", strconv.FormatUint(g.rows, 10))
		for i, n := range g.rowsBy {
			if n > 0 && vchannels > 1 {
				add("rows of "+v.vchannelName(uint32(i)), strconv.FormatUint(n, 10))
			}
		}
	}
	if g.deletes > 0 {
		add("deletes", strconv.FormatUint(g.deletes, 10))
	}
	for i := range g.examples {
		add("example", v.describe(&g.examples[i]))
	}
	if g.count > maxExamples {
		add("last", v.describe(&g.last))
	}
	if f.Severity > SeverityInfo && v.opts.WAL != "" {
		f.Next = next(g.check, v.opts.WAL, f.Where.ID, g.rows+g.deletes > 0)
	}
	return f
}

// lastName is what a WAL argument ends with: a name for what is made of it.
func lastName(wal string) string {
	name := wal[strings.LastIndexAny(strings.TrimRight(wal, "/"), "/:")+1:]
	name, _, _ = strings.Cut(strings.Trim(name, "./-"), ".")
	return cmp.Or(name, "lost")
}

// next is the command that leads on from a finding at an id.
func next(c *Check, wal, id string, rows bool) string {
	switch {
	case rows && (c == staleWriter || c == behindTimeTick):
		return "walctl salvage " + source.ShellWord(wal) + " --lost-only --dir " + source.ShellWord("./rows-"+lastName(wal))
	case c == recovery.CheckPositionGone || c == checkpointBeyond: // the id is no message's
		return "walctl recover " + source.ShellWord(wal)
	}
	if id == "" || id == (message.ID{}).String() { // nothing was read that has one
		return "walctl inspect " + source.ShellWord(wal)
	}
	return "walctl inspect " + source.ShellWord(wal) + " --id " + id
}

func (v *verifier) describe(o *occurrence) string {
	s := v.id(o.pos)
	if o.typ != 0 {
		s += " " + o.typ.String()
	}
	if o.vchannel > 0 {
		s += " on " + v.vchannelName(o.vchannel)
	}
	if o.tt > 0 {
		s += ", TimeTick " + strconv.FormatUint(o.tt, 10)
	}
	if o.term > 0 {
		s += fmt.Sprintf(", term %d", o.term)
	}
	if o.rows > 0 {
		s += fmt.Sprintf(", %d rows", o.rows)
	}
	if o.hasOther {
		s += "; against " + v.id(o.other)
		if o.otherTT > 0 {
			s += ", TimeTick " + strconv.FormatUint(o.otherTT, 10)
		}
	}
	if o.detail != "" {
		s += "; " + o.detail
	}
	return s
}

func (v *verifier) id(p position) string {
	return v.messageID(p).String()
}

func (v *verifier) vchannelName(i uint32) string {
	if int(i) < len(v.names) {
		return v.names[i]
	}
	return ""
}
