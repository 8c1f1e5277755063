package walgen

import (
	"encoding/base64"
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
	hdr      []byte // the header's bytes, where header is ""; its memory is kept
	payload  []byte
	txHeader string
	bh, rh   string
	barrier  uint64
	pcl, ur  bool
	puc      bool

	tt, prevTT, prevData uint64
	lc                   message.ID
	self                 bool  // `_lcs`
	started              int64 // microseconds since the Unix epoch
	txn                  *txn
	seg                  *segment
	rows                 uint64
	size                 uint64
	exclusive            bool
	bcast                *broadcast
}

// acked is a written append the last confirmed id has not passed yet.
type acked struct {
	id  message.ID
	end uint64 // the last TimeTick allocated when it was acknowledged
	txn *txn
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
	tt uint64
	id message.ID
}

// allocate takes a TimeTick; the last confirmed id of that moment goes with it.
func (g *Generator) allocate() uint64 {
	tt := g.tso.allocate(g.nowMS())
	if tt <= g.lastTT {
		tt = g.lastTT + 1
		g.tso.next = tt + 1
	}
	g.lcQueue.push(lcAt{tt, g.lastConfirmed})
	return tt
}

// start allocates an append's TimeTick and puts it in flight.
func (g *Generator) start(op *appendOp) {
	op.prevTT, op.prevData = g.lastTT, g.lastData
	op.tt, op.lc = g.allocate(), g.lastConfirmed
	g.lastTT, g.lastData = op.tt, op.tt
	op.started = g.clock
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
	g.unconfirmed.push(acked{id: id, end: g.lastTT, txn: op.txn})
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
		g.lastConfirmed = a.id
		g.unconfirmed.pop()
	}
}

// sync is the 200 ms tick: a TimeTick over the acknowledged prefix, written to
// the log only where data stands in it. It reports whether one was written.
func (g *Generator) sync(force bool) bool {
	g.lastTT = g.allocate()
	upTo, data := g.acknowledged()
	g.confirm()
	if upTo <= g.lastTick {
		return false
	}
	persist := force || data > g.lastTick
	lc := g.lastConfirmed
	for first := true; g.lcQueue.len() > 0 && g.lcQueue.front().tt <= upTo; first = false {
		if first {
			lc = g.lcQueue.front().id
		}
		g.lcQueue.pop()
	}
	g.lastTick = upTo
	if persist {
		g.emitTimeTick(upTo, lc, false)
		g.checkpoint(upTo, lc)
	}
	return persist
}

func (g *Generator) emitTimeTick(tt uint64, lc message.ID, self bool) {
	op := appendOp{typ: message.TypeTimeTick, version: 1, tt: tt, lc: lc, self: self}
	op.payload = g.timeTickBody(tt)
	g.lastTickID = g.pos.take(g.rng, true)
	g.emit(g.build(&op, g.lastTickID))
}

// build makes the message an append leaves in the log.
func (g *Generator) build(op *appendOp, id message.ID) *message.Message {
	m := g.newMessage()
	m.Ordinal, m.PublishTime = g.ordinal, g.nowMS()
	g.ordinal++
	m.SetID(id, g.pos.form)
	g.text = base64.StdEncoding.AppendEncode(g.text[:0], op.hdr)
	cut := len(g.text)
	g.text = strconv.AppendUint(g.text, op.tt, 36)
	end := len(g.text)
	if !op.self {
		g.text = op.lc.AppendRaw(g.text, g.pos.form)
	}
	text := string(g.text) // one allocation for all three
	header, tt, lc := text[:cut], text[cut:end], text[end:]
	if op.header != "" {
		header = op.header
	}
	p := g.newProps()
	if op.bh != "" {
		p = append(p, message.Property{Key: message.KeyBroadcast, Value: op.bh})
	}
	if op.barrier != 0 {
		p = append(p, message.Property{Key: message.KeyBarrier, Value: strconv.FormatUint(op.barrier, 36)})
	}
	p = append(p, message.Property{Key: message.KeyHeader, Value: header})
	if op.self {
		p = append(p, message.Property{Key: message.KeyLastConfirmedSelf})
	} else {
		p = append(p, message.Property{Key: message.KeyLastConfirmed, Value: lc})
	}
	if op.pcl {
		p = append(p, message.Property{Key: message.KeyPChannelLevel})
	}
	if op.puc {
		p = append(p, message.Property{Key: message.KeyPartialUpdate})
	}
	if op.rh != "" {
		p = append(p, message.Property{Key: message.KeyReplicate, Value: op.rh})
	}
	p = append(p, message.Property{Key: message.KeyType, Value: typeNumber(op.typ)}, message.Property{Key: message.KeyTimeTick, Value: tt})
	if op.txHeader != "" {
		p = append(p, message.Property{Key: message.KeyTxn, Value: op.txHeader})
	}
	if op.ur {
		p = append(p, message.Property{Key: message.KeyUnsafeReplicate})
	}
	p = append(p, message.Property{Key: message.KeyVersion, Value: typeNumber(message.Type(op.version))})
	if op.scope != nil {
		p = append(p, message.Property{Key: message.KeyVChannel, Value: op.scope.name})
	}
	if !g.opening {
		p = append(p, message.Property{Key: message.KeyTerm, Value: g.termRaw})
	}
	m.Props, m.Payload = p, op.payload
	if op.seg == nil || op.typ != message.TypeInsert || op.rh != "" || op.txHeader != "" {
		g.decoder.Decode(m)
	} else {
		g.fill(op, m)
	}
	return m
}

// fill sets what the decoder would find in a plain insert, the common case.
func (g *Generator) fill(op *appendOp, m *message.Message) {
	m.Version, m.Type, m.TimeTick, m.Term, m.VChannel = op.version, op.typ, op.tt, g.term, op.scope.name
	m.Flags = message.HasTimeTick | message.HasTerm | message.HasLastConfirmed | message.HasVChannel | message.HasHeader
	m.SetLastConfirmed(op.lc, g.pos.form)
	m.Collection, m.Partition, m.Segment = op.seg.coll.id, op.seg.part.id, op.seg.id
	m.Rows, m.BinarySize, m.PayloadSize = op.rows, op.size, int64(len(op.payload))
}

// block is how many messages, and their properties, share an allocation.
const block = 64

func (g *Generator) newMessage() *message.Message {
	if len(g.messages) == cap(g.messages) {
		g.messages = make([]message.Message, 0, block)
	}
	g.messages = g.messages[:len(g.messages)+1]
	return &g.messages[len(g.messages)-1]
}

// newProps returns room for the properties of one message: more than nine have
// an allocation of their own.
func (g *Generator) newProps() message.Properties {
	const most = 9
	if len(g.props) < most {
		g.props = make([]message.Property, most*block)
	}
	p := g.props[:0:most]
	g.props = g.props[most:]
	return p
}

func typeNumber(t message.Type) string { return strconv.Itoa(int(t)) }
