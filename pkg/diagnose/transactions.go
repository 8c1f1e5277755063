package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// txnState is one transaction that began and has not ended.
type txnState struct {
	id          int64
	begin, last position // last: the part furthest in the log
	beginTT, tt uint64   // of the Begin and of the last part in time
	keepalive   int64    // milliseconds; negative = never expires
	vchannel    uint32
	replicated  bool
	copy        position // where a retry of the Begin landed that stands furthest in the log
	term        int64
	rows        uint64 // inserted so far
	suspect     bool   // a last confirmed id passed its Begin: judged when it ends
	goesOn      bool   // a part came since
	suspectLC   position
	suspectTerm int64
	suspectType message.Type
	suspectAt   position
	suspectTT   uint64
	watched     uint64 // the deadline it stands under in due; 0 = in none

	nextOpen, prevOpen     int32
	nextBeside, prevBeside int32 // of the same vchannel; 0 = none
}

// transactions are the open ones, linked in the order they began. What ends or
// judges some of them finds these without walking the others.
type transactions struct {
	slab     []txnState // 0 is the list's head
	free     []int32
	byID     [2]table // local ones and replicated ones: each cluster counts its own ids
	open     int
	minBegin position // smallest Begin of the live ones that are no suspects
	next     uint64   // no transaction expires before this TimeTick
	begins   pile[txnBegin]
	due      pile[txnDue]
	lists    []int32 // by vchannel: the newest one open, 0 = none
	ended    [2]endedRing
	expired  int64
	firstExp occurrence
}

// txnBegin and txnDue order open transactions. One counts only while it agrees
// with the transaction in its slot.
type txnBegin struct {
	begin position
	id    int64
	slot  int32
}

type txnDue struct {
	deadline uint64
	id       int64
	slot     int32
}

// Before orders by the place of the Begin.
func (b txnBegin) Before(o txnBegin) bool { return b.begin.less(o.begin) }

// Before orders by deadline.
func (d txnDue) Before(o txnDue) bool { return d.deadline < o.deadline }

// enlist makes an open transaction found by its Begin, and watch by its deadline.
func (x *transactions) enlist(k int32) {
	t := &x.slab[k]
	if len(x.begins) > 64+2*x.open {
		x.begins = x.begins[:0]
		for i := x.slab[0].nextOpen; i != 0; i = x.slab[i].nextOpen {
			if o := &x.slab[i]; !o.suspect && i != k {
				x.begins.push(txnBegin{o.from(), o.id, i})
			}
		}
	}
	x.begins.push(txnBegin{t.from(), t.id, k})
	x.refreshMin()
}

// from is where a reader must start at the latest to see the transaction whole.
func (t *txnState) from() position {
	if t.begin.less(t.copy) {
		return t.copy
	}
	return t.begin
}

// origin tells the transactions of this cluster from those replicated to it.
func origin(replicated bool) int {
	if replicated {
		return 1
	}
	return 0
}

// copied takes a retry that had landed: of a Begin, it serves a reader as well.
func (x *transactions) copied(typ message.Type, id int64, flags message.Flags, pos position) {
	if typ != message.TypeBeginTxn {
		return
	}
	slot := x.byID[origin(flags&message.HasReplicate != 0)].get(id)
	if slot < 0 {
		return
	}
	t := &x.slab[slot]
	if !t.from().less(pos) {
		return
	}
	t.copy = pos
	if t.suspect && !pos.less(t.suspectLC) {
		t.suspect, t.goesOn = false, false
	}
	if !t.suspect {
		x.enlist(slot)
	}
}

func (x *transactions) watch(k int32) {
	t := &x.slab[k]
	deadline := t.deadline()
	if deadline == math.MaxUint64 {
		return
	}
	if len(x.due) > 64+2*x.open {
		x.due = x.due[:0]
		for i := x.slab[0].nextOpen; i != 0; i = x.slab[i].nextOpen {
			if o := &x.slab[i]; o.watched != 0 && i != k {
				o.watched = o.deadline()
				x.due.push(txnDue{o.watched, o.id, i})
			}
		}
	}
	t.watched = deadline
	x.due.push(txnDue{deadline, t.id, k})
	x.next = min(x.next, deadline)
}

// endedRing remembers the newest ended transactions, so that a part after its
// end is told from one whose Begin is missing.
type endedRing struct {
	ids  [1024]int64
	how  [1024]endKind
	byID table
	n    int
}

type endKind uint8

const (
	endNone endKind = iota
	endCommitted
	endRolledBack
	endExpired
	endFailed
)

func (r *endedRing) add(id int64, how endKind) {
	k := r.n % len(r.ids)
	if r.n >= len(r.ids) && r.byID.get(r.ids[k]) == int32(k) {
		r.byID.del(r.ids[k])
	}
	r.ids[k], r.how[k] = id, how
	r.byID.put(id, int32(k))
	r.n++
}

