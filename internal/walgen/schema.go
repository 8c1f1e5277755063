package walgen

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
)

// SchemaKind is one of the collection shapes walgen knows.
type SchemaKind uint8

// The shapes. SchemaFixed has only fields of fixed size, for row-based inserts.
const (
	SchemaBasic   SchemaKind = iota + 1 // int64 key, float vector, varchar with a default, dynamic field
	SchemaScalars                       // varchar key, every scalar, JSON, arrays, nullable and default values
	SchemaVectors                       // every vector type
	SchemaAutoID                        // generated key, partition key
	SchemaFixed
	SchemaShop // a shop's orders, for the demo
)

func kv(k, v string) *commonpb.KeyValuePair { return &commonpb.KeyValuePair{Key: k, Value: v} }

type fields struct {
	list []*schemapb.FieldSchema
	dim  string
}

func (f *fields) add(name string, t schemapb.DataType, edit ...func(*schemapb.FieldSchema)) {
	s := &schemapb.FieldSchema{FieldID: int64(100 + len(f.list)), Name: name, DataType: t}
	switch t {
	case schemapb.DataType_VarChar:
		s.TypeParams = []*commonpb.KeyValuePair{kv("max_length", "512")}
	case schemapb.DataType_FloatVector, schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector, schemapb.DataType_Int8Vector:
		s.TypeParams = []*commonpb.KeyValuePair{kv("dim", f.dim)}
	case schemapb.DataType_BinaryVector:
		s.TypeParams = []*commonpb.KeyValuePair{kv("dim", "16")}
	case schemapb.DataType_Array:
		s.TypeParams = []*commonpb.KeyValuePair{kv("max_capacity", "8")}
	}
	for _, e := range edit {
		e(s)
	}
	f.list = append(f.list, s)
}

func primary(s *schemapb.FieldSchema)  { s.IsPrimaryKey = true }
func nullable(s *schemapb.FieldSchema) { s.Nullable = true }
func autoID(s *schemapb.FieldSchema)   { s.AutoID = true }
func partKey(s *schemapb.FieldSchema)  { s.IsPartitionKey = true }
func of(t schemapb.DataType) func(*schemapb.FieldSchema) {
	return func(s *schemapb.FieldSchema) {
		s.ElementType = t
		if t == schemapb.DataType_VarChar {
			s.TypeParams = append(s.TypeParams, kv("max_length", "64"))
		}
	}
}
func defaultText(v string) func(*schemapb.FieldSchema) {
	return func(s *schemapb.FieldSchema) {
		s.DefaultValue = &schemapb.ValueField{Data: &schemapb.ValueField_StringData{StringData: v}}
	}
}
func defaultLong(v int64) func(*schemapb.FieldSchema) {
	return func(s *schemapb.FieldSchema) {
		s.DefaultValue = &schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: v}}
	}
}

// userFields lists a shape's fields, and whether it takes dynamic ones.
func userFields(kind SchemaKind, dim int) (list []*schemapb.FieldSchema, dynamic bool) {
	f := fields{dim: strconv.Itoa(dim)}
	switch kind {
	case SchemaBasic:
		f.add("pk", schemapb.DataType_Int64, primary)
		f.add("vec", schemapb.DataType_FloatVector)
		f.add("s", schemapb.DataType_VarChar, defaultText("none"))
		dynamic = true
	case SchemaScalars:
		f.scalars()
		f.add("vec", schemapb.DataType_FloatVector)
		dynamic = true
	case SchemaVectors:
		f.add("pk", schemapb.DataType_Int64, primary)
		f.add("f32", schemapb.DataType_FloatVector)
		f.add("f16", schemapb.DataType_Float16Vector)
		f.add("bf16", schemapb.DataType_BFloat16Vector)
		f.add("bin", schemapb.DataType_BinaryVector)
		f.add("i8", schemapb.DataType_Int8Vector)
		f.add("sparse", schemapb.DataType_SparseFloatVector)
	case SchemaAutoID:
		f.add("id", schemapb.DataType_Int64, primary, autoID)
		f.add("tenant", schemapb.DataType_VarChar, partKey)
		f.add("vec", schemapb.DataType_FloatVector)
	case SchemaFixed:
		f.add("pk", schemapb.DataType_Int64, primary)
		f.add("flag", schemapb.DataType_Bool)
		f.add("n", schemapb.DataType_Int32)
		f.add("score", schemapb.DataType_Double)
		f.add("vec", schemapb.DataType_FloatVector)
	case SchemaShop:
		f.add("order_id", schemapb.DataType_Int64, primary)
		f.add("customer", schemapb.DataType_VarChar)
		f.add("amount", schemapb.DataType_Double)
		f.add("note", schemapb.DataType_VarChar, nullable)
		f.add("embedding", schemapb.DataType_FloatVector)
	}
	if dynamic {
		f.add("$meta", schemapb.DataType_JSON, func(s *schemapb.FieldSchema) {
			s.IsDynamic, s.Description = true, "dynamic schema"
		})
	}
	return f.list, dynamic
}

func (f *fields) scalars() {
	f.add("key", schemapb.DataType_VarChar, primary)
	f.add("ok", schemapb.DataType_Bool)
	f.add("i8", schemapb.DataType_Int8)
	f.add("i16", schemapb.DataType_Int16, nullable)
	f.add("i32", schemapb.DataType_Int32)
	f.add("i64", schemapb.DataType_Int64, nullable, defaultLong(7))
	f.add("f32", schemapb.DataType_Float)
	f.add("f64", schemapb.DataType_Double, nullable)
	f.add("text", schemapb.DataType_VarChar, nullable)
	f.add("doc", schemapb.DataType_JSON, nullable)
	f.add("nums", schemapb.DataType_Array, of(schemapb.DataType_Int32))
	f.add("tags", schemapb.DataType_Array, of(schemapb.DataType_VarChar), nullable)
}

// newSchema builds a collection's schema as the coordinator stores it: the two
// system fields first.
func newSchema(name string, kind SchemaKind, dim int, v Version) (*schemapb.CollectionSchema, []*schemapb.FieldSchema) {
	user, dynamic := userFields(kind, dim)
	all := append([]*schemapb.FieldSchema{
		{FieldID: 0, Name: "RowID", Description: "row id", DataType: schemapb.DataType_Int64},
		{FieldID: 1, Name: "Timestamp", Description: "time stamp", DataType: schemapb.DataType_Int64},
	}, user...)
	s := &schemapb.CollectionSchema{Name: name, Fields: all, EnableDynamicField: dynamic, DbName: "default"}
	if v == Version30 && kind == SchemaBasic {
		s.ExternalSource, s.ExternalSpec, s.FileResourceIds = "s3://bucket/"+name, `{"format":"parquet"}`, []int64{7}
	}
	return s, user
}
