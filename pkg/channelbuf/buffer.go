package channelbuf

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// ErrReleased means that the buffer was superseded or released; register again.
var ErrReleased = errors.New("channel buffer was released")

// Buffer is the write buffer of one vchannel in one incarnation: the rows of
// its growing segments and the deletes since the checkpoint, as logged. Safe
// for concurrent use, though one vchannel's messages have one order.
type Buffer struct {
	vchannel string
	inc      Incarnation
	budget   *Budget
	dir      string
	inMemory atomic.Int64 // bytes a Spill would free

	mu       sync.Mutex
	closed   bool
	dropped  bool
	tick     uint64                  // of the last delivery applied
	atTick   map[message.ID]struct{} // deliveries applied at exactly tick
	segments map[int64]*segment
	deletes  []chunk
	deleted  int64 // rows the deletes name
	late     int64 // rows for segments no longer growing: Milvus drops them too
	held     int64 // bytes of the budget
	spill    *spillFile
}

// segment is a growing or flushed segment of the buffer.
type segment struct {
	id, partition int64
	rows, bytes   uint64 // as the headers say, as Milvus counts them
	created       uint64 // TimeTick of CreateSegment, 0 = inherited
	first, last   uint64 // TimeTicks of its first and last rows
	flushed       bool
	chunks        []chunk
}

// chunk is the payload of one message part.
type chunk struct {
	id        message.ID
	tick      uint64 // as delivered: of a transaction's part, the commit's
	partition int64
	rows      int64
	data      []byte // nil = spilled
	off, size int64
	crc       uint32
}

// What the runtime holds beside a payload, in bytes: a chunk with its share of
// a slice grown by appending; a segment with its map slot.
const (
	chunkOverhead   = int64(unsafe.Sizeof(chunk{})) * 5 / 4
	segmentOverhead = int64(unsafe.Sizeof(segment{})) + 64
)

func newBuffer(vchannel string, inc Incarnation, budget *Budget, dir string) *Buffer {
	b := &Buffer{vchannel: vchannel, inc: inc, budget: budget, dir: dir, tick: inc.Checkpoint,
		atTick: make(map[message.ID]struct{}), segments: make(map[int64]*segment)}
	budget.addSpiller(b)
	return b
}

// VChannel returns the vchannel's name.
func (b *Buffer) VChannel() string { return b.vchannel }

// Incarnation returns which registration the buffer belongs to.
func (b *Buffer) Incarnation() Incarnation { return b.inc }

// Append applies one delivery exactly once, by its position: applying it again
// (a replay that started over) changes nothing and reports false. Deliveries
// must come in the order a scanner delivers them. The payloads are copied. It
// fails with ErrReleased, ErrBudget, or an error of the temporary file.
func (b *Buffer) Append(ctx context.Context, l *Lease, d order.Delivery) (applied bool, err error) {
	need := weight(d)
	if need > 0 {
		if err := b.budget.reserve(ctx, l, need, false); err != nil {
			return false, err
		}
	}
	b.mu.Lock()
	before := b.held
	switch {
	case b.closed:
		err = ErrReleased
	case b.fresh(d):
		applied = true
		b.tick = d.TimeTick
		b.atTick[d.Message.ID] = struct{}{}
		b.apply(d)
	}
	change := b.held - before
	b.mu.Unlock()
	b.budget.release(need - change)
	return applied, err
}

// fresh reports whether a delivery was not applied yet.
func (b *Buffer) fresh(d order.Delivery) bool {
	switch {
	case d.TimeTick < b.tick, d.TimeTick <= b.inc.Checkpoint:
		return false
	case d.TimeTick > b.tick:
		clear(b.atTick)
		return true
	}
	_, seen := b.atTick[d.Message.ID]
	return !seen
}

// weight is the most a delivery can make a buffer hold: the runtime rounds an
// allocation up by an eighth at most.
func weight(d order.Delivery) int64 {
	w := weightOf(d.Message)
	for _, m := range d.Body {
		w += weightOf(m)
	}
	return w
}

func weightOf(m *message.Message) int64 {
	switch m.Type {
	case message.TypeInsert, message.TypeDelete:
		n := int64(len(m.Payload))
		return n + n/4 + 16 + chunkOverhead + segmentOverhead
	case message.TypeCreateSegment:
		return segmentOverhead
	}
	return 0
}

func (b *Buffer) apply(d order.Delivery) {
	if b.dropped {
		return
	}
	if d.Begin == nil {
		b.applyOne(d.Message, d.TimeTick)
		return
	}
	for _, m := range d.Body {
		b.applyOne(m, d.TimeTick)
	}
}

// applyOne is what a write buffer makes of a message. docs/rules.md#buffers
func (b *Buffer) applyOne(m *message.Message, tick uint64) {
	if change := caseOf(m.Type); change != nil {
		change(b, m, tick)
	}
}

