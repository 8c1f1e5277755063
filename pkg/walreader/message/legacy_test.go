package message_test

import (
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

type legacySeed struct {
	typ, vchannel string
	payload       []byte
	want          message.Message // the fields compared
}

func legacySeeds(t testing.TB) []legacySeed {
	t.Helper()
	base := func(typ commonpb.MsgType, ts uint64) *commonpb.MsgBase {
		return &commonpb.MsgBase{MsgType: typ, Timestamp: ts}
	}
	wire := func(p proto.Message) []byte {
		b, err := proto.Marshal(p)
		require.NoError(t, err)
		return b
	}
	insert := wire(&msgpb.InsertRequest{
		Base: base(commonpb.MsgType_Insert, 1), ShardName: "p_7v0", CollectionID: 7, PartitionID: 8, SegmentID: 9,
		Timestamps: []uint64{30, 20, 40}, NumRows: 3,
	})
	props := func(typ, vchannel string) uint64 {
		return uint64(len(message.LegacyKeyType) + len(typ) + len(message.LegacyKeyVChannel) + len(vchannel))
	}
	return []legacySeed{
		{"TimeTick", "", wire(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType_TimeTick, 11)}),
			message.Message{Type: message.TypeTimeTick, TimeTick: 11}},
		{"", "", wire(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType_TimeTick, 11)}), // type from the payload
			message.Message{Type: message.TypeTimeTick, TimeTick: 11}},
		{"Insert", "", insert, message.Message{
			Type: message.TypeInsert, TimeTick: 20, VChannel: "p_7v0", Collection: 7, Partition: 8, Segment: 9, Rows: 3,
			BinarySize: uint64(len(insert)) + props("Insert", ""),
		}},
		{"Delete", "", wire(&msgpb.DeleteRequest{
			Base: base(commonpb.MsgType_Delete, 1), ShardName: "p_7v0", CollectionID: 7, PartitionID: 8,
			Timestamps: []uint64{12}, Int64PrimaryKeys: []int64{1, 2},
		}), message.Message{Type: message.TypeDelete, TimeTick: 12, VChannel: "p_7v0", Collection: 7, Rows: 2}},
		{"CreateCollection", "", wire(&msgpb.CreateCollectionRequest{
			Base: base(commonpb.MsgType_CreateCollection, 13), CollectionID: 7, PartitionIDs: []int64{8},
			VirtualChannelNames: []string{"o_7v0", "p_7v1"}, PhysicalChannelNames: []string{"o", "p"},
			CollectionSchema: &schemapb.CollectionSchema{Name: "c"},
		}), message.Message{Type: message.TypeCreateCollection, TimeTick: 13, VChannel: "p_7v1", Collection: 7}},
		{"DropCollection", "p_7v1", wire(&msgpb.DropCollectionRequest{
			Base: base(commonpb.MsgType_DropCollection, 14), CollectionID: 7,
		}), message.Message{Type: message.TypeDropCollection, TimeTick: 14, VChannel: "p_7v1", Collection: 7}},
		{"DropPartition", "", wire(&msgpb.DropPartitionRequest{
			Base: base(commonpb.MsgType_DropPartition, 15), CollectionID: 7, PartitionID: 8,
		}), message.Message{Type: message.TypeDropPartition, TimeTick: 15, Collection: 7, Partition: 8}},
		{"Import", "", wire(&msgpb.ImportMsg{
			Base: base(commonpb.MsgType_Import, 16), CollectionID: 7,
		}), message.Message{Type: message.TypeImport, TimeTick: 16, Collection: 7}},
	}
}

func decodeLegacy(s legacySeed, id int64) *message.Message {
	m := &message.Message{
		ID: message.ID{Backend: message.BackendPulsar, A: 1, B: id}, Payload: s.payload,
		Props: asProps(map[string]string{message.LegacyKeyType: s.typ, message.LegacyKeyVChannel: s.vchannel}),
	}
	d := message.Decoder{PChannel: "p"}
	d.Decode(m)
	return m
}

func TestMessagesFromBeforeTheStreamingServiceAreAdapted(t *testing.T) {
	for _, s := range legacySeeds(t) {
		m := decodeLegacy(s, 0)
		require.Empty(t, m.Defects, s.typ)
		got := message.Message{
			Type: m.Type, TimeTick: m.TimeTick, VChannel: m.VChannel, Collection: m.Collection,
			Partition: m.Partition, Segment: m.Segment, Rows: m.Rows, BinarySize: m.BinarySize,
		}
		require.Equal(t, s.want, got, s.typ)
		h, err := m.Header()
		require.NoError(t, err)
		if c, ok := h.(*messagespb.CreateCollectionMessageHeader); ok {
			require.Equal(t, []int64{8}, c.GetPartitionIds())
			schema, err := m.Schema()
			require.NoError(t, err)
			require.Equal(t, "c", schema.GetName())
		}
	}
}

func TestLegacyMessagesTakeTheirLastConfirmedThirtyBack(t *testing.T) {
	var l message.Legacy
	tick := legacySeeds(t)[0]
	for i := range int64(100) {
		got, ok := l.Adapt(decodeLegacy(tick, i))
		require.True(t, ok)
		want := message.ID{Backend: message.BackendPulsar, A: 1, B: max(0, i-message.LegacyWindow)}
		require.Equal(t, want, got.LastConfirmed)
		require.True(t, got.Has(message.HasLastConfirmed))
	}
}

func TestLegacyMessagesLearnTheirVChannel(t *testing.T) {
	var l message.Legacy
	seeds := map[string]legacySeed{}
	for _, s := range legacySeeds(t) {
		seeds[s.typ] = s
	}
	drop := decodeLegacy(seeds["DropPartition"], 1)
	_, ok := l.Adapt(drop)
	require.False(t, ok, "nothing tells the vchannel yet")
	_, ok = l.Adapt(decodeLegacy(seeds["CreateCollection"], 2))
	require.True(t, ok)
	got, ok := l.Adapt(drop)
	require.True(t, ok)
	require.Equal(t, "p_7v1", got.VChannel)
	require.Empty(t, drop.VChannel, "the message read stays as it was")
}
