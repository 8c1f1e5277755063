package walgen

import (
	"github.com/walctl/walctl/pkg/walreader/message"
)

const defaultKeepalive = 10_000 // milliseconds

// launch starts one append some client or the node itself wants. It reports
// false where nothing could start at this moment.
func (g *Generator) launch() bool {
	if g.walLocked {
		return false
	}
	for i := 0; i < len(g.tasks); i++ {
		if g.tasks[i]() {
			g.tasks = append(g.tasks[:i], g.tasks[i+1:]...)
			return true
		}
	}
	if len(g.open) > 0 && (g.replic || g.rng.IntN(2) == 0) {
		return g.stepTxn(g.open[g.rng.IntN(len(g.open))])
	}
	x := g.rng.Float64()
	for i := range g.ratios {
		if x < g.ratios[i] {
			return [...]func(*Generator) bool{(*Generator).ddl, (*Generator).beginTxn, (*Generator).beginUpsert, (*Generator).plainDelete}[i](g)
		}
	}
	c := g.pick()
	if c == nil {
		return false
	}
	p := g.part(c)
	return p != nil && g.insert(c, p, nil, nil)
}

// pick returns a collection that takes data now, or nil.
func (g *Generator) pick() *collection {
	for range 4 {
		if len(g.colls) == 0 {
			return nil
		}
		c := g.colls[g.rng.IntN(len(g.colls))]
		if c.scope.ready && !c.scope.dropped && !c.scope.locked {
			return c
		}
	}
	return nil
}

func (g *Generator) newOp(typ message.Type, version int8, s *scope) *appendOp {
	var op *appendOp
	if n := len(g.spare); n > 0 {
		op, g.spare = g.spare[n-1], g.spare[:n-1]
		*op = appendOp{hdr: op.hdr[:0]}
	} else {
		op = new(appendOp)
	}
	op.typ, op.version, op.scope = typ, version, s
	if g.replic && !typ.Is(message.SelfControlled) {
		if op.rh = g.srcRH; op.rh == "" {
			op.rh = g.replicate(s.name)
		}
	}
	return op
}

func (g *Generator) free(op *appendOp) { g.spare = append(g.spare, op) }

// growing returns the partition's growing segment; where there is none it
// starts a CreateSegment. Rows wait until it is written.
func (g *Generator) growing(c *collection, p *partition) (s *segment, started bool) {
	if p.growing == nil {
		g.nextLocal++
		limit := uint64(g.cfg.SegmentBytes) * uint64(80+g.rng.IntN(20)) / 100
		p.growing = &segment{id: g.nextLocal, coll: c, part: p, limit: limit}
		op := g.newOp(message.TypeCreateSegment, 2, c.scope)
		op.header, op.seg = g.segmentHeader(p.growing, true), p.growing
		g.start(op)
		return nil, true
	}
	if p.growing.state != segmentGrowing {
		return nil, false
	}
	return p.growing, false
}

// insert starts an Insert of new rows, or of the given keys. It reports whether
// any append was started.
func (g *Generator) insert(c *collection, p *partition, t *txn, keys []int64) bool {
	s, started := g.growing(c, p)
	if s == nil {
		return started
	}
	rows := g.cfg.RowsPerInsert
	if !g.cfg.FixedRows {
		rows = 1 + g.rng.IntN(rows)
	}
	if keys != nil {
		rows = len(keys)
	}
	if g.cfg.Rows > 0 {
		if g.rows >= g.cfg.Rows {
			return false
		}
		rows = int(min(uint64(rows), g.cfg.Rows-g.rows))
	}
	g.rows += uint64(rows)
	op := g.newOp(message.TypeInsert, 1, c.scope)
	op.puc = t != nil && t.partial
	op.payload = g.insertBody(c, p, rows, keys, op.puc)
	op.rows, op.size = uint64(rows), uint64(len(op.payload)+124)
	op.hdr = g.insertHeader(op.hdr, c, p, s, op.rows, op.size)
	op.seg, op.txn = s, t
	s.inflight++
	if t != nil {
		op.txHeader = t.partHeader(g)
		s.txns++
		t.segs = append(t.segs, s)
	}
	g.start(op)
	s.rows, s.bytes = s.rows+op.rows, s.bytes+op.size
	if s.bytes >= s.limit {
		g.seal(s)
	}
	return true
}

// seal stops a segment's rows; its Flush follows once the last of them is in
// the log and their transactions are over.
func (g *Generator) seal(s *segment) {
	s.state, s.part.growing = segmentSealing, nil
	g.tasks = append(g.tasks, func() bool {
		sc := s.coll.scope
		if s.state == segmentSealed || sc.dropped || s.part.dropped {
			return true
		}
		if s.inflight > 0 || s.txns > 0 || sc.locked {
			return false
		}
		op := g.newOp(message.TypeFlush, 2, sc)
		op.header = g.segmentHeader(s, false)
		s.state = segmentSealed
		g.start(op)
		return true
	})
}

func (g *Generator) plainDelete() bool {
	c := g.pick()
	if c == nil {
		return false
	}
	g.delete(c, g.someKeys(c), nil)
	return true
}

func (g *Generator) delete(c *collection, keys []int64, t *txn) {
	op := g.newOp(message.TypeDelete, 1, c.scope)
	op.hdr = deleteHeader(op.hdr, c, uint64(len(keys)))
	op.payload = g.deleteBody(c, keys)
	op.txn = t
	if t != nil {
		op.txHeader = t.partHeader(g)
	}
	g.start(op)
}

