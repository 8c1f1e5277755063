package rows

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
)

// AppendJSON appends one row as a JSON object on one line: the schema's fields
// by name, then what the schema does not know. A dropped field stands in the rows
// that carry it. Integers are numbers, vectors
// arrays of numbers (of a binary vector its bytes), a sparse vector an object
// from index to value, bytes base64. What JSON has no number for is the string
// "NaN", "Infinity" or "-Infinity". row must be below N.
func (b *Batch) AppendJSON(dst []byte, row int) []byte {
	dst = append(dst, '{')
	first := true
	name := func(s string) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(AppendText(dst, s), ':')
	}
	for i := range b.Columns {
		if c := &b.Columns[i]; c.Field.Struct == "" && !c.Missing && !(c.Field.FunctionOutput && c.Null(row)) {
			name(c.Field.Name)
			dst = c.AppendJSON(dst, row)
		}
	}
	for _, s := range b.Schema.Structs() {
		if b.missing(s) {
			continue
		}
		name(s)
		dst = b.appendStruct(dst, s, row)
	}
	for i := range b.Extra {
		name(b.Extra[i].Field.Name)
		dst = b.Extra[i].AppendJSON(dst, row)
	}
	return append(dst, '}')
}

// missing reports whether a payload carries nothing of a struct array that was dropped.
func (b *Batch) missing(of string) bool {
	for i := range b.Columns {
		if b.Columns[i].Field.Struct == of && !b.Columns[i].Missing {
			return false
		}
	}
	return true
}

// appendStruct appends a struct array as an array of objects.
func (b *Batch) appendStruct(dst []byte, of string, row int) []byte {
	null := true
	for i := range b.Columns {
		null = null && (b.Columns[i].Field.Struct != of || b.Columns[i].Null(row))
	}
	if null {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for e, more := 0, true; more; e++ {
		more = false
		open := len(dst)
		for i := range b.Columns {
			c := &b.Columns[i]
			if c.Field.Struct != of || c.Null(row) || e >= c.Elements(row) {
				continue
			}
			if !more && e > 0 {
				dst = append(dst, ',')
			}
			if more {
				dst = append(dst, ',')
			} else {
				dst = append(dst, '{')
			}
			more = true
			dst = append(AppendText(dst, c.Field.Name), ':')
			dst = c.appendElement(dst, row, e)
		}
		if !more {
			dst = dst[:open]
			break
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// AppendJSON appends one value.
func (c *Column) AppendJSON(dst []byte, row int) []byte {
	if c.Null(row) {
		return append(dst, "null"...)
	}
	switch c.Shape {
	case ShapeBool:
		return strconv.AppendBool(dst, c.Bool(row))
	case ShapeInt:
		return strconv.AppendInt(dst, int64(c.Int(row)), 10)
	case ShapeLong:
		return strconv.AppendInt(dst, c.Long(row), 10)
	case ShapeFloat:
		return appendFloat(dst, float64(c.Float(row)), 32)
	case ShapeDouble:
		return appendFloat(dst, c.Double(row), 64)
	case ShapeText:
		return AppendText(dst, c.Text(row))
	case ShapeJSON:
		return appendJSONValue(dst, c.Bytes(row))
	case ShapeBytes:
		return appendBytes(dst, c.Bytes(row))
	case ShapeFloatVector:
		return appendFloats(dst, c.Floats(row))
	case ShapeByteVector:
		return appendByteVector(dst, c.Bytes(row), c.Field.Type)
	case ShapeSparse:
		return AppendSparse(dst, c.Bytes(row))
	}
	dst = append(dst, '[')
	for i := range c.Elements(row) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.appendElement(dst, row, i)
	}
	return append(dst, ']')
}

// FloatsOf returns the i-th vector of an array of float vectors.
func (c *Column) FloatsOf(row, i int) []float32 {
	v := c.Vectors(row)
	w := c.vectorWidth(v) / 4
	return v.GetFloatVector().GetData()[i*w : (i+1)*w]
}

// BytesOf returns the i-th vector of an array of any other vectors.
func (c *Column) BytesOf(row, i int) []byte {
	v := c.Vectors(row)
	w := c.vectorWidth(v)
	return vectorBytes(v, c.Field.Element)[i*w : (i+1)*w]
}

// Elements is the number of elements of an array, or of vectors in an array.
func (c *Column) Elements(row int) int {
	if c.Shape == ShapeVectorArray {
		v := c.Vectors(row)
		w, have := c.vectorWidth(v), len(vectorBytes(v, c.Field.Element))
		if c.Field.Element == schemapb.DataType_FloatVector {
			have = 4 * len(v.GetFloatVector().GetData())
		}
		if w == 0 {
			return 0
		}
		return have / w
	}
	a := c.Array(row)
	switch ShapeOf(c.Field.Element) {
	case ShapeBool:
		return len(a.GetBoolData().GetData())
	case ShapeInt:
		return len(a.GetIntData().GetData())
	case ShapeLong:
		return len(a.GetLongData().GetData())
	case ShapeFloat:
		return len(a.GetFloatData().GetData())
	case ShapeDouble:
		return len(a.GetDoubleData().GetData())
	case ShapeText:
		switch d := a.GetData().(type) {
		case *schemapb.ScalarField_StringData:
			return len(d.StringData.GetData())
		case *schemapb.ScalarField_TimestamptzData:
			return len(d.TimestamptzData.GetData())
		}
	}
	return 0
}

// vectorWidth is the bytes of one vector in an ArrayOfVector.
func (c *Column) vectorWidth(v *schemapb.VectorField) int {
	if c.Field.Dim > 0 {
		return width(c.Field.Element, c.Field.Dim)
	}
	return width(c.Field.Element, int(min(v.GetDim(), maxDim)))
}

func (c *Column) appendElement(dst []byte, row, i int) []byte {
	if c.Shape == ShapeVectorArray {
		if c.Field.Element == schemapb.DataType_FloatVector {
			return appendFloats(dst, c.FloatsOf(row, i))
		}
		return appendByteVector(dst, c.BytesOf(row, i), c.Field.Element)
	}
	a := c.Array(row)
	switch ShapeOf(c.Field.Element) {
	case ShapeBool:
		return strconv.AppendBool(dst, a.GetBoolData().GetData()[i])
	case ShapeInt:
		return strconv.AppendInt(dst, int64(a.GetIntData().GetData()[i]), 10)
	case ShapeLong:
		return strconv.AppendInt(dst, a.GetLongData().GetData()[i], 10)
	case ShapeFloat:
		return appendFloat(dst, float64(a.GetFloatData().GetData()[i]), 32)
	case ShapeDouble:
		return appendFloat(dst, a.GetDoubleData().GetData()[i], 64)
	}
	return AppendText(dst, c.ElementText(row, i))
}

// ElementText returns an element of an array of texts.
func (c *Column) ElementText(row, i int) string {
	switch d := c.Array(row).GetData().(type) {
	case *schemapb.ScalarField_StringData:
		return d.StringData.GetData()[i]
	case *schemapb.ScalarField_TimestamptzData:
		return timestampText(d.TimestamptzData.GetData()[i])
	}
	return ""
}

// AppendSparse appends a sparse vector as a JSON object from index to value.
func AppendSparse(dst, b []byte) []byte {
	dst = append(dst, '{')
	for i := 0; i+8 <= len(b); i += 8 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(b[i:])), 10)
		dst = append(dst, '"', ':')
		dst = appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i+4:]))), 32)
	}
	return append(dst, '}')
}

