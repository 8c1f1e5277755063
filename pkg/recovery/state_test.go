package recovery_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

const (
	pchannel = "by-dev-rootcoord-dml_0"
	vchan    = pchannel + "_100v0"
)

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return b
}

func b64(t testing.TB, m proto.Message) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString(mustMarshal(t, m))
}

// machine feeds a State single messages, each at the next TimeTick.
type machine struct {
	*testing.T
	*recovery.State
	next uint64
}

func start(t *testing.T, md catalog.Metadata) *machine {
	t.Helper()
	md.PChannel = pchannel
	if md.Checkpoint == nil {
		md.Checkpoint = &streamingpb.WALCheckpoint{TimeTick: 100, RecoveryMagic: 1}
	}
	s, err := recovery.NewState(md, recovery.Options{})
	require.NoError(t, err)
	return &machine{t, s, 101}
}

// see delivers a message; props come in pairs.
func (m *machine) see(typ message.Type, v string, header, body proto.Message, props ...string) *message.Message {
	m.Helper()
	x := m.build(typ, v, header, body, props...)
	m.Observe(order.Delivery{Message: x, TimeTick: x.TimeTick})
	return x
}

func (m *machine) build(typ message.Type, v string, header, body proto.Message, props ...string) *message.Message {
	m.Helper()
	version := "1"
	switch typ {
	case message.TypeSchemaChange, message.TypeAlterCollection, message.TypeCreateSegment, message.TypeFlush, message.TypeManualFlush,
		message.TypeFlushAll, message.TypeTruncateCollection, message.TypeAlterWAL, message.TypeAlterReplicateConfig:
		version = "2"
	}
	x := &message.Message{}
	x.SetID(message.ID{Backend: message.BackendPulsar, A: 1, B: int64(m.next)}, message.Form{BatchSize: 1})
	x.Props = message.Properties{{Key: "_lcs"}, {Key: "_t", Value: itoa(int(typ))}, {Key: "_tt", Value: base36(m.next)}, {Key: "_v", Value: version}}
	if v != "" {
		x.Props = append(x.Props, message.Property{Key: "_vc", Value: v})
	}
	if header != nil {
		x.Props = append(x.Props, message.Property{Key: "_h", Value: b64(m.T, header)})
	}
	for i := 0; i+1 < len(props); i += 2 {
		x.Props = append(x.Props, message.Property{Key: props[i], Value: props[i+1]})
	}
	if body != nil {
		x.Payload = mustMarshal(m.T, body)
	}
	x.Props.Sort()
	var d message.Decoder
	d.Decode(x)
	m.next++
	return x
}

func itoa(n int) string {
	return strings.TrimLeft(string([]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)}), "0")
}

func base36(n uint64) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	out := ""
	for ; n > 0; n /= 36 {
		out = string(digits[n%36]) + out
	}
	return out
}

func (m *machine) create(v string, collection int64, partitions ...int64) {
	m.Helper()
	m.see(message.TypeCreateCollection, v, &messagespb.CreateCollectionMessageHeader{CollectionId: collection, PartitionIds: partitions},
		&msgpb.CreateCollectionRequest{CollectionID: collection, CollectionSchema: &schemapb.CollectionSchema{Name: "c"}})
}

func (m *machine) segment(v string, collection, partition, id int64) {
	m.Helper()
	m.see(message.TypeCreateSegment, v, &messagespb.CreateSegmentMessageHeader{CollectionId: collection, PartitionId: partition, SegmentId: id, MaxRows: 9}, nil)
}

func insertHeader(collection int64, parts ...int64) *messagespb.InsertMessageHeader {
	h := &messagespb.InsertMessageHeader{CollectionId: collection}
	for i := 0; i+2 < len(parts); i += 3 {
		h.Partitions = append(h.Partitions, &messagespb.PartitionSegmentAssignment{PartitionId: parts[i], Rows: uint64(parts[i+2]), BinarySize: 7,
			SegmentAssignment: &messagespb.SegmentAssignment{SegmentId: parts[i+1]}})
	}
	return h
}

func (m *machine) codes() (out []recovery.Code) {
	for _, i := range m.Issues().List() {
		out = append(out, i.Code)
	}
	return out
}

