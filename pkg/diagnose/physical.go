package diagnose

import (
	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ledger is a stretch of entries with one A part: a Pulsar ledger, a Woodpecker
// segment. first and last are packed as in position.
type ledger struct {
	a, first, last int64
	blind          bool // a place that cannot be read lies before it
}

// maxLedgers bounds how many are remembered for looking up last confirmed ids.
const maxLedgers = 1 << 16

// batchRing remembers the newest entries that held more than one message.
type batchRing struct {
	items [4096]struct{ at, size int64 } // at: index into the ledger and entry
	a     [4096]int64
	n     int
	from  position // entries before this one are forgotten
}

// physical judges the ids themselves. docs/rules.md#invariants 16.
func (v *verifier) physical(c *message.Columns) {
	counts := c.Backend == message.BackendPulsar || c.Backend == message.BackendWoodpecker
	for i := 0; i < c.N; i++ {
		if counts && v.haveLast {
			if i = v.stretch(c, i); i == c.N {
				break
			}
		}
		p := makePosition(c.A[i], c.B[i], c.Batch[i])
		size := int32(0)
		if i < len(c.BatchSize) {
			size = c.BatchSize[i]
		}
		if !v.haveLast {
			if v.records == 0 && i == 0 {
				v.first = p
			}
			v.haveLast = true
			v.openLedger(p)
		} else {
			v.follow(c, i, p, counts)
		}
		if c.Batch[i] > 0 {
			v.entries.add(p)
		}
		v.last, v.lastSize = p, size
	}
}

// stretch passes over rows that are one message an entry, each entry the next,
// and returns the first row that is not: what nearly every log is made of.
func (v *verifier) stretch(c *message.Columns, i int) int {
	if v.lastSize > 1 || v.last.b&0xffff != 0 {
		return i
	}
	a, b := v.last.a, v.last.b>>16
	n := c.N
	as, bs, batches := c.A[:n], c.B[:n], c.Batch[:n]
	for ; i < n && as[i] == a && bs[i] == b+1 && batches[i] == 0; i++ {
		if i < len(c.BatchSize) && c.BatchSize[i] > 1 {
			break
		}
		b++
	}
	v.last.b, v.lastSize = b<<16, min(v.lastSize, 1)
	v.ledgers[len(v.ledgers)-1].last = v.last.b
	return i
}

func (v *verifier) openLedger(p position) {
	if len(v.ledgers) >= maxLedgers {
		v.ledgers = append(v.ledgers[:0], v.ledgers[maxLedgers/2:]...)
	}
	if n := len(v.ledgers); n > 0 {
		v.shuffled = v.shuffled || p.a < v.ledgers[n-1].a
	}
	v.ledgers = append(v.ledgers, ledger{p.a, p.b, p.b, v.blindEnd})
	v.blindEnd = false
}

// holes says what each step over something leaves out.
var holes = [...]string{
	message.StepInEntry:     "messages are missing inside an entry",
	message.StepEntryEnd:    "the end of an entry is missing",
	message.StepEntryStart:  "the start of an entry is missing",
	message.StepEntries:     "entries are missing",
	message.StepLedgerStart: "the start of a ledger or segment is missing",
}

// follow judges p against the id before it.
func (v *verifier) follow(c *message.Columns, i int, p position, counts bool) {
	l := v.last
	switch step := message.StepTo(v.messageID(l), v.lastSize, v.messageID(p)); step {
	case message.StepNext:
	case message.StepBack:
		o := v.place(c, i, "an id that does not follow the one before it")
		o.other, o.hasOther = l, true
		v.tell(idsOutOfOrder, o)
		v.openLedger(p)
		return
	default:
		v.hole(c, i, holes[step])
	}
	if !counts {
		return // offsets are one ledger
	}
	if p.a != l.a {
		v.openLedger(p)
	}
	v.ledgers[len(v.ledgers)-1].last = p.b
}

func (v *verifier) hole(c *message.Columns, i int, note string) {
	o := v.place(c, i, note)
	o.other, o.hasOther, o.rows = v.last, true, 0
	v.tell(entryHole, o)
}

// lost tells of messages missing between two ledgers or segments, as an id shows
// that is named at pos and is not there.
func (v *verifier) lost(named, pos position, tt uint64, note string) {
	if v.shuffled || v.backend.Offsets() { // out of order: told by itself
		return
	}
	behind, lost := source.LostBehind(len(v.ledgers), func(i int) source.Stretch {
		l := v.ledgers[i]
		return source.Stretch{First: v.messageID(position{l.a, l.first}), Last: v.messageID(position{l.a, l.last})}
	}, v.messageID(named))
	if !lost {
		return
	}
	o := occurrence{pos: pos, tt: tt, note: note, other: position{v.ledgers[behind].a, v.ledgers[behind].last}, hasOther: true,
		detail: v.id(named) + " is not there"}
	if n := behind + 1; n < len(v.ledgers) {
		if v.ledgers[n].blind || v.ledgers[n].first != 0 { // damage, or a start that is missing: told already
			return
		}
		if next := (position{v.ledgers[n].a, 0}); next != pos {
			o.pos, o.tt = next, 0
		}
	}
	if o.other == v.lostAfter {
		return
	}
	v.lostAfter = o.other
	v.tell(entryHole, o)
}

// add notes that the entry of p holds at least batch index + 1 messages.
func (r *batchRing) add(p position) {
	at, size := p.b>>16, p.b&0xffff+1
	if r.n > 0 {
		if k := (r.n - 1) % len(r.items); r.items[k].at == at && r.a[k] == p.a {
			r.items[k].size = size
			return
		}
	}
	k := r.n % len(r.items)
	if r.n >= len(r.items) {
		r.from = position{r.a[k], r.items[k].at<<16 | 0xffff}
	}
	r.items[k].at, r.items[k].size, r.a[k] = at, size, p.a
	r.n++
}

// size returns how many messages an entry held, 0 where it is forgotten.
func (r *batchRing) size(p position) int64 {
	if p.less(r.from) {
		return 0
	}
	lo, hi := max(0, r.n-len(r.items)), r.n
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		k := m % len(r.items)
		if (position{r.a[k], r.items[k].at}).less(position{p.a, p.b >> 16}) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if k := lo % len(r.items); lo < r.n && r.a[k] == p.a && r.items[k].at == p.b>>16 {
		return r.items[k].size
	}
	return 1
}

// exists reports whether the log was seen to hold p, and whether it is known.
func (v *verifier) exists(p position) (held, known bool) {
	if p.less(v.first) || len(v.ledgers) == 0 {
		return false, !v.partial
	}
	if v.backend != message.BackendPulsar && v.backend != message.BackendWoodpecker {
		return true, false
	}
	for i := len(v.ledgers) - 1; i >= 0; i-- {
		l := v.ledgers[i]
		if l.a > p.a {
			continue
		}
		if l.a < p.a || p.b > l.last && p.b>>16 > l.last>>16 {
			return false, i+1 == len(v.ledgers) || !v.ledgers[i+1].blind
		}
		if p.b >= l.first {
			n := v.entries.size(p)
			return n == 0 || p.b&0xffff < n, true
		}
	}
	return false, len(v.ledgers) < maxLedgers/2
}

// checkpoint judges the catalog's checkpoint at the first message above its
// TimeTick. docs/rules.md#invariants 15.
func (v *verifier) checkpoint(c *message.Columns, i int, cp *Checkpoint) {
	v.check15 = true
	if !v.replicate.told && cp.Role != nil {
		v.replicate.become(*cp.Role)
	}
	if cp.ID.IsZero() || !cp.ID.SameWAL(message.ID{Backend: v.backend}) {
		return // told as position-gone
	}
	at := makePosition(cp.ID.A, cp.ID.B, cp.ID.Batch)
	if makePosition(c.A[i], c.B[i], c.Batch[i]).less(at) {
		o := v.place(c, i, "the first message above the checkpoint's TimeTick lies before its position: replay misses it")
		o.other, o.hasOther = at, true
		v.tell(checkpointBeyond, o)
	}
	if held, known := v.exists(at); known && !held && !at.less(v.first) {
		v.lost(at, makePosition(c.A[i], c.B[i], c.Batch[i]), c.TimeTick[i], "messages between two ids are lost: the checkpoint names one of them")
	}
}

var checkpointBeyond = &Check{
	Code: "checkpoint-beyond", Severity: SeverityCritical, Invariant: 15, Needs: check.NeedCheckpoint,
	Title:   "the checkpoint lies after messages that were not consumed",
	Meaning: "A restart begins reading too late: the messages before it are never replayed.",
	Cause:   "A checkpoint edited by hand, or moved with the wrong id.",
	Do:      "Do not restart. Compare checkpoint and log.",
	Threads: []string{"milvus#53581"},
}

var idsOutOfOrder = &Check{
	Code: "ids-out-of-order", Severity: SeverityError, Invariant: 16,
	Title:   "ids do not increase",
	Meaning: "The log is not in the order it was written: nothing about it can be relied on.",
	Cause:   "A log put together from pieces, or a damaged copy.",
	Do:      "Capture it again from its origin.",
}

var entryHole = &Check{
	Code: "ledger-hole", Severity: SeverityCritical, Invariant: 16, Needs: check.NeedEntries,
	Title:   "entries are missing",
	Meaning: "Messages that were written are gone from a ledger or segment. What they carried is lost to this log.",
	Cause:   "A lost ledger replica, a lost ledger, a skipped entry, or a copy that is not whole. The place names the last message before the loss and the first one after it.",
	Do:      "Read the place again from its origin; ask BookKeeper for the ledger's replicas.",
	Threads: []string{"milvus#41904"},
}
