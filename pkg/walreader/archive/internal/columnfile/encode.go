package columnfile

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// chunk gathers one column of the open row group: the rows of the block being
// filled and the finished pages.
type chunk struct {
	col  Column
	ints []int64
	lens []int32
	data []byte

	dict  intDict
	texts textDict
	plain bool // the dictionary overflowed in this row group
	any   bool // a page used the dictionary

	body   []byte // finished data pages, header and body
	pages  []pageMeta
	values int64
	raw    int64 // bytes uncompressed, headers included
	min    int64
	max    int64
}

type pageMeta struct {
	size     int32
	sum      uint32
	firstRow int64
	min, max int64
	encoding format.Encoding
}

// scratch is memory shared by the columns of a writer.
type scratch struct {
	enc    *zstd.Encoder
	idx    []int32
	i32    []int32
	buf    []byte
	packed []byte
	header bytes.Buffer
}

func (c *chunk) rows() int {
	if c.col.Kind == Bytes {
		return len(c.lens)
	}
	return len(c.ints)
}

// finishPage encodes the rows gathered as one page.
func (c *chunk) finishPage(s *scratch, firstRow int64) error {
	rows := c.rows()
	p := pageMeta{firstRow: firstRow}
	var body []byte
	if c.col.Kind == Bytes {
		body = c.encodeBytes(s, &p)
	} else {
		body = c.encodeInts(s, &p)
	}
	header := format.PageHeader{
		Type: format.DataPageV2,
		DataPageHeaderV2: thrift.New(format.DataPageHeaderV2{
			NumValues: int32(rows), NumRows: int32(rows), Encoding: p.encoding,
		}),
	}
	start := len(c.body)
	var err error
	if c.body, err = s.appendPage(c.body, &header, body, c.col.Layout == Raw); err != nil {
		return err
	}
	p.size = int32(len(c.body) - start)
	p.sum = Checksum(c.body[start:])
	c.raw += int64(p.size-header.CompressedPageSize) + int64(header.UncompressedPageSize)
	if len(c.pages) == 0 {
		c.min, c.max = p.min, p.max
	}
	c.min, c.max = min(c.min, p.min), max(c.max, p.max)
	c.pages = append(c.pages, p)
	c.values += int64(rows)
	c.ints, c.lens, c.data = c.ints[:0], c.lens[:0], c.data[:0]
	return nil
}

// appendPage appends header and body, compressed where that makes it smaller.
func (s *scratch) appendPage(dst []byte, h *format.PageHeader, body []byte, incompressible bool) ([]byte, error) {
	stored, compressed := body, false
	if len(body) >= 48 && !incompressible || h.Type == format.DictionaryPage {
		s.packed = s.enc.EncodeAll(body, s.packed[:0])
		if len(s.packed) < len(body) || h.Type == format.DictionaryPage {
			stored, compressed = s.packed, true
		}
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(body)), int32(len(stored))
	h.CRC = int32(crc32.ChecksumIEEE(stored))
	if h.Type == format.DataPageV2 {
		h.DataPageHeaderV2.V.IsCompressed = thrift.New(compressed)
	}
	s.header.Reset()
	if err := thrift.NewEncoder(compact().NewWriter(&s.header)).Encode(h); err != nil {
		return dst, err
	}
	return append(append(dst, s.header.Bytes()...), stored...), nil
}

func compact() *thrift.CompactProtocol { return new(thrift.CompactProtocol) }

func (c *chunk) encodeInts(s *scratch, p *pageMeta) []byte {
	p.min, p.max = bounds(c.ints)
	switch {
	case c.col.Kind == Bool:
		p.encoding = format.Plain
		s.buf = appendBools(s.buf[:0], c.ints)
		return s.buf
	case c.col.Layout == Raw:
		return c.encodePlain(s, p)
	case c.col.Layout != Delta && !c.plain:
		if p.min == p.max {
			if n, ok := c.dict.number(p.min); ok {
				c.any = true
				p.encoding = format.RLEDictionary
				s.buf = appendRun(s.buf[:0], n, len(c.ints))
				return s.buf
			}
		} else if c.dict.index(&s.idx, c.ints) {
			c.any = true
			p.encoding = format.RLEDictionary
			s.buf, _ = new(rle.DictionaryEncoding).EncodeInt32(s.buf[:0], s.idx)
			return s.buf
		}
		c.plain = true
	}
	if c.col.Layout == Repeats {
		return c.encodePlain(s, p)
	}
	p.encoding = format.DeltaBinaryPacked
	if c.col.Kind == Int32 {
		s.narrow(c.ints)
		s.buf, _ = new(delta.BinaryPackedEncoding).EncodeInt32(s.buf[:0], s.i32)
	} else {
		s.buf, _ = new(delta.BinaryPackedEncoding).EncodeInt64(s.buf[:0], c.ints)
	}
	return s.buf
}

