package catalog

import (
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// KnownSchema is a schema that the catalog has of a vchannel, and from when on.
type KnownSchema struct {
	TimeTick uint64 // 0 = from the beginning, or not known
	Schema   *schemapb.CollectionSchema
}

// SchemasOf are the schemas the catalog has of a vchannel, by TimeTick: those of the
// vchannel itself, or else the one RootCoord has now, then rootcoord is true. The log
// comes before both. docs/rules.md#invariants 10.
func (m Metadata) SchemasOf(vchannel string, collections map[int64]*Collection) (known []KnownSchema, rootcoord bool) {
	for _, s := range m.VChannels[vchannel].GetCollectionInfo().GetSchemas() {
		if len(s.GetSchema().GetFields()) > 0 {
			known = append(known, KnownSchema{s.GetCheckpointTimeTick(), s.GetSchema()})
		}
	}
	if len(known) > 0 {
		return known, false
	}
	if c := collections[message.CollectionIDOf(vchannel)]; c != nil && len(c.Schema.GetFields()) > 0 {
		return []KnownSchema{{0, c.WALSchema()}}, true
	}
	return nil, false
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
