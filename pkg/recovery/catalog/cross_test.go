package catalog

import (
	"encoding/base64"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
)

// crossCluster has two pchannels, sends both to cluster "b", and keeps one position
// of each.
func crossCluster() (*Cluster, map[int64]*Collection, map[string]Metadata) {
	c := &Cluster{
		PChannels: map[string]*streamingpb.PChannelMeta{"a_0": {}, "a_1": {}},
		Replicate: &streamingpb.ReplicateConfigurationMeta{ReplicateConfiguration: &commonpb.ReplicateConfiguration{
			Clusters:             []*commonpb.MilvusCluster{{ClusterId: "a", Pchannels: []string{"a_0", "a_1"}}, {ClusterId: "b", Pchannels: []string{"b_0", "b_1"}}},
			CrossClusterTopology: []*commonpb.CrossClusterTopology{{SourceClusterId: "a", TargetClusterId: "b"}},
		}},
		Replicating: map[string]*streamingpb.ReplicatePChannelMeta{"b-a_0": {}, "b-a_1": {}},
	}
	cols := map[int64]*Collection{7: {Info: &etcdpb.CollectionInfo{State: etcdpb.CollectionState_CollectionCreated, VirtualChannelNames: []string{"a_0_7v0", "a_1_7v1"},
		Schema: &schemapb.CollectionSchema{Name: "docs"}}}}
	id := func(s string) *commonpb.MessageID {
		return &commonpb.MessageID{WALName: commonpb.WALName_Pulsar, Id: s}
	}
	return c, cols, map[string]Metadata{"a_0": {PChannel: "a_0", Checkpoint: &streamingpb.WALCheckpoint{MessageId: id("own"),
		ReplicateCheckpoint: &commonpb.ReplicateCheckpoint{ClusterId: "b", Pchannel: "b_0", MessageId: id("theirs")}}}}
}

func TestCrossCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Cluster, map[int64]*Collection, map[string]Metadata)
		want []string // code and key
	}{
		{"sound", func(*Cluster, map[int64]*Collection, map[string]Metadata) {}, nil},
		{"a shard beyond the coordinator's pchannels", func(c *Cluster, _ map[int64]*Collection, _ map[string]Metadata) {
			delete(c.PChannels, "a_1")
		}, []string{CodeUnassigned + " streamingcoord-meta/pchannel/a_1"}},
		{"a shard of a collection that is dropped", func(c *Cluster, cols map[int64]*Collection, _ map[string]Metadata) {
			delete(c.PChannels, "a_1")
			cols[7].Info.State = etcdpb.CollectionState_CollectionDropping
		}, nil},
		{"no coordinator's keys at hand", func(c *Cluster, _ map[int64]*Collection, _ map[string]Metadata) { c.PChannels = nil }, nil},
		{"one pchannel is not sent", func(c *Cluster, _ map[int64]*Collection, _ map[string]Metadata) {
			delete(c.Replicating, "b-a_1")
		}, []string{CodeNoReplicating + " streamingcoord-meta/replicating-pchannel/b-a_1"}},
		{"a target sends nothing", func(c *Cluster, _ map[int64]*Collection, _ map[string]Metadata) {
			e := c.Replicate.ReplicateConfiguration.CrossClusterTopology[0]
			e.SourceClusterId, e.TargetClusterId, c.Replicating = "b", "a", nil
		}, nil},
		{"the own position as the source's", func(_ *Cluster, _ map[int64]*Collection, w map[string]Metadata) {
			w["a_0"].Checkpoint.ReplicateCheckpoint.MessageId.Id = "own"
		}, []string{CodeReplicateLocal + " streamingnode-meta/wal/a_0/consume-checkpoint"}},
		{"the own pchannel as the source's", func(_ *Cluster, _ map[int64]*Collection, w map[string]Metadata) {
			w["a_0"].Checkpoint.ReplicateCheckpoint.Pchannel = "a_0"
		}, []string{CodeReplicateLocal + " streamingnode-meta/wal/a_0/consume-checkpoint"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, cols, wals := crossCluster()
			c.edit(cluster, cols, wals)
			var got []string
			for _, p := range CrossCheck(cluster, cols, wals) {
				got = append(got, p.Code+" "+p.Key)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestPendingCopies(t *testing.T) {
	task := func(state streamingpb.BroadcastTaskState, acked []byte) *streamingpb.BroadcastTask {
		h := mustMarshal(t, &messagespb.BroadcastHeader{BroadcastId: 9, Vchannels: []string{"a_vcchan", "a_7v0"}})
		return &streamingpb.BroadcastTask{State: state, AckedVchannelBitmap: acked,
			Message: &messagespb.Message{Properties: map[string]string{"_bh": base64.StdEncoding.EncodeToString(h), "_t": "6"}}}
	}
	const pending, done = streamingpb.BroadcastTaskState_BROADCAST_TASK_STATE_PENDING, streamingpb.BroadcastTaskState_BROADCAST_TASK_STATE_TOMBSTONE
	c := &Cluster{Broadcasts: map[uint64]*streamingpb.BroadcastTask{9: task(pending, []byte{1, 0}), 10: task(done, nil), 11: {State: pending}}}
	require.Equal(t, []PendingCopy{{Broadcast: 9, VChannel: "a_7v0", Key: "streamingcoord-meta/broadcast-task/9", Type: 6}}, c.PendingCopies())
	require.Equal(t, map[string]bool{"a_vcchan": true, "a_7v0": true}, c.PendingChannels())
}
