package columnfile

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// Bounds of one Thrift structure: a footer, an index or a page header. The
// deepest that Parquet has is eight levels down; a footer of a thousand row groups
// has 40,000 structures in lists.
const (
	maxDepth   = 16
	maxStructs = 1 << 18 // in lists, sets and maps together
	maxValues  = 1 << 20 // of every kind
)

// unmarshal decodes a structure whose nesting, lists and texts were all found to
// lie within the bounds and within b: the library trusts each of them, and
// allocates and recurses as it is told.
func unmarshal(b []byte, v any) error {
	if _, err := boundThrift(b); err != nil {
		return err
	}
	return thrift.Unmarshal(compact(), b, v)
}

// boundThrift walks the structure at the start of b, in Thrift's compact protocol,
// without building anything, and returns the bytes it takes.
func boundThrift(b []byte) (int, error) {
	w := walker{b: b}
	if err := w.structure(1); err != nil {
		return 0, err
	}
	return w.at, nil
}

type walker struct {
	b               []byte
	at              int
	structs, values int
}

// The types of the compact protocol.
const (
	thriftStop = iota
	thriftTrue
	thriftFalse
	thriftI8
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
	thriftUUID
)

func (w *walker) bad(what string, a ...any) error {
	return fmt.Errorf("%w: structure, byte %d: %s", ErrDamaged, w.at, fmt.Sprintf(what, a...))
}

func (w *walker) byte() (byte, error) {
	if w.at >= len(w.b) {
		return 0, w.bad("ends early")
	}
	w.at++
	return w.b[w.at-1], nil
}

func (w *walker) varint() (uint64, error) {
	v, n := binary.Uvarint(w.b[w.at:])
	if n <= 0 {
		return 0, w.bad("ends early")
	}
	w.at += n
	return v, nil
}

func (w *walker) skip(n uint64) error {
	if n > uint64(len(w.b)-w.at) {
		return w.bad("%d bytes where %d are left", n, len(w.b)-w.at)
	}
	w.at += int(n)
	return nil
}

func (w *walker) structure(depth int) error {
	if depth > maxDepth {
		return w.bad("nested deeper than %d levels", maxDepth)
	}
	for {
		h, err := w.byte()
		if err != nil {
			return err
		}
		kind := h & 15
		if kind == thriftStop {
			return nil
		}
		if h>>4 == 0 { // the field's number is written out
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		if kind == thriftTrue || kind == thriftFalse {
			continue // the header is the value
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

// value passes over one value; booleans are those of a list, a byte each.
func (w *walker) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftI8:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftUUID:
		return w.skip(16)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.dictionary(depth)
	case thriftStruct:
		return w.structure(depth + 1)
	}
	return w.bad("a value of type %d", kind)
}

// take counts the values of a list against what is left, of which each takes at
// least one byte, and against the bounds.
func (w *walker) take(n uint64, kinds ...byte) error {
	if n > uint64(len(w.b)-w.at) {
		return w.bad("a list of %d values where %d bytes are left", n, len(w.b)-w.at)
	}
	w.values += int(n)
	for _, k := range kinds {
		if k >= thriftList {
			w.structs += int(n)
		}
	}
	if w.values > maxValues || w.structs > maxStructs {
		return w.bad("more than %d values or %d structures in lists", maxValues, maxStructs)
	}
	return nil
}

func (w *walker) list(depth int) error {
	h, err := w.byte()
	if err != nil {
		return err
	}
	n, kind := uint64(h>>4), h&15
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	if err := w.take(n, kind); err != nil {
		return err
	}
	return w.each(n, depth, kind)
}

func (w *walker) dictionary(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	h, err := w.byte()
	if err != nil {
		return err
	}
	if err := w.take(n, h>>4, h&15); err != nil {
		return err
	}
	return w.each(n, depth, h>>4, h&15)
}

func (w *walker) each(n uint64, depth int, kinds ...byte) error {
	if depth >= maxDepth {
		return w.bad("nested deeper than %d levels", maxDepth)
	}
	for range n {
		for _, k := range kinds {
			if err := w.value(k, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
