package rows_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/rows"
)

func field(id int64, name string, t schemapb.DataType, edit ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
	f := &schemapb.FieldSchema{FieldID: id, Name: name, DataType: t}
	for _, e := range edit {
		e(f)
	}
	return f
}

func dim(n string) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) {
		f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: "dim", Value: n})
	}
}
func primary(f *schemapb.FieldSchema)  { f.IsPrimaryKey = true }
func nullable(f *schemapb.FieldSchema) { f.Nullable = true }
func element(t schemapb.DataType) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) { f.ElementType = t }
}
func preset(v *schemapb.ValueField) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) { f.DefaultValue = v }
}

func schema(t testing.TB, fs ...*schemapb.FieldSchema) *rows.Schema {
	all := append([]*schemapb.FieldSchema{
		field(0, "RowID", schemapb.DataType_Int64), field(1, "Timestamp", schemapb.DataType_Int64),
		field(100, "pk", schemapb.DataType_Int64, primary),
	}, fs...)
	s, err := rows.NewSchema(&schemapb.CollectionSchema{Name: "c", Fields: all})
	require.NoError(t, err)
	return s
}

func scalars(id int64, t schemapb.DataType, s *schemapb.ScalarField, valid ...bool) *schemapb.FieldData {
	return &schemapb.FieldData{FieldId: id, Type: t, Field: &schemapb.FieldData_Scalars{Scalars: s}, ValidData: valid}
}

func longs(id int64, valid []bool, v ...int64) *schemapb.FieldData {
	return scalars(id, schemapb.DataType_Int64, &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}, valid...)
}

func texts(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func vectors(id int64, t schemapb.DataType, v *schemapb.VectorField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldId: id, Type: t, Field: &schemapb.FieldData_Vectors{Vectors: v}}
}

func floats(v ...float32) *schemapb.VectorField {
	return &schemapb.VectorField{Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}}
}

func payload(t testing.TB, n int, fs ...*schemapb.FieldData) []byte {
	keys := make([]int64, n)
	for i := range keys {
		keys[i] = int64(i + 1)
	}
	b, err := proto.Marshal(&msgpb.InsertRequest{NumRows: uint64(n), Version: msgpb.InsertDataVersion_ColumnBased,
		FieldsData: append([]*schemapb.FieldData{longs(100, nil, keys...)}, fs...)})
	require.NoError(t, err)
	return b
}

