package recovery

import (
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func dropped(v *vchannel) bool {
	return v.meta.State == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED
}

func (v *vchannel) seen(tick uint64) {
	v.meta.CheckpointTimeTick, v.dirty = tick, true
}

// createCollection registers a vchannel. One that is known stays as it is, even
// a dropped one.
func (s *State) createCollection(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.CreateCollectionMessageHeader](s, m)
	if !ok || s.vchannels[m.VChannel] != nil {
		return
	}
	schema, ok := s.schema(m)
	if !ok {
		return
	}
	info := &streamingpb.CollectionInfoOfVChannel{CollectionId: h.GetCollectionId()}
	for _, id := range h.GetPartitionIds() {
		info.Partitions = append(info.Partitions, &streamingpb.PartitionInfoOfVChannel{PartitionId: id})
	}
	v := &vchannel{dirty: true, meta: &streamingpb.VChannelMeta{
		Vchannel:           m.VChannel,
		State:              streamingpb.VChannelState_VCHANNEL_STATE_NORMAL,
		CollectionInfo:     info,
		CheckpointTimeTick: tick,
	}}
	if schema != nil {
		v.addSchema(schema, tick)
	}
	s.vchannels[m.VChannel] = v
}

func (v *vchannel) addSchema(schema *schemapb.CollectionSchema, tick uint64) {
	v.meta.CollectionInfo.Schemas = append(v.meta.CollectionInfo.Schemas, &streamingpb.CollectionSchemaOfVChannel{
		Schema:             schema,
		CheckpointTimeTick: tick,
		State:              streamingpb.VChannelSchemaState_VCHANNEL_SCHEMA_STATE_NORMAL,
	})
}

func (s *State) dropCollection(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.DropCollectionMessageHeader](s, m)
	if !ok {
		return
	}
	s.flushCollection(h.GetCollectionId(), tick)
	delete(s.losses, m.VChannel) // what was left out would be gone by now all the same
	if v := s.vchannels[m.VChannel]; v != nil && !dropped(v) && tick >= v.meta.CheckpointTimeTick {
		v.meta.State = streamingpb.VChannelState_VCHANNEL_STATE_DROPPED
		v.seen(tick)
	}
}

// open returns the vchannel a partition message may change.
func (s *State) open(m *message.Message, tick uint64) *vchannel {
	v := s.vchannels[m.VChannel]
	if v == nil || dropped(v) || tick < v.meta.CheckpointTimeTick {
		return nil
	}
	return v
}

func (s *State) createPartition(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.CreatePartitionMessageHeader](s, m)
	if !ok {
		return
	}
	if v := s.open(m, tick); v != nil && v.partition(h.GetPartitionId()) < 0 {
		v.addPartition(h.GetPartitionId())
		v.seen(tick)
	}
}

// dropPartition seals the partition's segments whether or not the vchannel still
// has it.
func (s *State) dropPartition(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.DropPartitionMessageHeader](s, m)
	if !ok {
		return
	}
	s.flushPartition(h.GetPartitionId(), tick)
	v := s.open(m, tick)
	if v == nil {
		return
	}
	if v.partition(h.GetPartitionId()) >= 0 {
		v.removePartition(h.GetPartitionId())
		v.seen(tick)
	}
}

func (s *State) schemaChange(m *message.Message, tick uint64) {
	if _, ok := header[*messagespb.SchemaChangeMessageHeader](s, m); !ok {
		return
	}
	s.flushListed(m, tick)
	v := s.vchannels[m.VChannel]
	if v == nil || tick < v.meta.CheckpointTimeTick {
		return
	}
	schema, ok := s.schema(m)
	if !ok {
		return
	}
	if schema != nil {
		v.addSchema(schema, tick)
	}
	v.seen(tick)
}

// alterCollection moves the vchannel on; only a change of the schema itself adds
// one.
func (s *State) alterCollection(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.AlterCollectionMessageHeader](s, m)
	if !ok {
		return
	}
	s.flushListed(m, tick)
	v := s.vchannels[m.VChannel]
	if v == nil || tick < v.meta.CheckpointTimeTick {
		return
	}
	if slices.Contains(h.GetUpdateMask().GetPaths(), "schema") {
		schema, ok := s.schema(m)
		if !ok {
			return
		}
		if schema != nil {
			v.addSchema(schema, tick)
		}
	}
	v.seen(tick)
}
