package diagnose

import (
	"cmp"
	"slices"
	"sort"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// entry is one message that waits for the TimeTick that confirms it.
type entry struct {
	tt         uint64
	pos, lc    position
	sum        uint64
	term       int64
	txn        int64
	keepalive  int64
	segment    int64
	collection int64
	partition  int64
	rows       uint64
	bytes      uint64
	full       *message.Message
	vchannel   uint32
	typ        message.Type
	bits       uint16
	flags      message.Flags
}

// windowKey is one message of the window. Most are judged while the batch they
// came with is at hand, so nothing of them is copied but what orders them.
type windowKey struct {
	tt    uint64
	pos   position
	order int64 // place in the log, from 0
	held  int32 // index into window.held; −1 = a row of the batch at hand
	bits  uint16
}

// window holds the messages above the last TimeTick, sorted by TimeTick while
// they arrive. Sifting a late one to its place passes exactly the messages that
// stand before it in the log and behind it in time: all that the order rules ask
// about. One that is too late to be sifted waits in a heap of its own.
type window struct {
	keys     []windowKey
	late     pile[windowKey]
	arrived  []windowKey // those left by a TimeTick, in log order, from next on; empty = not asked for yet
	next     int
	fresh    int     // keys that are rows of the batch at hand
	held     []entry // what outlived its batch
	spare    []entry
	scratch  [2]entry
	budget   int64 // sift steps left; refilled by every message
	unjudged int64
	cut      uint64 // everything up to here was delivered without a TimeTick
}

// before orders keys as a reader would get them.
func (k windowKey) Before(o windowKey) bool { return k.tt < o.tt || k.tt == o.tt && k.order < o.order }

// size is how many messages wait.
func (w *window) size() int { return len(w.keys) + len(w.late) }

// top returns the message that is delivered next.
func (w *window) top() *windowKey {
	if len(w.late) > 0 && (len(w.keys) == 0 || w.late[0].Before(w.keys[0])) {
		return &w.late[0]
	}
	return &w.keys[0]
}

// A window may take siftBudget steps beyond siftPerMessage a message; what would
// take more is no longer judged against each message it passes: a bound on what a
// hostile log can cost. maxWindow bounds its memory.
const (
	siftPerMessage = 64
	siftBudget     = 1 << 22
	maxWindow      = 1 << 18
)

// push takes row i into the window.
func (v *verifier) push(c *message.Columns, i int, bits uint16, pos, lc position) {
	w := &v.window
	tt := c.TimeTick[i]
	w.keys = append(w.keys, windowKey{tt, pos, v.records + int64(i), -1, bits})
	w.fresh++
	if len(w.arrived) > 0 {
		w.arrived = append(w.arrived, w.keys[len(w.keys)-1])
	}
	w.budget = min(w.budget+siftPerMessage, siftBudget)
	if len(w.late) > 0 {
		w.unjudged++
	}
	if n := len(w.keys) - 1; n > 0 && w.keys[n-1].tt > tt {
		v.sift(c, i, lc)
	}
	if w.size() >= maxWindow {
		v.cutWindow()
	}
}

// sift moves the last key, which is row i, down to its place. Every message
// passed lies before it in the log and has a larger TimeTick.
func (v *verifier) sift(c *message.Columns, i int, lc position) {
	w := &v.window
	n := len(w.keys) - 1
	k := w.keys[n]
	place := sort.Search(n, func(i int) bool { return w.keys[i].tt > k.tt })
	if int64(n-place) > w.budget {
		w.keys = w.keys[:n]
		w.unjudged++
		w.late.push(k)
		return
	}
	w.budget -= int64(n - place)
	for ; n > place; n-- {
		passed := &w.keys[n-1]
		if passed.pos.less(lc) && !v.waiveLC {
			o := v.place(c, i, "a message with a larger TimeTick lies before the last confirmed id")
			o.other, o.otherTT, o.hasOther = passed.pos, passed.tt, true
			v.tell(lastConfirmedBroken, o)
		}
		if (k.bits|passed.bits)&bitExclusive != 0 {
			v.crossed(v.entry(&k, 0), v.entry(passed, 1))
		}
		w.keys[n] = *passed
	}
	w.keys[n] = k
}

// entry returns a key's message, built in one of two places where it is a row.
func (v *verifier) entry(k *windowKey, place int) *entry {
	if k.held >= 0 {
		return &v.window.held[k.held]
	}
	e := &v.window.scratch[place]
	v.fill(e, k)
	return e
}

// fill copies the row a key stands for.
func (v *verifier) fill(e *entry, k *windowKey) {
	c, i := v.rows, int(k.order-v.records)
	e.tt, e.pos, e.lc = k.tt, k.pos, makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i])
	e.sum, e.term, e.txn, e.keepalive = c.Checksum[i], c.Term[i], c.TxnID[i], c.Keepalive[i]
	e.collection, e.partition, e.segment = c.Collection[i], c.Partition[i], c.Segment[i]
	e.rows, e.bytes, e.full = c.Rows[i], c.BinarySize[i], nil
	e.vchannel, e.typ, e.bits, e.flags = c.VChannel[i], c.Type[i], k.bits, c.Flags[i]
	if e.bits&bitHot == 0 || e.flags&fullFlags != 0 {
		e.full = c.Full[i]
	}
}

