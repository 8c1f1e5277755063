package catalog

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
)

// Every catalog value Milvus wrote must come out of Decode and Encode as it went in.
func TestGoldenRoundTrip(t *testing.T) {
	values := 0
	for _, name := range golden.Names(t) {
		for _, e := range golden.Expectations(t, name) {
			for _, kv := range []map[string][]byte{e.KVBefore, e.KVAfter} {
				md, problems := Decode(e.PChannel, kv)
				require.Empty(t, problems, "%s %s", name, e.File)
				got, err := Encode(md)
				require.NoError(t, err)
				requireSameKV(t, kv, got)
				values += len(kv)
			}
		}
	}
	require.Greater(t, values, 1000)
	t.Logf("%d values", values)
}

func requireSameKV(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for k := range want {
		require.True(t, bytes.Equal(want[k], got[k]), k)
	}
}

func TestKeysParseBack(t *testing.T) {
	const p = "by-dev-rootcoord-dml_1"
	for _, c := range []struct {
		raw  string
		want Key
	}{
		{CheckpointKey(p), Key{Kind: KeyCheckpoint, PChannel: p}},
		{SalvageKey(p, "east"), Key{Kind: KeySalvage, PChannel: p, Name: "east"}},
		{VChannelKey(p, "v"), Key{Kind: KeyVChannel, PChannel: p, VChannel: "v"}},
		{SchemaKey(p, "v", 7), Key{Kind: KeySchema, PChannel: p, VChannel: "v", TimeTick: 7}},
		{SegmentKey(p, -3), Key{Kind: KeySegment, PChannel: p, Segment: -3}},
		{PChannelKey(p), Key{Kind: KeyPChannel, PChannel: p}},
		{ControlChannelKey, Key{Kind: KeyControlChannel}},
		{ControlChannelKey + "/", Key{Kind: KeyControlChannel, Slashed: true}},
		{StreamingVersionKey, Key{Kind: KeyStreamingVersion}},
		{StreamingVersionKey + "/", Key{Kind: KeyStreamingVersion, Slashed: true}},
		{ChannelCheckpointKey("v"), Key{Kind: KeyChannelCheckpoint, VChannel: "v"}},
		{SessionCounterKey, Key{Kind: KeySessionCounter}},
		{"session/mixcoord", Key{Kind: KeySession, Name: "mixcoord"}},
		{"walctl/journal/1", Key{Kind: KeyJournal, Name: "journal/1"}},
		// Malformed names below a known place.
		{WALPrefix(p) + "segment-assign/01", Key{PChannel: p}},
		{WALPrefix(p) + "segment-assign/x", Key{PChannel: p}},
		{WALPrefix(p) + "vchannel/v/schema/+1", Key{PChannel: p}},
		{WALPrefix(p) + "vchannel/v/other/1", Key{PChannel: p}},
		{"", Key{}},
		{"/", Key{}},
		{"streamingnode-meta/wal//consume-checkpoint", Key{}},
	} {
		c.want.Raw = c.raw
		require.Equal(t, c.want, ParseKey(c.raw), c.raw)
	}
}

