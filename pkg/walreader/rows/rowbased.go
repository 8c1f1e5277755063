package rows

import (
	"encoding/binary"
	"math"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
)

// fixedSize is the bytes of a field in a row-based row; 0 = of no fixed size.
func fixedSize(f *Field) int {
	switch f.Type {
	case schemapb.DataType_Bool, schemapb.DataType_Int8:
		return 1
	case schemapb.DataType_Int16:
		return 2
	case schemapb.DataType_Int32, schemapb.DataType_Float:
		return 4
	case schemapb.DataType_Int64, schemapb.DataType_Double:
		return 8
	}
	return width(f.Type, f.Dim)
}

// fromRows takes the columns out of row-based rows.
func (b *Batch) fromRows(req *msgpb.InsertRequest) error {
	size := 0
	for i := range b.Schema.Fields {
		f := &b.Schema.Fields[i]
		if f.Dropped { // rows of fixed width hold the schema's fields alone
			if err := b.Columns[i].absent(f, b.N); err != nil {
				return err
			}
			continue
		}
		n := fixedSize(f)
		if n == 0 {
			return fieldErrorf(f, "row-based rows cannot hold a %s", f.Type)
		}
		size += n
		b.Columns[i] = Column{Field: f, Shape: ShapeOf(f.Type), dim: f.Dim}
		if b.Columns[i].Shape == ShapeByteVector {
			b.Columns[i].dim = n
		}
	}
	for i, blob := range req.GetRowData() {
		row := blob.GetValue()
		if len(row) != size {
			return fieldErrorf(b.Schema.PrimaryKey(), "row %d has %d bytes, the schema's fields have %d", i, len(row), size)
		}
		for k := range b.Columns {
			if b.Columns[k].Missing {
				continue
			}
			n := fixedSize(b.Columns[k].Field)
			b.Columns[k].append(row[:n])
			row = row[n:]
		}
	}
	return nil
}

func (c *Column) append(b []byte) {
	le := binary.LittleEndian
	switch c.Field.Type {
	case schemapb.DataType_Bool:
		c.bools = append(c.bools, b[0] != 0)
	case schemapb.DataType_Int8:
		c.ints = append(c.ints, int32(int8(b[0])))
	case schemapb.DataType_Int16:
		c.ints = append(c.ints, int32(int16(le.Uint16(b))))
	case schemapb.DataType_Int32:
		c.ints = append(c.ints, int32(le.Uint32(b)))
	case schemapb.DataType_Int64:
		c.longs = append(c.longs, int64(le.Uint64(b)))
	case schemapb.DataType_Float, schemapb.DataType_FloatVector:
		for ; len(b) >= 4; b = b[4:] {
			c.floats = append(c.floats, math.Float32frombits(le.Uint32(b)))
		}
	case schemapb.DataType_Double:
		c.doubles = append(c.doubles, math.Float64frombits(le.Uint64(b)))
	default:
		c.flat = append(c.flat, b...)
	}
}
