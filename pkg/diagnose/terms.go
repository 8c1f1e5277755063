package diagnose

import (
	"sort"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// termState is what the terms and TimeTicks of the log came to so far.
type termState struct {
	max      int64    // largest term met
	maxAt    position // of its first message
	opened   bool     // an opening TimeTick stands after the last message of max
	openings int

	tick     uint64 // the largest persisted TimeTick
	line     uint64 // the newest one, by which a reader drops: after a regression it is smaller
	tickPos  position
	tickSum  uint64
	tickTerm int64 // 0 for an opening

	lc     []termLC // last confirmed id reached, by term; the newest last
	lastLC position // the last one looked up, to look up each once
	recent recentRing
}

type termLC struct {
	term int64
	lc   position
}

// recentRing remembers the newest delivered messages by TimeTick, so that a
// retry that lands late is told from a message nobody has seen.
type recentRing struct {
	items [2048]struct {
		tt, sum uint64
		pos     position
	}
	n int
}

func (r *recentRing) add(tt, sum uint64, p position) {
	k := &r.items[uint(r.n)%uint(len(r.items))]
	k.tt, k.sum, k.pos = tt, sum, p
	r.n++
}

// newest returns the message delivered last; its TimeTick is 0 where there is none.
func (r *recentRing) newest() (tt uint64, p position) {
	k := &r.items[uint(r.n-1)%uint(len(r.items))]
	return k.tt, k.pos
}

// find returns the delivered message with this TimeTick and checksum.
func (r *recentRing) find(tt, sum uint64) (position, bool) {
	lo := max(0, r.n-len(r.items))
	i := lo + sort.Search(r.n-lo, func(i int) bool { return r.items[(lo+i)%len(r.items)].tt >= tt })
	for ; i < r.n; i++ {
		if k := &r.items[i%len(r.items)]; k.tt != tt {
			break
		} else if k.sum == sum && sum != 0 {
			return k.pos, true
		}
	}
	return position{}, false
}

// term judges a message's term and reports whether an older writer wrote it.
// docs/rules.md#invariants 7.
func (v *verifier) term(c *message.Columns, i int) (stale bool) {
	t := &v.terms
	if c.Flags[i]&message.HasTerm == 0 {
		v.tell(termMissing, v.place(c, i, "no term on a message that is no opening TimeTick"))
		return false
	}
	term := c.Term[i]
	switch {
	case term == t.max && !t.opened:
		return false
	case term <= t.max:
		return true
	}
	if !t.opened && (!v.partial || t.max > 0) {
		o := v.place(c, i, "a term begins without its opening TimeTick")
		o.otherTT = 0
		v.tell(termUnopened, o)
	}
	t.max, t.maxAt, t.opened = term, makePosition(c.A[i], c.B[i], c.Batch[i]), false
	return false
}

// behind takes a message whose TimeTick a persisted TimeTick has passed: a
// reader drops it. docs/rules.md#invariants 2.
func (v *verifier) behind(c *message.Columns, i int, stale bool) {
	if c.Flags[i]&message.ChunkRest != 0 {
		return // one message with the first, which is judged
	}
	t := &v.terms
	o := v.place(c, i, "")
	if first, ok := t.recent.find(o.tt, c.Checksum[i]); ok {
		o.note, o.other, o.hasOther, o.rows = "an append that was retried and had landed", first, true, 0
		v.txns.copied(o.typ, c.TxnID[i], c.Flags[i], o.pos)
		v.tell(retryDuplicate, o)
		return
	}
	o.other, o.otherTT, o.hasOther = t.tickPos, t.tick, true
	switch {
	case stale:
		o.note = "a message of an older term comes after a newer term's TimeTick"
		v.tell(staleWriter, o)
	case t.tickTerm != 0 && t.tickTerm < o.term:
		o.note = "a message is too late for the TimeTick an older term still wrote"
		v.tell(staleWriter, o)
	case o.tt == t.tick:
		o.note = "a message carries the TimeTick that was written before it"
		v.tell(behindTimeTick, o)
	default:
		o.note = "a message came too late: a TimeTick of its own term had passed it"
		v.tell(behindTimeTick, o)
	}
	if o.tt < t.line {
		v.drop(c, i, o)
	}
}

func (v *verifier) drop(c *message.Columns, i int, o occurrence) {
	d, name := &v.dropped, v.names[o.vchannel]
	d.add(name, o.typ, o.rows)
	if v.opts.ListDropped {
		id := c.ID(i)
		d.List = append(d.List, Dropped{ID: id, IDText: id.String(), VChannel: name, Type: o.typ, TypeName: o.typ.String(),
			Rows: o.rows, TimeTick: o.tt, Term: o.term, Behind: o.otherTT})
	}
}

// timeTick takes a persisted TimeTick: it confirms everything up to it.
// docs/rules.md#invariants 3.
func (v *verifier) timeTick(c *message.Columns, i int) {
	t := &v.terms
	tt, pos := c.TimeTick[i], makePosition(c.A[i], c.B[i], c.Batch[i])
	if c.Flags[i]&message.HasReplicate != 0 {
		v.tell(replicateMismatch, v.place(c, i, "a TimeTick carries a replication header"))
	}
	opening := c.Flags[i]&message.HasTerm == 0
	stale := false
	if opening {
		t.openings++
	} else {
		stale = v.term(c, i)
	}
	t.line = tt
	if tt <= t.tick && t.tick > 0 {
		if !v.tickBack(c, i, stale, opening) {
			return
		}
		v.wentBack(tt)
	}
	if stale {
		v.tell(staleWriter, v.place(c, i, "an older term still writes TimeTicks"))
	}
	if t.tick > 0 && leapt(t.tick, tt) {
		o := v.place(c, i, "more than ten years lie between this TimeTick and the one before it")
		o.other, o.otherTT, o.hasOther = t.tickPos, t.tick, true
		v.tell(timeTickJump, o)
	}
	lc := makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i])
	if !opening && !stale {
		v.tickLastConfirmed(c, i, lc)
	}
	v.splits.Expire(tt)
	v.deliverUpTo(tt)
	v.leftBehind(c, i, lc, opening)
	if v.txns.next <= tt {
		v.expire(tt)
	}
	t.tick, t.tickPos, t.tickSum, t.tickTerm = tt, pos, c.Checksum[i], c.Term[i]
	if opening {
		t.opened = true
	}
}

