package columnfile

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/hammer"
)

// readAll decodes whatever can be decoded: it must not panic or allocate without
// bound.
func readAll(f *File) {
	for _, blk := range f.Blocks() {
		for col := range testColumns {
			readColumn(f, blk, col)
		}
	}
	_, _, _ = f.Bounds(0)
	_ = f.CheckPages(func(*PageError) error { return nil })
}

func readColumn(f *File, blk Block, col int) {
	switch c := testColumns[col]; {
	case c.Kind != Bytes:
		_, _ = Ints[int64](f, blk, col, nil)
		_, _ = Ints[uint16](f, blk, col, nil)
	case c.Layout == Dictionary:
		_, _ = f.Texts(blk, col, nil, func(string) uint32 { return 0 })
	default:
		_, _, _ = f.Bytes(blk, col, nil, nil)
	}
}

// FuzzOpen opens files whose tail has the checksum it should have, so that what
// is behind the checksum is reached. FuzzFooter, FuzzPage and FuzzDecode take
// its parts, and are much faster.
func FuzzOpen(f *testing.F) {
	b, s := writeRows(f, someRows(40, 1), Options{})
	f.Add(b, s.Tail, s.Rows)
	f.Add(b[:len(b)/2], int64(20), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, tail, rows int64) {
		s := Summary{Rows: rows, Size: int64(len(b)), Tail: tail}
		if tail > 0 && tail <= int64(len(b)) {
			s.TailSum = Checksum(b[int64(len(b))-tail:])
		}
		file, err := Open(bytes.NewReader(b), s, testColumns)
		if err != nil {
			return
		}
		defer file.Close()
		readAll(file)
	})
}

// footerSeeds are tails of small files, and where they begin.
func footerSeeds(t testing.TB) (tails [][]byte, ends []int64) {
	for _, opt := range []Options{{}, {GroupRows: BlockRows}} {
		b, s := writeRows(t, someRows(3, 1), opt)
		tails, ends = append(tails, b[s.Size-s.Tail:]), append(ends, s.Size-s.Tail)
	}
	return tails, ends
}

// FuzzFooter parses tails: every page that a sound one names lies in the data,
// and blocks follow each other.
func FuzzFooter(f *testing.F) {
	tails, ends := footerSeeds(f)
	for i, b := range tails {
		f.Add(b, uint16(ends[i]), uint8(3))
	}
	f.Fuzz(func(t *testing.T, tail []byte, end uint16, rows uint8) { checkFooter(t, tail, int64(end), int64(rows)) })
}

func TestHammerFooter(t *testing.T) {
	tails, ends := footerSeeds(t)
	var seeds [][][]byte
	for _, b := range tails {
		seeds = append(seeds, [][]byte{b})
	}
	hammer.Run(t, seeds, func(f [][]byte) { checkFooter(t, f[0], ends[0], 3) })
}

func checkFooter(t testing.TB, tail []byte, end, rows int64) {
	if len(tail) < 12 {
		return
	}
	f := &File{end: end, tail: tail, cols: testColumns, dicts: make([]dict, len(testColumns))}
	if err := f.parse(rows); err != nil {
		return
	}
	at := int64(0)
	for _, b := range f.Blocks() {
		if b.FirstRow != at || b.Rows <= 0 || b.Rows > BlockRows {
			t.Fatalf("block %+v at row %d", b, at)
		}
		at += int64(b.Rows)
		for k := range f.chunks[b.Group] {
			if p := f.chunks[b.Group][k].pages[b.Page]; p.Offset < 4 || p.Offset+int64(p.CompressedPageSize) > end {
				t.Fatalf("page %+v of data that ends at %d", p, end)
			}
		}
	}
	if at != rows {
		t.Fatalf("%d rows, want %d", at, rows)
	}
	_, _, _ = f.Bounds(0)
}

// pageReader reads blocks of files that are one page. It keeps memory from one
// execution to the next.
type pageReader struct{ f *File }

func newPageReader(t testing.TB) *pageReader {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	require.NoError(t, err)
	t.Cleanup(dec.Close)
	f := &File{cols: testColumns, dicts: make([]dict, len(testColumns)), dec: dec}
	for i := range testColumns {
		f.at = append(f.at, i)
	}
	f.meta.RowGroups = make([]format.RowGroup, 1)
	f.chunks = [][]chunkInfo{make([]chunkInfo, len(testColumns))}
	return &pageReader{f}
}