// someKeys picks up to five keys that were given out.
func (g *Generator) someKeys(c *collection) []int64 {
	keys := g.keyRoom(1 + g.rng.IntN(5))
	for i := range keys {
		keys[i] = 1 + g.rng.Int64N(max(c.nextPK, 1))
	}
	return keys
}

// keyRoom returns n keys to fill in, valid until the next call.
func (g *Generator) keyRoom(n int) []int64 {
	if cap(g.keys) < n {
		g.keys = make([]int64, n)
	}
	return g.keys[:n]
}

// partHeader is `_tx` of a part. Of a replicated transaction only the Begin
// carries the infinite keepalive.
func (t *txn) partHeader(g *Generator) string {
	if t.keepalive < 0 {
		return txnHeader(t.id, defaultKeepalive)
	}
	return t.header
}

func (g *Generator) beginTxn() bool {
	c := g.pick()
	if c == nil {
		return false
	}
	t := g.begin(c)
	t.left = 1 + g.rng.IntN(6)
	switch n := g.rng.IntN(20); {
	case g.replic:
	case n < 2:
		t.fate = fateRollback
	case n == 2:
		t.fate = fateAbandon
	}
	return true
}

func (g *Generator) beginUpsert() bool {
	c := g.pick()
	if c == nil {
		return false
	}
	p := g.part(c)
	if p == nil {
		return false
	}
	t := g.begin(c)
	t.left, t.upsertP = 2, p
	t.partial = g.cfg.Version == Version30 && g.rng.IntN(3) == 0
	for range 1 + g.rng.IntN(4) {
		k := 1 + g.rng.Int64N(max(c.nextPK, 1))
		if !contains(t.upsert, k) {
			t.upsert = append(t.upsert, k)
		}
	}
	return true
}

func contains(s []int64, v int64) bool {
	for _, x := range s {
		if x == v {
			return true
		}
	}
	return false
}

func (g *Generator) begin(c *collection) *txn {
	g.nextLocal++
	t := &txn{id: g.nextLocal, scope: c.scope, keepalive: defaultKeepalive}
	if g.replic {
		t.keepalive = -1000
		g.srcRH = g.replicate(c.scope.name)
	} else if g.rng.IntN(8) == 0 {
		t.keepalive = int64(150 + g.rng.IntN(2000))
	}
	t.header = txnHeader(t.id, t.keepalive)
	op := g.newOp(message.TypeBeginTxn, 2, c.scope)
	op.txn, op.txHeader = t, t.header
	if t.keepalive != defaultKeepalive && t.keepalive > 0 {
		op.header = b64(appendVarint(nil, 1, uint64(t.keepalive)))
	}
	g.open = append(g.open, t)
	g.unended = append(g.unended, t)
	c.scope.txns = append(c.scope.txns, t)
	g.start(op)
	t.beginLC = g.lastConfirmed
	return t
}

// stepTxn starts a transaction's next part, or its end.
func (g *Generator) stepTxn(t *txn) bool {
	s := t.scope
	if !t.begun || t.inflight > 0 || s.locked || s.dropped { // a client sends one part after the other
		return false
	}
	// The part's TimeTick is not known yet; leave it room within the keepalive.
	if t.over(uint64(g.nowMS()+60) << 18) {
		g.finish(t)
		return false
	}
	switch {
	case t.left == 0:
		return g.endTxn(t)
	case t.upsert != nil && t.left == 2:
		g.delete(s.coll, t.upsert, t)
		t.left--
		return true
	case t.upsert != nil:
		p := t.upsertP
		if p.dropped || p.closing {
			if p = g.part(s.coll); p == nil {
				return false
			}
		}
		return g.txnInsert(t, p, t.upsert)
	case g.rng.IntN(4) == 0:
		g.delete(s.coll, g.someKeys(s.coll), t)
		t.left--
		return true
	}
	p := g.part(s.coll)
	return p != nil && g.txnInsert(t, p, nil)
}

func (g *Generator) txnInsert(t *txn, p *partition, keys []int64) bool {
	n := t.inflight
	ok := g.insert(t.scope.coll, p, t, keys)
	if t.inflight > n {
		t.left--
	}
	return ok
}

func (g *Generator) endTxn(t *txn) bool {
	typ := message.TypeCommitTxn
	switch t.fate {
	case fateAbandon: // its client is gone: it lies open until it expires
		g.finish(t)
		return false
	case fateRollback:
		typ = message.TypeRollbackTxn
	}
	op := g.newOp(typ, 2, t.scope)
	op.txn, op.txHeader = t, t.partHeader(g)
	op.puc = t.partial
	g.start(op)
	return true
}

// written applies what an append changes once it stands in the log.
func (g *Generator) written(op *appendOp) {
	switch op.typ {
	case message.TypeBeginTxn:
		op.txn.begun = true
	case message.TypeCommitTxn, message.TypeRollbackTxn:
		g.unended = remove(g.unended, op.txn)
		g.finish(op.txn)
		g.srcRH = ""
	case message.TypeCreateSegment:
		if op.seg.state == segmentCreating {
			op.seg.state = segmentGrowing
		}
	case message.TypeInsert:
		op.seg.inflight--
	}
	if b := op.bcast; b != nil && b.done != nil {
		b.done(op)
	}
}
