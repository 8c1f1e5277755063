package rows

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
)

// ErrSchema means that the schema cannot be used to decode rows.
var ErrSchema = errors.New("unusable schema")

// firstUserField is the first id that is not a system field's (wire format).
const firstUserField = 100

// maxDim caps a vector's dimension; Milvus takes 32768 at most, of binary
// vectors eight times as many.
const maxDim = 1 << 20

// allowInsertAutoID is the collection property that lets generated keys be given.
const allowInsertAutoID = "allow_insert_auto_id"

// Field is one field of a collection.
type Field struct {
	ID             int64
	Name           string
	Type           schemapb.DataType
	Element        schemapb.DataType // of Array and ArrayOfVector
	Dim            int               // of dense vectors, and of the vectors in an ArrayOfVector; 0 = not told
	PrimaryKey     bool
	AutoID         bool
	Nullable       bool
	Dynamic        bool // holds what no field was declared for, as one JSON object
	FunctionOutput bool // computed by Milvus from other fields
	Default        *schemapb.ValueField
	// Struct is the struct array the field is a part of; "" = none. Its Type is
	// then Array or ArrayOfVector, one element for each of the struct's elements.
	Struct string
	// Dropped: the collection no longer has the field, which it called Was. Its Name
	// may be another one: AddDropped.
	Dropped bool
	Was     string
}

// Schema is a collection's schema as decoding needs it: the user's fields, those
// of struct arrays behind them.
type Schema struct {
	Name     string
	Database string
	Fields   []Field
	// Primary is the place of the primary key in Fields.
	Primary int
	// GivenAutoID: the collection takes keys for its AutoID field.
	GivenAutoID bool

	byID map[int64]int
}

// NewSchema reads a schema as a WAL, the catalog or RootCoord carry it. System
// fields are left out. Errors wrap ErrSchema.
func NewSchema(s *schemapb.CollectionSchema) (*Schema, error) {
	out := &Schema{Name: s.GetName(), Database: s.GetDbName(), Primary: -1, byID: map[int64]int{}}
	for _, p := range s.GetProperties() {
		if p.GetKey() == allowInsertAutoID {
			out.GivenAutoID, _ = strconv.ParseBool(p.GetValue())
		}
	}
	for _, f := range s.GetFields() {
		if err := out.add(f, ""); err != nil {
			return nil, err
		}
	}
	for _, a := range s.GetStructArrayFields() {
		for _, f := range a.GetFields() {
			if err := out.add(f, a.GetName()); err != nil {
				return nil, err
			}
		}
	}
	if out.Primary < 0 {
		return nil, fmt.Errorf("%w: collection %q has no primary key", ErrSchema, out.Name)
	}
	return out, nil
}

func (s *Schema) add(f *schemapb.FieldSchema, of string) error {
	if f.GetFieldID() < firstUserField && (f.GetName() == "RowID" || f.GetName() == "Timestamp") {
		return nil
	}
	if _, twice := s.byID[f.GetFieldID()]; twice {
		return fmt.Errorf("%w: field id %d of collection %q stands twice", ErrSchema, f.GetFieldID(), s.Name)
	}
	x := newField(f, of)
	if x.Dim < 0 || x.Dim > maxDim {
		return fmt.Errorf("%w: field %q of collection %q has dimension %d", ErrSchema, x.Name, s.Name, x.Dim)
	}
	if x.PrimaryKey {
		if x.Type != schemapb.DataType_Int64 && x.Type != schemapb.DataType_VarChar {
			return fmt.Errorf("%w: the primary key %q of collection %q is a %s", ErrSchema, x.Name, s.Name, x.Type)
		}
		s.Primary = len(s.Fields)
	}
	s.byID[x.ID] = len(s.Fields)
	s.Fields = append(s.Fields, x)
	return nil
}