// read decodes a page as a column's data and as its dictionary.
func (p *pageReader) read(page []byte, col, rows int) {
	if len(page) == 0 {
		return
	}
	f := p.f
	f.r = bytes.NewReader(page)
	loc, sum := format.PageLocation{CompressedPageSize: int32(len(page))}, Checksum(page)
	f.meta.RowGroups[0].NumRows = int64(rows)
	f.blocks = append(f.blocks[:0], Block{Rows: rows})
	c := &f.chunks[0][col]
	c.pages, c.pageSums = append(c.pages[:0], loc), append(c.pageSums[:0], sum)
	f.dicts[col] = dict{}
	readColumn(f, f.blocks[0], col)
	var h format.PageHeader
	if body, err := f.page(loc, sum, maxIntPage, &h); err == nil {
		_ = new(dict).parse(body, &h, f.cols[col].Kind)
	}
	f.dicts[col] = dict{group: 1, ints: []int64{1, 2, 3}, texts: []string{"a", "b", "c"}}
	readColumn(f, f.blocks[0], col) // with a dictionary that is sound
}

// pageSeeds are the pages of a small file, dictionaries among them, and the
// columns they belong to.
func pageSeeds(t testing.TB) (pages [][]byte, cols []uint8) {
	b, s := writeRows(t, someRows(5, 2), Options{})
	f, err := Open(bytes.NewReader(b), s, testColumns)
	require.NoError(t, err)
	defer f.Close()
	for col, c := range f.chunks[0] {
		for _, p := range append(c.pages, c.dict) {
			if p.Offset > 0 {
				pages, cols = append(pages, b[p.Offset:p.Offset+int64(p.CompressedPageSize)]), append(cols, uint8(col))
			}
		}
	}
	return pages, cols
}

// FuzzPage reads pages whose checksum is right: header, compression and values.
func FuzzPage(f *testing.F) {
	pages, cols := pageSeeds(f)
	for i, b := range pages {
		f.Add(b, cols[i], uint8(4))
	}
	p := newPageReader(f)
	f.Fuzz(func(_ *testing.T, page []byte, col, rows uint8) { p.read(page, int(col)%len(testColumns), 1+int(rows)) })
}

func TestHammerPage(t *testing.T) {
	pages, cols := pageSeeds(t)
	var seeds [][][]byte
	for i, b := range pages {
		seeds = append(seeds, [][]byte{b, {cols[i]}})
	}
	p := newPageReader(t)
	hammer.Run(t, seeds, func(f [][]byte) {
		col := 0
		if len(f[1]) > 0 {
			col = int(f[1][0]) % len(testColumns)
		}
		p.read(f[0], col, 5)
	})
}

// valueSeeds are page bodies, and how many values they hold.
func valueSeeds() (bodies [][]byte, rows []uint16) {
	for _, n := range []int{1, 130, 1000} {
		c := chunk{col: Column{Layout: Delta}}
		for _, r := range someRows(n, 9) {
			c.ints = append(c.ints, r.many)
		}
		var p pageMeta
		for _, l := range []Layout{Delta, Dictionary} {
			c.col.Layout = l
			bodies, rows = append(bodies, append([]byte(nil), c.encodeInts(&scratch{}, &p)...)), append(rows, uint16(n))
		}
	}
	return append(bodies, binary.AppendUvarint([]byte{3}, 1<<40)), append(rows, 9)
}

// FuzzDecode feeds page bodies to the value decoders.
func FuzzDecode(f *testing.F) {
	bodies, rows := valueSeeds()
	for i, b := range bodies {
		f.Add(b, rows[i])
	}
	var v valueDecoder
	f.Fuzz(func(t *testing.T, b []byte, n uint16) { v.check(t, b, max(1, int(n)%1024)) })
}

func TestHammerValues(t *testing.T) {
	bodies, rows := valueSeeds()
	var seeds [][][]byte
	for i, b := range bodies {
		seeds = append(seeds, [][]byte{b, binary.LittleEndian.AppendUint16(nil, rows[i])})
	}
	var v valueDecoder
	hammer.Run(t, seeds, func(f [][]byte) {
		n := 1
		for _, b := range f[1][:min(2, len(f[1]))] {
			n = n<<8 | int(b)
		}
		v.check(t, f[0], max(1, n%1024))
	})
}

// valueDecoder keeps memory from one execution to the next.
type valueDecoder struct {
	f    File
	ints []int64
}

func (v *valueDecoder) check(t testing.TB, b []byte, rows int) {
	v.ints = append(v.ints[:0], make([]int64, rows)...)
	if out, err := v.f.deltaInts(v.ints, b, rows); err == nil && len(out) != rows {
		t.Fatalf("%d values, want %d", len(out), rows)
	}
	if lens, data, err := v.f.byteArrays(b, rows); err == nil && (len(lens) != rows || len(data) > len(b)) {
		t.Fatalf("%d lengths, want %d", len(lens), rows)
	}
	_ = decodeIndexes(v.ints[:rows], b, []int64{1, 2, 3})
}
