package rows

import (
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
)

// Column is one field's values of a batch. The accessor that fits its Shape may
// be called for every row that is not null.
type Column struct {
	Field *Field
	Shape Shape
	// Missing: a dropped field, which the payload does not carry.
	Missing bool

	at []int32 // where a row's value lies, −1 = null; nil = at its own place

	bools   []bool
	ints    []int32
	longs   []int64
	floats  []float32 // also of float vectors, dim a row
	doubles []float64
	texts   []string
	blobs   [][]byte
	flat    []byte // of byte vectors, width a row
	arrays  []*schemapb.ScalarField
	vectors []*schemapb.VectorField
	dim     int // values of one vector in floats, bytes of one in flat
}

func (c *Column) place(row int) int {
	if c.at == nil {
		return row
	}
	return int(c.at[row])
}

// Null reports whether a row has no value.
func (c *Column) Null(row int) bool { return c.at != nil && c.at[row] < 0 }

// Bool returns a value of ShapeBool.
func (c *Column) Bool(row int) bool { return c.bools[c.place(row)] }

// Int returns a value of ShapeInt.
func (c *Column) Int(row int) int32 { return c.ints[c.place(row)] }

// Long returns a value of ShapeLong.
func (c *Column) Long(row int) int64 { return c.longs[c.place(row)] }

// Float returns a value of ShapeFloat.
func (c *Column) Float(row int) float32 { return c.floats[c.place(row)] }

// Double returns a value of ShapeDouble.
func (c *Column) Double(row int) float64 { return c.doubles[c.place(row)] }

// Text returns a value of ShapeText.
func (c *Column) Text(row int) string { return c.texts[c.place(row)] }

// Array returns a value of ShapeArray; its data is of the field's element type,
// or missing for an empty array.
func (c *Column) Array(row int) *schemapb.ScalarField { return c.arrays[c.place(row)] }

// Vectors returns a value of ShapeVectorArray.
func (c *Column) Vectors(row int) *schemapb.VectorField { return c.vectors[c.place(row)] }

// Floats returns a value of ShapeFloatVector.
func (c *Column) Floats(row int) []float32 {
	i := c.place(row) * c.dim
	return c.floats[i : i+c.dim]
}

// Bytes returns a value of ShapeJSON, ShapeBytes, ShapeSparse or ShapeByteVector.
func (c *Column) Bytes(row int) []byte {
	i := c.place(row)
	if c.Shape == ShapeByteVector {
		return c.flat[i*c.dim : (i+1)*c.dim]
	}
	return c.blobs[i]
}

// Batch is the rows of one Insert message.
type Batch struct {
	Schema  *Schema
	N       int      // rows
	Columns []Column // one for each of the schema's fields, in its order
	// Extra are the columns of fields the schema does not know. Their Field has
	// no more than the payload says, and a name no other column has.
	Extra []Column
	// CollectionName and PartitionName are as the writer knew them, maybe empty.
	CollectionName, PartitionName string
	Partition                     int64
}

// Primary returns the primary key's column: ShapeLong or ShapeText.
func (b *Batch) Primary() *Column { return &b.Columns[b.Schema.Primary] }
