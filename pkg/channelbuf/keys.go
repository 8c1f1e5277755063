package channelbuf

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrNoKeys means that a payload carries no primary keys in the place they belong.
var ErrNoKeys = errors.New("no primary keys")

// Key is one primary key: Text for VarChar keys, Int for Int64 ones.
type Key struct {
	Int    int64
	Text   string
	IsText bool
}

// Field numbers of msgpb.InsertRequest, msgpb.DeleteRequest, schemapb.FieldData
// and schemapb.ScalarField (wire format).
const (
	insertFieldsData = 13
	deleteIntKeys    = 9 // before primary_keys
	deleteKeys       = 12
	fieldScalars     = 3
	fieldID          = 5
	scalarLong       = 3
	scalarString     = 6
)

// InsertKeys appends the primary keys of a column-based Insert payload, walking
// the protobuf without building it. pkField is the schema's primary field id.
func InsertKeys(dst []Key, payload []byte, pkField int64) ([]Key, error) {
	found := false
	err := walk(payload, func(n protowire.Number, v []byte, _ uint64) error {
		if n != insertFieldsData {
			return nil
		}
		var scalars []byte
		id := int64(0)
		if err := walk(v, func(n protowire.Number, v []byte, x uint64) error {
			switch n {
			case fieldScalars:
				scalars = v
			case fieldID:
				id = int64(x)
			}
			return nil
		}); err != nil || id != pkField || scalars == nil {
			return err
		}
		found = true
		return walk(scalars, func(n protowire.Number, v []byte, _ uint64) (err error) {
			switch n {
			case scalarLong:
				dst, err = longs(dst, v)
			case scalarString:
				dst, err = texts(dst, v)
			}
			return err
		})
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: no column of field %d", ErrNoKeys, pkField)
	}
	return dst, err
}

// DeleteKeys appends the primary keys a Delete payload names.
func DeleteKeys(dst []Key, payload []byte) ([]Key, error) {
	err := walk(payload, func(n protowire.Number, v []byte, _ uint64) (err error) {
		switch n {
		case deleteIntKeys:
			dst, err = packed(dst, v)
		case deleteKeys:
			return walk(v, func(n protowire.Number, v []byte, _ uint64) (err error) {
				switch n {
				case 1:
					dst, err = longs(dst, v)
				case 2:
					dst, err = texts(dst, v)
				}
				return err
			})
		}
		return err
	})
	return dst, err
}

func longs(dst []Key, array []byte) ([]Key, error) {
	err := walk(array, func(n protowire.Number, v []byte, x uint64) (err error) {
		switch {
		case n == 1 && v != nil:
			dst, err = packed(dst, v)
		case n == 1:
			dst = append(dst, Key{Int: int64(x)})
		}
		return err
	})
	return dst, err
}

func packed(dst []Key, v []byte) ([]Key, error) {
	for len(v) > 0 {
		x, n := protowire.ConsumeVarint(v)
		if n < 0 {
			return dst, fmt.Errorf("%w: broken integers", ErrNoKeys)
		}
		dst, v = append(dst, Key{Int: int64(x)}), v[n:]
	}
	return dst, nil
}

func texts(dst []Key, array []byte) ([]Key, error) {
	err := walk(array, func(n protowire.Number, v []byte, _ uint64) error {
		if n == 1 {
			dst = append(dst, Key{Text: string(v), IsText: true})
		}
		return nil
	})
	return dst, err
}

// walk visits the fields of a protobuf message: bytes in v, varints in x.
func walk(b []byte, fn func(n protowire.Number, v []byte, x uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: broken payload", ErrNoKeys)
		}
		b = b[n:]
		var v []byte
		var x uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
			v = v[:len(v):len(v)]
		case protowire.VarintType:
			x, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: broken payload", ErrNoKeys)
		}
		if err := fn(num, v, x); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