// caseOf returns what a type does to a buffer, nil for types that do nothing. A
// CreateCollection makes one (begins).
func caseOf(t message.Type) func(*Buffer, *message.Message, uint64) {
	switch {
	case t == message.TypeInsert:
		return (*Buffer).insert
	case t == message.TypeDelete:
		return (*Buffer).delete
	case t == message.TypeCreateSegment:
		return (*Buffer).createSegment
	case t.Seals() != message.SealsNone:
		return (*Buffer).seal
	}
	return nil
}

// begins reports the type with which a vchannel's buffer begins.
func begins(t message.Type) bool { return t == message.TypeCreateCollection }

func (b *Buffer) createSegment(m *message.Message, tick uint64) {
	if b.segments[m.Segment] == nil {
		b.newSegment(m.Segment, m.Partition).created = tick
	}
}

func (b *Buffer) delete(m *message.Message, tick uint64) {
	b.deletes = append(b.deletes, b.newChunk(m, tick))
	b.deleted += int64(m.Rows)
}

// seal syncs the segments that a message ends.
func (b *Buffer) seal(m *message.Message, _ uint64) {
	switch m.Type.Seals() {
	case message.SealsOwn:
		b.flush(b.segments[m.Segment])
	case message.SealsListed:
		for _, id := range m.FlushedSegments() {
			b.flush(b.segments[id])
		}
	case message.SealsPartition:
		for _, s := range b.segments {
			if s.partition == m.Partition {
				b.flush(s)
			}
		}
	case message.SealsAll, message.SealsCollection:
		for _, s := range b.segments {
			b.flush(s)
		}
		b.dropChunks(&b.deletes)
		b.dropped = m.Type.Seals() == message.SealsCollection
	}
}

func (b *Buffer) insert(m *message.Message, tick uint64) {
	s := b.segments[m.Segment]
	if s == nil {
		s = b.newSegment(m.Segment, m.Partition)
	}
	if s.flushed {
		b.late += int64(m.Rows)
		return
	}
	if s.first == 0 {
		s.first = tick
	}
	s.last = tick
	s.rows += m.Rows
	s.bytes += m.BinarySize
	s.chunks = append(s.chunks, b.newChunk(m, tick))
}

func (b *Buffer) newSegment(id, partition int64) *segment {
	s := &segment{id: id, partition: partition}
	b.segments[id] = s
	b.held += segmentOverhead
	return s
}

// newChunk copies the payload: a reader's slab must not live as long as a buffer.
func (b *Buffer) newChunk(m *message.Message, tick uint64) chunk {
	data := append([]byte{}, m.Payload...)
	b.held += int64(cap(data)) + chunkOverhead
	b.inMemory.Add(int64(cap(data)))
	return chunk{id: m.ID, tick: tick, partition: m.Partition, rows: int64(m.Rows), data: data, size: int64(len(data))}
}

// flush is what a sync does to memory: the rows go, the counters stay.
func (b *Buffer) flush(s *segment) {
	if s == nil || s.flushed {
		return
	}
	s.flushed = true
	b.dropChunks(&s.chunks)
}

func (b *Buffer) dropChunks(cs *[]chunk) {
	for i := range *cs {
		n := int64(cap((*cs)[i].data))
		b.held -= n + chunkOverhead
		b.inMemory.Add(-n)
	}
	*cs = nil
}

// close releases everything, once.
func (b *Buffer) close() {
	b.budget.removeSpiller(b)
	b.mu.Lock()
	held := b.held
	if b.spill != nil {
		b.spill.close()
	}
	b.closed, b.held, b.spill, b.segments, b.deletes = true, 0, nil, nil, nil
	b.inMemory.Store(0)
	b.mu.Unlock()
	b.budget.release(held)
}

// Spillable implements Spiller.
func (b *Buffer) Spillable() int64 { return b.inMemory.Load() }

// Spill implements Spiller: every payload in memory goes to the temporary file.
func (b *Buffer) Spill() (freed int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, nil
	}
	if b.spill == nil {
		if b.spill, err = openSpill(b.dir); err != nil {
			return 0, err
		}
	}
	err = b.eachChunk(func(_ *segment, c *chunk) error {
		n := int64(cap(c.data))
		if c.data == nil {
			return nil
		}
		if err := b.spill.put(c); err != nil {
			return err
		}
		freed += n
		return nil
	})
	b.held -= freed
	b.inMemory.Add(-freed)
	return freed, errors.Join(err, b.spill.flush())
}

// eachChunk visits every chunk; the segment is nil for deletes.
func (b *Buffer) eachChunk(fn func(*segment, *chunk) error) error {
	for _, s := range b.segments {
		for i := range s.chunks {
			if err := fn(s, &s.chunks[i]); err != nil {
				return err
			}
		}
	}
	for i := range b.deletes {
		if err := fn(nil, &b.deletes[i]); err != nil {
			return err
		}
	}
	return nil
}
