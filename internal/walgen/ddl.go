package walgen

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// broadcast is one DDL sent to several vchannels: the control channel's copy
// and the collection's, in no set order.
type broadcast struct {
	header string // `_bh`
	left   int    // copies still to be written here
	done   func(op *appendOp)
}

// ddl starts one statement of any kind. It reports whether an append started.
func (g *Generator) ddl() bool {
	type statement struct {
		weight int
		run    func(*collection) bool
	}
	list := []statement{
		{4, g.manualFlush}, {3, g.createPartition}, {2, g.dropPartition}, {2, g.addField},
		{2, g.alterProperties}, {1, g.truncate}, {1, g.schemaChange}, {2, g.dropCollection},
		{2, func(*collection) bool { return g.createCollection() }},
		{1, func(*collection) bool { return g.flushAll() }}, {3, g.sideStatement},
	}
	if g.cfg.Version == Version30 {
		list = append(list, statement{3, g.newStatement})
	}
	n := 0
	for _, s := range list {
		n += s.weight
	}
	n = g.rng.IntN(n)
	c := g.pick()
	if c == nil || c.busy {
		return false
	}
	for _, s := range list {
		if n -= s.weight; n < 0 {
			return s.run(c)
		}
	}
	return false
}

// broadcast sends a statement to the control channel, where this pchannel hosts
// it, and to the collection's vchannel; either may be nil. fill sees the data
// copy when its lock is held.
func (g *Generator) broadcast(typ message.Type, version int8, c *collection, header, body proto.Message, fill func(op *appendOp), done func()) {
	var vchannels []string
	var scopes []*scope
	keys := []*messagespb.ResourceKey{{Domain: messagespb.ResourceDomain_ResourceDomainDBName, Key: "default", Shared: true}}
	if c != nil {
		vchannels = append(vchannels, c.vchannels...)
		scopes = append(scopes, c.scope)
		keys = append(keys, &messagespb.ResourceKey{Domain: messagespb.ResourceDomain_ResourceDomainCollectionName, Key: "default:" + c.name})
	}
	if typ != message.TypeCommitImport && typ != message.TypeRollbackImport && typ != message.TypeImport {
		vchannels = append(vchannels, g.hostCC)
		if !g.cfg.NoControlChannel {
			scopes = append(scopes, g.control)
		}
	}
	b := &broadcast{header: g.broadcastHeader(vchannels, keys, typ == message.TypeTruncateCollection), left: len(scopes)}
	h, p := b64(marshal(header)), marshal(body)
	if c != nil {
		c.busy = true
	}
	b.done = func(op *appendOp) {
		if op.scope != g.control && done != nil {
			done()
		}
		if b.left--; b.left == 0 && c != nil {
			c.busy = false
		}
	}
	g.rng.Shuffle(len(scopes), func(i, j int) { scopes[i], scopes[j] = scopes[j], scopes[i] })
	for _, s := range scopes {
		g.copy(b, typ, version, s, h, p, fill)
	}
}

// copy queues one vchannel's copy of a broadcast.
func (g *Generator) copy(b *broadcast, typ message.Type, version int8, s *scope, header string, body []byte, fill func(op *appendOp)) {
	g.tasks = append(g.tasks, func() bool {
		if s.locked || g.walLocked {
			return false
		}
		op := g.newOp(typ, version, s)
		op.header, op.payload, op.bh, op.bcast = header, body, b.header, b
		op.ur = typ >= message.TypeRestoreSnapshot && typ <= message.TypeRefreshExternalCollection
		g.exclusively(op, fill)
		return true
	})
}

// exclusively waits for what is in flight on the scope, where the type asks
// for it, and starts the append.
func (g *Generator) exclusively(op *appendOp, fill func(op *appendOp)) {
	op.exclusive = op.typ.Is(message.Exclusive) || op.typ.Is(message.Exclusive30)
	switch {
	case op.pcl:
		g.drain(nil)
	case op.exclusive:
		g.drain(op.scope)
	}
	if fill != nil && op.scope != g.control {
		fill(op)
	}
	g.start(op)
}

func (g *Generator) broadcastHeader(vchannels []string, keys []*messagespb.ResourceKey, sync bool) string {
	g.bcasts++
	turn := int(g.bcasts) % len(vchannels) // in no set order, but the same on every pchannel
	vchannels = append(append([]string(nil), vchannels[turn:]...), vchannels[:turn]...)
	return b64(marshal(&messagespb.BroadcastHeader{
		BroadcastId: uint64(g.cfg.Collection0) + 1_000_000_000_000_000 + g.bcasts,
		Vchannels:   vchannels, ResourceKeys: keys, AckSyncUp: sync,
	}))
}

func base(t commonpb.MsgType) *commonpb.MsgBase { return &commonpb.MsgBase{MsgType: t} }

