package salvage_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

func dense(v ...float32) *schemapb.VectorField {
	return &schemapb.VectorField{Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}}
}

// structBatch has what walgen does not write: struct arrays with vectors in
// them, empty and null lists.
func structBatch(t testing.TB) *rows.Batch {
	dim := []*commonpb.KeyValuePair{{Key: "dim", Value: "2"}}
	s, err := rows.NewSchema(&schemapb.CollectionSchema{Name: "c", Fields: []*schemapb.FieldSchema{
		{FieldID: 100, Name: "pk", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		{FieldID: 101, Name: "v", DataType: schemapb.DataType_FloatVector, TypeParams: dim, Nullable: true},
		{FieldID: 102, Name: "a", DataType: schemapb.DataType_Array, ElementType: schemapb.DataType_Int64, Nullable: true},
	}, StructArrayFields: []*schemapb.StructArrayFieldSchema{{FieldID: 110, Name: "clips", Fields: []*schemapb.FieldSchema{
		{FieldID: 111, Name: "clips[label]", DataType: schemapb.DataType_Array, ElementType: schemapb.DataType_VarChar},
		{FieldID: 112, Name: "clips[v]", DataType: schemapb.DataType_ArrayOfVector, ElementType: schemapb.DataType_FloatVector, TypeParams: dim},
	}}}})
	require.NoError(t, err)
	text := func(v ...string) *schemapb.ScalarField {
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
	}
	long := func(v ...int64) *schemapb.ScalarField {
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
	}
	arrays := func(id int64, element schemapb.DataType, valid []bool, v ...*schemapb.ScalarField) *schemapb.FieldData {
		return &schemapb.FieldData{FieldId: id, Type: schemapb.DataType_Array, ValidData: valid, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
			Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{ElementType: element, Data: v}}}}}
	}
	b, err := proto.Marshal(&msgpb.InsertRequest{NumRows: 3, FieldsData: []*schemapb.FieldData{
		{FieldId: 100, Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{Scalars: long(1, 2, 3)}},
		{FieldId: 101, Type: schemapb.DataType_FloatVector, ValidData: []bool{true, false, true}, Field: &schemapb.FieldData_Vectors{Vectors: dense(1.5, 2.5, 5.5, 6.5)}},
		arrays(102, schemapb.DataType_Int64, []bool{true, true, false}, long(7, 8), long(), long()),
		arrays(111, schemapb.DataType_VarChar, nil, text("x", "y"), text(), text("z")),
		{FieldId: 112, Type: schemapb.DataType_ArrayOfVector, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Data: &schemapb.VectorField_VectorArray{
			VectorArray: &schemapb.VectorArray{Data: []*schemapb.VectorField{dense(1.5, 2.5, 3.5, 4.5), dense(), dense(5.5, 6.5)}}}}}},
	}})
	require.NoError(t, err)
	batch, err := rows.Decode(b, s, 3)
	require.NoError(t, err)
	return batch
}

func TestStructArraysReadBackElsewhere(t *testing.T) {
	py := python(t)
	r := &salvage.Rows{Batch: structBatch(t), Keep: []int32{0, 1, 2}, Collection: 9, Partition: 90}
	tmp := t.TempDir()
	dir, lines, types := filepath.Join(tmp, "rows"), filepath.Join(tmp, "rows.ndjson"), filepath.Join(tmp, "types.json")
	d, err := salvage.NewDir(dir, salvage.DirOptions{})
	require.NoError(t, err)
	var out bytes.Buffer
	for _, sink := range []salvage.Sink{d, salvage.NewNDJSON(&out)} {
		c, err := sink.Prepare(r)
		require.NoError(t, err)
		require.NoError(t, c.Write())
	}
	require.NoError(t, d.Close(&salvage.Report{}))
	require.Contains(t, out.String(), `"row":{"pk":1,"v":[1.5,2.5],"a":[7,8],"clips":[{"label":"x","v":[1.5,2.5]},{"label":"y","v":[3.5,4.5]}]}`)
	require.Contains(t, out.String(), `"row":{"pk":2,"v":null,"a":[],"clips":[]}`)
	require.NoError(t, os.WriteFile(lines, out.Bytes(), 0o600))
	b, err := json.Marshal(map[string]map[string][2]string{"9": {"pk": {"Int64"}, "v": {"FloatVector"}, "a": {"Array", "Int64"}, "clips": {"ArrayOfStruct"}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(types, b, 0o600))
	said, err := exec.CommandContext(t.Context(), py, filepath.Join("testdata", "compare.py"), dir, lines, types).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Equal(t, "3 rows 0 differ\n", string(said))
}

// FuzzColumns: whatever decodes has columns in Parquet, or an error says why not.
func FuzzColumns(f *testing.F) {
	g := walgen.New(walgen.Config{Seed: 3, Messages: 300, Collections: 4, RowsPerInsert: 3})
	schemas := map[int64][]byte{}
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		switch m.Type {
		case message.TypeCreateCollection:
			if s, err := m.Schema(); err == nil {
				schemas[m.Collection], _ = proto.Marshal(s)
			}
		case message.TypeInsert:
			if s := schemas[m.Collection]; s != nil && len(m.Payload) < 4096 {
				f.Add(s, m.Payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, schema, payload []byte) {
		s := &schemapb.CollectionSchema{}
		if proto.Unmarshal(schema, s) != nil {
			return
		}
		ready, err := rows.NewSchema(s)
		if err != nil {
			return
		}
		b, err := rows.Decode(payload, ready, 0)
		if err != nil || b.N == 0 || b.N > 1000 {
			return
		}
		keep := make([]int32, b.N)
		for i := range keep {
			keep[i] = int32(i)
		}
		d, err := salvage.NewDir(t.TempDir(), salvage.DirOptions{})
		require.NoError(t, err)
		c, err := d.Prepare(&salvage.Rows{Batch: b, Keep: keep})
		if err != nil {
			require.ErrorIs(t, err, rows.ErrSchema)
			return
		}
		require.NoError(t, c.Write())
		require.NoError(t, d.Close(&salvage.Report{}))
	})
}