func (r *endedRing) get(id int64) endKind {
	if k := r.byID.get(id); k >= 0 {
		return r.how[k]
	}
	return endNone
}

// deadline is the TimeTick from which a transaction's next part comes too late.
func (t *txnState) deadline() uint64 {
	if t.keepalive < 0 || t.replicated || t.keepalive > math.MaxInt64>>20 {
		return math.MaxUint64
	}
	d := message.AddMillis(t.tt, t.keepalive)
	if d < t.tt {
		return math.MaxUint64
	}
	return d
}

// transaction takes a part in TimeTick order. docs/rules.md#invariants 9.
func (v *verifier) transaction(e *entry) {
	x := &v.txns
	replicated := e.flags&message.HasReplicate != 0
	slot := x.byID[origin(replicated)].get(e.txn)
	if e.typ == message.TypeBeginTxn {
		v.begin(e, slot)
		return
	}
	if slot < 0 {
		v.orphanPart(e, replicated)
		return
	}
	t := &x.slab[slot]
	switch {
	case t.vchannel != e.vchannel:
		o := v.at(e, "a transaction's part on another vchannel than its Begin")
		o.other, o.otherTT, o.hasOther = t.begin, t.beginTT, true
		v.tell(transactionOrder, o)
	case !t.begin.less(e.pos):
		o := v.at(e, "a transaction's part stands before its Begin in the log")
		o.other, o.otherTT, o.hasOther = t.begin, t.beginTT, true
		v.tell(transactionOrder, o)
	case e.bits&bitTxn != 0 && !t.last.less(e.pos): // bodies may pass each other, not the end
		o := v.at(e, "a transaction's end stands before one of its parts in the log")
		o.other, o.otherTT, o.hasOther = t.last, t.tt, true
		v.tell(transactionOrder, o)
	case e.tt >= t.deadline() && !replicated:
		o := v.at(e, "a transaction's part after its keepalive")
		o.other, o.otherTT, o.hasOther = t.last, t.tt, true
		v.tell(transactionLatePart, o)
	}
	t.goesOn = t.goesOn || t.suspect
	if e.typ == message.TypeInsert {
		t.rows += e.rows
	}
	if t.last.less(e.pos) {
		t.last = e.pos
	}
	t.tt = e.tt
	switch e.typ {
	case message.TypeCommitTxn:
		v.end(slot, endCommitted)
	case message.TypeRollbackTxn:
		v.end(slot, endRolledBack)
	default:
		if d := t.deadline(); d < t.watched || t.watched == 0 {
			x.watch(slot)
		}
	}
}

func (v *verifier) begin(e *entry, slot int32) {
	x := &v.txns
	replicated := e.flags&message.HasReplicate != 0
	if slot >= 0 {
		if t := &x.slab[slot]; !replicated {
			o := v.at(e, "a transaction begins twice")
			o.other, o.otherTT, o.hasOther = t.begin, t.beginTT, true
			v.tell(transactionOrder, o)
		}
		v.end(slot, endNone)
	} else if x.ended[origin(replicated)].get(e.txn) != endNone && !replicated {
		v.tell(transactionOrder, v.at(e, "a transaction begins again after its end"))
	}
	if len(x.slab) == 0 {
		x.slab = append(x.slab, txnState{}) // the list's head
		x.next = math.MaxUint64
	}
	var k int32
	if n := len(x.free); n > 0 {
		k, x.free = x.free[n-1], x.free[:n-1]
	} else {
		k = int32(len(x.slab))
		x.slab = append(x.slab, txnState{})
	}
	tail := x.slab[0].prevOpen
	x.slab[k] = txnState{id: e.txn, begin: e.pos, last: e.pos, beginTT: e.tt, tt: e.tt, keepalive: e.keepalive,
		vchannel: e.vchannel, replicated: replicated, term: e.term, prevOpen: tail}
	x.slab[tail].nextOpen, x.slab[0].prevOpen = k, k
	for int(e.vchannel) >= len(x.lists) {
		x.lists = append(x.lists, 0)
	}
	if beside := x.lists[e.vchannel]; beside != 0 {
		x.slab[k].nextBeside, x.slab[beside].prevBeside = beside, k
	}
	x.lists[e.vchannel] = k
	x.byID[origin(replicated)].put(e.txn, k)
	x.open++
	x.enlist(k)
	x.watch(k)
}

