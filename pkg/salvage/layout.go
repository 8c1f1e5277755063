package salvage

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/walctl/walctl/pkg/walreader/rows"
)

// layout is how a collection's rows lie in Parquet: what Milvus's bulk import
// takes (docs/salvage.md#parquet).
type layout struct {
	collection int64
	schema     *parquet.Schema
	leaves     []leaf // in the order of the file's columns
	// unbounded spares the smallest and largest number of every page of vectors.
	unbounded []parquet.WriterOption
	// leftOut names fields that have no column, and why; refused those that have
	// one which Milvus's import does not take.
	leftOut, refused []string
}

// leaf is one column of a file.
type leaf struct {
	column   int // of the batch
	optional bool
	number   bool // of a vector
	list     int  // levels of lists above the value
}

// newLayout lays out a collection's fields by their names.
func newLayout(s *rows.Schema) (*layout, error) {
	l := &layout{}
	top := parquet.Group{}
	structs := map[string]parquet.Group{}
	at := map[string]int{} // path → field
	for i := range s.Fields {
		f := &s.Fields[i]
		if why := leftOut(s, f); why != "" {
			l.leftOut = append(l.leftOut, called(f)+": "+why)
			continue
		}
		if f.Dropped {
			l.leftOut = append(l.leftOut, called(f)+": dropped from the collection; its column stands in the files, and an import passes it over")
		}
		if refusedByImport(f) {
			l.refused = append(l.refused, fmt.Sprintf("%s: %s", f.Name, f.Type))
		}
		into, path := top, f.Name
		if f.Struct != "" {
			if structs[f.Struct] == nil {
				structs[f.Struct] = parquet.Group{}
			}
			into, path = structs[f.Struct], f.Struct+"\x00"+f.Name
		}
		if _, twice := into[f.Name]; twice {
			return nil, fmt.Errorf("%w: two fields of collection %q are called %q", rows.ErrSchema, s.Name, f.Name)
		}
		into[f.Name], at[path] = node(f), i
	}
	for name, g := range structs {
		if _, twice := top[name]; twice {
			return nil, fmt.Errorf("%w: two fields of collection %q are called %q", rows.ErrSchema, s.Name, name)
		}
		top[name] = parquet.Optional(parquet.List(g))
	}
	l.schema = parquet.NewSchema("rows", top)
	for _, path := range l.schema.Columns() {
		i, ok := at[path[0]]
		if !ok { // name, list, element, field, …
			i = at[path[0]+"\x00"+path[3]]
		}
		f := &s.Fields[i]
		l.leaves = append(l.leaves, leaf{column: i, optional: f.Struct != "" || optional(f), list: lists(f),
			number: lists(f) > 0 && rows.ShapeOf(f.Type) != rows.ShapeArray})
		if l.leaves[len(l.leaves)-1].number {
			l.unbounded = append(l.unbounded, parquet.SkipPageBounds(path...))
		}
	}
	if len(l.leaves) == 0 {
		return nil, fmt.Errorf("%w: no field of collection %q has a column in Parquet", rows.ErrSchema, s.Name)
	}
	slices.Sort(l.leftOut)
	return l, nil
}

// called is a field's name, a struct array's before it.
func called(f *rows.Field) string {
	if f.Struct != "" {
		return fmt.Sprintf("%s[%s]", f.Struct, f.Name)
	}
	return f.Name
}

// leftOut says why import would refuse a field's column; "" = it does not.
func leftOut(s *rows.Schema, f *rows.Field) string {
	switch {
	case f.AutoID && f.PrimaryKey && !s.GivenAutoID:
		return "the collection generates its keys; import gives new ones, unless its property allow_insert_auto_id is true"
	case f.FunctionOutput:
		return "computed by a function of the collection"
	case rows.ShapeOf(f.Type) == rows.ShapeNone, f.Type == schemapb.DataType_Array && !scalar(rows.ShapeOf(f.Element)),
		f.Type == schemapb.DataType_ArrayOfVector && f.Struct == "" && rows.ShapeOf(f.Element) != rows.ShapeFloatVector && rows.ShapeOf(f.Element) != rows.ShapeByteVector:
		return "nothing is known of its type"
	}
	return ""
}

func scalar(s rows.Shape) bool { return s >= rows.ShapeBool && s <= rows.ShapeText }

// refusedByImport reports whether no Milvus that is released imports the type.
func refusedByImport(f *rows.Field) bool {
	switch f.Type {
	case schemapb.DataType_Text, schemapb.DataType_Mol, schemapb.DataType_Date, schemapb.DataType_Time:
		return true
	}
	return false
}

func optional(f *rows.Field) bool { return f.Nullable || f.Default.GetData() != nil || f.Dynamic }

// lists is how deep a value lies in lists.
func lists(f *rows.Field) int {
	n := 0
	switch rows.ShapeOf(f.Type) {
	case rows.ShapeFloatVector, rows.ShapeByteVector, rows.ShapeArray:
		n = 1
	case rows.ShapeVectorArray:
		n = 2
	}
	return n
}

// node is a field's column. In a struct an array's elements stand one in each of
// the struct's elements.
func node(f *rows.Field) parquet.Node {
	var n parquet.Node
	switch rows.ShapeOf(f.Type) {
	case rows.ShapeArray:
		n = plain(value(f.Element))
	case rows.ShapeVectorArray:
		n = parquet.List(dense(elements(f.Element)))
	case rows.ShapeFloatVector, rows.ShapeByteVector:
		n = parquet.List(dense(elements(f.Type)))
	default:
		n = plain(value(f.Type))
	}
	if f.Struct != "" {
		return n
	}
	if s := rows.ShapeOf(f.Type); s == rows.ShapeArray || s == rows.ShapeVectorArray {
		n = parquet.List(n)
	}
	if optional(f) {
		n = parquet.Optional(n)
	}
	return n
}

// plain keeps to the encoding every reader knows.
func plain(n parquet.Node) parquet.Node {
	var e encoding.Encoding = &parquet.Plain
	return parquet.Compressed(parquet.Encoded(n, e), &parquet.Snappy)
}

// dense is plain for the numbers of a vector, which compression finds nothing in.
func dense(n parquet.Node) parquet.Node {
	return parquet.Compressed(plain(n), &parquet.Uncompressed)
}

func value(t schemapb.DataType) parquet.Node {
	switch rows.ShapeOf(t) {
	case rows.ShapeBool:
		return parquet.Leaf(parquet.BooleanType)
	case rows.ShapeInt:
		switch t {
		case schemapb.DataType_Int8:
			return parquet.Int(8)
		case schemapb.DataType_Int16:
			return parquet.Int(16)
		}
		return parquet.Int(32)
	case rows.ShapeLong:
		return parquet.Int(64)
	case rows.ShapeFloat:
		return parquet.Leaf(parquet.FloatType)
	case rows.ShapeDouble:
		return parquet.Leaf(parquet.DoubleType)
	case rows.ShapeBytes:
		return parquet.Leaf(parquet.ByteArrayType)
	}
	return parquet.String() // texts, JSON, sparse vectors as JSON objects
}

// elements is one number of a vector; half precision stands as its two bytes.
func elements(t schemapb.DataType) parquet.Node {
	switch t {
	case schemapb.DataType_FloatVector:
		return parquet.Leaf(parquet.FloatType)
	case schemapb.DataType_Int8Vector:
		return parquet.Int(8)
	}
	return parquet.Uint(8)
}