func (m *machine) rows(id int64) uint64 { return m.All().Segments[id].GetStat().GetModifiedRows() }

func TestInsertsThatArePassedOver(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(m *machine)
		want recovery.Code
	}{
		{"unknown segment", func(m *machine) {}, recovery.CodeInsertNoSegment},
		{"sealed segment", func(m *machine) {
			m.segment(vchan, 100, 1, 7)
			m.see(message.TypeFlush, vchan, &messagespb.FlushMessageHeader{SegmentId: 7}, nil)
		}, recovery.CodeInsertFlushed},
		{"dropped partition", func(m *machine) {
			m.segment(vchan, 100, 1, 7)
			m.see(message.TypeDropPartition, vchan, &messagespb.DropPartitionMessageHeader{CollectionId: 100, PartitionId: 1}, nil)
		}, recovery.CodeInsertNoPartition},
		{"dropped collection", func(m *machine) {
			m.segment(vchan, 100, 1, 7)
			m.see(message.TypeDropCollection, vchan, &messagespb.DropCollectionMessageHeader{CollectionId: 100}, nil)
		}, recovery.CodeInsertDropped},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := start(t, catalog.Metadata{})
			m.create(vchan, 100, 1)
			c.do(m)
			m.see(message.TypeInsert, vchan, insertHeader(100, 1, 7, 5), nil)
			require.Equal(t, []recovery.Code{c.want}, m.codes())
			require.EqualValues(t, 5, m.Issues().List()[0].Rows)
			require.Zero(t, m.rows(7))
			require.Empty(t, m.Snapshot().Segments)
		})
	}
	m := start(t, catalog.Metadata{})
	m.see(message.TypeInsert, vchan, insertHeader(100, 1, 7, 5), nil)
	require.Equal(t, []recovery.Code{recovery.CodeVChannelUnknown, recovery.CodeInsertNoVChannel}, m.codes())
}

func TestInsertOfManyPartitions(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1, 2)
	m.segment(vchan, 100, 1, 7)
	m.segment(vchan, 100, 2, 8)
	m.see(message.TypeInsert, vchan, insertHeader(100, 1, 7, 5, 2, 8, 6, 2, 9, 4), nil)
	require.EqualValues(t, 5, m.rows(7))
	require.EqualValues(t, 6, m.rows(8))
	require.Equal(t, []recovery.Code{recovery.CodeInsertNoSegment}, m.codes())
	require.EqualValues(t, 4, m.Issues().List()[0].Rows)
}

// A segment created behind the drop of its partition counts rows, but is hidden.
func TestOrphanSegments(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.segment(vchan, 100, 2, 7)
	m.see(message.TypeInsert, vchan, insertHeader(100, 2, 7, 5), nil)
	require.EqualValues(t, 5, m.rows(7))
	require.Empty(t, m.Snapshot().Segments)
	require.Equal(t, recovery.CodeSegmentOrphan, m.Orphans()[0].Code)
	require.EqualValues(t, 5, m.Orphans()[0].Rows)
	require.Equal(t, []recovery.Code{recovery.CodeInsertNoPartition}, m.codes())
	m.segment(pchannel+"_200v0", 200, 1, 8)
	require.Nil(t, m.All().Segments[8])
}

func TestGuardsSkipOnlySmallerTimeTicks(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.segment(vchan, 100, 1, 7)
	insert := m.build(message.TypeInsert, vchan, insertHeader(100, 1, 7, 5), nil)
	m.Observe(order.Delivery{Message: insert, TimeTick: 200, Begin: insert, Body: []*message.Message{insert, insert}})
	require.EqualValues(t, 10, m.rows(7), "parts of a transaction share a TimeTick and all count")
	m.Observe(order.Delivery{Message: insert, TimeTick: 200})
	require.EqualValues(t, 10, m.rows(7), "at the checkpoint's TimeTick: ignored")

	ahead := catalog.Metadata{VChannels: m.All().VChannels, Segments: m.All().Segments} // segment at 200, checkpoint at 100
	crash := start(t, ahead)
	crash.Observe(order.Delivery{Message: insert, TimeTick: 199})
	require.EqualValues(t, 10, crash.rows(7))
	crash.Observe(order.Delivery{Message: insert, TimeTick: 200})
	require.EqualValues(t, 15, crash.rows(7), "as Milvus counts it after a crash between segment and checkpoint")
}

