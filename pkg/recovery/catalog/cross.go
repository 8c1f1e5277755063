package catalog

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// The codes of what no single key tells, only several held against each other.
const (
	// CodeUnassigned: a collection has a shard on a pchannel that the coordinator
	// has no key of: no node ever opens it.
	CodeUnassigned = "pchannel-unassigned"
	// CodeNoReplicating: this cluster is to send to another, and the key that says
	// how far one of its pchannels is sent does not exist.
	CodeNoReplicating = "replicating-pchannel-missing"
	// CodeReplicateLocal: a replicate checkpoint, a position in the other cluster's
	// WAL, that holds one of this cluster's.
	CodeReplicateLocal = "replicate-checkpoint-local"
)

// CrossCheck holds the keys of a catalog against each other: the coordinator's,
// RootCoord's and the WALs' own. docs/rules.md#catalog-cross
func CrossCheck(c *Cluster, collections map[int64]*Collection, wals map[string]Metadata) []Problem {
	out := unassigned(c, collections)
	out = append(out, replicating(c)...)
	for _, p := range slices.Sorted(maps.Keys(wals)) {
		out = append(out, replicateLocal(wals[p])...)
	}
	return out
}

// unassigned are the shards of living collections on pchannels nobody serves. A
// catalog without any pchannel of the coordinator says nothing about it.
func unassigned(c *Cluster, collections map[int64]*Collection) []Problem {
	if len(c.PChannels) == 0 {
		return nil
	}
	var out []Problem
	for _, id := range slices.Sorted(maps.Keys(collections)) {
		col := collections[id]
		if col.Info.GetState() != etcdpb.CollectionState_CollectionCreated {
			continue
		}
		for _, v := range col.Info.GetVirtualChannelNames() {
			p := message.PChannelOf(v)
			if _, served := c.PChannels[p]; served {
				continue
			}
			out = append(out, Problem{Key: PChannelKey(p), Code: CodeUnassigned, PChannel: p, VChannel: v, Detail: fmt.Sprintf(
				"collection %q (%d) has its shard %s there, and the coordinator has no such key beside its %d: no node opens the WAL (was rootCoord.dmlChannelNum lowered?)",
				col.Name(), id, v, len(c.PChannels))})
		}
	}
	return out
}

// Unserved are the shards of living collections on a pchannel that nobody serves.
func Unserved(ctx context.Context, c Catalog, collections map[int64]*Collection, pchannel string) ([]Problem, error) {
	kvs, _, err := c.Range(ctx, PChannelKey(""))
	if err != nil {
		return nil, err
	}
	own := DecodeCluster(kvs)
	return slices.DeleteFunc(unassigned(own, collections), func(p Problem) bool { return p.PChannel != pchannel }), nil
}

// replicating are the missing keys of a cluster that sends: one for each target
// and each of its own pchannels.
func replicating(c *Cluster) []Problem {
	cfg := c.Replicate.GetReplicateConfiguration()
	var out []Problem
	for _, edge := range cfg.GetCrossClusterTopology() {
		i := slices.IndexFunc(cfg.GetClusters(), func(m *commonpb.MilvusCluster) bool { return m.GetClusterId() == edge.GetSourceClusterId() })
		if i < 0 || !c.owns(cfg.GetClusters()[i]) {
			continue
		}
		for _, p := range cfg.GetClusters()[i].GetPchannels() {
			name := edge.GetTargetClusterId() + "-" + p
			if _, ok := c.Replicating[name]; ok {
				continue
			}
			out = append(out, Problem{Key: replicatingPrefix + name, Code: CodeNoReplicating, PChannel: p,
				Detail: fmt.Sprintf("no such key, yet the replicate configuration sends %s to cluster %s: nothing of it is sent", p, edge.GetTargetClusterId())})
		}
	}
	return out
}

// owns reports whether a cluster of a replicate configuration is the catalog's own.
func (c *Cluster) owns(m *commonpb.MilvusCluster) bool {
	one := &commonpb.ReplicateConfiguration{Clusters: []*commonpb.MilvusCluster{m}}
	return slices.ContainsFunc(m.GetPchannels(), func(p string) bool { _, ok := c.PChannels[p]; return ok && message.OwnCluster(one, p) != "" })
}

// replicateLocal compares a WAL's replicate checkpoint with what is its own. Where
// it names another cluster, only an id that is the consume checkpoint's betrays it.
func replicateLocal(md Metadata) []Problem {
	p, local := LocalReplicate(md)
	if !local {
		return nil
	}
	return []Problem{p}
}

// LocalReplicate reports whether a WAL's replicate checkpoint betrays itself as a
// position of the own cluster. The problem is the one to tell where the log betrays it:
// its id and TimeTick are a record's there.
func LocalReplicate(md Metadata) (Problem, bool) {
	r, own := md.Checkpoint.GetReplicateCheckpoint(), md.Checkpoint.GetMessageId()
	why, local := "its id and TimeTick are those of a record of this log", true
	switch {
	case r == nil:
		return Problem{}, false
	case r.GetPchannel() == md.PChannel:
		why = "it names this very pchannel as its source"
	case len(r.GetMessageId().GetId()) > 0 && r.GetMessageId().GetId() == own.GetId() && r.GetMessageId().GetWALName() == own.GetWALName():
		why = "its id is that of the consume checkpoint"
	default:
		local = false
	}
	return Problem{Key: CheckpointKey(md.PChannel), Code: CodeReplicateLocal, PChannel: md.PChannel, Detail: fmt.Sprintf(
		"the replicate checkpoint (cluster %s, pchannel %s) must be a position in the source's WAL, but %s: replication would go on from the wrong place",
		r.GetClusterId(), r.GetPchannel(), why)}, local
}