func (g *Generator) newCollection() *collection {
	id := g.nextID
	g.nextID++
	c := &collection{id: id, name: "c_" + strconv.FormatInt(id, 10)}
	c.kind = g.cfg.Schemas[len(g.colls)%len(g.cfg.Schemas)]
	if n := id - g.cfg.Collection0 - 1; c.kind == SchemaShop {
		c.name = [...]string{"orders", "products", "reviews"}[len(g.colls)%3]
		if n >= int64(3*(1+g.cfg.Partitions)) { // not one of the first three
			c.name += "_" + strconv.FormatInt(n, 10)
		}
	}
	c.schema, c.fields = newSchema(c.name, c.kind, g.cfg.VectorDim, g.cfg.Version)
	for i, p := range g.pchannels {
		c.vchannels = append(c.vchannels, c.vchannel(p, i))
		c.pchannels = append(c.pchannels, p)
	}
	c.scope = &scope{name: c.vchannels[g.cfg.ShardIndex], coll: c}
	for range g.cfg.Partitions {
		c.partitions = append(c.partitions, g.newPartition(c))
	}
	return c
}

func (g *Generator) newPartition(c *collection) *partition {
	p := &partition{id: g.nextID, name: "_default"}
	g.nextID++
	if c.nextPart > 0 || c.kind == SchemaAutoID || g.cfg.PartitionKey {
		p.name = "_default_" + strconv.Itoa(c.nextPart)
	}
	c.nextPart++
	return p
}

func (g *Generator) createCollection() bool {
	c := g.newCollection()
	h := &messagespb.CreateCollectionMessageHeader{CollectionId: c.id, DbId: 1}
	b := &msgpb.CreateCollectionRequest{
		Base: base(commonpb.MsgType_CreateCollection), DbName: "default", CollectionName: c.name, DbID: 1,
		CollectionID: c.id, VirtualChannelNames: c.vchannels, PhysicalChannelNames: c.pchannels,
		CollectionSchema: proto.Clone(c.schema).(*schemapb.CollectionSchema),
	}
	for _, p := range c.partitions {
		h.PartitionIds = append(h.PartitionIds, p.id)
		b.PartitionIDs = append(b.PartitionIDs, p.id)
		b.PartitionNames = append(b.PartitionNames, p.name)
	}
	g.colls = append(g.colls, c)
	g.broadcast(message.TypeCreateCollection, 1, c, h, b, nil, func() { c.scope.ready = true })
	return true
}

func (g *Generator) live() int {
	n := 0
	for _, c := range g.colls {
		if !c.scope.dropped {
			n++
		}
	}
	return n
}

func (g *Generator) dropCollection(c *collection) bool {
	if g.live() < 2 {
		return g.createCollection()
	}
	g.broadcast(message.TypeDropCollection, 1, c,
		&messagespb.DropCollectionMessageHeader{CollectionId: c.id, DbId: 1},
		&msgpb.DropCollectionRequest{Base: base(commonpb.MsgType_DropCollection), DbName: "default", CollectionName: c.name, DbID: 1, CollectionID: c.id},
		func(*appendOp) {
			c.scope.dropped = true
			g.sealAll(c, nil)
		}, func() { g.colls = remove(g.colls, c) })
	return true
}

func (g *Generator) createPartition(c *collection) bool {
	if c.kind == SchemaAutoID || len(c.partitions) > 64 {
		return g.manualFlush(c)
	}
	p := g.newPartition(c)
	p.name = "p_" + strconv.FormatInt(p.id, 10)
	g.broadcast(message.TypeCreatePartition, 1, c,
		&messagespb.CreatePartitionMessageHeader{CollectionId: c.id, PartitionId: p.id},
		&msgpb.CreatePartitionRequest{Base: base(commonpb.MsgType_CreatePartition), DbName: "default", CollectionName: c.name, PartitionName: p.name, DbID: 1, CollectionID: c.id, PartitionID: p.id},
		nil, func() { c.partitions = append(c.partitions, p) })
	return true
}

func (g *Generator) dropPartition(c *collection) bool {
	if len(c.partitions) < 2 || c.kind == SchemaAutoID {
		return g.manualFlush(c)
	}
	p := c.partitions[1+g.rng.IntN(len(c.partitions)-1)]
	p.closing = true
	g.broadcast(message.TypeDropPartition, 1, c,
		&messagespb.DropPartitionMessageHeader{CollectionId: c.id, PartitionId: p.id},
		&msgpb.DropPartitionRequest{Base: base(commonpb.MsgType_DropPartition), DbName: "default", CollectionName: c.name, PartitionName: p.name, DbID: 1, CollectionID: c.id, PartitionID: p.id},
		func(*appendOp) {
			p.dropped = true
			g.sealAll(c, p)
		}, func() { c.partitions = remove(c.partitions, p) })
	return true
}

// sealAll ends the growing segments of a collection, or of one partition, and
// returns their ids.
func (g *Generator) sealAll(c *collection, only *partition) []int64 {
	var ids []int64
	for _, p := range c.partitions {
		if s := p.growing; s != nil && (only == nil || p == only) {
			ids = append(ids, s.id)
			s.state, p.growing = segmentSealed, nil
		}
	}
	return ids
}

