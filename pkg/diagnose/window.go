package diagnose

import (
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

type windowKey struct {
	tt   uint64
	slot int32
	bits uint16
}

// window holds the messages above the last TimeTick, sorted by TimeTick while
// they arrive. Sifting a late one to its place passes exactly the messages that
// stand before it in the log and behind it in time: all that the order rules ask
// about.
type window struct {
	slab     []entry // in log order
	keys     []windowKey
	budget   int64 // sift steps left; refilled by every message
	unsorted bool
	unjudged int64
	cut      uint64 // everything up to here was delivered without a TimeTick
}

// A window may take siftBudget steps beyond siftPerMessage a message before its
// order is no longer judged message by message: a bound on what a hostile log
// can cost. maxWindow bounds its memory.
const (
	siftPerMessage = 64
	siftBudget     = 1 << 22
	maxWindow      = 1 << 18
)

// push takes the entry just put into a slot of the slab into the window.
func (v *verifier) push(slot int, e *entry) {
	w := &v.window
	w.keys = append(w.keys, windowKey{e.tt, int32(slot), e.bits})
	w.budget = min(w.budget+siftPerMessage, siftBudget)
	if n := len(w.keys) - 1; n > 0 && w.keys[n-1].tt > e.tt {
		v.sift(n, e)
	}
	if len(w.slab) >= maxWindow {
		v.cutWindow()
	}
}

// sift moves key i down to its place. Every message passed lies before e in the
// log and has a larger TimeTick.
func (v *verifier) sift(i int, e *entry) {
	w := &v.window
	if w.unsorted {
		return
	}
	k := w.keys[i]
	for ; i > 0 && w.keys[i-1].tt > k.tt; i-- {
		if w.budget--; w.budget < 0 {
			w.keys[i] = k
			w.unsorted = true
			return
		}
		passed := w.keys[i-1]
		w.keys[i] = passed
		y := &w.slab[passed.slot]
		if y.pos.less(e.lc) && !v.waiveLC {
			v.tell(lastConfirmedBroken, occurrence{pos: e.pos, tt: e.tt, vchannel: e.vchannel, typ: e.typ, rows: e.rows, term: e.term,
				note: "a message with a larger TimeTick lies before the last confirmed id", other: y.pos, otherTT: y.tt, hasOther: true})
		}
		if (k.bits|passed.bits)&bitExclusive != 0 {
			v.crossed(e, y)
		}
	}
	w.keys[i] = k
}

// crossed judges late, whose TimeTick is the smaller and which stands behind
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
	if len(w.keys) == 0 {
		return
	}
	if w.unsorted {
		sort.SliceStable(w.keys, func(i, j int) bool { return w.keys[i].tt < w.keys[j].tt })
		w.unjudged += int64(len(w.keys))
		w.unsorted = false
	}
	n := 0
	for n < len(w.keys) && w.keys[n].tt <= tick {
		v.deliver(&w.slab[w.keys[n].slot])
		n++
	}
	if n == len(w.keys) {
		w.slab, w.keys = w.slab[:0], w.keys[:0]
		return
	}
	if n > 0 {
		w.compact(n)
	}
}

// compact keeps what was not delivered, in log order, so that the first of the
// slab stays the first of the log.
func (w *window) compact(n int) {
	rest := w.keys[n:]
	slices.SortFunc(rest, func(a, b windowKey) int { return int(a.slot) - int(b.slot) })
	for i := range rest {
		w.slab[i] = w.slab[rest[i].slot]
		rest[i].slot = int32(i)
	}
	clear(w.slab[len(rest):]) // lets go of kept messages
	w.slab = w.slab[:len(rest)]
	w.keys = append(w.keys[:0], rest...)
	slices.SortStableFunc(w.keys, func(a, b windowKey) int {
		if a.tt < b.tt {
			return -1
		}
		if a.tt > b.tt {
			return 1
		}
		return int(a.slot) - int(b.slot)
	})
}

// cutWindow delivers the older half of a window no TimeTick closes, so that
// memory stays flat. What arrives late for it is no longer compared.
func (v *verifier) cutWindow() {
	w := &v.window
	if w.unsorted {
		sort.SliceStable(w.keys, func(i, j int) bool { return w.keys[i].tt < w.keys[j].tt })
		w.unjudged += int64(len(w.keys))
		w.unsorted = false
	}
	w.cut = w.keys[len(w.keys)/2].tt
	v.deliverUpTo(w.cut)
}
