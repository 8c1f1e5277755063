package walgen

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// insertBody makes n rows, new ones or those of the given keys. A partial
// update tells the TimeTick and term it had read at.
func (g *Generator) insertBody(c *collection, p *partition, n int, keys []int64, partial bool) []byte {
	if keys == nil {
		keys = g.keyRoom(n)
		for i := range keys {
			c.nextPK++
			keys[i] = c.nextPK
		}
	}
	if g.cfg.Cheap {
		return g.cheapInsert(c, p, keys)
	}
	req := &msgpb.InsertRequest{
		Base:      &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert, SourceID: g.cfg.NodeID},
		ShardName: c.scope.name, DbName: "default", CollectionName: c.name, PartitionName: p.name,
		DbID: 1, CollectionID: c.id, PartitionID: p.id,
		Timestamps: make([]uint64, n), RowIDs: make([]int64, n), NumRows: uint64(n),
		Version: msgpb.InsertDataVersion_ColumnBased,
	}
	if partial {
		proof := b64(appendVarint(appendVarint(nil, 1, g.lastTick), 2, uint64(g.term)))
		req.Base.Properties = map[string]string{message.KeyPartialUpdate: proof}
	}
	for i := range req.RowIDs {
		req.RowIDs[i] = c.id + 1<<32 + keys[i]
	}
	if g.cfg.RowBased {
		req.Version = msgpb.InsertDataVersion_RowBased
		for _, k := range keys {
			req.RowData = append(req.RowData, &commonpb.Blob{Value: g.fixedRow(c, k)})
		}
		return marshal(req)
	}
	for _, f := range c.fields {
		req.FieldsData = append(req.FieldsData, g.column(f, keys))
	}
	return marshal(req)
}

// cheapInsert is an InsertRequest of keys alone, written by hand.
func (g *Generator) cheapInsert(c *collection, p *partition, keys []int64) []byte {
	data := g.scratch[:0]
	for _, k := range keys {
		data = binary.AppendUvarint(data, uint64(k))
	}
	g.scratch = data
	n := len(data)
	longs := 1 + protowire.SizeBytes(n)
	scalars := 1 + protowire.SizeBytes(longs)
	field := 2 + 4 + 1 + protowire.SizeBytes(scalars) + 2
	out := g.alloc(field + len(c.scope.name) + 48)
	out = append(out, 0x0a, 0x03, 0x08, 0x90, 0x03) // base{type 400}
	out = appendVarint(appendVarint(appendText(out, 2, c.scope.name), 7, uint64(c.id)), 8, uint64(p.id))
	out = protowire.AppendVarint(append(out, 13<<3|2), uint64(field))
	out = append(out, 1<<3, byte(schemapb.DataType_Int64), 2<<3|2, 2, 'p', 'k')
	out = protowire.AppendVarint(append(out, 3<<3|2), uint64(scalars))
	out = protowire.AppendVarint(append(out, 3<<3|2), uint64(longs))
	out = append(protowire.AppendVarint(append(out, 1<<3|2), uint64(n)), data...)
	out = append(out, 5<<3, 100)
	return appendVarint(appendVarint(out, 14, uint64(len(keys))), 15, 1)
}

// cheapDelete is a DeleteRequest of keys alone.
func (g *Generator) cheapDelete(c *collection, keys []int64) []byte {
	data := g.scratch[:0]
	for _, k := range keys {
		data = binary.AppendUvarint(data, uint64(k))
	}
	g.scratch = data
	longs := 1 + protowire.SizeBytes(len(data))
	out := g.alloc(longs + len(data) + len(c.scope.name) + 64)
	out = append(out, 0x0a, 0x03, 0x08, 0x91, 0x03) // base{type 401}
	out = appendVarint(appendText(out, 2, c.scope.name), 7, uint64(c.id))
	out = appendVarint(appendVarint(out, 8, ^uint64(0)), 11, uint64(len(keys)))
	out = protowire.AppendVarint(append(out, 12<<3|2), uint64(1+protowire.SizeBytes(longs)))
	out = protowire.AppendVarint(append(out, 1<<3|2), uint64(longs))
	return append(protowire.AppendVarint(append(out, 1<<3|2), uint64(len(data))), data...)
}

