package channelbuf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// View is what a buffer holds at one moment. Field names are part of the JSON
// contract (`state --view buffers`).
type View struct {
	VChannel   string        `json:"vchannel"`
	Term       int64         `json:"term"`
	Checkpoint uint64        `json:"checkpoint,string"` // TimeTick
	TimeTick   uint64        `json:"time_tick,string"`  // of the last delivery applied
	Dropped    bool          `json:"dropped,omitempty"`
	Segments   []SegmentView `json:"segments"`
	Deletes    int64         `json:"deletes"`             // keys deleted
	DeleteSize int64         `json:"delete_bytes"`        // bytes of delete payloads
	LateRows   int64         `json:"late_rows,omitempty"` // rows for segments already flushed
	Held       int64         `json:"held_bytes"`          // of the budget
	Spilled    int64         `json:"spilled_bytes,omitempty"`
}

// SegmentView is one segment of a View. Size is what its rows take as logged.
type SegmentView struct {
	ID         int64  `json:"segment_id,string"`
	Partition  int64  `json:"partition_id,string"`
	Rows       uint64 `json:"rows"`
	BinarySize uint64 `json:"binary_size"` // as the headers count it, bytes
	Size       int64  `json:"payload_bytes"`
	First      uint64 `json:"first_time_tick,string"`
	Last       uint64 `json:"last_time_tick,string"`
	Flushed    bool   `json:"flushed,omitempty"`
}

// View returns the buffer's present state, segments by id.
func (b *Buffer) View() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := View{VChannel: b.vchannel, Term: b.inc.Term, Checkpoint: b.inc.Checkpoint, TimeTick: b.tick, Dropped: b.dropped,
		Segments: []SegmentView{}, Deletes: b.deleted, LateRows: b.late, Held: b.held}
	for _, s := range b.segments {
		sv := SegmentView{ID: s.id, Partition: s.partition, Rows: s.rows, BinarySize: s.bytes, First: s.first, Last: s.last, Flushed: s.flushed}
		for i := range s.chunks {
			sv.Size += s.chunks[i].size
		}
		v.Segments = append(v.Segments, sv)
	}
	slices.SortFunc(v.Segments, func(a, b SegmentView) int { return cmp.Compare(a.ID, b.ID) })
	for i := range b.deletes {
		v.DeleteSize += b.deletes[i].size
	}
	if b.spill != nil {
		v.Spilled = b.spill.size
	}
	return v
}

// Part is one message part a buffer holds. Payload is valid during the visit only.
type Part struct {
	ID        message.ID
	TimeTick  uint64 // as delivered
	Partition int64
	Segment   int64 // 0 for deletes
	Rows      int64
	Payload   []byte
}

// Each visits everything the buffer holds, in memory or spilled: segments by id,
// each in delivery order, then the deletes. The buffer is locked meanwhile.
func (b *Buffer) Each(fn func(Part) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrReleased
	}
	segments := make([]*segment, 0, len(b.segments))
	for _, s := range b.segments {
		segments = append(segments, s)
	}
	slices.SortFunc(segments, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	var scratch []byte
	visit := func(segment int64, c *chunk) error {
		p := Part{ID: c.id, TimeTick: c.tick, Partition: c.partition, Segment: segment, Rows: c.rows, Payload: c.data}
		if c.data == nil {
			var err error
			if scratch, err = b.spill.get(c, scratch); err != nil {
				return fmt.Errorf("buffer of %s: %w", b.vchannel, err)
			}
			p.Payload = scratch
		}
		return fn(p)
	}
	for _, s := range segments {
		for i := range s.chunks {
			if err := visit(s.id, &s.chunks[i]); err != nil {
				return err
			}
		}
	}
	for i := range b.deletes {
		if err := visit(0, &b.deletes[i]); err != nil {
			return err
		}
	}
	return nil
}

// Digest is xxhash64 over everything the buffer holds and counts: two buffers
// with equal contents have equal digests, wherever the contents lie.
func (b *Buffer) Digest() (uint64, error) {
	var h xxhash.Digest
	h.Reset()
	var n [8]byte
	put := func(vs ...uint64) {
		for _, v := range vs {
			binary.LittleEndian.PutUint64(n[:], v)
			_, _ = h.Write(n[:])
		}
	}
	v := b.View()
	put(v.TimeTick, uint64(v.Deletes), uint64(v.LateRows))
	for _, s := range v.Segments {
		put(uint64(s.ID), uint64(s.Partition), s.Rows, s.BinarySize, s.First, s.Last)
	}
	err := b.Each(func(p Part) error {
		put(p.TimeTick, uint64(p.ID.A), uint64(p.ID.B), uint64(p.ID.Batch), uint64(p.Partition), uint64(p.Segment), uint64(len(p.Payload)))
		_, _ = h.Write(p.Payload)
		return nil
	})
	return h.Sum64(), err
}
