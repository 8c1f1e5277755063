package order

import (
	"cmp"
	"math"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// infiniteKeepalive marks a transaction that never expires (wire format).
const infiniteKeepalive = -1000

// Txn is a transaction whose end was not seen yet.
type Txn struct {
	ID    int64
	Begin *message.Message
	Body  []*message.Message // in delivery order

	due uint64 // ExpiredTimeTick, as the buffer's heap is sorted by it
	at  int    // its place there
}

// ExpiredTimeTick is the TimeTick from which on the transaction counts as
// abandoned: its last part's TimeTick plus the Begin's keepalive.
// math.MaxUint64 for one that never expires.
func (t *Txn) ExpiredTimeTick() uint64 {
	if t.Begin.Keepalive == infiniteKeepalive {
		return math.MaxUint64
	}
	last := t.Begin
	if n := len(t.Body); n > 0 {
		last = t.Body[n-1]
	}
	return message.AddMillis(last.TimeTick, t.Begin.Keepalive)
}

// Messages returns every part delivered so far, the Begin first.
func (t *Txn) Messages() []*message.Message {
	return append([]*message.Message{t.Begin}, t.Body...)
}

// Rows sums the rows of the body's Inserts.
func (t *Txn) Rows() (rows uint64) {
	for _, m := range t.Body {
		if m.Type == message.TypeInsert {
			rows += m.Rows
		}
	}
	return rows
}

// txnBuffer holds transactions until their end.
type txnBuffer struct {
	open map[int64]*Txn
	// byDue is a min-heap by due: what a TimeTick expires stands at its top, so
	// that it costs what expires and not what is open.
	byDue []*Txn
	drop  func(m *message.Message, why Reason, tick uint64)
}

// handle takes a message in TimeTick order and returns what is delivered for it.
func (b *txnBuffer) handle(m *message.Message) (Delivery, bool) {
	if !m.Has(message.HasTxn) {
		if m.Type == message.TypeAlterReplicateConfig && len(b.open) > 0 && forcePromotes(m) {
			for _, t := range b.sorted() {
				b.discard(t, ForcePromoted, m.TimeTick)
			}
		}
		return Delivery{Message: m, TimeTick: m.TimeTick}, true
	}
	t := b.open[m.TxnID]
	switch m.Type {
	case message.TypeBeginTxn:
		if t != nil {
			b.discard(t, Superseded, m.TimeTick)
		}
		t = &Txn{ID: m.TxnID, Begin: m, Body: make([]*message.Message, 0, 4)}
		b.open[m.TxnID] = t
		t.due, t.at = t.ExpiredTimeTick(), len(b.byDue)
		b.byDue = append(b.byDue, t)
		b.rise(t)
	case message.TypeCommitTxn:
		if t == nil {
			b.drop(m, CommitWithoutBegin, m.TimeTick)
			return Delivery{}, false
		}
		b.forget(t)
		return Delivery{Message: m, TimeTick: m.TimeTick, Begin: t.Begin, Body: t.Body}, true
	case message.TypeRollbackTxn:
		if t == nil {
			b.drop(m, CommitWithoutBegin, m.TimeTick)
			return Delivery{}, false
		}
		b.discard(t, RolledBack, m.TimeTick)
		b.drop(m, RolledBack, m.TimeTick)
	default:
		if t == nil {
			b.drop(m, BodyWithoutBegin, m.TimeTick)
			return Delivery{}, false
		}
		t.Body = append(t.Body, m)
		if due := t.ExpiredTimeTick(); due != t.due { // later, but for a clock that went back
			t.due = due
			b.rise(t)
			b.sink(t)
		}
	}
	return Delivery{}, false
}

// expire discards what a TimeTick leaves behind.
func (b *txnBuffer) expire(tick uint64) {
	var gone []*Txn
	for len(b.byDue) > 0 && b.byDue[0].due <= tick {
		t := b.byDue[0]
		gone = append(gone, t)
		b.forget(t)
	}
	sortTxns(gone)
	for _, t := range gone {
		b.dropParts(t, Expired, tick)
	}
}

// forget takes a transaction out of the open ones.
func (b *txnBuffer) forget(t *Txn) {
	delete(b.open, t.ID)
	n := len(b.byDue) - 1
	last := b.byDue[n]
	b.byDue[n] = nil
	b.byDue = b.byDue[:n]
	if t == last {
		return
	}
	b.byDue[t.at], last.at = last, t.at
	b.rise(last)
	b.sink(last)
}

// rise moves a transaction towards the top of the heap as far as it belongs,
// sink towards the bottom.
func (b *txnBuffer) rise(t *Txn) {
	for t.at > 0 {
		up := b.byDue[(t.at-1)/2]
		if up.due <= t.due {
			return
		}
		b.exchange(t, up)
	}
}

func (b *txnBuffer) sink(t *Txn) {
	for {
		child := 2*t.at + 1
		if child >= len(b.byDue) {
			return
		}
		if right := child + 1; right < len(b.byDue) && b.byDue[right].due < b.byDue[child].due {
			child = right
		}
		down := b.byDue[child]
		if down.due >= t.due {
			return
		}
		b.exchange(t, down)
	}
}

func (b *txnBuffer) exchange(t, o *Txn) {
	b.byDue[t.at], b.byDue[o.at] = o, t
	t.at, o.at = o.at, t.at
}

func (b *txnBuffer) discard(t *Txn, why Reason, tick uint64) {
	b.forget(t)
	b.dropParts(t, why, tick)
}

func (b *txnBuffer) dropParts(t *Txn, why Reason, tick uint64) {
	b.drop(t.Begin, why, tick)
	for _, m := range t.Body {
		b.drop(m, why, tick)
	}
}

func (b *txnBuffer) sorted() []*Txn {
	out := make([]*Txn, 0, len(b.open))
	for _, t := range b.open {
		out = append(out, t)
	}
	sortTxns(out)
	return out
}

func sortTxns(t []*Txn) {
	slices.SortFunc(t, func(a, b *Txn) int { return cmp.Compare(a.ID, b.ID) })
}