// What is wrong is named by key, and the rest is read.
func TestDecodeProblems(t *testing.T) {
	const p, v = "dml_1", "dml_1_100v0"
	base := &streamingpb.VChannelMeta{Vchannel: v, State: 1, CollectionInfo: &streamingpb.CollectionInfoOfVChannel{CollectionId: 100}}
	schema := &streamingpb.CollectionSchemaOfVChannel{CheckpointTimeTick: 7, State: 1}
	healthy := func() map[string][]byte {
		return map[string][]byte{
			CheckpointKey(p):   mustMarshal(t, &streamingpb.WALCheckpoint{TimeTick: 9, RecoveryMagic: 1}),
			VChannelKey(p, v):  mustMarshal(t, base),
			SchemaKey(p, v, 7): mustMarshal(t, schema),
			SegmentKey(p, 5):   mustMarshal(t, &streamingpb.SegmentAssignmentMeta{SegmentId: 5, Vchannel: v}),
		}
	}
	_, problems := Decode(p, healthy())
	require.Empty(t, problems)

	for name, c := range map[string]struct {
		change func(map[string][]byte)
		key    string
		code   string
		fatal  bool
	}{
		"no schema":      {func(kv map[string][]byte) { delete(kv, SchemaKey(p, v, 7)) }, VChannelKey(p, v), CodeNoSchema, true},
		"orphan schema":  {func(kv map[string][]byte) { delete(kv, VChannelKey(p, v)) }, SchemaKey(p, v, 7), CodeOrphanSchema, false},
		"garbage":        {func(kv map[string][]byte) { kv[CheckpointKey(p)] = []byte{0xff} }, CheckpointKey(p), CodeUndecodable, true},
		"segment's name": {func(kv map[string][]byte) { kv[SegmentKey(p, 6)] = kv[SegmentKey(p, 5)] }, SegmentKey(p, 6), CodeNameMismatch, false},
		"schema's name":  {func(kv map[string][]byte) { kv[SchemaKey(p, v, 8)] = kv[SchemaKey(p, v, 7)] }, SchemaKey(p, v, 8), CodeNameMismatch, false},
		"strange key":    {func(kv map[string][]byte) { kv[WALPrefix(p)+"new/thing"] = []byte("x") }, WALPrefix(p) + "new/thing", CodeUnknownKey, false},
		"long varint":    {func(kv map[string][]byte) { kv[CheckpointKey(p)] = []byte{0x10, 0x89, 0x00} }, CheckpointKey(p), CodeNotRoundTrip, false},
		"no collection": {func(kv map[string][]byte) {
			kv[VChannelKey(p, v)] = mustMarshal(t, &streamingpb.VChannelMeta{Vchannel: v})
		}, VChannelKey(p, v), CodeNoCollectionInfo, true},
		"too large": {func(kv map[string][]byte) { kv[CheckpointKey(p)] = make([]byte, MaxValueSize+1) }, CheckpointKey(p), CodeTooLarge, false},
	} {
		t.Run(name, func(t *testing.T) {
			kv := healthy()
			c.change(kv)
			md, problems := Decode(p, kv)
			require.Len(t, problems, 1)
			require.Equal(t, [3]any{c.key, c.code, c.fatal}, [3]any{problems[0].Key, problems[0].Code, problems[0].Fatal}, problems[0].String())
			require.Len(t, md.KV, len(kv), "every key found is kept")
			require.Contains(t, md.Segments, int64(5), "the rest is read")
		})
	}
}

// A field a later version adds must survive being read and written.
func TestUnknownFieldsSurvive(t *testing.T) {
	const p, v = "dml_1", "dml_1_100v0"
	later := []byte{0xda, 0x3e, 0x01, 'x'} // field 1003, one byte
	meta := &streamingpb.VChannelMeta{Vchannel: v, CollectionInfo: &streamingpb.CollectionInfoOfVChannel{CollectionId: 1}}
	meta.ProtoReflect().SetUnknown(later)
	meta.CollectionInfo.ProtoReflect().SetUnknown(later)
	kv := map[string][]byte{
		VChannelKey(p, v):  mustMarshal(t, meta),
		SchemaKey(p, v, 3): append(mustMarshal(t, &streamingpb.CollectionSchemaOfVChannel{CheckpointTimeTick: 3}), later...),
		CheckpointKey(p):   append(mustMarshal(t, &streamingpb.WALCheckpoint{TimeTick: 3}), later...),
	}
	md, problems := Decode(p, kv)
	require.Empty(t, problems)
	got, err := Encode(md)
	require.NoError(t, err)
	requireSameKV(t, kv, got)
}

// dml_1 must not read dml_10's keys.
func TestDecodeKeepsToItsPChannel(t *testing.T) {
	md, problems := Decode("dml_1", map[string][]byte{CheckpointKey("dml_10"): {0xff}, "other": nil})
	require.Empty(t, problems)
	require.Empty(t, md.KV)
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := marshal(m)
	require.NoError(t, err)
	return b
}

func FuzzDecode(f *testing.F) {
	const p = "dml_1"
	f.Add("consume-checkpoint", []byte{0x10, 0x09})
	f.Add("vchannel/v", []byte{0x0a, 0x01, 'v', 0x1a, 0x00})
	f.Add("vchannel/v/schema/7", []byte{0x10, 0x07})
	f.Add("segment-assign/5", []byte{0x18, 0x05})
	f.Add("salvage-checkpoint/c", []byte{})
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		kv := map[string][]byte{WALPrefix(p) + name: value}
		md, problems := Decode(p, kv)
		got, err := Encode(md)
		if err != nil {
			t.Fatal(err)
		}
		for _, pr := range problems {
			if pr.Code != CodeNoSchema && pr.Code != CodeNoCollectionInfo {
				return // told, so the bytes need not come back
			}
		}
		requireSameKV(t, kv, got)
	})
}