// orphanPart takes a part whose transaction is not open.
func (v *verifier) orphanPart(e *entry, replicated bool) {
	how := v.txns.ended[origin(replicated)].get(e.txn)
	if replicated && how != endNone {
		return // replication may send a whole transaction again
	}
	switch how {
	case endNone:
		if v.partial {
			v.tell(partialStart, v.at(e, "a transaction's part whose Begin lies before the first record"))
			return
		}
		v.tell(tornTransaction, v.at(e, "a transaction's part without its Begin"))
	case endExpired:
		v.tell(transactionLatePart, v.at(e, "a transaction's part after its keepalive"))
	case endFailed:
		v.tell(transactionLatePart, v.at(e, "a transaction's part after the exclusive message that ended it"))
	default:
		v.tell(transactionOrder, v.at(e, "a transaction's part after its end"))
	}
}

// end takes a transaction out of the open ones.
func (v *verifier) end(slot int32, how endKind) {
	x := &v.txns
	t := &x.slab[slot]
	x.slab[t.prevOpen].nextOpen = t.nextOpen
	x.slab[t.nextOpen].prevOpen = t.prevOpen
	if t.prevBeside != 0 {
		x.slab[t.prevBeside].nextBeside = t.nextBeside
	} else {
		x.lists[t.vchannel] = t.nextBeside
	}
	if t.nextBeside != 0 {
		x.slab[t.nextBeside].prevBeside = t.prevBeside
	}
	x.byID[origin(t.replicated)].del(t.id)
	if how != endNone {
		x.ended[origin(t.replicated)].add(t.id, how)
		v.broken(t, how == endCommitted)
	}
	begin := t.from()
	x.open--
	*t = txnState{}
	x.free = append(x.free, slot)
	if begin == x.minBegin {
		x.refreshMin()
	}
}

// refreshMin finds the smallest Begin, throwing out what ended meanwhile.
func (x *transactions) refreshMin() {
	for len(x.begins) > 0 {
		b := x.begins[0]
		if t := &x.slab[b.slot]; t.id == b.id && t.from() == b.begin && !t.suspect && x.byID[origin(t.replicated)].get(b.id) == b.slot {
			x.minBegin = b.begin
			return
		}
		x.begins.pop()
	}
	x.minBegin = position{math.MaxInt64, math.MaxInt64}
}

// expire ends what a TimeTick finds past its keepalive, in the order they began.
func (v *verifier) expire(tick uint64) {
	x := &v.txns
	var gone []int32
	for len(x.due) > 0 && x.due[0].deadline <= tick {
		d := x.due.pop()
		t := &x.slab[d.slot]
		if x.byID[origin(false)].get(d.id) != d.slot || t.watched != d.deadline {
			continue // ended, or watched for another deadline
		}
		if t.deadline() <= tick {
			gone = append(gone, d.slot)
			t.watched = 0
			continue
		}
		t.watched = 0
		x.watch(d.slot)
	}
	slices.SortFunc(gone, func(a, b int32) int {
		p, q := &x.slab[a], &x.slab[b]
		return cmp.Or(cmp.Compare(p.beginTT, q.beginTT), cmp.Compare(p.begin.a, q.begin.a), cmp.Compare(p.begin.b, q.begin.b))
	})
	for _, k := range gone {
		v.expireOne(k)
	}
	x.next = math.MaxUint64
	if len(x.due) > 0 {
		x.next = x.due[0].deadline
	}
}

func (v *verifier) expireOne(k int32) {
	x := &v.txns
	if t := &x.slab[k]; x.expired == 0 {
		x.firstExp = occurrence{pos: t.begin, tt: t.beginTT, vchannel: t.vchannel, typ: message.TypeBeginTxn}
	}
	x.expired++
	v.end(k, endExpired)
}

// exclusive ends the open transactions in an exclusive message's scope: Milvus
// fails them without writing a rollback.
func (v *verifier) exclusive(e *entry) {
	x := &v.txns
	if x.open == 0 {
		return
	}
	if e.bits&bitPChannel == 0 {
		for int(e.vchannel) < len(x.lists) && x.lists[e.vchannel] != 0 {
			v.end(x.lists[e.vchannel], endFailed)
		}
		return
	}
	for x.slab[0].nextOpen != 0 {
		v.end(x.slab[0].nextOpen, endFailed)
	}
}

// promise looks closer at a message whose last confirmed id lies after an open
// transaction's Begin. What becomes of the transaction tells what that costs.
// docs/rules.md#invariants 6.
func (v *verifier) promise(e *entry) {
	x := &v.txns
	for x.minBegin.less(e.lc) {
		k := x.begins.pop().slot
		if t := &x.slab[k]; t.deadline() <= e.tt {
			v.expireOne(k)
		} else {
			t.suspect, t.suspectAt, t.suspectTT, t.suspectType = true, e.pos, e.tt, e.typ
			t.suspectLC, t.suspectTerm = e.lc, e.term
		}
		x.refreshMin()
	}
}