func TestControlChannelChangesOnlyTheCheckpoint(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(pchannel+"_vcchan", 100, 1)
	require.Empty(t, m.All().VChannels)
	require.EqualValues(t, 101, m.TimeTick())
	m.create(vchan, 100, 1)
	m.segment(vchan, 100, 1, 7)
	m.see(message.TypeFlushAll, pchannel+"_vcchan", &messagespb.FlushAllMessageHeader{}, nil)
	require.Len(t, m.Snapshot().Segments, 1)
	m.see(message.TypeFlushAll, pchannel+"_vcchan", &messagespb.FlushAllMessageHeader{}, nil, "_pcl", "")
	require.Empty(t, m.Snapshot().Segments, "meant for the whole pchannel")
	require.Empty(t, m.codes())
}

func TestSchemas(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.see(message.TypeAlterCollection, vchan, &messagespb.AlterCollectionMessageHeader{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"properties"}}},
		&messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{}})
	v := func() *streamingpb.VChannelMeta { return m.All().VChannels[vchan] }
	require.Len(t, v().CollectionInfo.Schemas, 1)
	require.EqualValues(t, 102, v().CheckpointTimeTick)
	m.see(message.TypeAlterCollection, vchan, &messagespb.AlterCollectionMessageHeader{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schema"}}},
		&messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Schema: &schemapb.CollectionSchema{Name: "d"}}})
	m.see(message.TypeDropCollection, vchan, &messagespb.DropCollectionMessageHeader{CollectionId: 100}, nil)
	m.see(message.TypeSchemaChange, vchan, &messagespb.SchemaChangeMessageHeader{FlushedSegmentIds: []int64{3}},
		&messagespb.SchemaChangeMessageBody{Schema: &schemapb.CollectionSchema{Name: "e"}})
	require.Len(t, v().CollectionInfo.Schemas, 3, "a dropped vchannel gets it too")
	require.Equal(t, []recovery.Code{recovery.CodeFlushMissing}, m.codes())
	kv, err := m.Persist()
	require.NoError(t, err)
	require.Equal(t, 1, len(kv), "dropped: only the checkpoint is left")
}

func config(cluster string, topology ...string) *commonpb.ReplicateConfiguration {
	c := &commonpb.ReplicateConfiguration{Clusters: []*commonpb.MilvusCluster{
		{ClusterId: cluster, Pchannels: []string{"by-dev-rootcoord-dml_9", pchannel}},
		{ClusterId: "src", Pchannels: []string{"src_9", "src_0"}},
	}}
	for i := 0; i+1 < len(topology); i += 2 {
		c.CrossClusterTopology = append(c.CrossClusterTopology, &commonpb.CrossClusterTopology{SourceClusterId: topology[i], TargetClusterId: topology[i+1]})
	}
	return c
}

func (m *machine) configure(h *messagespb.AlterReplicateConfigMessageHeader) {
	m.Helper()
	m.see(message.TypeAlterReplicateConfig, pchannel+"_vcchan", h, &messagespb.AlterReplicateConfigMessageBody{})
}

func (m *machine) replicated(cluster string, tick uint64) {
	m.Helper()
	m.see(message.TypeCreateDatabase, pchannel+"_vcchan", &messagespb.CreateDatabaseMessageHeader{}, nil, "_rh",
		b64(m.T, &messagespb.ReplicateHeader{ClusterId: cluster, TimeTick: tick, MessageId: &commonpb.MessageID{Id: "m"}, LastConfirmedMessageId: &commonpb.MessageID{Id: "lc"}}))
}