// leftBehind judges what a TimeTick leaves in the window.
func (v *verifier) leftBehind(c *message.Columns, i int, lc position, opening bool) {
	if v.window.size() == 0 {
		return
	}
	first := v.window.first(c.TimeTick[i])
	if first.pos.less(lc) && !v.waiveLC {
		o := v.place(c, i, "a message above this TimeTick lies before its last confirmed id")
		o.other, o.otherTT, o.hasOther = first.pos, first.tt, true
		v.tell(lastConfirmedBroken, o)
	}
	if opening {
		o := v.place(c, i, "an opening TimeTick lies below a message written before it")
		o.other, o.otherTT, o.hasOther = first.pos, first.tt, true
		v.tell(timeTickRegress, o)
	}
}

// tickBack judges a TimeTick that does not lie above the one before it. It reports
// whether one writer's clock went back, rather than two writers being at work:
// readers then go on from the smaller one.
func (v *verifier) tickBack(c *message.Columns, i int, stale, opening bool) bool {
	t := &v.terms
	o := v.place(c, i, "")
	o.other, o.otherTT, o.hasOther = t.tickPos, t.tick, true
	if o.tt == t.tick && c.Checksum[i] == t.tickSum {
		o.note = "an append that was retried and had landed"
		v.tell(retryDuplicate, o)
		return false
	}
	o.note = "a TimeTick that does not lie above the one before it"
	switch {
	case stale:
		o.note = "an older term's TimeTick comes after a newer term's"
	case opening:
		o.note = "an opening TimeTick does not lie above the TimeTick before it: the clock went back"
	}
	v.tell(timeTickRegress, o)
	return opening || !stale && o.tt < t.tick && t.tickTerm <= o.term
}

// wentBack forgets what is compared by time: it begins anew at a smaller TimeTick.
func (v *verifier) wentBack(tt uint64) {
	v.terms.recent = recentRing{}
	w := &v.window
	w.arrived, w.next, w.cut = w.arrived[:0], 0, min(w.cut, tt)
	s := &v.segments
	for i := range s.slab { // what a flush of all of them ended stays ended
		if g := &s.slab[i]; g.sealTT == 0 && !g.inherited && g.createTT < s.flushAllTT {
			g.sealTT, g.seal, g.sealedBy = s.flushAllTT, s.flushAll, message.TypeFlushAll
		}
	}
	s.flushAllTT = 0
}