func (c *chunk) encodePlain(s *scratch, p *pageMeta) []byte {
	p.encoding = format.Plain
	s.buf = appendInts(s.buf[:0], c.ints, c.col.Kind)
	return s.buf
}

func (s *scratch) narrow(v []int64) {
	s.i32 = slices.Grow(s.i32[:0], len(v))[:len(v)]
	for i, x := range v {
		s.i32[i] = int32(x)
	}
}

func (c *chunk) encodeBytes(s *scratch, p *pageMeta) []byte {
	if c.col.Layout == Dictionary && !c.plain {
		if c.texts.index(&s.idx, c.lens, c.data) {
			c.any = true
			p.encoding = format.RLEDictionary
			s.buf, _ = new(rle.DictionaryEncoding).EncodeInt32(s.buf[:0], s.idx)
			return s.buf
		}
		c.plain = true
	}
	p.encoding = format.DeltaLengthByteArray
	s.buf, _ = new(delta.BinaryPackedEncoding).EncodeInt32(s.buf[:0], c.lens)
	s.buf = append(s.buf, c.data...)
	return s.buf
}

// appendRun spells rows equal dictionary indexes: the width, and one run.
func appendRun(dst []byte, index int32, rows int) []byte {
	width := bits.Len32(uint32(index))
	dst = binary.AppendUvarint(append(dst, byte(width)), uint64(rows)<<1)
	for i := 0; i < width; i += 8 {
		dst = append(dst, byte(index>>i))
	}
	return dst
}

func bounds(v []int64) (lo, hi int64) {
	lo, hi = math.MaxInt64, math.MinInt64
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	return lo, hi
}

func appendBools(dst []byte, v []int64) []byte {
	for i := 0; i < len(v); i += 8 {
		var b byte
		for j, x := range v[i:min(i+8, len(v))] {
			b |= byte(x&1) << j
		}
		dst = append(dst, b)
	}
	return dst
}

func appendInts(dst []byte, v []int64, k Kind) []byte {
	if k == Int32 {
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
		}
		return dst
	}
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(x))
	}
	return dst
}

// intDict numbers distinct integers in the order they are met.
type intDict struct {
	values []int64
	slots  []int32 // 1 + index of the value; 0 = free; length a power of two
}

// index writes the values' numbers; false where there are too many distinct ones.
func (d *intDict) index(dst *[]int32, v []int64) bool {
	out := slices.Grow((*dst)[:0], len(v))[:len(v)]
	*dst = out
	last, n := v[0]+1, int32(0)
	for i, x := range v {
		if x != last {
			var ok bool
			if n, ok = d.number(x); !ok {
				return false
			}
			last = x
		}
		out[i] = n
	}
	return true
}

func (d *intDict) number(x int64) (int32, bool) {
	if 2*len(d.values) >= len(d.slots) {
		d.grow()
	}
	mask := uint64(len(d.slots) - 1)
	for h := hashInt(x) & mask; ; h = (h + 1) & mask {
		n := d.slots[h]
		if n == 0 {
			if len(d.values) >= maxDict {
				return 0, false
			}
			d.values = append(d.values, x)
			d.slots[h] = int32(len(d.values))
			return int32(len(d.values) - 1), true
		}
		if d.values[n-1] == x {
			return n - 1, true
		}
	}
}

func (d *intDict) grow() {
	d.slots = make([]int32, max(64, 4*len(d.slots)))
	mask := uint64(len(d.slots) - 1)
	for i, x := range d.values {
		h := hashInt(x) & mask
		for d.slots[h] != 0 {
			h = (h + 1) & mask
		}
		d.slots[h] = int32(i + 1)
	}
}

func (d *intDict) reset() {
	d.values = d.values[:0]
	clear(d.slots)
}

func hashInt(x int64) uint64 {
	h := uint64(x) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// textDict numbers distinct byte strings in the order they are met.
type textDict struct {
	values  []string
	numbers map[string]int32
}

func (d *textDict) index(dst *[]int32, lens []int32, data []byte) bool {
	out := slices.Grow((*dst)[:0], len(lens))[:len(lens)]
	*dst = out
	if d.numbers == nil {
		d.numbers = make(map[string]int32)
	}
	for i, n := range lens {
		x := data[:n]
		data = data[n:]
		k, ok := d.numbers[string(x)]
		if !ok {
			if len(d.values) >= maxDict {
				return false
			}
			k = int32(len(d.values))
			d.values = append(d.values, string(x))
			d.numbers[d.values[k]] = k
		}
		out[i] = k
	}
	return true
}

func (d *textDict) reset() {
	d.values = d.values[:0]
	clear(d.numbers)
}
