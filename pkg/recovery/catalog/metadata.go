package catalog

import (
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"
)

// MaxValueSize is the largest value that is decoded, in bytes. etcd takes 1.5 MiB
// by default; a larger value than this is a Problem, not an allocation.
const MaxValueSize = 16 << 20

// Metadata is what the catalog says of one pchannel's WAL.
type Metadata struct {
	PChannel string
	// Checkpoint is nil where the WAL was never opened, or where the value could
	// not be decoded (then Problems says so).
	Checkpoint *streamingpb.WALCheckpoint
	// Salvage is keyed by source cluster.
	Salvage map[string]*commonpb.ReplicateCheckpoint
	// VChannels is keyed by the name in the key. Schemas are attached to
	// collection_info, sorted by checkpoint_time_tick.
	VChannels map[string]*streamingpb.VChannelMeta
	// Segments is keyed by the id in the key.
	Segments map[int64]*streamingpb.SegmentAssignmentMeta
	// KV is every key read, relative to the root, with its bytes as found.
	KV map[string][]byte
	// Revisions is the mod-revision of every key of KV; nil where the place the
	// metadata came from has none.
	Revisions map[string]int64
	// Problems is what is wrong with the keys; Load fills it.
	Problems []Problem
}

// decoder collects while the keys of one WAL are gone through.
type decoder struct {
	md       Metadata
	known    Known
	schemas  map[string][]*streamingpb.CollectionSchemaOfVChannel
	keys     map[*streamingpb.CollectionSchemaOfVChannel]string // that each schema lies under
	problems []Problem
}

// Known returns the metadata that a segment's value was encoded from, nil where that is
// not known. It is referred to, not copied.
type Known func(segment int64, value []byte) *streamingpb.SegmentAssignmentMeta

// Decode is DecodeKnown where no value's metadata is known.
func Decode(pchannel string, kv map[string][]byte) (Metadata, []Problem) {
	return DecodeKnown(pchannel, kv, nil)
}

