package recovery

import (
	"cmp"
	"maps"
	"slices"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func flushed(g *segment) bool {
	return g.meta.State == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_FLUSHED
}

func growing(g *segment) bool {
	return g.meta.State == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING
}

// insert adds rows to the growing segment the writer assigned.
func (s *State) insert(m *message.Message, tick uint64) {
	if m.Has(message.ManyPartitions) {
		s.insertMany(m, tick)
		return
	}
	s.insertInto(m, m.Segment, m.Rows, m.BinarySize, tick)
}

// insertMany goes partition by partition. No known writer puts more than one in
// an Insert, but the format allows it.
func (s *State) insertMany(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.InsertMessageHeader](s, m)
	if !ok {
		return
	}
	for _, p := range h.GetPartitions() {
		one := *m
		one.Partition, one.Segment, one.Rows = p.GetPartitionId(), p.GetSegmentAssignment().GetSegmentId(), p.GetRows()
		s.insertInto(&one, one.Segment, one.Rows, p.GetBinarySize(), tick)
	}
}

func (s *State) insertInto(m *message.Message, id int64, rows, bytes, tick uint64) {
	s.ownSegments()
	g := s.all[id]
	if g == nil || !growing(g) {
		s.quarantine(m, g)
		return
	}
	if g.orphan && !s.active(g.meta.Vchannel, g.meta.PartitionId) {
		s.quarantine(m, nil)
	}
	if tick < g.meta.CheckpointTimeTick {
		return
	}
	g.own()
	g.meta.Stat.ModifiedRows += rows
	g.meta.Stat.ModifiedBinarySize += bytes
	g.touch(tick)
}

// quarantine lists an Insert whose rows no node brings back, with the reason
// nearest to its cause. g is its segment where that exists.
func (s *State) quarantine(m *message.Message, g *segment) {
	code := CodeInsertNoSegment
	switch v := s.vchannels[m.VChannel]; {
	case v == nil:
		code = CodeInsertNoVChannel
	case dropped(v):
		code = CodeInsertDropped
	case v.partition(m.Partition) < 0:
		code = CodeInsertNoPartition
	case g != nil:
		code = CodeInsertFlushed
	}
	s.issues.add(about(code, m))
	s.lose(m)
}

// createSegment replaces whatever segment had the id.
func (s *State) createSegment(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.CreateSegmentMessageHeader](s, m)
	if !ok {
		return
	}
	v := s.vchannels[m.VChannel]
	if v == nil || dropped(v) {
		s.issues.add(about(CodeSegmentSkipped, m))
		return
	}
	now := tickSeconds(tick)
	g := new(createdSegment) // in one piece
	stat := &g.stat
	stat.MaxBinarySize = h.GetMaxSegmentSize()
	stat.MaxRows = h.GetMaxRows()
	stat.Level = h.GetLevel()
	stat.CreateTimestamp, stat.LastModifiedTimestamp = now, now
	stat.CreateSegmentTimeTick = tick
	meta := &g.meta
	meta.CollectionId = h.GetCollectionId()
	meta.PartitionId = h.GetPartitionId()
	meta.SegmentId = h.GetSegmentId()
	meta.Vchannel = m.VChannel
	meta.State = streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING
	meta.Stat, meta.StorageVersion, meta.CheckpointTimeTick = stat, h.GetStorageVersion(), tick
	g.id, g.dirty, g.segment.meta = meta.SegmentId, true, meta
	s.put(&g.segment)
}

type createdSegment struct {
	segment
	meta streamingpb.SegmentAssignmentMeta
	stat streamingpb.SegmentAssignmentStat
}

func (g *segment) touch(tick uint64) {
	g.own()
	g.meta.Stat.LastModifiedTimestamp = tickSeconds(tick)
	g.meta.CheckpointTimeTick = tick
	g.dirty = true
}

// flush seals a segment, unless the metadata has already seen a later TimeTick.
func (s *State) flush(g *segment, tick uint64) {
	if tick < g.meta.CheckpointTimeTick || flushed(g) {
		return
	}
	g.own()
	g.meta.State = streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_FLUSHED
	g.touch(tick)
	delete(s.growing, g.id)
}

func (s *State) flushAll(tick uint64) {
	s.ownSegments()
	for _, g := range s.growing {
		s.flush(g, tick)
	}
}

func (s *State) flushEvery(_ *message.Message, tick uint64) { s.flushAll(tick) }

// flushOwn seals the segment a Flush names.
func (s *State) flushOwn(m *message.Message, tick uint64) {
	s.ownSegments()
	if g := s.all[m.Segment]; g != nil {
		s.flush(g, tick)
	}
}

// flushNamed seals the segments that a message is there to seal.
func (s *State) flushNamed(m *message.Message, tick uint64) {
	if _, ok := header[proto.Message](s, m); ok {
		s.flushListed(m, tick)
	}
}

// flushListed seals the segments the writer listed in a header.
func (s *State) flushListed(m *message.Message, tick uint64) {
	s.ownSegments()
	for _, id := range m.FlushedSegments() {
		if g := s.all[id]; g != nil {
			s.flush(g, tick)
			continue
		}
		i := about(CodeFlushMissing, m)
		i.Segment = id
		s.issues.add(i)
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
