package walgen

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// ClusterKeys returns what the coordinators hold beside the WAL's own keys once
// the log is written: the control channel, the streaming version, each live
// collection with its fields and partitions, and DataCoord's channel
// checkpoints, which stand at the TimeTick given. No session: the cluster is
// stopped.
func (g *Generator) ClusterKeys(at *message.Message) map[string][]byte {
	kv := map[string][]byte{
		"streamingcoord-meta/pchannel/" + g.cfg.PChannel: g.assignment(),
		"streamingcoord-meta/cchannel":                   marshal(&streamingpb.CChannelMeta{Pchannel: g.hostCC[:len(g.hostCC)-len("_vcchan")]}),
		"streamingcoord-meta/version":                    marshal(&streamingpb.StreamingVersion{Version: 2}),
		"root-coord/database/db-info/1":                  marshal(&etcdpb.DatabaseInfo{Name: "default", Id: 1, State: etcdpb.DatabaseState_DatabaseCreated}),
	}
	for _, c := range g.colls {
		if c.scope.dropped || !c.scope.ready {
			continue
		}
		g.collectionKeys(kv, c)
		kv["datacoord-meta/channel-cp/"+c.scope.name] = marshal(&msgpb.MsgPosition{
			ChannelName: c.scope.name, MsgID: g.rawBytes(at.ID), Timestamp: at.TimeTick, WALName: g.walName(),
		})
	}
	return kv
}

func (g *Generator) assignment() []byte {
	return marshal(&streamingpb.PChannelMeta{
		Channel: &streamingpb.PChannelInfo{Name: g.cfg.PChannel, Term: g.term},
		Node:    &streamingpb.StreamingNodeInfo{ServerId: g.cfg.NodeID, Address: "streamingnode-1:22222"},
		State:   streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNED,
	})
}

// collectionKeys writes what RootCoord stores of a collection: fields have keys
// of their own.
func (g *Generator) collectionKeys(kv map[string][]byte, c *collection) {
	schema := proto.Clone(c.schema).(*schemapb.CollectionSchema)
	schema.Fields = nil
	kv[fmt.Sprintf("root-coord/database/collection-info/1/%d", c.id)] = marshal(&etcdpb.CollectionInfo{
		ID: c.id, Schema: schema, DbId: 1, ShardsNum: int32(len(c.vchannels)),
		VirtualChannelNames: c.vchannels, PhysicalChannelNames: c.pchannels,
		State: etcdpb.CollectionState_CollectionCreated,
	})
	for _, f := range c.schema.Fields {
		kv[fmt.Sprintf("root-coord/fields/%d/%d", c.id, f.FieldID)] = marshal(f)
	}
	for _, p := range c.partitions {
		kv[fmt.Sprintf("root-coord/partitions/%d/%d", c.id, p.id)] = marshal(&etcdpb.PartitionInfo{
			PartitionID: p.id, PartitionName: p.name, CollectionId: c.id, State: etcdpb.PartitionState_PartitionCreated,
		})
	}
}

// rawBytes spells an id as DataCoord stores it.
func (g *Generator) rawBytes(id message.ID) []byte {
	raw := id.Raw(g.pos.form)
	switch id.Backend {
	case message.BackendPulsar, message.BackendWoodpecker:
		b, _ := base64.StdEncoding.DecodeString(raw)
		return b
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(id.A))
}
