package rows

import (
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"google.golang.org/protobuf/proto"
)

// ErrPayload means that an Insert's payload is not what its schema and header promise.
var ErrPayload = errors.New("undecodable rows")

// FieldError says which field of a payload cannot be read, and why. It wraps
// ErrPayload.
type FieldError struct {
	Field string
	Cause string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("%v: field %q: %s", ErrPayload, e.Field, e.Cause)
}

// Unwrap returns ErrPayload.
func (e *FieldError) Unwrap() error { return ErrPayload }

func fieldErrorf(f *Field, format string, a ...any) error {
	return &FieldError{Field: f.Name, Cause: fmt.Sprintf(format, a...)}
}

// MaxPayload is the largest payload that is decoded, in bytes.
const MaxPayload = 256 << 20

// Decode reads the payload of an Insert message by the collection's schema.
// rows is what the message's header says, 0 where it says nothing. Fields the
// payload does not have get their default, or null; fields it has beyond the
// schema are Extra. The batch refers to the payload's bytes. Errors wrap
// ErrPayload; where they name a field they are a *FieldError.
func Decode(payload []byte, s *Schema, rows uint64) (*Batch, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%w: a payload of %d bytes", ErrPayload, len(payload))
	}
	req := &msgpb.InsertRequest{}
	if err := proto.Unmarshal(payload, req); err != nil {
		return nil, fmt.Errorf("%w: not an InsertRequest", ErrPayload)
	}
	b := &Batch{Schema: s, CollectionName: req.GetCollectionName(), PartitionName: req.GetPartitionName(), Partition: req.GetPartitionID()}
	n, err := countRows(req, rows)
	if err != nil {
		return nil, err
	}
	b.N = n
	b.Columns = make([]Column, len(s.Fields))
	if len(req.GetRowData()) > 0 {
		return b, b.fromRows(req)
	}
	return b, b.fromColumns(req)
}

// countRows tells the number of rows: everything that counts them must agree.
func countRows(req *msgpb.InsertRequest, header uint64) (int, error) {
	n := req.GetNumRows()
	if n == 0 { // row-based writers did not set it
		n = max(header, uint64(len(req.GetRowData())))
	}
	switch {
	case header != 0 && header != n:
		return 0, fmt.Errorf("%w: the header counts %d rows, the payload %d", ErrPayload, header, n)
	case n > MaxPayload:
		return 0, fmt.Errorf("%w: it counts %d rows", ErrPayload, n)
	case len(req.GetRowData()) > 0 && uint64(len(req.GetRowData())) != n:
		return 0, fmt.Errorf("%w: %d rows counted, %d there", ErrPayload, n, len(req.GetRowData()))
	case len(req.GetRowData()) == 0 && n > 0 && len(req.GetFieldsData()) == 0:
		return 0, fmt.Errorf("%w: %d rows counted, none there", ErrPayload, n)
	}
	return int(n), nil
}

func (b *Batch) fromColumns(req *msgpb.InsertRequest) error {
	seen := make([]bool, len(b.Columns))
	for _, d := range flatten(req.GetFieldsData()) {
		i, known := b.find(d)
		if !known {
			if err := b.extra(d); err != nil {
				return err
			}
			continue
		}
		f := &b.Schema.Fields[i]
		if seen[i] {
			return fieldErrorf(f, "stands twice")
		}
		seen[i] = true
		b.Columns[i].Field = f
		if err := b.Columns[i].fill(d, b.N); err != nil {
			return err
		}
	}
	for i := range b.Columns {
		if !seen[i] {
			if err := b.Columns[i].absent(&b.Schema.Fields[i], b.N); err != nil {
				return err
			}
		}
	}
	return nil
}

// extra takes a column the schema does not know.
func (b *Batch) extra(d *schemapb.FieldData) error {
	x := &Field{ID: d.GetFieldId(), Name: d.GetFieldName(), Type: d.GetType(), Dynamic: d.GetIsDynamic(), Nullable: true,
		Dim: int(min(d.GetVectors().GetDim(), maxDim+1)), Element: d.GetScalars().GetArrayData().GetElementType()}
	if x.ID < firstUserField && (x.Name == "RowID" || x.Name == "Timestamp") {
		return nil
	}
	c := Column{Field: x}
	if err := c.fill(d, b.N); err != nil {
		return err
	}
	used := b.Schema.usedNames()
	for i := range b.Extra {
		used[b.Extra[i].Field.Name] = true
	}
	x.Name = ownName(x.Name, x.ID, used, false)
	b.Extra = append(b.Extra, c)
	return nil
}

// find returns a column's place in the schema: by its id, which old writers left
// out, else by name.
func (b *Batch) find(d *schemapb.FieldData) (int, bool) {
	if d.GetFieldId() != 0 {
		i, ok := b.Schema.byID[d.GetFieldId()]
		if ok && b.Schema.Fields[i].Dropped && d.GetType() != b.Schema.Fields[i].Type {
			return 0, false // more than one field had the id
		}
		return i, ok
	}
	for i := range b.Schema.Fields {
		if f := &b.Schema.Fields[i]; f.Name == d.GetFieldName() || d.GetIsDynamic() && f.Dynamic {
			return i, true
		}
	}
	return 0, false
}

// flatten brings the fields of struct arrays, where a writer nested them, beside
// the others.
func flatten(in []*schemapb.FieldData) []*schemapb.FieldData {
	nested := false
	for _, d := range in {
		nested = nested || d.GetStructArrays() != nil
	}
	if !nested {
		return in
	}
	var out []*schemapb.FieldData
	for _, d := range in {
		if s := d.GetStructArrays(); s != nil {
			out = append(out, s.GetFields()...)
		} else {
			out = append(out, d)
		}
	}
	return out
}

// absent is the column of a field that was added to the collection after the
// rows were written.
func (c *Column) absent(f *Field, n int) error {
	c.Field, c.Shape, c.at = f, ShapeOf(f.Type), make([]int32, n)
	c.Missing = f.Dropped
	switch {
	case c.defaults():
		return nil
	case f.Dynamic && c.Shape == ShapeJSON:
		c.blobs = [][]byte{[]byte("{}")}
		return nil
	case f.Nullable || f.FunctionOutput || f.Struct != "":
	default:
		return fieldErrorf(f, "missing, and neither nullable nor with a default")
	}
	for i := range c.at {
		c.at[i] = -1
	}
	return nil
}

// defaults makes the field's default the value at place 0.
func (c *Column) defaults() bool {
	v := c.Field.Default
	if v.GetData() == nil {
		return false
	}
	switch c.Shape {
	case ShapeBool:
		c.bools = []bool{v.GetBoolData()}
	case ShapeInt:
		c.ints = []int32{v.GetIntData()}
	case ShapeLong:
		c.longs = []int64{v.GetLongData() + v.GetTimeData()}
	case ShapeFloat:
		c.floats = []float32{v.GetFloatData()}
	case ShapeDouble:
		c.doubles = []float64{v.GetDoubleData()}
	case ShapeText:
		switch d := v.GetData().(type) {
		case *schemapb.ValueField_StringData:
			c.texts = []string{d.StringData}
		case *schemapb.ValueField_TimestamptzData:
			c.texts = []string{timestampText(d.TimestamptzData)}
		case *schemapb.ValueField_DateData:
			c.texts = []string{dateText(d.DateData)}
		default:
			return false
		}
	case ShapeJSON:
		c.blobs = [][]byte{v.GetBytesData()}
	default:
		return false
	}
	return true
}