func (g *Generator) deleteBody(c *collection, keys []int64) []byte {
	if g.cfg.Cheap {
		return g.cheapDelete(c, keys)
	}
	req := &msgpb.DeleteRequest{
		Base:      &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete, SourceID: g.cfg.NodeID},
		ShardName: c.scope.name, DbName: "default", CollectionName: c.name,
		DbID: 1, CollectionID: c.id, PartitionID: -1,
		NumRows: int64(len(keys)), Timestamps: make([]uint64, len(keys)),
	}
	if c.fields[0].DataType == schemapb.DataType_VarChar {
		s := make([]string, len(keys))
		for i, k := range keys {
			s[i] = textKey(k)
		}
		req.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_StrId{StrId: &schemapb.StringArray{Data: s}}}
	} else {
		req.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}}
	}
	return marshal(req)
}

func textKey(k int64) string { return "k-" + strconv.FormatInt(k, 10) }

// column makes one field's values. As a proxy does, a null stands as a zero
// value whose ValidData is false.
func (g *Generator) column(f *schemapb.FieldSchema, keys []int64) *schemapb.FieldData {
	d := &schemapb.FieldData{Type: f.DataType, FieldName: f.Name, FieldId: f.FieldID, IsDynamic: f.IsDynamic}
	valid := make([]bool, len(keys))
	for i := range valid {
		valid[i] = !f.Nullable || g.rng.IntN(4) > 0
	}
	if f.Nullable {
		d.ValidData = valid
	}
	if f.DataType >= schemapb.DataType_BinaryVector {
		d.Field = &schemapb.FieldData_Vectors{Vectors: g.vectors(f, len(keys))}
		return d
	}
	s := &schemapb.ScalarField{}
	d.Field = &schemapb.FieldData_Scalars{Scalars: s}
	switch f.DataType {
	case schemapb.DataType_Bool:
		s.Data = &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: fill(keys, valid, func(k int64) bool { return k&1 == 0 })}}
	case schemapb.DataType_Int8, schemapb.DataType_Int16, schemapb.DataType_Int32:
		s.Data = &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: fill(keys, valid, func(k int64) int32 { return int32(k%256 - 128) })}}
	case schemapb.DataType_Int64:
		s.Data = &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: fill(keys, valid, func(k int64) int64 {
			if f.IsPrimaryKey || k%3 != 0 || f.DefaultValue == nil {
				return k
			}
			return f.DefaultValue.GetLongData()
		})}}
	case schemapb.DataType_Float:
		s.Data = &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: fill(keys, valid, func(k int64) float32 { return float32(k) / 8 })}}
	case schemapb.DataType_Double:
		s.Data = &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: fill(keys, valid, func(k int64) float64 { return float64(k%9973) / 100 })}}
	case schemapb.DataType_VarChar:
		s.Data = &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: fill(keys, valid, func(k int64) string { return text(f, k) })}}
	case schemapb.DataType_JSON:
		s.Data = &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: fill(keys, valid, func(k int64) []byte {
			return fmt.Appendf(nil, `{"n":%d,"tag":"t%d","nested":{"half":%g}}`, k, k%5, float64(k)/2)
		})}}
	case schemapb.DataType_Array:
		s.Data = &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{ElementType: f.ElementType, Data: fill(keys, valid, func(k int64) *schemapb.ScalarField { return array(f, k) })}}
		for i, v := range s.GetArrayData().Data {
			if v == nil {
				s.GetArrayData().Data[i] = array(f, 0)
			}
		}
	}
	return d
}

func fill[T any](keys []int64, valid []bool, value func(int64) T) []T {
	out := make([]T, len(keys))
	for i, k := range keys {
		if valid[i] {
			out[i] = value(k)
		}
	}
	return out
}