// tickLastConfirmed holds a TimeTick's last confirmed id between those of the
// messages before and behind it in time: it is the smallest of its batch.
func (v *verifier) tickLastConfirmed(c *message.Columns, i int, lc position) {
	w := &v.window
	if v.waiveLC || len(w.late) > 0 {
		return
	}
	if last := v.terms.reached(c.Term[i]); last != nil && lc.less(last.lc) {
		o := v.place(c, i, "a TimeTick's last confirmed id lies before those of messages it follows")
		o.other, o.hasOther = last.lc, true
		v.tell(lastConfirmedRegress, o)
	}
	if len(w.keys) == 0 || w.keys[0].tt > c.TimeTick[i] {
		return
	}
	if e := v.entry(&w.keys[0], 0); e.term == c.Term[i] && e.lc.less(lc) {
		o := v.place(c, i, "a TimeTick's last confirmed id is after those of the messages it confirms")
		o.other, o.otherTT, o.hasOther = e.pos, e.tt, true
		v.tell(lastConfirmedRegress, o)
	}
}

func (t *termState) reached(term int64) *termLC {
	for k := len(t.lc) - 1; k >= 0; k-- {
		if t.lc[k].term == term {
			return &t.lc[k]
		}
	}
	return nil
}

// lastConfirmed judges a row's own last confirmed id: below itself, and a
// message of this log. docs/rules.md#invariants 5.
func (v *verifier) lastConfirmed(c *message.Columns, i int, pos, lc position) {
	flags := c.Flags[i]
	if flags&message.HasLastConfirmed == 0 {
		if flags&(message.LastConfirmedSelf|message.HasTerm) == message.LastConfirmedSelf|message.HasTerm {
			v.tell(lastConfirmedAhead, v.place(c, i, "only an opening TimeTick can confirm itself"))
		}
		return
	}
	t := &v.terms
	if !lc.less(pos) {
		o := v.place(c, i, "the last confirmed id is not before the message itself")
		o.other, o.hasOther = lc, true
		v.tell(lastConfirmedAhead, o)
		return
	}
	if lc == t.lastLC {
		return
	}
	t.lastLC = lc
	if lc.a < 0 || v.waiveLC {
		return // the backend's word for "the beginning"
	}
	if held, known := v.exists(lc); known && !held {
		o := v.place(c, i, "the last confirmed id names a message the log does not hold")
		o.other, o.hasOther = lc, true
		v.tell(lastConfirmedMissing, o)
		if !lc.less(v.first) {
			v.lost(lc, pos, o.tt, "messages between two ids are lost: a last confirmed id names one of them")
		}
	}
}

// confirmLC holds last confirmed ids of a term's messages in TimeTick order.
func (v *verifier) confirmLC(e *entry) {
	t := &v.terms
	n := len(t.lc) - 1
	if n < 0 || t.lc[n].term != e.term {
		if t.reached(e.term) == nil {
			if n+1 >= maxTerms {
				t.lc = append(t.lc[:0], t.lc[1:]...)
			}
			t.lc = append(t.lc, termLC{e.term, e.lc})
			return
		}
	}
	l := t.reached(e.term)
	if e.lc.less(l.lc) && !v.waiveLC {
		v.tell(lastConfirmedRegress, occurrence{pos: e.pos, tt: e.tt, vchannel: e.vchannel, typ: e.typ, term: e.term,
			note: "the last confirmed id decreases within a term", other: l.lc, hasOther: true})
	}
	l.lc = e.lc
}

// maxTerms is how many terms are followed at once; more than two write at once
// only in a hostile log.
const maxTerms = 16

