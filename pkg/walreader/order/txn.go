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
	return last.TimeTick + uint64(t.Begin.Keepalive)<<18
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
	// earliest is never above the earliest expiry of all open transactions.
	earliest uint64
	drop     func(m *message.Message, why Reason, tick uint64)
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
		b.earliest = min(b.earliest, t.ExpiredTimeTick())
	case message.TypeCommitTxn:
		if t == nil {
			b.drop(m, CommitWithoutBegin, m.TimeTick)
			return Delivery{}, false
		}
		delete(b.open, m.TxnID)
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
		b.earliest = min(b.earliest, t.ExpiredTimeTick())
	}
	return Delivery{}, false
}

// expire discards what a TimeTick leaves behind.
func (b *txnBuffer) expire(tick uint64) {
	if len(b.open) == 0 || b.earliest > tick {
		return
	}
	b.earliest = math.MaxUint64
	var gone []*Txn
	for _, t := range b.open {
		if e := t.ExpiredTimeTick(); e <= tick {
			gone = append(gone, t)
		} else {
			b.earliest = min(b.earliest, e)
		}
	}
	sortTxns(gone)
	for _, t := range gone {
		b.discard(t, Expired, tick)
	}
}

func (b *txnBuffer) discard(t *Txn, why Reason, tick uint64) {
	delete(b.open, t.ID)
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