func TestReplication(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.replicated("src", 7)
	require.Equal(t, []recovery.Code{recovery.CodeReplicateState}, m.codes())
	m.configure(&messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: config("by-dev", "src", "by-dev"), Ignore: true})
	require.Nil(t, m.Checkpoint().ReplicateConfig)
	m.configure(&messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: config("by-dev", "src", "by-dev")})
	require.Equal(t, "src", m.Checkpoint().ReplicateCheckpoint.ClusterId)
	require.Equal(t, "src_0", m.Checkpoint().ReplicateCheckpoint.Pchannel, "the pchannel at the same index")
	m.replicated("src", 8)
	m.replicated("else", 9)
	require.EqualValues(t, 8, m.Checkpoint().ReplicateCheckpoint.TimeTick)
	require.Equal(t, "lc", m.Checkpoint().ReplicateCheckpoint.MessageId.Id)
	m.configure(&messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: config("by-dev", "src", "by-dev")})
	require.EqualValues(t, 8, m.Checkpoint().ReplicateCheckpoint.TimeTick, "the same source: it stays")
	m.configure(&messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: config("by-dev", "by-dev", "src"), ForcePromote: true})
	require.Nil(t, m.Checkpoint().ReplicateCheckpoint)
	kv, err := m.Persist()
	require.NoError(t, err)
	var salvage commonpb.ReplicateCheckpoint
	require.NoError(t, proto.Unmarshal(kv[catalog.SalvageKey(pchannel, "src")], &salvage))
	require.EqualValues(t, 8, salvage.TimeTick)
	require.Nil(t, m.Issues().FirstObstacle(recovery.AllLines))
}

func TestReplicateConfigurationsThatPanic(t *testing.T) {
	unequal := config("by-dev", "src", "by-dev")
	unequal.Clusters[1].Pchannels = unequal.Clusters[1].Pchannels[:1]
	foreign := config("by-dev", "src", "by-dev")
	foreign.Clusters[0].Pchannels[1] = "other"
	for name, c := range map[string]*commonpb.ReplicateConfiguration{
		"own cluster missing":  config("elsewhere", "src", "elsewhere"),
		"two primaries":        config("by-dev"),
		"no primary":           config("by-dev", "src", "by-dev", "by-dev", "src"),
		"two sources":          config("by-dev", "src", "by-dev", "src", "by-dev"),
		"unknown cluster":      config("by-dev", "nobody", "by-dev"),
		"unequal pchannels":    unequal,
		"own pchannel missing": foreign,
		"empty":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			m := start(t, catalog.Metadata{})
			m.configure(&messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: c})
			o := m.Issues().FirstObstacle(recovery.Line26)
			require.NotNil(t, o)
			require.Equal(t, recovery.CodeReplicateConfig, o.Code)
			require.NotEmpty(t, o.Detail)
			require.Nil(t, m.Checkpoint().ReplicateConfig)
			require.EqualValues(t, 101, m.TimeTick(), "the replay goes on")
		})
	}
}

func TestAlterWAL(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.segment(vchan, 100, 1, 7)
	for _, w := range []commonpb.WALName{commonpb.WALName_WoodPecker, commonpb.WALName_Kafka} {
		m.see(message.TypeAlterWAL, pchannel, &messagespb.AlterWALMessageHeader{TargetWalName: w, Config: map[string]string{"a": "b"}}, nil, "_pcl", "")
	}
	require.True(t, m.AlterWAL())
	require.Empty(t, m.Snapshot().Segments)
	st := m.Checkpoint().AlterWalState
	require.Equal(t, commonpb.WALName_WoodPecker, st.TargetWalName, "the first one counts")
	require.Equal(t, streamingpb.AlterWALStage_FLUSHING, st.Stage)

	next := start(t, catalog.Metadata{Checkpoint: m.Checkpoint()})
	require.Equal(t, recovery.CodeAlterWALStageLost, next.Issues().FirstObstacle(recovery.Line30).Code)
}

