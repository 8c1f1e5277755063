package rows

import (
	"fmt"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/twpayne/go-geom/encoding/wkb"
	"github.com/twpayne/go-geom/encoding/wkt"
)

// fill takes one field's values out of the payload.
func (c *Column) fill(d *schemapb.FieldData, n int) error {
	f := c.Field
	c.Shape = ShapeOf(f.Type)
	if c.Shape == ShapeNone {
		return fieldErrorf(f, "its type %s is not known", f.Type)
	}
	if d.GetType() != f.Type && d.GetType() != schemapb.DataType_None {
		return fieldErrorf(f, "a column of %s, but the schema says %s", d.GetType(), f.Type)
	}
	have, err := c.take(d)
	if err != nil {
		return err
	}
	return c.align(d.GetValidData(), have, n)
}

// take refers to the values and returns how many there are.
func (c *Column) take(d *schemapb.FieldData) (int, error) {
	if c.Field.Type >= schemapb.DataType_BinaryVector {
		return c.takeVectors(d.GetVectors())
	}
	s := d.GetScalars()
	if !fits(s, c.Field.Type) {
		return 0, fieldErrorf(c.Field, "its values are not those of a %s", c.Field.Type)
	}
	switch c.Shape {
	case ShapeBool:
		c.bools = s.GetBoolData().GetData()
		return len(c.bools), nil
	case ShapeInt:
		c.ints = s.GetIntData().GetData()
		return len(c.ints), nil
	case ShapeLong:
		if c.longs = s.GetLongData().GetData(); c.Field.Type == schemapb.DataType_Time {
			c.longs = s.GetTimeData().GetData()
		}
		return len(c.longs), nil
	case ShapeFloat:
		c.floats = s.GetFloatData().GetData()
		return len(c.floats), nil
	case ShapeDouble:
		c.doubles = s.GetDoubleData().GetData()
		return len(c.doubles), nil
	case ShapeText:
		var err error
		c.texts, err = texts(c.Field, s)
		return len(c.texts), err
	case ShapeJSON:
		c.blobs = s.GetJsonData().GetData()
		return len(c.blobs), nil
	case ShapeBytes:
		c.blobs = s.GetMolData().GetData()
		for _, smiles := range s.GetMolSmilesData().GetData() {
			c.blobs = append(c.blobs, []byte(smiles))
		}
		return len(c.blobs), nil
	}
	c.arrays = s.GetArrayData().GetData()
	for _, a := range c.arrays {
		if !fits(a, c.Field.Element) || ShapeOf(c.Field.Element) > ShapeText {
			return 0, fieldErrorf(c.Field, "an element is no %s", c.Field.Element)
		}
	}
	return len(c.arrays), nil
}

// fits reports whether a scalar field holds values of a type. An empty one fits all.
func fits(s *schemapb.ScalarField, t schemapb.DataType) bool {
	switch s.GetData().(type) {
	case nil:
		return true
	case *schemapb.ScalarField_BoolData:
		return t == schemapb.DataType_Bool
	case *schemapb.ScalarField_IntData:
		return ShapeOf(t) == ShapeInt
	case *schemapb.ScalarField_LongData:
		return t == schemapb.DataType_Int64 || t == schemapb.DataType_Timestamptz
	case *schemapb.ScalarField_FloatData:
		return t == schemapb.DataType_Float
	case *schemapb.ScalarField_DoubleData:
		return t == schemapb.DataType_Double
	case *schemapb.ScalarField_StringData:
		return ShapeOf(t) == ShapeText
	case *schemapb.ScalarField_ArrayData:
		return t == schemapb.DataType_Array
	case *schemapb.ScalarField_JsonData:
		return t == schemapb.DataType_JSON
	case *schemapb.ScalarField_GeometryData, *schemapb.ScalarField_GeometryWktData:
		return t == schemapb.DataType_Geometry
	case *schemapb.ScalarField_TimestamptzData:
		return t == schemapb.DataType_Timestamptz
	case *schemapb.ScalarField_MolData, *schemapb.ScalarField_MolSmilesData:
		return t == schemapb.DataType_Mol
	case *schemapb.ScalarField_DateData:
		return t == schemapb.DataType_Date
	case *schemapb.ScalarField_TimeData:
		return t == schemapb.DataType_Time
	}
	return false
}

// texts spells out what reads as text.
func texts(f *Field, s *schemapb.ScalarField) ([]string, error) {
	var out []string
	switch d := s.GetData().(type) {
	case *schemapb.ScalarField_StringData:
		return d.StringData.GetData(), nil
	case *schemapb.ScalarField_GeometryWktData:
		return d.GeometryWktData.GetData(), nil
	case *schemapb.ScalarField_GeometryData:
		for i, b := range d.GeometryData.GetData() {
			t, err := geometryText(b)
			if err != nil {
				return nil, fieldErrorf(f, "value %d: %v", i, err)
			}
			out = append(out, t)
		}
	case *schemapb.ScalarField_TimestamptzData:
		for _, v := range d.TimestamptzData.GetData() {
			out = append(out, timestampText(v))
		}
	case *schemapb.ScalarField_LongData:
		for _, v := range d.LongData.GetData() {
			out = append(out, timestampText(v))
		}
	case *schemapb.ScalarField_DateData:
		for _, v := range d.DateData.GetData() {
			out = append(out, dateText(v))
		}
	}
	return out, nil
}

