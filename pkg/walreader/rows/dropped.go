package rows

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// MaxDropped caps how many dropped fields a schema takes; Milvus allows far fewer.
const MaxDropped = 1024

// Former is a field that a collection had, and that its schema no longer has.
type Former struct {
	Field *schemapb.FieldSchema
	// Struct and StructID name the struct array it was a part of; "" = none.
	Struct   string
	StructID int64
}

// AddDropped adds fields that rows still carry although the collection no longer
// has them. Each keeps its name where that is its own; where another field bears
// it, or bore it, it is called name#id. One that can't be decoded is left out.
func (s *Schema) AddDropped(former []Former) {
	slices.SortFunc(former, func(a, b Former) int { return cmp.Compare(a.Field.GetFieldID(), b.Field.GetFieldID()) })
	if len(former) > MaxDropped {
		former = former[:MaxDropped]
	}
	names := s.usedNames()
	old := map[string]map[int64]bool{} // name → fields and struct arrays that bore it
	for _, f := range former {
		name, id := f.named()
		if old[name] == nil {
			old[name] = map[int64]bool{}
		}
		old[name][id] = true
	}
	structs := map[int64]string{}
	for _, f := range former {
		x := newField(f.Field, f.Struct)
		if _, known := s.byID[x.ID]; known || x.ID < firstUserField || ShapeOf(x.Type) == ShapeNone || x.Dim < 0 || x.Dim > maxDim {
			continue
		}
		x.Dropped, x.Was, x.Nullable, x.Default = true, f.Field.GetName(), true, nil
		x.PrimaryKey, x.AutoID, x.Dynamic = false, false, false
		name, id := f.named()
		as, known := structs[id]
		if !known || f.Struct == "" {
			as = ownName(name, id, names, len(old[name]) > 1)
			names[as] = true
		}
		if f.Struct != "" {
			structs[id], x.Struct = as, as
		} else {
			x.Name = as
		}
		s.byID[x.ID] = len(s.Fields)
		s.Fields = append(s.Fields, x)
	}
}

// named is what stands beside the other fields: the field, or its struct array.
func (f Former) named() (name string, id int64) {
	if f.Struct != "" {
		return f.Struct, f.StructID
	}
	return f.Field.GetName(), f.Field.GetFieldID()
}

// usedNames are the names that stand in a row.
func (s *Schema) usedNames() map[string]bool {
	out := map[string]bool{}
	for i := range s.Fields {
		out[cmp.Or(s.Fields[i].Struct, s.Fields[i].Name)] = true
	}
	return out
}

// ownName is the name of a field that is no longer, or not yet, in the schema.
func ownName(name string, id int64, used map[string]bool, numbered bool) string {
	if numbered || name == "" || used[name] {
		name = fmt.Sprintf("%s#%d", name, id)
	}
	for used[name] {
		name += "'"
	}
	return name
}

// EachField tells the id of every field that an Insert's payload carries, and its
// encoded schemapb.FieldData. Those of struct arrays are told one by one. It ends
// where the payload can't be read.
func EachField(payload []byte, see func(id int64, data []byte)) {
	const fieldsData, fieldID, structArrays, inStruct = 13, 5, 8, 1
	eachBytes(payload, func(n protowire.Number, data []byte) {
		if n != fieldsData {
			return
		}
		nested := false
		id := eachBytes(data, func(n protowire.Number, parts []byte) {
			if n == structArrays {
				nested = true
				eachBytes(parts, func(n protowire.Number, part []byte) {
					if n == inStruct {
						see(eachBytes(part, nil, fieldID), part)
					}
				}, 0)
			}
		}, fieldID)
		if !nested {
			see(id, data)
		}
	}, 0)
}

// eachBytes walks over a message: every field of bytes is shown, and the number in
// the field want, the last one, is returned.
func eachBytes(b []byte, see func(protowire.Number, []byte), want protowire.Number) (number int64) {
	message.Fields(b, func(n protowire.Number, x uint64) {
		if n == want {
			number = int64(x)
		}
	}, func(n protowire.Number, v []byte) bool {
		if see != nil {
			see(n, v)
		}
		return true
	})
	return number
}