// What is known of Milvus itself: the first message of a term confirms past the
// Begin of every transaction that is open across its opening.
const (
	noteOpenCommitted = "a transaction open across an opening begins before this last confirmed id and is committed later (a known defect of Milvus): a consumer that resumes here never gets it"
	noteOpenAbandoned = "a transaction open across an opening begins before this last confirmed id (a known defect of Milvus); this log holds no Commit of it: nobody loses it unless one still comes"
)

// broken judges, at a transaction's end, a last confirmed id that had passed its
// Begin. One that is abandoned within a term was promised to nobody.
func (v *verifier) broken(t *txnState, committed bool) {
	if !t.suspect {
		return
	}
	o := occurrence{pos: t.suspectAt, tt: t.suspectTT, typ: t.suspectType, term: t.suspectTerm, vchannel: t.vchannel,
		other: t.begin, otherTT: t.beginTT, hasOther: true}
	switch across := t.term > 0 && t.suspectTerm > t.term; {
	case across && committed:
		o.note, o.rows = noteOpenCommitted, t.rows
		v.tell(lastConfirmedBroken, o)
	case across:
		o.note, o.lesser = noteOpenAbandoned, true
		v.tell(lastConfirmedBroken, o)
	case t.goesOn:
		o.note, o.rows = "a transaction open at this time begins before the last confirmed id, and goes on", t.rows
		v.tell(lastConfirmedBroken, o)
	}
}

// leftoverTransactions tells, as information, what never ended.
func (v *verifier) leftoverTransactions() {
	x := &v.txns
	if x.expired > 0 {
		o := x.firstExp
		o.note = fmt.Sprintf("%d transactions ran out of their keepalive without an end; their parts are never delivered", x.expired)
		v.tell(expiredTransaction, o)
	}
	if len(x.slab) == 0 {
		return
	}
	for k := x.slab[0].nextOpen; k != 0; k = x.slab[k].nextOpen {
		t := &x.slab[k]
		v.broken(t, false)
		v.tell(openTransaction, occurrence{pos: t.begin, tt: t.beginTT, vchannel: t.vchannel, typ: message.TypeBeginTxn,
			note: "a transaction without an end at the end of the log"})
	}
}

var lastConfirmedBroken = &Check{
	Code: "last-confirmed-broken", Severity: SeverityError, Else: check.Else{Severity: check.Warning, Where: "the transaction it hides was never committed"}, Invariant: 6, Needs: check.NeedWriter267,
	Title:   "a last confirmed id hides a message it promises",
	Meaning: "A consumer that resumes from this id never sees the message named: rows or a whole transaction are hidden from it. A warning where that transaction was never committed: nobody loses anything then.",
	Cause:   "A known defect of Milvus 2.6 and 3.0 where a transaction is open across an opening of the log: the new term does not keep it, and confirms past its Begin. Otherwise a writer up to 2.6.6 under concurrent writes (say so with --milvus-version), or an altered log.",
	Do:      "Have consumers start at the earlier id, that of the Begin which the finding names. recover starts at the checkpoint: compare its position with the Begin.",
}

var tornTransaction = &Check{
	Code: "torn-transaction", Severity: SeverityError, Invariant: 9,
	Title:   "a transaction's part without its Begin",
	Meaning: "Readers drop the parts: the rows of the transaction are never seen.",
	Cause:   "Its Begin was lost, or dropped because it came too late.",
	Do:      "Look for a stale-writer or ledger-hole before it.",
	Threads: []string{"milvus#50344", "milvus#45088"},
}

var transactionOrder = &Check{
	Code: "transaction-order", Severity: SeverityError, Invariant: 9,
	Title:   "a transaction's parts are out of order",
	Meaning: "A reader assembles the transaction otherwise than it was written, or drops a part.",
	Cause:   "Two writers, or an altered log.",
	Do:      "List the transaction's messages with inspect --records.",
}

var transactionLatePart = &Check{
	Code: "transaction-late-part", Severity: SeverityError, Invariant: 9,
	Title:   "a transaction's part came after its end was decided",
	Meaning: "The transaction had expired or had been ended by a definition change; readers drop what comes later.",
	Cause:   "A clock or a lock that did not hold, or an altered log.",
	Do:      "List the transaction's messages with inspect --records.",
}

var openTransaction = &Check{
	Code: "open-transaction", Severity: SeverityInfo,
	Title:   "a transaction without an end",
	Meaning: "Its rows are not visible. It ends by a commit, a rollback or its keepalive.",
	Cause:   "Under way, or its client went away.",
	Do:      "Nothing.",
	Threads: []string{"milvus#45088"},
}

var expiredTransaction = &Check{
	Code: "expired-transaction", Severity: SeverityInfo,
	Title:   "a transaction outlived its keepalive",
	Meaning: "Its parts are never delivered. A lost Commit looks the same and can't be told from it.",
	Cause:   "Its client went away without an end. Legal.",
	Do:      "Nothing, unless the client was told that it committed.",
}
