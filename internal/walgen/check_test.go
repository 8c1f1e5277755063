package walgen

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// check holds a log against the rules a writer keeps, by the plainest means:
// all in memory, every pair that matters compared.
func check(ms []*message.Message) (broken []string) {
	fail := func(m *message.Message, f string, a ...any) {
		if len(broken) < 20 {
			broken = append(broken, fmt.Sprintf("%s %s tt %d: ", m.ID, m.Type, m.TimeTick)+fmt.Sprintf(f, a...))
		}
	}
	var tick uint64
	var term int64
	seen := map[uint64]bool{}
	index := map[message.ID]int{}
	txns := map[int64]*life{}
	segs := map[int64]*life{}
	vch := map[string]bool{}
	var lastID message.ID
	for i, m := range ms {
		if i > 0 && !lastID.Less(m.ID) {
			fail(m, "id does not grow")
		}
		lastID = m.ID
		index[m.ID] = i
		if len(m.Defects) > 0 {
			fail(m, "defects %v", m.Defects)
		}
		if m.TimeTick <= tick && tick != 0 {
			fail(m, "behind TimeTick %d", tick)
		}
		switch {
		case m.OpensTerm():
		case !m.Has(message.HasTerm) || m.Term < term:
			fail(m, "term %d after %d", m.Term, term)
		default:
			term = m.Term
		}
		if m.Type == message.TypeTimeTick {
			tick = m.TimeTick
			continue
		}
		if seen[m.TimeTick] {
			fail(m, "TimeTick twice")
		}
		seen[m.TimeTick] = true
		if !m.LastConfirmed.Less(m.ID) && !m.Has(message.LastConfirmedSelf) {
			fail(m, "last confirmed %s", m.LastConfirmed)
		}
		if m.Barrier >= m.TimeTick {
			fail(m, "barrier")
		}
		if m.Type == message.TypeCreateCollection {
			vch[m.VChannel] = true
		} else if m.Collection != 0 && m.VChannel != "" && m.Has(message.HasVChannel) && m.BroadcastID == 0 && !vch[m.VChannel] {
			fail(m, "vchannel %s unknown", m.VChannel)
		}
		if m.Has(message.HasTxn) {
			follow(txns, m.TxnID, i, m, message.TypeBeginTxn, m.Type == message.TypeCommitTxn || m.Type == message.TypeRollbackTxn, fail)
		}
		if m.Segment != 0 {
			follow(segs, m.Segment, i, m, message.TypeCreateSegment, m.Type == message.TypeFlush, fail)
		}
	}
	promise(ms, index, fail)
	return broken
}

// life is a transaction's or a segment's: from where it may be used to its end.
type life struct {
	tt    uint64
	ended bool
}

func follow(lives map[int64]*life, id int64, _ int, m *message.Message, begin message.Type, end bool, fail func(*message.Message, string, ...any)) {
	l := lives[id]
	switch {
	case m.Type == begin && l != nil:
		fail(m, "%d begins twice", id)
	case m.Type == begin:
		lives[id] = &life{tt: m.TimeTick}
	case l == nil:
		fail(m, "%d without begin", id)
	case l.ended:
		fail(m, "%d has ended", id)
	case begin == message.TypeBeginTxn && m.TimeTick <= l.tt:
		fail(m, "%d: part at or before %d", id, l.tt)
	case begin == message.TypeBeginTxn && m.Keepalive > 0 && m.TimeTick >= l.tt+uint64(m.Keepalive)<<18:
		fail(m, "%d: part after its keepalive", id)
	case m.TimeTick <= l.tt:
		fail(m, "%d: before its begin", id)
	}
	if l != nil {
		l.ended = end
		if begin == message.TypeBeginTxn {
			l.tt = m.TimeTick
		}
	}
}

// promise checks what a last confirmed id promises: everything above the
// message's TimeTick lies at or after it, committed transactions whole.
func promise(ms []*message.Message, index map[message.ID]int, fail func(*message.Message, string, ...any)) {
	maxTT := make([]uint64, len(ms)+1) // over non-TimeTick messages before i
	begins, commits := map[int64]int{}, map[int64]bool{}
	for i, m := range ms {
		maxTT[i+1] = maxTT[i]
		if m.Type != message.TypeTimeTick {
			maxTT[i+1] = max(maxTT[i], m.TimeTick)
		}
		if m.Type == message.TypeBeginTxn {
			begins[m.TxnID] = i
		} else if m.Type == message.TypeCommitTxn {
			commits[m.TxnID] = true
		}
	}
	byTick := slices.Clone(ms)
	slices.SortStableFunc(byTick, func(a, b *message.Message) int { return cmp.Compare(a.TimeTick, b.TimeTick) })
	open := map[int64]int{} // committed later: where its Begin lies
	for _, m := range byTick {
		delete(open, ended(m))
		at, ok := index[m.LastConfirmed]
		if !ok {
			fail(m, "last confirmed %s is no message", m.LastConfirmed)
			continue
		}
		if maxTT[at] > m.TimeTick {
			fail(m, "a larger TimeTick lies before its last confirmed %s", m.LastConfirmed)
		}
		for id, begin := range open {
			if begin < at {
				fail(m, "transaction %d, open, begins before its last confirmed", id)
			}
		}
		if m.Type == message.TypeBeginTxn && commits[m.TxnID] {
			open[m.TxnID] = begins[m.TxnID]
		}
	}
}

func ended(m *message.Message) int64 {
	if m.Type == message.TypeCommitTxn || m.Type == message.TypeRollbackTxn {
		return m.TxnID
	}
	return 0
}