func TestWhatStopsANode(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(m *machine)
		want recovery.Code
		line recovery.Line
	}{
		{"no header", func(m *machine) { m.see(message.TypeCreatePartition, vchan, nil, nil) }, recovery.CodeHeader, recovery.AllLines},
		{"broken header", func(m *machine) { m.see(message.TypeManualFlush, vchan, nil, nil, "_h", "/////w==") }, recovery.CodeHeader, recovery.AllLines},
		{"broken hot header", func(m *machine) { m.see(message.TypeInsert, vchan, nil, nil, "_h", "!") }, recovery.CodeHeader, recovery.AllLines},
		{"broken body", func(m *machine) {
			x := m.build(message.TypeCreateCollection, pchannel+"_101v0", &messagespb.CreateCollectionMessageHeader{}, nil)
			x.Payload, x.PayloadSize = []byte{255}, 1
			m.Observe(order.Delivery{Message: x, TimeTick: x.TimeTick})
		}, recovery.CodeBody, recovery.AllLines},
		{"broadcast without vchannel", func(m *machine) { m.see(message.TypeCreateDatabase, "", nil, nil, "_h", "", "_bh", "") }, recovery.CodeEnvelope, recovery.AllLines},
		{"vchannel not UTF-8", func(m *machine) {
			m.see(message.TypeCreatePartition, "\xff", nil, nil, "_h", "")
			_, err := m.Persist()
			require.NoError(m.T, err)
		}, recovery.CodeEnvelope, recovery.AllLines},
		{"broken replicate header", func(m *machine) { m.see(message.TypeDelete, vchan, nil, nil, "_h", "", "_rh", "/////w==") }, recovery.CodeEnvelope, recovery.AllLines},
		{"whole transaction as a record", func(m *machine) { m.see(message.TypeTxn, vchan, nil, nil, "_h", "") }, recovery.CodeNeverOnWire, recovery.AllLines},
		{"a type of 3.0", func(m *machine) { m.see(message.TypeCommitImport, vchan, nil, nil, "_h", "") }, recovery.CodeNewerType, recovery.Line26},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := start(t, catalog.Metadata{})
			m.create(vchan, 100, 1)
			c.do(m)
			o := m.Issues().FirstObstacle(recovery.Line26)
			require.NotNil(t, o, "%+v", m.Issues().List())
			require.Equal(t, c.want, o.Code)
			require.Equal(t, c.line, o.Stops)
			require.NotEmpty(t, o.Consequence())
			require.EqualValues(t, 102, m.TimeTick(), "the replay goes on")
		})
	}
	m := start(t, catalog.Metadata{})
	m.see(message.Type(555), vchan, nil, nil)
	require.Contains(t, m.codes(), recovery.CodeUnknownType)
	require.Nil(t, m.Issues().FirstObstacle(recovery.AllLines), "recovery passes over unknown types")
}

func TestCatalogThatStopsANode(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	kv, err := m.Persist()
	require.NoError(t, err)
	for k := range kv {
		if catalog.ParseKey(k).Kind == catalog.KeySchema {
			delete(kv, k)
		}
	}
	md, problems := catalog.Decode(pchannel, kv)
	md.Problems = problems
	s, err := recovery.NewState(md, recovery.Options{})
	require.NoError(t, err)
	o := s.Issues().FirstObstacle(recovery.Line26)
	require.Equal(t, recovery.CodeCatalogKey, o.Code)
	require.Equal(t, catalog.VChannelKey(pchannel, vchan), o.Key)
}

func TestLinesOfVersions(t *testing.T) {
	for v, want := range map[string]recovery.Line{"2.6.14": recovery.Line26, "v2.6": recovery.Line26, "3.0.1": recovery.Line30, "2.60": 0, "2.5.1": 0, "": 0} {
		require.Equal(t, want, recovery.LineOf(v), v)
	}
}

func TestFlushAtTheSegmentsOwnTimeTick(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.segment(vchan, 100, 1, 7)
	insert := m.build(message.TypeInsert, vchan, insertHeader(100, 1, 7, 5), nil)
	flush := m.build(message.TypeFlush, vchan, &messagespb.FlushMessageHeader{SegmentId: 7}, nil)
	m.Observe(order.Delivery{Message: flush, TimeTick: 200, Begin: insert, Body: []*message.Message{insert, flush}})
	require.Empty(t, m.Snapshot().Segments)
	require.EqualValues(t, 5, m.rows(7))
}

func TestCreateCollectionAgainChangesNothing(t *testing.T) {
	m := start(t, catalog.Metadata{})
	m.create(vchan, 100, 1)
	m.create(vchan, 100, 1, 2)
	require.Len(t, m.All().VChannels[vchan].CollectionInfo.Partitions, 1)
	m.see(message.TypeDropCollection, vchan, &messagespb.DropCollectionMessageHeader{CollectionId: 100}, nil)
	m.create(vchan, 100, 1)
	require.Empty(t, m.Snapshot().VChannels, "a dropped one stays dropped")
}