func (g *Generator) manualFlush(c *collection) bool {
	g.tasks = append(g.tasks, func() bool {
		if c.scope.dropped {
			return true
		}
		if c.scope.locked || g.walLocked {
			return false
		}
		op := g.newOp(message.TypeManualFlush, 2, c.scope)
		g.exclusively(op, func(op *appendOp) {
			op.barrier = g.lastTT
			op.header = b64(marshal(&messagespb.ManualFlushMessageHeader{CollectionId: c.id, FlushTs: op.barrier, SegmentIds: g.sealAll(c, nil)}))
		})
		return true
	})
	return false
}

func (g *Generator) addField(c *collection) bool {
	if c.kind == SchemaVectors || c.kind == SchemaFixed || len(c.fields) > 30 {
		return g.alterProperties(c)
	}
	f := &schemapb.FieldSchema{FieldID: c.schema.Fields[len(c.schema.Fields)-1].FieldID + 1, DataType: schemapb.DataType_Int64, Nullable: true}
	f.Name = "f" + strconv.FormatInt(f.FieldID, 10)
	next := proto.Clone(c.schema).(*schemapb.CollectionSchema)
	next.Fields, next.Version = append(next.Fields, f), next.Version+1
	h := &messagespb.AlterCollectionMessageHeader{DbId: 1, CollectionId: c.id, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schema"}}}
	g.broadcast(message.TypeAlterCollection, 2, c, h,
		&messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Schema: next}},
		func(op *appendOp) {
			h.FlushedSegmentIds = g.sealAll(c, nil)
			op.header = b64(marshal(h))
			c.schema, c.fields = next, append(c.fields[:len(c.fields):len(c.fields)], f)
		}, nil)
	return true
}

func (g *Generator) alterProperties(c *collection) bool {
	g.broadcast(message.TypeAlterCollection, 2, c,
		&messagespb.AlterCollectionMessageHeader{DbId: 1, CollectionId: c.id, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"properties"}}},
		&messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Properties: []*commonpb.KeyValuePair{kv("collection.ttl.seconds", strconv.Itoa(1000+g.rng.IntN(99_000)))}}},
		nil, nil)
	return true
}

// schemaChange is the deprecated form of AlterCollection: no broadcast.
func (g *Generator) schemaChange(c *collection) bool {
	if g.replic || c.kind == SchemaVectors || c.kind == SchemaFixed {
		return g.manualFlush(c)
	}
	g.tasks = append(g.tasks, func() bool {
		if c.scope.dropped || c.busy {
			return c.scope.dropped
		}
		if c.scope.locked || g.walLocked {
			return false
		}
		op := g.newOp(message.TypeSchemaChange, 2, c.scope)
		g.exclusively(op, func(op *appendOp) {
			next := proto.Clone(c.schema).(*schemapb.CollectionSchema)
			next.Version++
			op.header = b64(marshal(&messagespb.SchemaChangeMessageHeader{CollectionId: c.id, FlushedSegmentIds: g.sealAll(c, nil)}))
			op.payload = marshal(&messagespb.SchemaChangeMessageBody{Schema: next})
			c.schema = next
		})
		return true
	})
	return false
}

func (g *Generator) truncate(c *collection) bool {
	h := &messagespb.TruncateCollectionMessageHeader{DbId: 1, CollectionId: c.id}
	g.broadcast(message.TypeTruncateCollection, 2, c, h, nil, func(op *appendOp) {
		h.SegmentIds = g.sealAll(c, nil)
		op.header = b64(marshal(h))
	}, nil)
	return true
}

// pchannelWide sends one copy of a statement that locks the whole pchannel.
func (g *Generator) pchannelWide(typ message.Type, header proto.Message, fill func(*appendOp), done func()) {
	vchannels := []string{g.hostCC}
	s := g.control
	for _, p := range g.pchannels {
		if g.hostCC != p+"_vcchan" {
			vchannels = append(vchannels, p)
		}
	}
	if g.cfg.NoControlChannel {
		s = &scope{name: g.cfg.PChannel, ready: true}
	}
	b := &broadcast{header: g.broadcastHeader(vchannels, nil, false), left: 1}
	b.done = func(*appendOp) {
		if done != nil {
			done()
		}
	}
	h := b64(marshal(header))
	g.tasks = append(g.tasks, func() bool {
		if s.locked || g.walLocked {
			return false
		}
		g.drain(nil)
		op := g.newOp(typ, 2, s)
		op.header, op.bh, op.bcast, op.pcl = h, b.header, b, true
		if fill != nil {
			fill(op)
		}
		g.exclusively(op, nil)
		return true
	})
}

func (g *Generator) flushAll() bool {
	g.pchannelWide(message.TypeFlushAll, &messagespb.FlushAllMessageHeader{}, func(*appendOp) {
		for _, c := range g.colls {
			g.sealAll(c, nil)
		}
	}, nil)
	return true
}