// timestampText spells a Timestamptz, stored as Unix microseconds, in UTC.
func timestampText(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

// dateText spells a Date, stored as days since 1970.
func dateText(days int32) string {
	return time.Unix(int64(days)*86400, 0).UTC().Format(time.DateOnly)
}

// maxGeometry caps a geometry, so that no nesting exhausts the stack.
const maxGeometry = 1 << 20

// geometryText turns well-known binary, which proxies store, into the text that
// Milvus takes and gives.
func geometryText(b []byte) (string, error) {
	if len(b) == 0 {
		return "", nil // a null's place
	}
	if len(b) > maxGeometry {
		return "", fmt.Errorf("a geometry of %d bytes", len(b))
	}
	g, err := wkb.Unmarshal(b)
	if err != nil {
		return "", fmt.Errorf("not well-known binary")
	}
	return wkt.Marshal(g)
}

// takeVectors refers to a vector field's values.
func (c *Column) takeVectors(v *schemapb.VectorField) (int, error) {
	f := c.Field
	switch c.Shape {
	case ShapeSparse:
		c.blobs = v.GetSparseFloatVector().GetContents()
		for i, b := range c.blobs {
			if len(b)%8 != 0 {
				return 0, fieldErrorf(f, "sparse vector %d has %d bytes, which are no pairs of index and value", i, len(b))
			}
		}
		return len(c.blobs), nil
	case ShapeVectorArray:
		c.vectors = v.GetVectorArray().GetData()
		for _, x := range c.vectors {
			if err := checkVectors(f, x); err != nil {
				return 0, err
			}
		}
		return len(c.vectors), nil
	}
	dim := f.Dim
	if dim == 0 {
		dim = int(min(v.GetDim(), maxDim))
	}
	if dim <= 0 {
		return 0, fieldErrorf(f, "its dimension is told nowhere")
	}
	if c.Shape == ShapeFloatVector {
		c.floats, c.dim = v.GetFloatVector().GetData(), dim
		if len(c.floats)%dim != 0 {
			return 0, fieldErrorf(f, "%d numbers are no vectors of dimension %d", len(c.floats), dim)
		}
		return len(c.floats) / dim, nil
	}
	c.flat, c.dim = vectorBytes(v, f.Type), width(f.Type, dim)
	if len(c.flat)%c.dim != 0 {
		return 0, fieldErrorf(f, "%d bytes are no vectors of dimension %d", len(c.flat), dim)
	}
	return len(c.flat) / c.dim, nil
}

// vectorBytes returns the bytes of dense vectors that are no floats.
func vectorBytes(v *schemapb.VectorField, t schemapb.DataType) []byte {
	switch t {
	case schemapb.DataType_BinaryVector:
		return v.GetBinaryVector()
	case schemapb.DataType_Float16Vector:
		return v.GetFloat16Vector()
	case schemapb.DataType_BFloat16Vector:
		return v.GetBfloat16Vector()
	case schemapb.DataType_Int8Vector:
		return v.GetInt8Vector()
	}
	return nil
}

// checkVectors holds one value of an ArrayOfVector to whole vectors.
func checkVectors(f *Field, v *schemapb.VectorField) error {
	dim := f.Dim
	if dim == 0 {
		dim = int(min(v.GetDim(), maxDim))
	}
	w, have := width(f.Element, dim), len(vectorBytes(v, f.Element))
	if f.Element == schemapb.DataType_FloatVector {
		have = 4 * len(v.GetFloatVector().GetData())
	}
	switch {
	case have == 0:
		return nil
	case w == 0:
		return fieldErrorf(f, "vectors of %s with dimension %d are not known", f.Element, dim)
	case have%w != 0:
		return fieldErrorf(f, "%d bytes are no vectors of dimension %d", have, dim)
	}
	return nil
}

// align holds the number of values to the number of rows: one a row, or one a
// row that is not null. The first is what proxies write.
func (c *Column) align(valid []bool, have, n int) error {
	f := c.Field
	if len(valid) == 0 {
		if have != n {
			return fieldErrorf(f, "%d values for %d rows", have, n)
		}
		return nil
	}
	if len(valid) != n {
		return fieldErrorf(f, "%d rows are marked null or not, of %d", len(valid), n)
	}
	set := 0
	for _, v := range valid {
		if v {
			set++
		}
	}
	switch {
	case set == n && have == n:
		return nil
	case have != n && have != set:
		return fieldErrorf(f, "%d values for %d rows of which %d are not null", have, n, set)
	}
	c.at = make([]int32, n)
	next := int32(0)
	for i, v := range valid {
		switch {
		case !v:
			c.at[i] = -1
		case have == n:
			c.at[i] = int32(i)
		default:
			c.at[i], next = next, next+1
		}
	}
	return nil
}