var staleWriter = &Check{
	Code: "stale-writer", Severity: SeverityError, Invariant: 7,
	Title:   "an older node still writes after a newer one opened the log",
	Meaning: "A message written after a TimeTick that had already passed its time is dropped by every later reader and by recovery, although its writer was told it is safe: rows and definitions go missing.",
	Cause:   "Pulsar fences nobody: two nodes can have the log open at once, as when a node was cut off from the coordinator but not from the broker.",
	Do:      "Make sure that one node only serves the pchannel. Capture the log before retention removes it; list the messages with verify --dropped. salvage --lost-only brings the rows out.",
	Threads: []string{"milvus#53368", "milvus#53449", "milvus#53539", "milvus#53540"},
}

var behindTimeTick = &Check{
	Code: "behind-timetick", Severity: SeverityError, Invariant: 2,
	Title:   "a message came too late: a TimeTick of its own term had passed it",
	Meaning: "A reader has already moved past its time and drops it: its rows are never seen.",
	Cause:   "An append that was given up and landed after all (then its writer was told it failed), or an order that was broken on the way.",
	Do:      "Compare with the client's errors of that moment: where the write was reported as failed, nothing is lost. salvage --lost-only brings the rows out.",
	Threads: []string{"milvus#53368"},
}

var timeTickRegress = &Check{
	Code: "timetick-regress", Severity: SeverityError, Invariant: 3,
	Title:   "a TimeTick is not larger than the one before it",
	Meaning: "Time went back. Readers go by the TimeTick read last, so they deliver what follows it; a restart skips what is not larger than its checkpoint's TimeTick: those rows and definitions are missing from the recovered state.",
	Cause:   "The coordinator's clock went back at a restart (where the smaller TimeTick opens a term), two writers at once, or a log put together from two.",
	Do:      "Find the writers by term and id with inspect; capture the log. Set the coordinator's clock right before it is started again; recover names what a restart skips.",
	Threads: []string{"milvus#51469", "milvus#53368"},
}

var timeTickJump = &Check{
	Code: "timetick-jump", Severity: SeverityError, Invariant: 3,
	Title:   "time leaps by more than ten years",
	Meaning: "No pchannel is idle that long: one of the two TimeTicks is not of this time. Everything written later must be larger than the larger one, or readers drop it.",
	Cause:   "A clock set wrong, a timestamp allocator restored wrongly, or damage.",
	Do:      "Look at both TimeTicks with inspect --records; compare with the broker's publish times. Do not restart before the coordinator's clock is known to be right.",
	Threads: []string{"milvus#51469"},
}

var lastConfirmedAhead = &Check{
	Code: "last-confirmed-ahead", Severity: SeverityError, Invariant: 5,
	Title:   "a last confirmed id is not before its message",
	Meaning: "A consumer that resumes from it misses the message itself.",
	Cause:   "Damage, or ids of another log.",
	Do:      "Capture the log; compare with the broker's ids.",
}

var lastConfirmedMissing = &Check{
	Code: "last-confirmed-missing", Severity: SeverityError, Invariant: 5,
	Title:   "a last confirmed id names nothing in the log",
	Meaning: "A position a consumer or checkpoint may hold does not exist; reading from it begins elsewhere.",
	Cause:   "A lost message, or a log that was copied under new ids.",
	Do:      "Look for a ledger-hole beside it.",
	Threads: []string{"milvus#53581"},
}

var lastConfirmedRegress = &Check{
	Code: "last-confirmed-regress", Severity: SeverityError, Invariant: 5, Needs: check.NeedWriter267,
	Title:   "last confirmed ids go back within a term",
	Meaning: "The writer's bookkeeping of what is safe contradicts itself; resuming from the larger one can miss messages.",
	Cause:   "A writer up to 2.6.6 (say so with --milvus-version), or an altered log.",
	Do:      "Compare the two messages with inspect --id.",
}

var termMissing = &Check{
	Code: "term-missing", Severity: SeverityError, Invariant: 7,
	Title:   "a message without a term",
	Meaning: "Nobody can tell which opening wrote it; only opening TimeTicks carry none.",
	Cause:   "A foreign producer or damage.",
	Do:      "Look at the message with inspect --id.",
}

var termUnopened = &Check{
	Code: "term-unopened", Severity: SeverityError, Invariant: 7,
	Title:   "a term begins without its opening TimeTick",
	Meaning: "The TimeTick that separates the terms is gone: what it would confirm, and what comes after it, can't be told.",
	Cause:   "A lost message, or a writer that skipped its opening.",
	Do:      "Look for a ledger-hole before it; capture the log.",
}
