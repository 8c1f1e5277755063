package catalog

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"
)

// Where RootCoord keeps what a collection is (wire format, docs/rules.md#catalog).
const (
	collectionOfDB    = rootCoordPrefix + "database/collection-info/" // <db>/<collection>: CollectionInfo
	collectionOld     = rootCoordPrefix + "collection/"               // <collection>: CollectionInfo, before databases
	databasePrefix    = rootCoordPrefix + "database/db-info/"         // <db>: DatabaseInfo
	partitionPrefix   = rootCoordPrefix + "partitions/"               // <collection>/<partition>: PartitionInfo
	fieldPrefix       = rootCoordPrefix + "fields/"                   // <collection>/<field>: FieldSchema
	structFieldPrefix = rootCoordPrefix + "struct-array-fields/"      // <collection>/<field>: StructArrayFieldSchema
	functionPrefix    = rootCoordPrefix + "functions/"                // <collection>/<function>: FunctionSchema
)

// tombstone is what a deleted root-coord key held in 2.x, until it is swept.
var tombstone = []byte{0xE2, 0x9B, 0xBC}

// Collection is what RootCoord knows of a collection. walctl only reads it.
type Collection struct {
	Info       *etcdpb.CollectionInfo // as stored
	Database   string
	Partitions []*etcdpb.PartitionInfo // by id
	// Schema is put together from the collection's own value and its fields',
	// functions' and struct fields' keys, by id; WALSchema completes it.
	Schema *schemapb.CollectionSchema
}

// System fields: every collection has them, in RootCoord as in the WAL.
const (
	rowIDField     = 0
	timestampField = 1
)

// WALSchema is the schema as a WAL's metadata holds it: what RootCoord hands to a
// node that opens a WAL for the first time. Properties stand beside the schema in
// RootCoord, and inside it here; the two system fields are always there.
// docs/rules.md#rootcoord-schema
func (c *Collection) WALSchema() *schemapb.CollectionSchema {
	s := proto.Clone(c.Schema).(*schemapb.CollectionSchema)
	if len(s.Properties) == 0 {
		s.Properties = c.Info.GetProperties()
	}
	var system []*schemapb.FieldSchema
	for _, f := range []*schemapb.FieldSchema{
		{FieldID: rowIDField, Name: "RowID", Description: "row id", DataType: schemapb.DataType_Int64},
		{FieldID: timestampField, Name: "Timestamp", Description: "time stamp", DataType: schemapb.DataType_Int64},
	} {
		if !slices.ContainsFunc(s.Fields, func(x *schemapb.FieldSchema) bool { return x.GetFieldID() == f.FieldID }) {
			system = append(system, f)
		}
	}
	s.Fields = append(system, s.Fields...)
	return s
}

// VChannel is one of the collection's vchannels as a node registers it that opens
// its WAL for the first time: schema and partitions those of now, with TimeTick 0,
// so that every message counts. nil where the collection has no such vchannel or
// its schema is not known. docs/rules.md#rootcoord-schema
func (c *Collection) VChannel(name string) *streamingpb.VChannelMeta {
	if c == nil || len(c.Schema.GetFields()) == 0 || !slices.Contains(c.Info.GetVirtualChannelNames(), name) {
		return nil
	}
	v := &streamingpb.VChannelMeta{
		Vchannel: name, State: streamingpb.VChannelState_VCHANNEL_STATE_NORMAL,
		CollectionInfo: &streamingpb.CollectionInfoOfVChannel{
			CollectionId: c.Info.GetID(),
			Schemas: []*streamingpb.CollectionSchemaOfVChannel{{
				Schema: c.WALSchema(),
				State:  streamingpb.VChannelSchemaState_VCHANNEL_SCHEMA_STATE_NORMAL,
			}},
		},
	}
	for _, part := range c.Partitions {
		if part.GetState() == etcdpb.PartitionState_PartitionCreated {
			v.CollectionInfo.Partitions = append(v.CollectionInfo.Partitions, &streamingpb.PartitionInfoOfVChannel{PartitionId: part.GetPartitionID()})
		}
	}
	return v
}

// Served lists the vchannels that the collections of a pchannel have on it, where
// they are created and not being dropped, sorted.
func Served(collections map[int64]*Collection, pchannel string) []string {
	var out []string
	for _, c := range collections {
		for _, v := range c.Info.GetVirtualChannelNames() {
			if c.Info.GetState() == etcdpb.CollectionState_CollectionCreated && strings.HasPrefix(v, pchannel+"_") {
				out = append(out, v)
			}
		}
	}
	slices.Sort(out)
	return out
}

// CreatedBy reports whether the collection is known to be no younger than a TimeTick:
// its CreateCollection lies no later in any log.
func (c *Collection) CreatedBy(tick uint64) bool {
	t := c.Info.GetCreateTime()
	return t != 0 && t <= tick
}