// hold copies what is left in the window out of the batch at hand, before its
// memory is used again.
func (v *verifier) hold() {
	w := &v.window
	if len(w.held) > 1024+2*w.size() {
		next := w.spare[:0]
		for _, list := range [2][]windowKey{w.keys, w.late} {
			for i := range list {
				if k := &list[i]; k.held >= 0 {
					next = append(next, w.held[k.held])
					k.held = int32(len(next) - 1)
				}
			}
		}
		clear(w.held) // lets go of kept messages
		w.held, w.spare = next, w.held
	}
	for _, list := range [2][]windowKey{w.keys, w.late} {
		for i := len(list) - 1; i >= 0 && w.fresh > 0; i-- {
			k := &list[i]
			if k.held >= 0 {
				continue
			}
			w.held = append(w.held, entry{})
			v.fill(&w.held[len(w.held)-1], k)
			k.held = int32(len(w.held) - 1)
			w.fresh--
		}
	}
}

// first returns the window's message that stands first in the log. tick is what
// everything was delivered up to. Where messages are left behind again and again
// their log order is kept, so that asking costs what was delivered since.
func (w *window) first(tick uint64) *windowKey {
	tick = max(tick, w.cut)
	for w.next < len(w.arrived) && w.arrived[w.next].tt <= tick {
		w.next++
	}
	if w.next == len(w.arrived) {
		w.arrived, w.next = append(append(w.arrived[:0], w.keys...), w.late...), 0
		slices.SortFunc(w.arrived, func(a, b windowKey) int { return cmp.Compare(a.order, b.order) })
	}
	if w.next > len(w.arrived)/2 {
		w.arrived, w.next = w.arrived[:copy(w.arrived, w.arrived[w.next:])], 0
	}
	return &w.arrived[w.next]
}

// crossed judges late, whose TimeTick is the smaller and which stands after
// early in the log, one of them exclusive. docs/rules.md#invariants 8.
func (v *verifier) crossed(late, early *entry) {
	for _, pair := range [2][2]*entry{{late, early}, {early, late}} {
		x, o := pair[0], pair[1]
		if x.bits&bitExclusive == 0 || (x.bits&bitPChannel == 0 && x.vchannel != o.vchannel) {
			continue
		}
		if x.bits&bitPChannel != 0 && o.bits&bitExclusive != 0 && o.bits&bitPChannel == 0 {
			continue // they take unrelated locks and may pass each other
		}
		if x.bits&bitPChannel == 0 && o.bits&bitPChannel != 0 && o.bits&bitExclusive != 0 {
			continue
		}
		v.tell(exclusiveCrossed, occurrence{pos: late.pos, tt: late.tt, vchannel: late.vchannel, typ: late.typ, term: late.term,
			note: "log order and TimeTick order differ around an exclusive message", other: early.pos, otherTT: early.tt, hasOther: true})
		return
	}
}

// deliverUpTo hands everything up to a TimeTick on, in TimeTick order.
func (v *verifier) deliverUpTo(tick uint64) {
	w := &v.window
	n := 0
	for {
		var k *windowKey
		if n < len(w.keys) && w.keys[n].tt <= tick {
			k = &w.keys[n]
		}
		if len(w.late) > 0 && w.late[0].tt <= tick && (k == nil || w.late[0].Before(*k)) {
			late := w.late.pop()
			v.deliverKey(&late)
			continue
		}
		if k == nil {
			break
		}
		n++
		v.deliverKey(k)
	}
	w.drop(n)
}

// drop takes the first keys off. Those behind are moved to the front only where
// they are the fewer.
func (w *window) drop(n int) {
	if rest := w.keys[n:]; len(rest) <= n {
		w.keys = w.keys[:copy(w.keys, rest)]
	} else {
		w.keys = rest
	}
	if w.size() == 0 {
		w.arrived, w.next = w.arrived[:0], 0
	}
}

func (v *verifier) deliverKey(k *windowKey) {
	if k.held < 0 {
		v.window.fresh--
		if k.bits&bitPlain != 0 && v.deliverPlain(k) {
			return
		}
	}
	v.deliver(v.entry(k, 0))
}

// cutWindow delivers the older half of a window no TimeTick closes, so that
// memory stays flat. What arrives late for it is no longer compared.
func (v *verifier) cutWindow() {
	w := &v.window
	if len(w.late) > 0 {
		w.keys, w.late = append(w.keys, w.late...), nil
		slices.SortFunc(w.keys, func(a, b windowKey) int { return cmp.Or(cmp.Compare(a.tt, b.tt), cmp.Compare(a.order, b.order)) })
	}
	w.cut = w.keys[len(w.keys)/2].tt
	v.splits.Expire(w.cut)
	v.deliverUpTo(w.cut)
}

var exclusiveCrossed = &Check{
	Code: "exclusive-crossed", Severity: SeverityError, Invariant: 8,
	Title:   "a message passed an exclusive one",
	Meaning: "Definitions change under a lock: a message whose time and place disagree with it is applied to the wrong state.",
	Cause:   "Two writers, or an altered log.",
	Do:      "Look at both messages with inspect --id.",
	Threads: []string{"milvus#41615"},
}