// TestRowsAsJSON decodes what Milvus can write and holds each row to its JSON.
func TestRowsAsJSON(t *testing.T) {
	wkbPoint := append([]byte{1, 1, 0, 0, 0}, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(30.5)), math.Float64bits(10))...)
	long := func(v int64) *schemapb.ValueField {
		return &schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: v}}
	}
	sub := func(f *schemapb.FieldSchema) *schemapb.CollectionSchema {
		return &schemapb.CollectionSchema{Fields: []*schemapb.FieldSchema{field(100, "pk", schemapb.DataType_Int64, primary)},
			StructArrayFields: []*schemapb.StructArrayFieldSchema{{FieldID: 110, Name: "clips", Fields: []*schemapb.FieldSchema{
				field(111, "clips[label]", schemapb.DataType_Array, element(schemapb.DataType_VarChar)), f}}}}
	}
	arrays := func(t schemapb.DataType, v ...*schemapb.ScalarField) *schemapb.ScalarField {
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{ElementType: t, Data: v}}}
	}
	for _, c := range []struct {
		name   string
		schema *schemapb.CollectionSchema // or fields
		fields []*schemapb.FieldSchema
		data   []*schemapb.FieldData
		want   []string
	}{
		{"a null stands as a zero", nil, []*schemapb.FieldSchema{field(101, "n", schemapb.DataType_Int64, nullable)},
			[]*schemapb.FieldData{longs(101, []bool{true, false, true}, 7, 0, 9)}, []string{`{"pk":1,"n":7}`, `{"pk":2,"n":null}`, `{"pk":3,"n":9}`}},
		{"nulls are left out", nil, []*schemapb.FieldSchema{field(101, "n", schemapb.DataType_Int64, nullable)},
			[]*schemapb.FieldData{longs(101, []bool{false, true, true}, 8, 9)}, []string{`{"pk":1,"n":null}`, `{"pk":2,"n":8}`, `{"pk":3,"n":9}`}},
		{"all null, none there", nil, []*schemapb.FieldSchema{field(101, "n", schemapb.DataType_Int64, nullable)},
			[]*schemapb.FieldData{longs(101, []bool{false, false})}, []string{`{"pk":1,"n":null}`, `{"pk":2,"n":null}`}},
		{"added later: default, null, dynamic", nil, []*schemapb.FieldSchema{field(101, "n", schemapb.DataType_Int64, preset(long(7))),
			field(102, "m", schemapb.DataType_Double, nullable), field(103, "$meta", schemapb.DataType_JSON, func(f *schemapb.FieldSchema) { f.IsDynamic = true })},
			nil, []string{`{"pk":1,"n":7,"m":null,"$meta":{}}`}},
		{"dropped later", nil, nil, []*schemapb.FieldData{{FieldId: 105, FieldName: "gone", Type: schemapb.DataType_VarChar,
			Field: &schemapb.FieldData_Scalars{Scalars: texts("a")}}}, []string{`{"pk":1,"gone":"a"}`}},
		{"by name, as old writers", nil, []*schemapb.FieldSchema{field(101, "s", schemapb.DataType_VarChar)},
			[]*schemapb.FieldData{{FieldName: "s", Type: schemapb.DataType_VarChar, Field: &schemapb.FieldData_Scalars{Scalars: texts("q\"\\\n\x01é")}}},
			[]string{`{"pk":1,"s":"q\"\\\n\u0001é"}`}},
		{"numbers JSON has none for", nil, []*schemapb.FieldSchema{field(101, "v", schemapb.DataType_FloatVector, dim("3"))},
			[]*schemapb.FieldData{vectors(101, schemapb.DataType_FloatVector, floats(float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))))},
			[]string{`{"pk":1,"v":["NaN","Infinity","-Infinity"]}`}},
		{"half precision, bytes, sparse", nil, []*schemapb.FieldSchema{field(101, "h", schemapb.DataType_Float16Vector, dim("4")), field(102, "b", schemapb.DataType_BFloat16Vector, dim("1")),
			field(103, "i", schemapb.DataType_Int8Vector, dim("2")), field(104, "x", schemapb.DataType_BinaryVector, dim("16")), field(105, "s", schemapb.DataType_SparseFloatVector)},
			[]*schemapb.FieldData{
				vectors(101, schemapb.DataType_Float16Vector, &schemapb.VectorField{Data: &schemapb.VectorField_Float16Vector{Float16Vector: []byte{0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b}}}),
				vectors(102, schemapb.DataType_BFloat16Vector, &schemapb.VectorField{Data: &schemapb.VectorField_Bfloat16Vector{Bfloat16Vector: []byte{0x40, 0x3f}}}),
				vectors(103, schemapb.DataType_Int8Vector, &schemapb.VectorField{Data: &schemapb.VectorField_Int8Vector{Int8Vector: []byte{0xff, 3}}}),
				vectors(104, schemapb.DataType_BinaryVector, &schemapb.VectorField{Data: &schemapb.VectorField_BinaryVector{BinaryVector: []byte{0xff, 3}}}),
				vectors(105, schemapb.DataType_SparseFloatVector, &schemapb.VectorField{Data: &schemapb.VectorField_SparseFloatVector{SparseFloatVector: &schemapb.SparseFloatArray{Contents: [][]byte{{5, 0, 0, 0, 0, 0, 0x80, 0x3e}}}}})},
			[]string{`{"pk":1,"h":[1,-2,5.9604645e-08,65504],"b":[0.75],"i":[-1,3],"x":[255,3],"s":{"5":0.25}}`}},
		{"arrays", nil, []*schemapb.FieldSchema{field(101, "a", schemapb.DataType_Array, element(schemapb.DataType_VarChar)), field(102, "e", schemapb.DataType_Array, element(schemapb.DataType_Int8))},
			[]*schemapb.FieldData{scalars(101, schemapb.DataType_Array, arrays(schemapb.DataType_VarChar, texts("x", "y"))), scalars(102, schemapb.DataType_Array, arrays(schemapb.DataType_Int8, &schemapb.ScalarField{}))},
			[]string{`{"pk":1,"a":["x","y"],"e":[]}`}},
		{"places and times", nil, []*schemapb.FieldSchema{field(101, "g", schemapb.DataType_Geometry), field(102, "t", schemapb.DataType_Timestamptz), field(103, "d", schemapb.DataType_Date)},
			[]*schemapb.FieldData{scalars(101, schemapb.DataType_Geometry, &schemapb.ScalarField{Data: &schemapb.ScalarField_GeometryData{GeometryData: &schemapb.GeometryArray{Data: [][]byte{wkbPoint}}}}),
				scalars(102, schemapb.DataType_Timestamptz, &schemapb.ScalarField{Data: &schemapb.ScalarField_TimestamptzData{TimestamptzData: &schemapb.TimestamptzArray{Data: []int64{1_500_000}}}}),
				scalars(103, schemapb.DataType_Date, &schemapb.ScalarField{Data: &schemapb.ScalarField_DateData{DateData: &schemapb.DateArray{Data: []int32{-1}}}})},
			[]string{`{"pk":1,"g":"POINT (30.5 10)","t":"1970-01-01T00:00:01.5Z","d":"1969-12-31"}`}},
		{"JSON over lines, and what is none", nil, []*schemapb.FieldSchema{field(101, "j", schemapb.DataType_JSON)},
			[]*schemapb.FieldData{scalars(101, schemapb.DataType_JSON, &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: [][]byte{[]byte("{\n\"a\": 1}"), []byte("{")}}}})},
			[]string{`{"pk":1,"j":{"a":1}}`, `{"pk":2,"j":"ew=="}`}},
		{"a struct array, its fields side by side", sub(field(112, "clips[v]", schemapb.DataType_ArrayOfVector, element(schemapb.DataType_FloatVector), dim("2"))), nil,
			[]*schemapb.FieldData{scalars(111, schemapb.DataType_Array, arrays(schemapb.DataType_VarChar, texts("x", "y"))),
				vectors(112, schemapb.DataType_ArrayOfVector, &schemapb.VectorField{Data: &schemapb.VectorField_VectorArray{VectorArray: &schemapb.VectorArray{Data: []*schemapb.VectorField{floats(1, 2, 3, 4)}}}})},
			[]string{`{"pk":1,"clips":[{"label":"x","v":[1,2]},{"label":"y","v":[3,4]}]}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := schema(t, c.fields...)
			if c.schema != nil {
				var err error
				s, err = rows.NewSchema(c.schema)
				require.NoError(t, err)
			}
			b, err := rows.Decode(payload(t, len(c.want), c.data...), s, uint64(len(c.want)))
			require.NoError(t, err)
			for i, want := range c.want {
				got := b.AppendJSON(nil, i)
				require.Equal(t, want, string(got))
				require.True(t, json.Valid(got))
			}
		})
	}
}

// TestPayloadsThatLie: counts that do not agree are errors, and name the field.
func TestPayloadsThatLie(t *testing.T) {
	s := schema(t, field(101, "n", schemapb.DataType_Int64, nullable), field(102, "v", schemapb.DataType_FloatVector, dim("2"), nullable))
	must := schema(t, field(101, "n", schemapb.DataType_Int64))
	bool1 := scalars(101, schemapb.DataType_Int64, &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: []bool{true, false}}}})
	for _, c := range []struct {
		name    string
		s       *rows.Schema
		header  uint64
		payload []byte
		want    string
	}{
		{"no protobuf", s, 2, []byte{0xff}, "not an InsertRequest"},
		{"header and payload differ", s, 3, payload(t, 2), "the header counts 3 rows, the payload 2"},
		{"too few values", s, 2, payload(t, 2, longs(101, nil, 1)), `field "n": 1 values for 2 rows`},
		{"too few marks", s, 2, payload(t, 2, longs(101, []bool{true}, 1, 2)), `field "n": 1 rows are marked null or not, of 2`},
		{"neither all nor the set ones", s, 3, payload(t, 3, longs(101, []bool{true, false, false}, 1, 2)), `field "n": 2 values for 3 rows of which 1 are not null`},
		{"half a vector", s, 2, payload(t, 2, vectors(102, schemapb.DataType_FloatVector, floats(1, 2, 3))), `field "v": 3 numbers are no vectors of dimension 2`},
		{"another type", s, 2, payload(t, 2, scalars(101, schemapb.DataType_VarChar, texts("a", "b"))), `field "n": a column of VarChar, but the schema says Int64`},
		{"other values", s, 2, payload(t, 2, bool1), `field "n": its values are not those of a Int64`},
		{"twice", s, 2, payload(t, 2, longs(101, nil, 1, 2), longs(101, nil, 1, 2)), `field "n": stands twice`},
		{"missing", must, 2, payload(t, 2), `field "n": missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rows.Decode(c.payload, c.s, c.header)
			require.ErrorIs(t, err, rows.ErrPayload)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestRowBased(t *testing.T) {
	s := schema(t, field(101, "b", schemapb.DataType_Bool), field(102, "i", schemapb.DataType_Int16), field(103, "d", schemapb.DataType_Double), field(104, "v", schemapb.DataType_FloatVector, dim("2")))
	le := binary.LittleEndian
	row := le.AppendUint64(nil, 42)
	row = append(row, 1)
	row = le.AppendUint16(row, 0xffff)
	row = le.AppendUint64(row, math.Float64bits(2.5))
	row = le.AppendUint32(le.AppendUint32(row, math.Float32bits(1)), math.Float32bits(0.5))
	blob := func(rs ...[]byte) []byte {
		req := &msgpb.InsertRequest{Version: msgpb.InsertDataVersion_RowBased}
		for _, r := range rs {
			req.RowData = append(req.RowData, &commonpb.Blob{Value: r})
		}
		b, err := proto.Marshal(req)
		require.NoError(t, err)
		return b
	}
	b, err := rows.Decode(blob(row, row), s, 2)
	require.NoError(t, err)
	require.Equal(t, `{"pk":42,"b":true,"i":-1,"d":2.5,"v":[1,0.5]}`, string(b.AppendJSON(nil, 1)))
	_, err = rows.Decode(blob(row, row[1:]), s, 2)
	require.ErrorContains(t, err, "row 1 has 26 bytes")
	_, err = rows.Decode(blob(row), schema(t, field(101, "s", schemapb.DataType_VarChar)), 1)
	require.ErrorContains(t, err, "row-based rows cannot hold a VarChar")
}

func TestSchemasThatLie(t *testing.T) {
	for _, fs := range [][]*schemapb.FieldSchema{
		{},
		{field(100, "pk", schemapb.DataType_Float, primary)},
		{field(100, "pk", schemapb.DataType_Int64, primary), field(100, "x", schemapb.DataType_Int64)},
		{field(100, "pk", schemapb.DataType_Int64, primary), field(101, "v", schemapb.DataType_FloatVector, dim("9999999999"))},
		{field(100, "pk", schemapb.DataType_Int64, primary), field(101, "v", schemapb.DataType_FloatVector, dim("-4"))},
	} {
		_, err := rows.NewSchema(&schemapb.CollectionSchema{Fields: fs})
		require.ErrorIs(t, err, rows.ErrSchema)
	}
}