// Name returns the collection's name.
func (c *Collection) Name() string { return c.Info.GetSchema().GetName() }

// Collections reads every collection RootCoord knows, by id.
func Collections(ctx context.Context, c Catalog) (map[int64]*Collection, []Problem, error) {
	l := collectionLoader{out: map[int64]*Collection{}, databases: map[int64]string{}}
	for _, p := range []struct {
		prefix string
		add    func(key string, ids []int64, value []byte)
	}{
		{databasePrefix, l.database},
		{collectionOld, l.collection},
		{collectionOfDB, l.collection},
		{partitionPrefix, l.partition},
		{fieldPrefix, l.field},
		{structFieldPrefix, l.structField},
		{functionPrefix, l.function},
	} {
		kvs, _, err := c.Range(ctx, p.prefix)
		if err != nil {
			return nil, nil, fmt.Errorf("read collections: %w", err)
		}
		for _, kv := range kvs {
			if bytes.Equal(kv.Value, tombstone) {
				continue
			}
			if ids, ok := pathIDs(strings.TrimPrefix(kv.Key, p.prefix)); ok {
				p.add(kv.Key, ids, kv.Value)
			}
		}
	}
	l.finish()
	return l.out, l.problems, nil
}

// pathIDs reads the numbers of which a key's rest consists.
func pathIDs(rest string) ([]int64, bool) {
	var ids []int64
	for part := range strings.SplitSeq(rest, "/") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, false
		}
		ids = append(ids, n)
	}
	return ids, true
}

type collectionLoader struct {
	out       map[int64]*Collection
	databases map[int64]string
	problems  []Problem
}

func (l *collectionLoader) decode(key string, value []byte, m proto.Message) bool {
	p := decodeValue(key, value, m)
	if p == nil || p.Code == CodeNotRoundTrip { // never written, so its bytes do not matter
		return true
	}
	p.Fatal = false // of RootCoord, not of the WAL
	l.problems = append(l.problems, *p)
	return false
}

func (l *collectionLoader) database(key string, ids []int64, value []byte) {
	m := &etcdpb.DatabaseInfo{}
	if len(ids) == 1 && l.decode(key, value, m) {
		l.databases[ids[0]] = m.GetName()
	}
}

func (l *collectionLoader) collection(key string, ids []int64, value []byte) {
	m := &etcdpb.CollectionInfo{}
	if !l.decode(key, value, m) {
		return
	}
	c := &Collection{Info: m, Schema: &schemapb.CollectionSchema{}}
	if m.GetSchema() != nil {
		c.Schema = proto.Clone(m.GetSchema()).(*schemapb.CollectionSchema)
	}
	l.out[ids[len(ids)-1]] = c
}

func (l *collectionLoader) partition(key string, ids []int64, value []byte) {
	m := &etcdpb.PartitionInfo{}
	if c := l.out[ids[0]]; c != nil && l.decode(key, value, m) {
		c.Partitions = append(c.Partitions, m)
	}
}

func (l *collectionLoader) field(key string, ids []int64, value []byte) {
	m := &schemapb.FieldSchema{}
	if c := l.out[ids[0]]; c != nil && l.decode(key, value, m) {
		c.Schema.Fields = append(c.Schema.Fields, m)
	}
}

func (l *collectionLoader) structField(key string, ids []int64, value []byte) {
	m := &schemapb.StructArrayFieldSchema{}
	if c := l.out[ids[0]]; c != nil && l.decode(key, value, m) {
		c.Schema.StructArrayFields = append(c.Schema.StructArrayFields, m)
	}
}

func (l *collectionLoader) function(key string, ids []int64, value []byte) {
	m := &schemapb.FunctionSchema{}
	if c := l.out[ids[0]]; c != nil && l.decode(key, value, m) {
		c.Schema.Functions = append(c.Schema.Functions, m)
	}
}

// finish puts what came in key order ("10" before "9") in id order.
func (l *collectionLoader) finish() {
	for _, c := range l.out {
		c.Database = l.databases[c.Info.GetDbId()]
		slices.SortStableFunc(c.Partitions, func(a, b *etcdpb.PartitionInfo) int { return cmp.Compare(a.GetPartitionID(), b.GetPartitionID()) })
		slices.SortStableFunc(c.Schema.Fields, func(a, b *schemapb.FieldSchema) int { return cmp.Compare(a.GetFieldID(), b.GetFieldID()) })
		slices.SortStableFunc(c.Schema.StructArrayFields, func(a, b *schemapb.StructArrayFieldSchema) int { return cmp.Compare(a.GetFieldID(), b.GetFieldID()) })
		slices.SortStableFunc(c.Schema.Functions, func(a, b *schemapb.FunctionSchema) int { return cmp.Compare(a.GetId(), b.GetId()) })
	}
}
