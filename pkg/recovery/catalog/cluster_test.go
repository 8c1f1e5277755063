package catalog

import (
	"encoding/base64"
	"math"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/datapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestLoadCluster(t *testing.T) {
	kv := map[string][]byte{
		PChannelKey("dml_0"):         mustMarshal(t, &streamingpb.PChannelMeta{Channel: &streamingpb.PChannelInfo{Name: "dml_0", Term: 7}}),
		ControlChannelKey + "/":      mustMarshal(t, &streamingpb.CChannelMeta{Pchannel: "dml_0"}),
		StreamingVersionKey:          mustMarshal(t, &streamingpb.StreamingVersion{Version: 1}),
		StreamingVersionKey + "/":    mustMarshal(t, &streamingpb.StreamingVersion{Version: 2}),
		broadcastPrefix + "12":       mustMarshal(t, &streamingpb.BroadcastTask{State: 1}),
		broadcastPrefix + "x":        nil,
		ChannelCheckpointKey("v"):    mustMarshal(t, &msgpb.MsgPosition{ChannelName: "v", Timestamp: math.MaxUint64}),
		ChannelCheckpointKey("bad"):  {0xff},
		SessionCounterKey:            []byte("13"),
		"session/mixcoord":           []byte(`{"ServerID":1,"ServerName":"mixcoord","Address":"10.0.0.1:53100","Version":"2.6.14","HostName":"by-milvus-mixcoord-5d8f7c9b6d-x2x4z"}`),
		"session/streamingnode-12":   []byte(`{"ServerID":12,"HostName":"sn-3"}`),
		"session/querynode-9":        []byte("torn{"),
		"streamingnode-meta/wal/x/y": nil,
	}
	c, err := LoadCluster(t.Context(), FromMap(kv))
	require.NoError(t, err)
	require.Equal(t, int64(7), c.PChannels["dml_0"].GetChannel().GetTerm())
	require.Equal(t, "dml_0", c.ControlChannel)
	require.Equal(t, int64(2), c.StreamingVersion)
	require.Contains(t, c.Broadcasts, uint64(12))
	require.True(t, ChannelDropped(c.ChannelCheckpoints["v"]))
	require.Len(t, c.Sessions, 3, "what cannot be read counts as live")
	require.Equal(t, "kubectl scale deployment by-milvus-mixcoord --replicas=0", c.Sessions[0].StopCommand())
	require.Equal(t, "querynode", c.Sessions[1].Role)
	require.Equal(t, "kubectl scale statefulset sn --replicas=0", c.Sessions[2].StopCommand())
	codes := map[string]string{}
	for _, p := range c.Problems {
		codes[p.Key] = p.Code
	}
	require.Equal(t, map[string]string{
		ControlChannelKey + "/": CodeSlashedKey, StreamingVersionKey + "/": CodeSlashedKey, broadcastPrefix + "x": CodeUnknownKey,
		ChannelCheckpointKey("bad"): CodeUndecodable, "session/querynode-9": CodeUndecodable,
	}, codes)
}

func TestCollections(t *testing.T) {
	kv := map[string][]byte{
		databasePrefix + "1":        mustMarshal(t, &etcdpb.DatabaseInfo{Id: 1, Name: "default"}),
		collectionOfDB + "1/100":    mustMarshal(t, &etcdpb.CollectionInfo{ID: 100, DbId: 1, Schema: &schemapb.CollectionSchema{Name: "docs"}}),
		collectionOfDB + "1/101":    tombstone,
		collectionOld + "99":        mustMarshal(t, &etcdpb.CollectionInfo{ID: 99, Schema: &schemapb.CollectionSchema{Name: "old", Fields: []*schemapb.FieldSchema{{FieldID: 100}}}}),
		collectionOfDB + "1/102":    {0xff},
		partitionPrefix + "100/12":  mustMarshal(t, &etcdpb.PartitionInfo{PartitionID: 12, PartitionName: "p"}),
		partitionPrefix + "100/9":   mustMarshal(t, &etcdpb.PartitionInfo{PartitionID: 9, PartitionName: "_default"}),
		fieldPrefix + "100/100":     mustMarshal(t, &schemapb.FieldSchema{FieldID: 100, Name: "id"}),
		fieldPrefix + "100/1000":    mustMarshal(t, &schemapb.FieldSchema{FieldID: 1000, Name: "last"}),
		fieldPrefix + "100/101":     mustMarshal(t, &schemapb.FieldSchema{FieldID: 101, Name: "vec"}),
		fieldPrefix + "7/101":       {0xff}, // of no collection
		functionPrefix + "100/1":    mustMarshal(t, &schemapb.FunctionSchema{Id: 1, Name: "bm25"}),
		structFieldPrefix + "100/5": mustMarshal(t, &schemapb.StructArrayFieldSchema{FieldID: 5, Name: "s"}),
	}
	cols, problems, err := Collections(t.Context(), FromMap(kv))
	require.NoError(t, err)
	require.Len(t, cols, 2)
	c := cols[100]
	require.Equal(t, [2]string{"default", "docs"}, [2]string{c.Database, c.Name()})
	require.Equal(t, []string{"id", "vec", "last"}, []string{c.Schema.Fields[0].Name, c.Schema.Fields[1].Name, c.Schema.Fields[2].Name})
	require.Equal(t, int64(9), c.Partitions[0].PartitionID)
	require.Len(t, c.Schema.Functions, 1)
	require.Len(t, c.Schema.StructArrayFields, 1)
	require.Empty(t, c.Info.Schema.Fields, "the stored value is left alone")
	require.Len(t, cols[99].Schema.Fields, 1)
	require.Len(t, problems, 1)
	require.Equal(t, collectionOfDB+"1/102", problems[0].Key)
}

func TestPositions(t *testing.T) {
	const p, v = "dml_1", "dml_1_100v0"
	id := func(a, b int64) message.ID { return message.ID{Backend: message.BackendPulsar, A: a, B: b} }
	form := message.Form{}
	_, form, err := message.ParseRaw(message.BackendPulsar, id(1, 1).Raw(form))
	require.NoError(t, err)
	text := func(i message.ID) *commonpb.MessageID {
		return &commonpb.MessageID{Id: i.Raw(form), WALName: commonpb.WALName_Pulsar}
	}
	raw := func(i message.ID) []byte {
		b, err := base64.StdEncoding.DecodeString(i.Raw(form))
		require.NoError(t, err)
		return b
	}
	kv := map[string][]byte{
		CheckpointKey(p): mustMarshal(t, &streamingpb.WALCheckpoint{MessageId: text(id(5, 6)), TimeTick: 9,
			ReplicateCheckpoint: &commonpb.ReplicateCheckpoint{MessageId: text(id(77, 1)), TimeTick: 3}}),
		ChannelCheckpointKey(v):              mustMarshal(t, &msgpb.MsgPosition{MsgID: raw(id(4, 4)), Timestamp: 8, WALName: commonpb.WALName_Pulsar}),
		ChannelCheckpointKey("dml_10_100v0"): mustMarshal(t, &msgpb.MsgPosition{MsgID: raw(id(1, 1))}),
		ChannelCheckpointKey("dml_1_99v0"):   mustMarshal(t, &msgpb.MsgPosition{Timestamp: math.MaxUint64}),
		collectionOfDB + "1/100":             mustMarshal(t, &etcdpb.CollectionInfo{ID: 100, DbId: 1, PhysicalChannelNames: []string{p}, StartPositions: []*commonpb.KeyDataPair{{Key: p, Data: raw(id(2, 0))}, {Key: "dml_10", Data: raw(id(3, 0))}}}),
		segmentInfoPrefix + "100/1/5":        mustMarshal(t, &datapb.SegmentInfo{ID: 5, InsertChannel: v, StartPosition: &msgpb.MsgPosition{MsgID: raw(id(3, 1))}, DmlPosition: &msgpb.MsgPosition{MsgID: []byte{0xff}}}),
		segmentInfoPrefix + "100/1/6":        mustMarshal(t, &datapb.SegmentInfo{ID: 6, InsertChannel: "dml_10_100v1", StartPosition: &msgpb.MsgPosition{MsgID: raw(id(9, 9))}}),
		segmentInfoPrefix + "200/1/7":        {0xff}, // another collection's
	}
	got, problems, err := Positions(t.Context(), FromMap(kv), p)
	require.NoError(t, err)
	require.Empty(t, problems)
	seen := map[string]string{}
	for _, g := range got {
		s := g.ID.String()
		if !g.HasID {
			s = "none"
		}
		if g.Err != nil {
			s = "bad"
		}
		seen[g.Place+" "+g.VChannel] = s
	}
	require.Equal(t, map[string]string{
		"consume-checkpoint ":   id(5, 6).String(),
		"replicate-checkpoint ": id(77, 1).String(),
		"channel-cp " + v:       id(4, 4).String(),
		"channel-cp dml_1_99v0": "none",
		"start-position " + p:   id(2, 0).String(),
		"segment-start " + v:    id(3, 1).String(),
		"segment-dml " + v:      "bad",
	}, seen)
}

func BenchmarkDecode100kSegments(b *testing.B) {
	kv := map[string][]byte{}
	for i := range int64(100_000) {
		k, v, err := EncodeSegment("dml_1", &streamingpb.SegmentAssignmentMeta{CollectionId: 1, PartitionId: 2, SegmentId: 460000000000000000 + i,
			Vchannel: "by-dev-rootcoord-dml_1_450000000001000001v0", State: 1, CheckpointTimeTick: 470603131025883139,
			Stat: &streamingpb.SegmentAssignmentStat{MaxBinarySize: 1 << 30, ModifiedRows: uint64(i), ModifiedBinarySize: uint64(i) * 100}})
		require.NoError(b, err)
		kv[k] = v
	}
	b.ReportAllocs()
	for b.Loop() {
		md, problems := Decode("dml_1", kv)
		if len(md.Segments) != 100_000 || len(problems) > 0 {
			b.Fatal(len(md.Segments), problems)
		}
	}
}