func appendFloats(dst []byte, v []float32) []byte {
	dst = append(dst, '[')
	for i, x := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, float64(x), 32)
	}
	return append(dst, ']')
}

// appendByteVector appends the numbers of a vector that is stored as bytes.
func appendByteVector(dst, b []byte, t schemapb.DataType) []byte {
	dst = append(dst, '[')
	step := 1
	if t == schemapb.DataType_Float16Vector || t == schemapb.DataType_BFloat16Vector {
		step = 2
	}
	for i := 0; i+step <= len(b); i += step {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch t {
		case schemapb.DataType_Float16Vector:
			dst = appendFloat(dst, float64(halfToFloat(binary.LittleEndian.Uint16(b[i:]))), 32)
		case schemapb.DataType_BFloat16Vector:
			dst = appendFloat(dst, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[i:]))<<16)), 32)
		case schemapb.DataType_Int8Vector:
			dst = strconv.AppendInt(dst, int64(int8(b[i])), 10)
		default:
			dst = strconv.AppendUint(dst, uint64(b[i]), 10)
		}
	}
	return append(dst, ']')
}

// halfToFloat widens an IEEE 754 half precision number.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		f := float32(frac) / (1 << 24)
		if sign != 0 {
			f = -f
		}
		return f
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func appendBytes(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendJSONValue appends a stored JSON value on one line. One that is no JSON,
// which Milvus would not have taken, is base64.
func appendJSONValue(dst, b []byte) []byte {
	if !json.Valid(b) {
		return appendBytes(dst, b)
	}
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return append(dst, b...)
	}
	var out bytes.Buffer
	_ = json.Compact(&out, b) // it is valid
	return append(dst, out.Bytes()...)
}

const hex = "0123456789abcdef"

// AppendText appends a JSON string. Only what JSON demands is escaped.
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
