package walgen

import (
	"strconv"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// appendOp is one append on its way: started (it has a TimeTick) until written
// (it has an id).
type appendOp struct {
	typ      message.Type
	version  int8
	scope    *scope // vchannel it locks; nil only for the pchannel
	header   string // base64
	payload  []byte
	txHeader string
	bh, rh   string
	barrier  uint64
	pcl, ur  bool
	puc      bool

	tt, prevTT, prevData uint64
	lcRaw                string
	txn                  *txn
	seg                  *segment
	rows                 uint64
	size                 uint64
	exclusive            bool
	bcast                *broadcast
}

// acked is a written append the last confirmed id has not passed yet.
type acked struct {
	id   message.ID
	end  uint64 // the last TimeTick allocated when it was acknowledged
	txn  *txn
	form message.Form
}

// ring is a queue that keeps its memory.
type ring[T any] struct {
	buf  []T
	head int
}

func (r *ring[T]) push(v T)  { r.buf = append(r.buf, v) }
func (r *ring[T]) len() int  { return len(r.buf) - r.head }
func (r *ring[T]) front() *T { return &r.buf[r.head] }
func (r *ring[T]) pop() {
	if r.head++; r.head == len(r.buf) {
		r.buf, r.head = r.buf[:0], 0
	} else if r.head >= 4096 && r.head*2 >= len(r.buf) {
		r.buf, r.head = append(r.buf[:0], r.buf[r.head:]...), 0
	}
}
func (r *ring[T]) reset() { r.buf, r.head = r.buf[:0], 0 }

// lcAt is the last confirmed id an allocation took, for the TimeTick's minimum.
type lcAt struct {
	tt  uint64
	raw string
}

// allocate takes a TimeTick and the last confirmed id of that moment.
func (g *Generator) allocate() (uint64, string) {
	tt := g.tso.allocate(g.nowMS())
	if tt <= g.lastTT {
		tt = g.lastTT + 1
		g.tso.next = tt + 1
	}
	if g.lcStale {
		g.lcRaw, g.lcStale = g.lastConfirmed.Raw(g.lcForm), false
	}
	g.lcQueue.push(lcAt{tt, g.lcRaw})
	return tt, g.lcRaw
}

// start allocates an append's TimeTick and puts it in flight.
func (g *Generator) start(op *appendOp) {
	op.prevTT, op.prevData = g.lastTT, g.lastData
	op.tt, op.lcRaw = g.allocate()
	g.lastTT, g.lastData = op.tt, op.tt
	if op.txn != nil {
		op.txn.lastTT = op.tt
		op.txn.inflight++
	}
	if op.scope != nil {
		op.scope.inflight++
	}
	if op.exclusive {
		op.scope.locked = true
		if op.pcl {
			g.walLocked = true
		}
	}
	g.pending = append(g.pending, op)
}

// write gives the i-th append in flight its id, and acknowledges it.
func (g *Generator) write(i int) {
	op := g.pending[i]
	copy(g.pending[i:], g.pending[i+1:])
	g.pending = g.pending[:len(g.pending)-1]
	id := g.pos.take(g.rng, false)
	g.emit(g.build(op, id))
	if op.scope != nil {
		op.scope.inflight--
	}
	if op.txn != nil {
		op.txn.inflight--
	}
	g.written(op)
	if op.exclusive {
		g.unlock(op)
	}
	g.unconfirmed.push(acked{id: id, end: g.lastTT, txn: op.txn, form: g.pos.form})
	g.confirm()
	g.free(op)
}

// acknowledged is the last TimeTick below every append in flight.
func (g *Generator) acknowledged() (tt, data uint64) {
	if len(g.pending) > 0 {
		return g.pending[0].prevTT, g.pending[0].prevData
	}
	return g.lastTT, g.lastData
}

// confirm moves the last confirmed id over all that was acknowledged before the
// acknowledged TimeTick and whose transaction is over.
func (g *Generator) confirm() {
	tt, _ := g.acknowledged()
	for _, t := range g.recovered {
		if !t.over(tt) {
			return
		}
	}
	g.recovered = g.recovered[:0]
	for g.unconfirmed.len() > 0 {
		a := g.unconfirmed.front()
		if a.end >= tt || (a.txn != nil && !a.txn.over(tt)) {
			return
		}
		g.lastConfirmed, g.lcForm, g.lcStale = a.id, a.form, true
		g.unconfirmed.pop()
	}
}

// sync is the 200 ms tick: a TimeTick over the acknowledged prefix, written to
// the log only where data stands in it. It reports whether one was written.
func (g *Generator) sync(force bool) bool {
	tt, _ := g.allocate()
	g.lastTT = tt
	upTo, data := g.acknowledged()
	g.confirm()
	if upTo <= g.lastTick {
		return false
	}
	persist := force || data > g.lastTick
	lc := g.lcRaw
	for first := true; g.lcQueue.len() > 0 && g.lcQueue.front().tt <= upTo; first = false {
		if first {
			lc = g.lcQueue.front().raw
		}
		g.lcQueue.pop()
	}
	g.lastTick = upTo
	if persist {
		g.emitTimeTick(upTo, lc)
		g.checkpoint(upTo, lc)
	}
	return persist
}

func (g *Generator) emitTimeTick(tt uint64, lc string) {
	op := appendOp{typ: message.TypeTimeTick, version: 1, tt: tt, lcRaw: lc}
	op.payload = g.timeTickBody(tt)
	g.lastTickID = g.pos.take(g.rng, true)
	g.emit(g.build(&op, g.lastTickID))
}

// build makes the message an append leaves in the log.
func (g *Generator) build(op *appendOp, id message.ID) *message.Message {
	m := &message.Message{Ordinal: g.ordinal, PublishTime: g.nowMS()}
	g.ordinal++
	m.SetID(id, g.pos.form)
	p := make(message.Properties, 0, 9)
	add := func(k, v string) { p = append(p, message.Property{Key: k, Value: v}) }
	if op.bh != "" {
		add(message.KeyBroadcast, op.bh)
	}
	if op.barrier != 0 {
		add(message.KeyBarrier, strconv.FormatUint(op.barrier, 36))
	}
	add(message.KeyHeader, op.header)
	if op.lcRaw == selfConfirmed {
		add(message.KeyLastConfirmedSelf, "")
	} else {
		add(message.KeyLastConfirmed, op.lcRaw)
	}
	if op.pcl {
		add(message.KeyPChannelLevel, "")
	}
	if op.puc {
		add(message.KeyPartialUpdate, "")
	}
	if op.rh != "" {
		add(message.KeyReplicate, op.rh)
	}
	add(message.KeyType, typeNumber(op.typ))
	add(message.KeyTimeTick, strconv.FormatUint(op.tt, 36))
	if op.txHeader != "" {
		add(message.KeyTxn, op.txHeader)
	}
	if op.ur {
		add(message.KeyUnsafeReplicate, "")
	}
	add(message.KeyVersion, typeNumber(message.Type(op.version)))
	if op.scope != nil {
		add(message.KeyVChannel, op.scope.name)
	}
	if !g.opening {
		add(message.KeyTerm, g.termRaw)
	}
	m.Props, m.Payload = p, op.payload
	g.decoder.Decode(m)
	return m
}

// selfConfirmed stands for `_lcs`; no stored id looks like it.
const selfConfirmed = "\x00self"

func typeNumber(t message.Type) string { return strconv.Itoa(int(t)) }
