package salvage

import (
	"unsafe"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/parquet-go/parquet-go"

	"github.com/walctl/walctl/pkg/walreader/rows"
)

// values appends a column's values of the rows to keep, with the levels that
// tell nulls and the ends of lists.
func (l *layout) values(dst []parquet.Value, b *rows.Batch, at int, keep []int32) []parquet.Value {
	f := l.leaves[at]
	c := &b.Columns[f.column]
	w := leafWriter{dst: dst, column: at, def: 0}
	if f.optional {
		w.def = 1
	}
	for _, i := range keep {
		row := int(i)
		switch {
		case c.Null(row):
			w.dst = append(w.dst, parquet.NullValue().Level(0, 0, at))
		case f.list == 0:
			w.dst = append(w.dst, scalarValue(c, row).Level(0, w.def, at))
		case c.Shape == rows.ShapeFloatVector:
			w.floats(0, 1, w.def+1, c.Floats(row))
		case c.Shape == rows.ShapeByteVector:
			w.bytes(0, 1, w.def+1, c.Bytes(row), c.Field.Type)
		default:
			w.elements(c, row)
		}
	}
	return w.dst
}

// leafWriter appends the values of one leaf. def is the definition level of a
// value that stands in no list.
type leafWriter struct {
	dst    []parquet.Value
	column int
	def    int
}

// elements appends an array, or the vectors of an array.
func (w *leafWriter) elements(c *rows.Column, row int) {
	n := c.Elements(row)
	if n == 0 {
		w.dst = append(w.dst, parquet.NullValue().Level(0, w.def, w.column))
		return
	}
	for e := range n {
		rep := min(e, 1)
		switch {
		case c.Shape == rows.ShapeArray:
			w.dst = append(w.dst, elementValue(c, row, e).Level(rep, w.def+1, w.column))
		case c.Field.Element == schemapb.DataType_FloatVector:
			w.floats(rep, 2, w.def+2, c.FloatsOf(row, e))
		default:
			w.bytes(rep, 2, w.def+2, c.BytesOf(row, e), c.Field.Element)
		}
	}
}

// floats appends one vector: the first number repeats what rep says, the others
// the innermost list.
func (w *leafWriter) floats(rep, inner, def int, v []float32) {
	if len(v) == 0 {
		w.dst = append(w.dst, parquet.NullValue().Level(rep, def-1, w.column))
	}
	for _, x := range v {
		w.dst = append(w.dst, parquet.FloatValue(x).Level(rep, def, w.column))
		rep = inner
	}
}

func (w *leafWriter) bytes(rep, inner, def int, v []byte, t schemapb.DataType) {
	if len(v) == 0 {
		w.dst = append(w.dst, parquet.NullValue().Level(rep, def-1, w.column))
	}
	for _, x := range v {
		n := int32(x)
		if t == schemapb.DataType_Int8Vector {
			n = int32(int8(x))
		}
		w.dst = append(w.dst, parquet.Int32Value(n).Level(rep, def, w.column))
		rep = inner
	}
}

func scalarValue(c *rows.Column, row int) parquet.Value {
	switch c.Shape {
	case rows.ShapeBool:
		return parquet.BooleanValue(c.Bool(row))
	case rows.ShapeInt:
		return parquet.Int32Value(c.Int(row))
	case rows.ShapeLong:
		return parquet.Int64Value(c.Long(row))
	case rows.ShapeFloat:
		return parquet.FloatValue(c.Float(row))
	case rows.ShapeDouble:
		return parquet.DoubleValue(c.Double(row))
	case rows.ShapeText:
		return textValue(c.Text(row))
	case rows.ShapeSparse:
		return parquet.ByteArrayValue(rows.AppendSparse(nil, c.Bytes(row)))
	}
	return parquet.ByteArrayValue(c.Bytes(row))
}

func elementValue(c *rows.Column, row, e int) parquet.Value {
	a := c.Array(row)
	switch rows.ShapeOf(c.Field.Element) {
	case rows.ShapeBool:
		return parquet.BooleanValue(a.GetBoolData().GetData()[e])
	case rows.ShapeInt:
		return parquet.Int32Value(a.GetIntData().GetData()[e])
	case rows.ShapeLong:
		return parquet.Int64Value(a.GetLongData().GetData()[e])
	case rows.ShapeFloat:
		return parquet.FloatValue(a.GetFloatData().GetData()[e])
	case rows.ShapeDouble:
		return parquet.DoubleValue(a.GetDoubleData().GetData()[e])
	}
	return textValue(c.ElementText(row, e))
}

// textValue refers to the text's bytes; the writer copies them.
func textValue(s string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
}