// DecodeKnown reads the keys of one pchannel's WAL out of kv (keys relative to the
// root; keys of anything else are ignored). It always returns what could be read;
// every key that could not, or that Milvus would stumble over, is a Problem, in
// key order. kv and the bytes in it are referred to, not copied.
func DecodeKnown(pchannel string, kv map[string][]byte, known Known) (Metadata, []Problem) {
	prefix := WALPrefix(pchannel)
	d := decoder{
		known: known,
		md: Metadata{
			PChannel:  pchannel,
			Salvage:   map[string]*commonpb.ReplicateCheckpoint{},
			VChannels: map[string]*streamingpb.VChannelMeta{},
			Segments:  map[int64]*streamingpb.SegmentAssignmentMeta{},
			KV:        ownKeys(prefix, kv),
		},
		schemas: map[string][]*streamingpb.CollectionSchemaOfVChannel{},
		keys:    map[*streamingpb.CollectionSchemaOfVChannel]string{},
	}
	var keys []string // but those of segments, of which there are many: each stands for itself
	for k, v := range d.md.KV {
		if parsed := ParseKey(k); parsed.Kind == KeySegment {
			d.key(parsed, v)
		} else {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		d.key(ParseKey(k), kv[k])
	}
	d.attachSchemas()
	sort.SliceStable(d.problems, func(i, j int) bool { return d.problems[i].Key < d.problems[j].Key })
	return d.md, d.problems
}

// ownKeys are the keys with a prefix: kv itself where it holds no other.
func ownKeys(prefix string, kv map[string][]byte) map[string][]byte {
	n := 0
	for k := range kv {
		if strings.HasPrefix(k, prefix) {
			n++
		}
	}
	if n == len(kv) && kv != nil {
		return kv
	}
	out := make(map[string][]byte, n)
	for k, v := range kv {
		if strings.HasPrefix(k, prefix) {
			out[k] = v
		}
	}
	return out
}

func (d *decoder) problem(key, code string, fatal bool, format string, args ...any) {
	d.problems = append(d.problems, Problem{Key: key, Code: code, Fatal: fatal, Detail: fmt.Sprintf(format, args...)})
}

// decode reads one value and holds it to its bytes. It reports whether m is usable.
func (d *decoder) decode(key string, value []byte, m proto.Message) bool {
	p := decodeValue(key, value, m)
	if p == nil {
		return true
	}
	d.problems = append(d.problems, *p)
	return p.Code == CodeNotRoundTrip
}

// decodeValue unmarshals value into m. A problem other than CodeNotRoundTrip
// leaves m unusable.
func decodeValue(key string, value []byte, m proto.Message) *Problem {
	if len(value) > MaxValueSize {
		return &Problem{Key: key, Code: CodeTooLarge, Detail: fmt.Sprintf("%d bytes, at most %d are decoded", len(value), MaxValueSize)}
	}
	if err := proto.Unmarshal(value, m); err != nil {
		return &Problem{Key: key, Code: CodeUndecodable, Fatal: true, Detail: fmt.Sprintf("not a %s: %v", m.ProtoReflect().Descriptor().Name(), err)}
	}
	again, err := marshal(m)
	if err != nil || !bytes.Equal(again, value) {
		return &Problem{Key: key, Code: CodeNotRoundTrip, Detail: fmt.Sprintf("%s does not encode to the bytes it was read from; it is never rewritten", m.ProtoReflect().Descriptor().Name())}
	}
	return nil
}

// CheckValue reads a value as its key's kind demands and returns what is wrong
// with it alone: CodeTooLarge, CodeUndecodable or CodeNotRoundTrip. Keys walctl
// has no type for have nothing wrong with them.
func CheckValue(key string, value []byte) *Problem {
	m := newValue(ParseKey(key).Kind)
	if m == nil {
		return nil
	}
	return decodeValue(key, value, m)
}

func newValue(k KeyKind) proto.Message {
	switch k {
	case KeyCheckpoint:
		return &streamingpb.WALCheckpoint{}
	case KeySalvage:
		return &commonpb.ReplicateCheckpoint{}
	case KeyVChannel:
		return &streamingpb.VChannelMeta{}
	case KeySchema:
		return &streamingpb.CollectionSchemaOfVChannel{}
	case KeySegment:
		return &streamingpb.SegmentAssignmentMeta{}
	case KeyPChannel:
		return &streamingpb.PChannelMeta{}
	case KeyControlChannel:
		return &streamingpb.CChannelMeta{}
	case KeyStreamingVersion:
		return &streamingpb.StreamingVersion{}
	case KeyBroadcast:
		return &streamingpb.BroadcastTask{}
	case KeyReplicateConfiguration:
		return &streamingpb.ReplicateConfigurationMeta{}
	case KeyReplicatingPChannel:
		return &streamingpb.ReplicatePChannelMeta{}
	case KeyChannelCheckpoint:
		return &msgpb.MsgPosition{}
	}
	return nil
}

func (d *decoder) key(k Key, value []byte) {
	switch k.Kind {
	case KeyCheckpoint:
		cp := &streamingpb.WALCheckpoint{}
		if d.decode(k.Raw, value, cp) {
			d.md.Checkpoint = cp
		}
	case KeySalvage:
		cp := &commonpb.ReplicateCheckpoint{}
		if d.decode(k.Raw, value, cp) {
			d.md.Salvage[k.Name] = cp
		}
	case KeyVChannel:
		d.vchannel(k, value)
	case KeySchema:
		s := &streamingpb.CollectionSchemaOfVChannel{}
		if !d.decode(k.Raw, value, s) {
			break
		}
		if s.GetCheckpointTimeTick() != k.TimeTick {
			d.problem(k.Raw, CodeNameMismatch, false, "the schema is of TimeTick %d", s.GetCheckpointTimeTick())
		}
		d.schemas[k.VChannel] = append(d.schemas[k.VChannel], s)
		d.keys[s] = k.Raw
	case KeySegment:
		s := d.segment(k, value)
		if s == nil {
			break
		}
		if s.GetSegmentId() != k.Segment {
			d.problem(k.Raw, CodeNameMismatch, false, "the value is of segment %d", s.GetSegmentId())
		}
		d.md.Segments[k.Segment] = s
	default:
		d.problem(k.Raw, CodeUnknownKey, false, "no known version writes this key; it is left as it is")
	}
}

// segment is a segment's metadata, nil where it is unusable.
func (d *decoder) segment(k Key, value []byte) *streamingpb.SegmentAssignmentMeta {
	if d.known != nil {
		if s := d.known(k.Segment, value); s != nil {
			return s
		}
	}
	s := &streamingpb.SegmentAssignmentMeta{}
	if !d.decode(k.Raw, value, s) {
		return nil
	}
	return s
}

func (d *decoder) vchannel(k Key, value []byte) {
	v := &streamingpb.VChannelMeta{}
	if !d.decode(k.Raw, value, v) {
		return
	}
	if v.GetVchannel() != k.VChannel {
		d.problem(k.Raw, CodeNameMismatch, false, "the value is of vchannel %q", v.GetVchannel())
	}
	if v.GetCollectionInfo() == nil {
		d.problem(k.Raw, CodeNoCollectionInfo, true, "Milvus panics when it loads this vchannel")
	} else if len(v.CollectionInfo.Schemas) > 0 {
		d.problem(k.Raw, CodeNotRoundTrip, false, "schemas lie inside the vchannel's own value")
		v.CollectionInfo.Schemas = nil
	}
	d.md.VChannels[k.VChannel] = v
}

// attachSchemas gives every vchannel its schemas and names those left over. The
// order is Milvus's: by TimeTick.
func (d *decoder) attachSchemas() {
	for name, v := range d.md.VChannels {
		ss := d.schemas[name]
		if len(ss) == 0 {
			d.problem(VChannelKey(d.md.PChannel, name), CodeNoSchema, true, "Milvus panics when it loads this vchannel: it has no schema key")
			continue
		}
		sort.SliceStable(ss, func(i, j int) bool { return ss[i].GetCheckpointTimeTick() < ss[j].GetCheckpointTimeTick() })
		if v.CollectionInfo != nil {
			v.CollectionInfo.Schemas = ss
		}
	}
	for name, ss := range d.schemas {
		if d.md.VChannels[name] != nil {
			continue
		}
		for _, s := range ss {
			d.problem(d.keys[s], CodeOrphanSchema, false, "vchannel %s has no key of its own", name)
		}
	}
}

// Encode returns the keys and values of md's typed parts, as Milvus writes them
// (deterministic protobuf). Everything in md is encoded, DROPPED and FLUSHED
// entries too: removing those is the caller's decision. KV is not looked at.
func Encode(md Metadata) (map[string][]byte, error) {
	out := make(map[string][]byte, len(md.KV))
	if md.Checkpoint != nil {
		if err := put(out, CheckpointKey(md.PChannel), md.Checkpoint); err != nil {
			return nil, err
		}
	}
	for cluster, cp := range md.Salvage {
		if err := put(out, SalvageKey(md.PChannel, cluster), cp); err != nil {
			return nil, err
		}
	}
	for name, v := range md.VChannels {
		if err := EncodeVChannel(out, md.PChannel, name, v); err != nil {
			return nil, err
		}
	}
	for id, s := range md.Segments {
		if err := put(out, SegmentKey(md.PChannel, id), s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// EncodeVChannel adds a vchannel's base key and one key for each of its schemas
// to out. v is not changed.
func EncodeVChannel(out map[string][]byte, pchannel, name string, v *streamingpb.VChannelMeta) error {
	base, schemas := v, v.GetCollectionInfo().GetSchemas()
	if len(schemas) > 0 {
		base = withoutSchemas(v)
	}
	if err := put(out, VChannelKey(pchannel, name), base); err != nil {
		return err
	}
	for _, s := range schemas {
		if err := put(out, SchemaKey(pchannel, name, s.GetCheckpointTimeTick()), s); err != nil {
			return err
		}
	}
	return nil
}

// withoutSchemas is a copy of v for its base key. Only what is changed is copied:
// unknown fields and partitions are shared with v.
func withoutSchemas(v *streamingpb.VChannelMeta) *streamingpb.VChannelMeta {
	info := &streamingpb.CollectionInfoOfVChannel{
		CollectionId: v.CollectionInfo.CollectionId,
		Partitions:   v.CollectionInfo.Partitions,
	}
	info.ProtoReflect().SetUnknown(v.CollectionInfo.ProtoReflect().GetUnknown())
	base := &streamingpb.VChannelMeta{
		Vchannel:           v.Vchannel,
		State:              v.State,
		CollectionInfo:     info,
		CheckpointTimeTick: v.CheckpointTimeTick,
	}
	base.ProtoReflect().SetUnknown(v.ProtoReflect().GetUnknown())
	return base
}

// EncodeSegment returns the key and value of a segment's assignment.
func EncodeSegment(pchannel string, s *streamingpb.SegmentAssignmentMeta) (string, []byte, error) {
	b, err := marshal(s)
	return SegmentKey(pchannel, s.GetSegmentId()), b, err
}

func put(out map[string][]byte, key string, m proto.Message) error {
	b, err := marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	out[key] = b
	return nil
}

func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}
