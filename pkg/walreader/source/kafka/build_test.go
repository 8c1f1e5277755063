package kafka_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

// The codecs and attributes of a batch, as the format says.
const (
	plain, gzipped, snapped, lz4ed, zstded = 0, 1, 2, 3, 4
	xerial                                 = 15 // snappy in the Java client's frame
	transactional, control                 = 1 << 4, 1 << 5
)

// rec is a record to be written.
type rec struct {
	key, value []byte
	headers    map[string]string
}

// wrote is a batch to be written.
type wrote struct {
	base     int64
	codec    int
	attrs    int
	producer int64
	recs     []rec
	packed   []byte // in place of what the records would be
}

// last is the last offset of a batch.
func (w wrote) last() int64 { return w.base + int64(len(w.recs)) - 1 }

// row is a record of Milvus's that names its offset.
func row(offset int64) rec {
	return rec{value: []byte(fmt.Sprintf("the payload of offset %d", offset)), headers: map[string]string{"_v": "1", "_t": "1", "_tt": fmt.Sprint(1000 + offset)}}
}

// of is a batch of n rows.
func of(base int64, n, codec int) wrote {
	w := wrote{base: base, codec: codec, producer: -1}
	for i := range n {
		w.recs = append(w.recs, row(base+int64(i)))
	}
	return w
}

// encode writes a batch as Kafka does.
func (w wrote) encode(t testing.TB) []byte {
	t.Helper()
	var body bytes.Buffer
	for i, r := range w.recs {
		body.Write(r.encode(int64(i)))
	}
	codec := w.codec
	if codec == xerial {
		codec = snapped
	}
	packed := w.packed
	if packed == nil {
		packed = pack(t, w.codec, body.Bytes())
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(w.base))
	b = binary.BigEndian.AppendUint32(b, uint32(49+len(packed)))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, 2, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(codec|w.attrs))
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.recs)-1))
	b = append(b, make([]byte, 16)...)
	b = binary.BigEndian.AppendUint64(b, uint64(w.producer))
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.recs)))
	b = append(b, packed...)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func (r rec) encode(delta int64) []byte {
	field := func(b, v []byte) []byte {
		if v == nil {
			return binary.AppendVarint(b, -1)
		}
		return append(binary.AppendVarint(b, int64(len(v))), v...)
	}
	b := binary.AppendVarint(binary.AppendVarint([]byte{0}, 7*delta), delta)
	b = field(field(b, r.key), r.value)
	b = binary.AppendVarint(b, int64(len(r.headers)))
	for _, k := range slices.Sorted(maps.Keys(r.headers)) {
		b = field(field(b, []byte(k)), []byte(r.headers[k]))
	}
	return append(binary.AppendVarint(nil, int64(len(b))), b...)
}

// pack compresses a batch's records.
func pack(t testing.TB, codec int, in []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case gzipped:
		w = gzip.NewWriter(&out)
	case snapped:
		return snappy.Encode(nil, in)
	case xerial:
		out.WriteString("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
		for part := range slices.Chunk(in, 50) {
			b := snappy.Encode(nil, part)
			out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
		}
		return out.Bytes()
	case lz4ed:
		w = lz4.NewWriter(&out)
	case zstded:
		z, err := zstd.NewWriter(&out)
		require.NoError(t, err)
		w = z
	default:
		return in
	}
	_, err := w.Write(in)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// lay writes segments into a partition's directory: each a list of batches.
func lay(t testing.TB, segments ...[]wrote) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), topic+"-0")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for _, batches := range segments {
		var b []byte
		for _, w := range batches {
			b = append(b, w.encode(t)...)
		}
		require.NoError(t, os.WriteFile(segmentFile(dir, batches[0].base), b, 0o600))
	}
	return dir
}

func segmentFile(dir string, base int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d.log", base))
}