func text(f *schemapb.FieldSchema, k int64) string {
	switch {
	case f.IsPrimaryKey:
		return textKey(k)
	case f.IsPartitionKey:
		return "tenant-" + strconv.FormatInt(k%64, 10)
	case f.DefaultValue != nil && k%3 == 0:
		return f.DefaultValue.GetStringData()
	}
	return f.Name + "-" + strconv.FormatInt(k, 10)
}

func array(f *schemapb.FieldSchema, k int64) *schemapb.ScalarField {
	n := int(k % 4)
	if f.ElementType == schemapb.DataType_VarChar {
		a := &schemapb.StringArray{}
		for i := range n {
			a.Data = append(a.Data, "tag"+strconv.Itoa(i))
		}
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: a}}
	}
	a := &schemapb.IntArray{}
	for i := range n {
		a.Data = append(a.Data, int32(k)+int32(i))
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: a}}
}

func (g *Generator) floats(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(g.rng.IntN(1<<16)) / (1 << 16)
	}
	return out
}

func (g *Generator) vectors(f *schemapb.FieldSchema, n int) *schemapb.VectorField {
	dim := 0
	for _, p := range f.TypeParams {
		if p.Key == "dim" {
			dim, _ = strconv.Atoi(p.Value)
		}
	}
	v := &schemapb.VectorField{Dim: int64(dim)}
	half := func(cut func(float32) uint16) []byte {
		b := make([]byte, 0, 2*n*dim)
		for _, x := range g.floats(n * dim) {
			b = binary.LittleEndian.AppendUint16(b, cut(x))
		}
		return b
	}
	switch f.DataType {
	case schemapb.DataType_FloatVector:
		v.Data = &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: g.floats(n * dim)}}
	case schemapb.DataType_Float16Vector:
		v.Data = &schemapb.VectorField_Float16Vector{Float16Vector: half(float16)}
	case schemapb.DataType_BFloat16Vector:
		v.Data = &schemapb.VectorField_Bfloat16Vector{Bfloat16Vector: half(func(x float32) uint16 { return uint16(math.Float32bits(x) >> 16) })}
	case schemapb.DataType_BinaryVector:
		v.Data = &schemapb.VectorField_BinaryVector{BinaryVector: g.bytes(n * dim / 8)}
	case schemapb.DataType_Int8Vector:
		v.Data = &schemapb.VectorField_Int8Vector{Int8Vector: g.bytes(n * dim)}
	case schemapb.DataType_SparseFloatVector:
		s := &schemapb.SparseFloatArray{}
		for range n {
			var row []byte
			at := uint32(0)
			for range 1 + g.rng.IntN(4) {
				at += uint32(1 + g.rng.IntN(50))
				row = binary.LittleEndian.AppendUint32(row, at)
				row = binary.LittleEndian.AppendUint32(row, math.Float32bits(g.floats(1)[0]))
			}
			s.Dim = max(s.Dim, int64(at)+1)
			s.Contents = append(s.Contents, row)
		}
		v.Dim, v.Data = s.Dim, &schemapb.VectorField_SparseFloatVector{SparseFloatVector: s}
	}
	return v
}

func (g *Generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return b
}

// float16 cuts a value in [0, 1) to half precision; tiny ones become zero.
func float16(x float32) uint16 {
	b := math.Float32bits(x)
	exp := int(b>>23&0xff) - 127 + 15
	if exp <= 0 {
		return 0
	}
	return uint16(exp<<10) | uint16(b>>13&0x3ff)
}

// fixedRow is a row-based insert's blob: the fields one after the other,
// little endian.
func (g *Generator) fixedRow(c *collection, k int64) []byte {
	var b []byte
	for _, f := range c.fields {
		switch f.DataType {
		case schemapb.DataType_Bool:
			b = append(b, byte(k&1))
		case schemapb.DataType_Int32:
			b = binary.LittleEndian.AppendUint32(b, uint32(k%1000))
		case schemapb.DataType_Int64:
			b = binary.LittleEndian.AppendUint64(b, uint64(k))
		case schemapb.DataType_Double:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(k)/4))
		case schemapb.DataType_FloatVector:
			for _, x := range g.floats(g.cfg.VectorDim) {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
		}
	}
	return b
}
