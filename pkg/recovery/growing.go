package recovery

import (
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"
)

// segments are a state's segments. A copy of a state shares them until one of both
// changes one (ownSegments): of a million segments few change behind a copy, and behind
// most copies none.
type segments struct {
	all     map[int64]*segment
	growing map[int64]*segment // those not FLUSHED

	byPartition, byCollection growingBy // nil until one is asked for

	states int // that share them
}

func newSegments(n int) *segments {
	return &segments{all: make(map[int64]*segment, n), growing: make(map[int64]*segment, n), states: 1}
}

type segment struct {
	id     int64
	meta   *streamingpb.SegmentAssignmentMeta
	dirty  bool
	orphan bool // its partition is not active
	shared bool // meta is another state's or the catalog's as well: own before a change
	// encoded is the first byte of what Persist encoded meta to last.
	encoded *byte
}

// own makes the metadata the segment's alone.
func (g *segment) own() {
	if g.shared {
		g.meta, g.shared = proto.Clone(g.meta).(*streamingpb.SegmentAssignmentMeta), false
	}
}

// ownSegments makes the segments the state's alone, their metadata aside: whoever is
// about to change one calls it before it looks one up.
func (s *State) ownSegments() {
	old := s.segments
	if old.states == 1 {
		return
	}
	old.states--
	s.segments = newSegments(len(old.all))
	for id, g := range old.all {
		g.shared = true
		x := *g
		s.all[id] = &x
		if old.growing[id] == g {
			s.growing[id] = &x
		}
	}
}

// put registers a segment, replacing one of the same id.
func (s *State) put(g *segment) {
	s.ownSegments()
	g.orphan = !s.active(g.meta.Vchannel, g.meta.PartitionId)
	s.all[g.id] = g
	if flushed(g) {
		delete(s.growing, g.id)
		return
	}
	s.growing[g.id] = g
	if s.byPartition != nil {
		s.list(g)
	}
}

// list makes a growing segment found by its partition and its collection.
func (t *segments) list(g *segment) {
	t.byPartition[g.meta.PartitionId] = append(t.byPartition[g.meta.PartitionId], g)
	t.byCollection[g.meta.CollectionId] = append(t.byCollection[g.meta.CollectionId], g)
}

// listed makes every growing segment found so.
func (t *segments) listed() {
	if t.byPartition != nil {
		return
	}
	t.byPartition, t.byCollection = growingBy{}, growingBy{}
	for _, g := range t.growing {
		t.list(g)
	}
}

// EncodedFrom returns the segment's metadata that a value which Persist gave was encoded
// from, nil where the value is not one: what need not be decoded again. It is shared:
// nobody changes it.
func (s *State) EncodedFrom(id int64, value []byte) *streamingpb.SegmentAssignmentMeta {
	g := s.all[id]
	if s.persisted == nil || g == nil || !g.dirty || flushed(g) || len(value) == 0 || g.encoded != &value[0] {
		return nil
	}
	g.shared = true
	return g.meta
}
