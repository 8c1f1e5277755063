package columnfile

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// nested is a structure of n levels, one field each.
func nested(n int) []byte {
	return append(bytes.Repeat([]byte{0x1c}, n), make([]byte, n+1)...)
}

// hostile are structures that a decoder which trusts them dies of.
func hostile() map[string][]byte {
	list := func(field, kind byte, n uint64) []byte {
		return binary.AppendUvarint([]byte{field<<4 | 9, 0xf0 | kind}, n)
	}
	return map[string][]byte{
		"structures in structures":  nested(1 << 20),
		"never closed":              bytes.Repeat([]byte{0x1c}, 1<<20),
		"lists in lists":            append([]byte{0x19}, bytes.Repeat([]byte{0x19}, 1<<20)...),
		"maps in maps":              append([]byte{0x1b}, bytes.Repeat([]byte{0x01, 0xbb}, 1<<20)...),
		"2^31 schema elements":      append(list(2, thriftStruct, 1<<31-1), 0),
		"2^63 schema elements":      append(list(2, thriftStruct, 1<<63), 0),
		"a million empty elements":  append(list(2, thriftStruct, 1<<20), make([]byte, 1<<20+1)...),
		"a text of 2^40 bytes":      append(binary.AppendUvarint([]byte{0x18}, 1<<40), 0),
		"a map of 2^40":             append(binary.AppendUvarint([]byte{0x1b}, 1<<40), 0x88, 0),
		"a type that is none":       {0x1e, 0},
		"a number that never ends":  bytes.Repeat([]byte{0x15, 0xff, 0xff}, 10),
		"nothing at all":            {},
		"many short lists of lists": append([]byte{0x19}, bytes.Repeat([]byte{0xf9, 0x80, 0x80, 0x40}, 1<<10)...),
	}
}

// A footer, an index or a page header that asks for more than it holds is refused
// before anything is allocated for it.
func TestHostileStructuresAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	for name, b := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var m format.FileMetaData
			require.ErrorIs(t, unmarshal(b, &m), ErrDamaged)
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))

			file := append([]byte(magic+magic), b...)
			file = append(binary.LittleEndian.AppendUint32(file, uint32(len(b))), magic...)
			_, _, err := Probe(bytes.NewReader(file), int64(len(file)))
			require.ErrorIs(t, err, ErrDamaged)
			tail := file[8:]
			_, err = Open(bytes.NewReader(file), Summary{Rows: 1, Size: int64(len(file)), Tail: int64(len(tail)), TailSum: Checksum(tail)}, nil)
			require.ErrorIs(t, err, ErrDamaged)
			require.False(t, strings.Contains(err.Error(), "thrift"), "%v", err)
		})
	}
}

// What the bounds let through is walked to its last byte.
func TestBoundsKnowTheEndOfAStructure(t *testing.T) {
	n, err := boundThrift(append(nested(8), 1, 2, 3))
	require.NoError(t, err)
	require.Equal(t, 17, n)
}
