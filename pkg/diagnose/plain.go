package diagnose

import "github.com/walctl/walctl/pkg/walreader/message"

// Nearly every row of a log is an insert, a delete or a bound of a transaction against which no check has
// anything to say. plain and deliverPlain find that out from a few columns, with
// nothing copied and nothing told. Where one of them is not sure it returns false
// and has changed nothing: row and deliver, which hold the rules, take the row.

// plainFlags are all the flags of such a row but HasTxn.
const plainFlags = message.PlainFlags

// plain takes row i, whose flags are plain, into the window.
func (v *verifier) plain(c *message.Columns, i int) bool {
	t, typ, tt, vs := &v.terms, c.Type[i], c.TimeTick[i], &v.vchannels[c.VChannel[i]]
	version := int8(1)
	switch typ {
	case message.TypeInsert, message.TypeDelete:
	case message.TypeBeginTxn, message.TypeCommitTxn, message.TypeRollbackTxn:
		if version = 2; c.Flags[i]&message.HasTxn == 0 {
			return false
		}
	default:
		return false
	}
	if c.Version[i] != version || !vs.plain || v.careful ||
		c.Term[i] != t.max || t.opened || tt <= t.tick || tt <= v.window.cut || (v.opts.Checkpoint != nil && !v.check15) {
		return false
	}
	pos, lc := makePosition(c.A[i], c.B[i], c.Batch[i]), makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i])
	if !lc.less(pos) || lc != t.lastLC && !v.known(lc) {
		return false
	}
	t.lastLC = lc
	v.push(c, i, v.typeBits[typ]|bitPlain, pos, lc)
	return true
}

// known reports, without a search, that the log holds a message at p.
func (v *verifier) known(p position) bool {
	l := &v.ledgers[len(v.ledgers)-1]
	return p.a == l.a && p.b >= l.first && p.b <= l.last && p.b&0xffff == 0 && !p.less(v.first)
}

// deliverPlain judges a row of the batch at hand in TimeTick order.
func (v *verifier) deliverPlain(k *windowKey) bool {
	c, i := v.rows, int(k.order-v.records)
	t, s := &v.terms, &v.vchannels[c.VChannel[i]]
	newest, _ := t.recent.newest()
	n, coll, lc := len(t.lc)-1, c.Collection[i], makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i])
	if n < 0 || t.lc[n].term != c.Term[i] || lc.less(t.lc[n].lc) || newest == k.tt ||
		v.txns.open > 0 && v.txns.minBegin.less(lc) || v.replicate.role == roleSecondary ||
		!s.seen || s.droppedTT != 0 || coll != 0 && s.collection != 0 && coll != s.collection {
		return false
	}
	switch c.Type[i] {
	case message.TypeDelete:
		if c.Rows[i] == 0 {
			return false
		}
	case message.TypeInsert:
		g := v.growing(c, i, s, k.pos)
		if g == nil {
			return false
		}
		if g.lastInsert.less(k.pos) {
			g.lastInsert = k.pos
		}
	}
	t.recent.add(k.tt, c.Checksum[i], k.pos)
	t.lc[n].lc = lc
	if c.Flags[i]&message.HasTxn != 0 {
		v.transaction(v.part(k, lc))
	}
	return true
}

// part fills in what transaction asks of an entry.
func (v *verifier) part(k *windowKey, lc position) *entry {
	c, i, e := v.rows, int(k.order-v.records), &v.window.scratch[0]
	e.tt, e.pos, e.lc, e.bits, e.term = k.tt, k.pos, lc, k.bits, c.Term[i]
	e.txn, e.keepalive, e.rows = c.TxnID[i], c.Keepalive[i], c.Rows[i]
	e.vchannel, e.typ, e.flags = c.VChannel[i], c.Type[i], c.Flags[i]
	return e
}

// growing returns the segment of insert i where nothing is wrong with either.
func (v *verifier) growing(c *message.Columns, i int, s *vchannelState, pos position) *segmentState {
	all := &v.segments
	at := all.byID.get(c.Segment[i])
	if at < 0 || c.Rows[i] == 0 || c.BinarySize[i] == 0 || c.Segment[i] == 0 {
		return nil
	}
	g := &all.slab[at]
	if g.vchannel != c.VChannel[i] || g.partition != c.Partition[i] || g.collection != c.Collection[i] || g.sealTT != 0 ||
		g.truncatedTT != 0 || !g.inherited && (!g.create.less(pos) || all.flushAllTT > g.createTT) || s.partitionDrop > g.createTT {
		return nil
	}
	return g
}
