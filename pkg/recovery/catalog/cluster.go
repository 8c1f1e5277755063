package catalog

import (
	"context"
	"math"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"
)

// Cluster is what the catalog says beside the WALs themselves: who owns which
// pchannel, how far DataCoord has flushed, and which processes live.
type Cluster struct {
	PChannels map[string]*streamingpb.PChannelMeta
	// ControlChannel is the pchannel that hosts the control channel; empty = not set.
	ControlChannel string
	// StreamingVersion is 0 where streaming was never enabled, 1 since 2.6.0,
	// 2 since 2.6.5 (DDL through the WAL).
	StreamingVersion int64
	// Broadcasts is keyed by broadcast id.
	Broadcasts         map[uint64]*streamingpb.BroadcastTask
	Replicate          *streamingpb.ReplicateConfigurationMeta
	Replicating        map[string]*streamingpb.ReplicatePChannelMeta // by key name
	ChannelCheckpoints map[string]*msgpb.MsgPosition                 // by vchannel
	Sessions           []Session
	// KV and Revisions are every key read, as in Metadata.
	KV        map[string][]byte
	Revisions map[string]int64
	Problems  []Problem
}

// ChannelDropped reports whether a channel checkpoint is DataCoord's mark of a
// dropped channel: the largest TimeTick there is and no position. It must never
// be taken for a position.
func ChannelDropped(p *msgpb.MsgPosition) bool { return p.GetTimestamp() == math.MaxUint64 }

// ChannelCheckpoints reads DataCoord's flush positions of one pchannel's vchannels.
func ChannelCheckpoints(ctx context.Context, c Catalog, pchannel string) (map[string]*msgpb.MsgPosition, error) {
	kvs, _, err := c.Range(ctx, channelCPPrefix+pchannel+"_")
	if err != nil {
		return nil, err
	}
	return DecodeCluster(kvs).ChannelCheckpoints, nil
}

// LoadCluster reads everything but the WALs and root-coord. It fails only where
// the catalog cannot be read; single values that cannot are Problems.
func LoadCluster(ctx context.Context, c Catalog) (*Cluster, error) {
	out := &Cluster{
		PChannels:          map[string]*streamingpb.PChannelMeta{},
		Broadcasts:         map[uint64]*streamingpb.BroadcastTask{},
		Replicating:        map[string]*streamingpb.ReplicatePChannelMeta{},
		ChannelCheckpoints: map[string]*msgpb.MsgPosition{},
		KV:                 map[string][]byte{},
		Revisions:          map[string]int64{},
	}
	for _, prefix := range []string{streamingCoordRoot, channelCPPrefix, SessionPrefix} {
		kvs, _, err := c.Range(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			out.add(kv)
		}
	}
	return out, nil
}

// TermOf reads a pchannel's term as the coordinator has it; 0 where it has none.
func TermOf(ctx context.Context, c Catalog, pchannel string) (int64, error) {
	kvs, _, err := c.Range(ctx, PChannelKey(pchannel))
	if err != nil {
		return 0, err
	}
	for _, kv := range kvs {
		m := &streamingpb.PChannelMeta{}
		if kv.Key == PChannelKey(pchannel) && proto.Unmarshal(kv.Value, m) == nil {
			return m.GetChannel().GetTerm(), nil
		}
	}
	return 0, nil
}

// DecodeCluster is LoadCluster over keys already read.
func DecodeCluster(kvs []KV) *Cluster {
	c := memory(kvs)
	out, _ := LoadCluster(context.Background(), c) // memory cannot fail
	return out
}

func (c *Cluster) add(kv KV) {
	c.KV[kv.Key], c.Revisions[kv.Key] = kv.Value, kv.ModRevision
	k := ParseKey(kv.Key)
	if k.Slashed {
		c.Problems = append(c.Problems, Problem{Key: kv.Key, Code: CodeSlashedKey,
			Detail: "2.6.13 to 2.6.15 write this key so; 2.6.12 and before do not find it, 2.6.16 and later repair it"})
	}
	switch k.Kind {
	case KeyPChannel:
		m := &streamingpb.PChannelMeta{}
		if c.decode(kv, m) {
			c.PChannels[k.PChannel] = m
		}
	case KeyControlChannel:
		m := &streamingpb.CChannelMeta{}
		if c.decode(kv, m) && (!k.Slashed || c.ControlChannel == "") {
			c.ControlChannel = m.GetPchannel()
		}
	case KeyStreamingVersion:
		m := &streamingpb.StreamingVersion{}
		if c.decode(kv, m) {
			c.StreamingVersion = max(c.StreamingVersion, m.GetVersion())
		}
	case KeyBroadcast:
		m := &streamingpb.BroadcastTask{}
		id, err := strconv.ParseUint(k.Name, 10, 64)
		if err != nil {
			c.Problems = append(c.Problems, Problem{Key: kv.Key, Code: CodeUnknownKey, Detail: "the name is no broadcast id"})
		} else if c.decode(kv, m) {
			c.Broadcasts[id] = m
		}
	case KeyReplicateConfiguration:
		m := &streamingpb.ReplicateConfigurationMeta{}
		if c.decode(kv, m) {
			c.Replicate = m
		}
	case KeyReplicatingPChannel:
		m := &streamingpb.ReplicatePChannelMeta{}
		if c.decode(kv, m) {
			c.Replicating[k.Name] = m
		}
	case KeyChannelCheckpoint:
		m := &msgpb.MsgPosition{}
		if c.decode(kv, m) {
			c.ChannelCheckpoints[k.VChannel] = m
		}
	case KeySession:
		s, p := parseSession(kv)
		c.Sessions = append(c.Sessions, s)
		if p != nil {
			c.Problems = append(c.Problems, *p)
		}
	}
}

func (c *Cluster) decode(kv KV, m proto.Message) bool {
	p := decodeValue(kv.Key, kv.Value, m)
	if p != nil {
		c.Problems = append(c.Problems, *p)
	}
	return p == nil || p.Code == CodeNotRoundTrip
}