func newField(f *schemapb.FieldSchema, of string) Field {
	x := Field{
		ID: f.GetFieldID(), Name: f.GetName(), Type: f.GetDataType(), Element: f.GetElementType(),
		PrimaryKey: f.GetIsPrimaryKey(), AutoID: f.GetAutoID(), Nullable: f.GetNullable(), Dynamic: f.GetIsDynamic(),
		FunctionOutput: f.GetIsFunctionOutput(), Default: f.GetDefaultValue(), Struct: of,
	}
	for _, p := range f.GetTypeParams() {
		if p.GetKey() == "dim" {
			x.Dim, _ = strconv.Atoi(p.GetValue())
		}
	}
	if of != "" { // stored as struct[field]
		if inner, ok := strings.CutPrefix(x.Name, of+"["); ok {
			x.Name = strings.TrimSuffix(inner, "]")
		}
	}
	return x
}

// Field returns the field of an id, nil where the schema has none.
func (s *Schema) Field(id int64) *Field {
	if i, ok := s.byID[id]; ok {
		return &s.Fields[i]
	}
	return nil
}

// PrimaryKey returns the primary key's field.
func (s *Schema) PrimaryKey() *Field { return &s.Fields[s.Primary] }

// Structs lists the names of the struct arrays.
func (s *Schema) Structs() []string {
	var out []string
	for i := range s.Fields {
		if n := s.Fields[i].Struct; n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Shape says how a column's values lie in memory.
type Shape uint8

// The shapes.
const (
	ShapeNone        Shape = iota // nothing is known of the type
	ShapeBool                     // Column.Bool
	ShapeInt                      // Column.Int: Int8, Int16, Int32
	ShapeLong                     // Column.Long: Int64, and Time as stored
	ShapeFloat                    // Column.Float
	ShapeDouble                   // Column.Double
	ShapeText                     // Column.Text: VarChar, Text; Geometry as WKT, Timestamptz and Date spelled out
	ShapeJSON                     // Column.Bytes: a JSON value
	ShapeBytes                    // Column.Bytes
	ShapeArray                    // Column.Array
	ShapeFloatVector              // Column.Floats
	ShapeByteVector               // Column.Bytes: BinaryVector, Float16Vector, BFloat16Vector, Int8Vector
	ShapeSparse                   // Column.Bytes: pairs of uint32 index and float32 value, little endian
	ShapeVectorArray              // Column.Vectors
)

// ShapeOf returns the shape of a type's column.
func ShapeOf(t schemapb.DataType) Shape {
	switch t {
	case schemapb.DataType_Bool:
		return ShapeBool
	case schemapb.DataType_Int8, schemapb.DataType_Int16, schemapb.DataType_Int32:
		return ShapeInt
	case schemapb.DataType_Int64, schemapb.DataType_Time:
		return ShapeLong
	case schemapb.DataType_Float:
		return ShapeFloat
	case schemapb.DataType_Double:
		return ShapeDouble
	case schemapb.DataType_String, schemapb.DataType_VarChar, schemapb.DataType_Text,
		schemapb.DataType_Geometry, schemapb.DataType_Timestamptz, schemapb.DataType_Date:
		return ShapeText
	case schemapb.DataType_JSON:
		return ShapeJSON
	case schemapb.DataType_Mol:
		return ShapeBytes
	case schemapb.DataType_Array:
		return ShapeArray
	case schemapb.DataType_FloatVector:
		return ShapeFloatVector
	case schemapb.DataType_BinaryVector, schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector, schemapb.DataType_Int8Vector:
		return ShapeByteVector
	case schemapb.DataType_SparseFloatVector:
		return ShapeSparse
	case schemapb.DataType_ArrayOfVector:
		return ShapeVectorArray
	}
	return ShapeNone
}

// width is the bytes of one vector of a type; 0 for others and where the
// dimension is not told.
func width(t schemapb.DataType, dim int) int {
	switch t {
	case schemapb.DataType_BinaryVector:
		return (dim + 7) / 8
	case schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector:
		return 2 * dim
	case schemapb.DataType_Int8Vector:
		return dim
	case schemapb.DataType_FloatVector:
		return 4 * dim
	}
	return 0
}
