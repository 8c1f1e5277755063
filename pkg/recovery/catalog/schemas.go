package catalog

import (
	"cmp"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// KnownSchema is a schema that the catalog has of a vchannel, and from when on.
type KnownSchema struct {
	TimeTick uint64 // 0 = from the beginning, or not known
	Schema   *schemapb.CollectionSchema
}

// SchemasOf are the schemas the catalog has of a vchannel, by TimeTick: those of the
// vchannel itself, under their own keys or, where older clusters kept them, in its
// value; or else the one RootCoord has now, then rootcoord is true. The log comes
// before all of them. docs/rules.md#invariants 10.
func (m Metadata) SchemasOf(vchannel string, collections map[int64]*Collection) (known []KnownSchema, rootcoord bool) {
	if known = knownSchemas(m.VChannels[vchannel]); len(known) == 0 {
		known = knownSchemas(m.inside(vchannel))
	}
	if len(known) > 0 {
		return known, false
	}
	if c := collections[m.CollectionOf(vchannel)]; c != nil && len(c.Schema.GetFields()) > 0 {
		return []KnownSchema{{0, c.WALSchema()}}, true
	}
	return nil, false
}

// CollectionOf is a vchannel's collection, by its value or by its name.
func (m Metadata) CollectionOf(vchannel string) int64 {
	return cmp.Or(m.VChannels[vchannel].GetCollectionInfo().GetCollectionId(), message.CollectionIDOf(vchannel))
}

// inside is a vchannel's value with what Decode leaves out: schemas standing in it.
func (m Metadata) inside(vchannel string) *streamingpb.VChannelMeta {
	v := &streamingpb.VChannelMeta{}
	if proto.Unmarshal(m.KV[VChannelKey(m.PChannel, vchannel)], v) != nil {
		return nil
	}
	return v
}

func knownSchemas(v *streamingpb.VChannelMeta) (known []KnownSchema) {
	for _, s := range v.GetCollectionInfo().GetSchemas() {
		if len(s.GetSchema().GetFields()) > 0 {
			known = append(known, KnownSchema{s.GetCheckpointTimeTick(), s.GetSchema()})
		}
	}
	slices.SortStableFunc(known, func(a, b KnownSchema) int { return cmp.Compare(a.TimeTick, b.TimeTick) })
	return known
}

// FieldDropped reports whether a later schema of a vchannel lacks a field that an
// earlier one has.
func FieldDropped(schemas []*streamingpb.CollectionSchemaOfVChannel) bool {
	for i := 1; i < len(schemas); i++ {
		for _, f := range schemas[i-1].GetSchema().GetFields() {
			if !slices.ContainsFunc(schemas[i].GetSchema().GetFields(), func(x *schemapb.FieldSchema) bool { return x.GetFieldID() == f.GetFieldID() }) {
				return true
			}
		}
	}
	return false
}
