// Package rockstest writes RocksDB's files for tests, as RocksDB 6 with Milvus's
// settings does.
package rockstest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Op is one change; Kind as in package rocksdb. A range deletion ends at Value.
type Op struct {
	Seq        uint64 // of a table's row only
	Kind       byte
	Key, Value string
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func sized(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Batch is what a log record holds.
func Batch(seq uint64, ops ...Op) []byte {
	b := binary.LittleEndian.AppendUint64(nil, seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ops)))
	for _, o := range ops {
		b = sized(append(b, o.Kind), o.Key)
		if o.Kind != 0 && o.Kind != 7 {
			b = sized(b, o.Value)
		}
	}
	return b
}

const block = 32 << 10

// Log is a log file of records. It also returns where each begins.
func Log(records ...[]byte) (out []byte, begins []int) {
	for _, r := range records {
		for first := true; ; first = false {
			left := block - len(out)%block
			if left < 7 {
				out = append(out, make([]byte, left)...)
				left = block
			}
			if first {
				begins = append(begins, len(out))
			}
			n := min(len(r), left-7)
			kind := byte(3)
			switch last := n == len(r); {
			case first && last:
				kind = 1
			case first:
				kind = 2
			case last:
				kind = 4
			}
			body := append([]byte{kind}, r[:n]...)
			out = binary.LittleEndian.AppendUint32(out, checksum(body))
			out = binary.LittleEndian.AppendUint16(out, uint16(n))
			out = append(out, body...)
			if r = r[n:]; kind == 1 || kind == 4 {
				break
			}
		}
	}
	return out, begins
}

// Table is a table of rows in key order, a number of them in each block; zipped
// says whether blocks are compressed.
func Table(perBlock int, zipped bool, rows ...Op) []byte {
	w := writer{zipped: zipped}
	var index, deletions []row
	points := 0
	for at := 0; at < len(rows); {
		var in []row
		for ; at < len(rows) && len(in) < perBlock; at++ {
			if rows[at].Kind == 15 {
				deletions = append(deletions, internal(rows[at]))
				continue
			}
			in = append(in, internal(rows[at]))
			points++
		}
		if len(in) > 0 {
			last := in[len(in)-1].key
			h := w.block(in, 16, zipped)
			index = append(index, row{last[:len(last)-8], string(h)})
		}
	}
	var top []row
	indexAt := w.indexBlock(index)
	if len(deletions) > 0 {
		top = append(top, row{"rocksdb.range_del", string(w.block(deletions, 1, false))})
	}
	n := func(v int) string { return string(binary.AppendUvarint(nil, uint64(v))) }
	properties := w.block([]row{
		{"rocksdb.block.based.table.index.type", "\x00\x00\x00\x00"},
		{"rocksdb.column.family.name", "default"},
		{"rocksdb.index.key.is.user.key", n(1)},
		{"rocksdb.index.value.is.delta.encoded", n(1)},
		{"rocksdb.num.entries", n(points + len(deletions))},
		{"rocksdb.num.range-deletions", n(len(deletions))},
	}, 1, false)
	top = append([]row{{"rocksdb.properties", string(properties)}}, top...)
	meta := w.block(top, 1, false)
	foot := append([]byte{1}, meta...)
	foot = append(foot, indexAt...)
	foot = append(foot, make([]byte, 41-len(foot))...)
	foot = binary.LittleEndian.AppendUint32(foot, 5)
	return append(w.out, binary.LittleEndian.AppendUint64(foot, 0x88e241b785f4cff7)...)
}

type row struct{ key, value string }

func internal(o Op) row {
	return row{o.Key + string(binary.LittleEndian.AppendUint64(nil, o.Seq<<8|uint64(o.Kind))), o.Value}
}

type writer struct {
	out    []byte
	zipped bool
}

// block writes a block of rows and returns its handle.
func (w *writer) block(rows []row, every int, zip bool) []byte {
	var b []byte
	var restarts []uint32
	prev := ""
	for i, r := range rows {
		shared := 0
		if i%every == 0 {
			restarts = append(restarts, uint32(len(b)))
		} else {
			for shared < len(prev) && shared < len(r.key) && prev[shared] == r.key[shared] {
				shared++
			}
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(r.key)-shared))
		b = binary.AppendUvarint(b, uint64(len(r.value)))
		b = append(append(b, r.key[shared:]...), r.value...)
		prev = r.key
	}
	return w.write(b, restarts, zip)
}

// indexBlock is a block whose values are handles without a length.
func (w *writer) indexBlock(rows []row) []byte {
	var b []byte
	var restarts []uint32
	for _, r := range rows {
		restarts = append(restarts, uint32(len(b)))
		b = sized(append(b, 0), r.key)
		b = append(b, r.value...)
	}
	return w.write(b, restarts, w.zipped)
}

func (w *writer) write(b []byte, restarts []uint32, zip bool) []byte {
	for _, r := range restarts {
		b = binary.LittleEndian.AppendUint32(b, r)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(restarts)))
	kind := byte(0)
	if zip {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			panic(fmt.Sprintf("zstd: %v", err)) // only tests
		}
		b, kind = z.EncodeAll(b, binary.AppendUvarint(nil, uint64(len(b)))), 7
		_ = z.Close() // nothing is open
	}
	h := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(w.out))), uint64(len(b)))
	b = append(b, kind)
	w.out = append(w.out, b...)
	w.out = binary.LittleEndian.AppendUint32(w.out, checksum(b))
	return h
}