// PendingCopy is a copy of a broadcast that a vchannel has not acknowledged.
type PendingCopy struct {
	Broadcast uint64
	VChannel  string
	Key       string
	Type      message.Type
}

// PendingCopies are the copies that broadcasts under way still wait for, by
// broadcast and vchannel. docs/rules.md#catalog-cross
func (c *Cluster) PendingCopies() []PendingCopy {
	var out []PendingCopy
	for _, id := range slices.Sorted(maps.Keys(c.Broadcasts)) {
		t := c.Broadcasts[id]
		if t.GetState() != streamingpb.BroadcastTaskState_BROADCAST_TASK_STATE_PENDING {
			continue
		}
		n, err := strconv.ParseUint(t.GetMessage().GetProperties()[message.KeyType], 10, 16)
		if err != nil {
			n = 0 // its copy is missed all the same
		}
		bitmap := t.GetAckedVchannelBitmap() //nolint:staticcheck // deprecated, and what 2.6 still writes
		for i, v := range broadcastHeader(t).GetVchannels() {
			if i < len(bitmap) && bitmap[i] != 0 || i < len(t.GetAckedCheckpoints()) && t.GetAckedCheckpoints()[i].GetTimeTick() != 0 {
				continue
			}
			out = append(out, PendingCopy{Broadcast: id, VChannel: v, Key: broadcastPrefix + strconv.FormatUint(id, 10), Type: message.Type(n)})
		}
	}
	return out
}

// PendingChannels are the vchannels that broadcasts under way name: a change of
// their definition is not finished.
func (c *Cluster) PendingChannels() map[string]bool {
	out := map[string]bool{}
	for _, t := range c.Broadcasts {
		switch t.GetState() {
		case streamingpb.BroadcastTaskState_BROADCAST_TASK_STATE_TOMBSTONE, streamingpb.BroadcastTaskState_BROADCAST_TASK_STATE_DONE:
			continue
		}
		for _, v := range broadcastHeader(t).GetVchannels() {
			out[v] = true
		}
	}
	return out
}

// broadcastHeader is the `_bh` of a task's message, nil where it cannot be read.
func broadcastHeader(t *streamingpb.BroadcastTask) *messagespb.BroadcastHeader {
	raw, err := base64.StdEncoding.DecodeString(t.GetMessage().GetProperties()[message.KeyBroadcast])
	h := &messagespb.BroadcastHeader{}
	if err != nil || proto.Unmarshal(raw, h) != nil {
		return nil
	}
	return h
}

// CheckUnassigned finds a collection on a pchannel that the coordinator does not know.
var CheckUnassigned = &check.Check{
	Code: CodeUnassigned, Severity: check.Critical, Needs: check.NeedCatalog,
	Title:   "a collection on a pchannel that the coordinator does not know",
	Says:    "no node opens its WAL: nothing written to it is read, flushed or recovered",
	Meaning: "No node ever opens the WAL: writes to the shard fail or hang, and what the log holds is read, flushed and recovered by nobody.",
	Cause:   "rootCoord.dmlChannelNum was lowered, as on an upgrade, while collections lay on the pchannels beyond it; or the coordinator's keys come from another copy than RootCoord's.",
	Do:      "Set rootCoord.dmlChannelNum back to what it was and restart the coordinator. Capture the log before retention removes it; salvage brings its rows out.",
	Threads: []string{"milvus#50905", "milvus#50919"},
}

// CheckNoReplicating finds a pchannel that is to be replicated, but is not.
var CheckNoReplicating = &check.Check{
	Code: CodeNoReplicating, Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a pchannel that is to be replicated, but is not",
	Says:    "nothing written to this pchannel is sent to the target",
	Meaning: "The replicate configuration names a target, and the key that says how far this pchannel is sent there does not exist: nothing of it arrives.",
	Cause:   "A configuration change that was cut off between its keys, or keys removed by hand.",
	Do:      "Send the replicate configuration again; compare the target with its source before it is promoted.",
}

// CheckReplicateLocal finds a replicate checkpoint that is a position of this cluster.
var CheckReplicateLocal = &check.Check{
	Code: CodeReplicateLocal, Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a replicate checkpoint that is a position of this cluster",
	Says:    "replication would go on from the wrong place of the source's log",
	Meaning: "It must be a position in the source cluster's WAL. Replication that goes on from it misses messages, or gets them twice.",
	Cause:   "Written by hand or by a repair that took one cluster's ids for the other's.",
	Do:      "Take the position from the source's log: the last confirmed id in the last replicated message.",
	Threads: []string{"birdwatcher#523"},
}
