package columnfile

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// File reads one file. It is not safe for concurrent use.
type File struct {
	r      io.ReaderAt
	end    int64 // where the tail begins
	tail   []byte
	meta   format.FileMetaData
	cols   []Column
	at     []int // cols[i] is column at[i] of the file
	chunks [][]chunkInfo
	blocks []Block
	dec    *zstd.Decoder
	dicts  []dict // by column

	raw, out []byte
	i32      []int32
	wide     []int64
}

// Block is a run of rows that one page of every column holds.
type Block struct {
	Group, Page int
	FirstRow    int64 // in the file
	Rows        int
}

type chunkInfo struct {
	dict     format.PageLocation
	dictSum  uint32
	pages    []format.PageLocation
	pageSums []uint32
}

type dict struct {
	group int // 1 + the row group it belongs to
	err   error
	ints  []int64
	texts []string
}

// Open reads and checks the tail of a file as s describes it. cols are the
// columns the caller knows; every one must be there with its kind, others are
// left alone. The reader must stay open as long as the File is used.
func Open(r io.ReaderAt, s Summary, cols []Column) (f *File, err error) {
	defer func() { // the structures' decoder is not ours
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("%w: footer: %v", ErrDamaged, p)
		}
	}()
	if s.Tail < 12 || s.Tail > maxTail || s.Size-s.Tail < int64(len(magic)) {
		return nil, fmt.Errorf("%w: a footer of %d bytes in a file of %d", ErrDamaged, s.Tail, s.Size)
	}
	f = &File{r: r, end: s.Size - s.Tail, cols: cols, dicts: make([]dict, len(cols))}
	f.tail = make([]byte, s.Tail)
	if _, err := r.ReadAt(f.tail, f.end); err != nil {
		return nil, fmt.Errorf("reading the footer: %w", short(err))
	}
	if Checksum(f.tail) != s.TailSum {
		return nil, fmt.Errorf("%w: footer, bytes %d–%d: checksum differs", ErrDamaged, f.end, s.Size-1)
	}
	if err := f.parse(s.Rows); err != nil {
		return nil, err
	}
	f.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxBytesPage))
	if err != nil {
		return nil, fmt.Errorf("starting decompression: %w", err)
	}
	return f, nil
}

// short turns the end of a file that should go on into what it is.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file ends early", ErrDamaged)
	}
	return err
}

func (f *File) parse(rows int64) error {
	n := len(f.tail)
	if string(f.tail[n-4:]) != magic {
		return fmt.Errorf("%w: no %s at the end", ErrDamaged, magic)
	}
	size := int64(binary.LittleEndian.Uint32(f.tail[n-8:]))
	if size > int64(n-8) {
		return fmt.Errorf("%w: footer of %d bytes", ErrDamaged, size)
	}
	if err := unmarshal(f.tail[int64(n-8)-size:n-8], &f.meta); err != nil {
		return fmt.Errorf("%w: footer: %w", ErrDamaged, err)
	}
	if err := f.matchColumns(); err != nil {
		return err
	}
	sums, err := f.pageSums()
	if err != nil {
		return err
	}
	total := int64(0)
	for g := range f.meta.RowGroups {
		if sums, err = f.parseGroup(g, total, sums); err != nil {
			return err
		}
		total += f.meta.RowGroups[g].NumRows
	}
	if total != rows || len(sums) != 0 {
		return fmt.Errorf("%w: footer: %d rows, want %d", ErrDamaged, total, rows)
	}
	return nil
}

func (f *File) matchColumns() error {
	if len(f.meta.Schema) == 0 {
		return fmt.Errorf("%w: footer without a schema", ErrDamaged)
	}
	byName := map[string]int{}
	for i, e := range f.meta.Schema[1:] {
		byName[e.Name] = i
	}
	for _, c := range f.cols {
		i, ok := byName[c.Name]
		if !ok || f.meta.Schema[1+i].Type.V != c.physical() {
			return fmt.Errorf("column %s is missing or of another type: written by another version of walctl?", c.Name)
		}
		f.at = append(f.at, i)
	}
	return nil
}

func (f *File) pageSums() ([]uint32, error) {
	for _, kv := range f.meta.KeyValueMetadata {
		if kv.Key != pagesKey {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(kv.Value)
		if err != nil || len(b)%4 != 0 {
			return nil, fmt.Errorf("%w: footer: page checksums", ErrDamaged)
		}
		out := make([]uint32, len(b)/4)
		for i := range out {
			out[i] = binary.LittleEndian.Uint32(b[4*i:])
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: footer without page checksums", ErrDamaged)
}

func (f *File) parseGroup(g int, firstRow int64, sums []uint32) ([]uint32, error) {
	rg := &f.meta.RowGroups[g]
	bad := func(what string) error { return fmt.Errorf("%w: footer: row group %d: %s", ErrDamaged, g, what) }
	if len(rg.Columns) != len(f.meta.Schema)-1 || rg.NumRows <= 0 {
		return nil, bad("columns or rows")
	}
	all := make([]chunkInfo, len(rg.Columns))
	for k := range rg.Columns {
		cc := &rg.Columns[k]
		var oi format.OffsetIndex
		if err := f.index(cc.OffsetIndexOffset, cc.OffsetIndexLength, &oi); err != nil {
			return nil, bad("offset index: " + err.Error())
		}
		if len(sums) < 1+len(oi.PageLocations) {
			return nil, bad("too few page checksums")
		}
		c := &all[k]
		c.pages, c.dictSum, c.pageSums = oi.PageLocations, sums[0], sums[1:1+len(oi.PageLocations)]
		sums = sums[1+len(oi.PageLocations):]
		if d := cc.MetaData.DictionaryPageOffset; d != 0 {
			c.dict = format.PageLocation{Offset: d, CompressedPageSize: int32(cc.MetaData.DataPageOffset - d)}
		}
		if !c.sound(f.end, rg.NumRows) || k > 0 && !sameRows(c.pages, all[0].pages) {
			return nil, bad("page places")
		}
	}
	f.chunks = append(f.chunks, all)
	if len(all) == 0 {
		return nil, bad("no columns")
	}
	for p, loc := range all[0].pages {
		next := rg.NumRows
		if p+1 < len(all[0].pages) {
			next = all[0].pages[p+1].FirstRowIndex
		}
		f.blocks = append(f.blocks, Block{Group: g, Page: p, FirstRow: firstRow + loc.FirstRowIndex, Rows: int(next - loc.FirstRowIndex)})
	}
	return sums, nil
}

// sound checks that pages lie in the data and rows rise by at most a block.
func (c *chunkInfo) sound(end, rows int64) bool {
	inside := func(p format.PageLocation) bool {
		return p.Offset >= int64(len(magic)) && p.CompressedPageSize > 0 && p.Offset <= end-int64(p.CompressedPageSize)
	}
	if len(c.pages) == 0 || c.pages[0].FirstRowIndex != 0 || c.dict.Offset != 0 && !inside(c.dict) {
		return false
	}
	for i, p := range c.pages {
		next := rows
		if i+1 < len(c.pages) {
			next = c.pages[i+1].FirstRowIndex
		}
		if n := next - p.FirstRowIndex; n <= 0 || n > BlockRows || !inside(p) {
			return false
		}
	}
	return true
}

func sameRows(a, b []format.PageLocation) bool {
	return slices.EqualFunc(a, b, func(x, y format.PageLocation) bool { return x.FirstRowIndex == y.FirstRowIndex })
}

func (f *File) index(at int64, n int32, v any) error {
	if at < f.end || n <= 0 || at-f.end > int64(len(f.tail))-int64(n) {
		return errors.New("outside the file")
	}
	return unmarshal(f.tail[at-f.end:at-f.end+int64(n)], v)
}

// Blocks returns the file's blocks in row order.
func (f *File) Blocks() []Block { return f.blocks }

// Meta returns the value of a key of the footer; false where it has none.
func (f *File) Meta(key string) (string, bool) {
	for _, kv := range f.meta.KeyValueMetadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// Width returns the number of columns of the file.
func (f *File) Width() int { return len(f.meta.Schema) - 1 }

// Bounds returns an integer column's smallest and largest value by block.
func (f *File) Bounds(col int) (lo, hi []int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: column index: %v", ErrDamaged, p)
		}
	}()
	for g := range f.meta.RowGroups {
		cc := &f.meta.RowGroups[g].Columns[f.at[col]]
		var ci format.ColumnIndex
		if err := f.index(cc.ColumnIndexOffset, cc.ColumnIndexLength, &ci); err != nil {
			return nil, nil, fmt.Errorf("%w: column index: %w", ErrDamaged, err)
		}
		pages := len(f.chunks[g][f.at[col]].pages)
		if len(ci.MinValues) != pages || len(ci.MaxValues) != pages {
			return nil, nil, fmt.Errorf("%w: column index: %d pages, want %d", ErrDamaged, len(ci.MinValues), pages)
		}
		for p := range pages {
			l, h := ci.MinValues[p], ci.MaxValues[p]
			if len(l) != 8 || len(h) != 8 {
				return nil, nil, fmt.Errorf("%w: column index: bounds of %d bytes", ErrDamaged, len(l))
			}
			lo, hi = append(lo, int64(binary.LittleEndian.Uint64(l))), append(hi, int64(binary.LittleEndian.Uint64(h)))
		}
	}
	return lo, hi, nil
}

// page reads and checks one page and returns its header and uncompressed body,
// valid until the next call.
func (f *File) page(loc format.PageLocation, sum uint32, limit int32, h *format.PageHeader) ([]byte, error) {
	size := int(loc.CompressedPageSize)
	if size > int(limit)+maxPageHeader {
		return nil, fmt.Errorf("%w: a page of %d bytes", ErrDamaged, size)
	}
	f.raw = slices.Grow(f.raw[:0], size)[:size]
	if n, err := f.r.ReadAt(f.raw, loc.Offset); n < size {
		return nil, short(err)
	}
	if Checksum(f.raw) != sum {
		return nil, fmt.Errorf("%w: checksum differs", ErrDamaged)
	}
	if _, err := boundThrift(f.raw); err != nil {
		return nil, fmt.Errorf("page header: %w", err)
	}
	r := compact().NewReaderFromBytes(f.raw)
	if err := thrift.NewDecoder(r).Decode(h); err != nil {
		return nil, fmt.Errorf("%w: page header: %w", ErrDamaged, err)
	}
	body := f.raw[min(r.BytesRead(), size):]
	if int(h.CompressedPageSize) != len(body) || h.UncompressedPageSize < 0 || h.UncompressedPageSize > limit {
		return nil, fmt.Errorf("%w: page header: sizes", ErrDamaged)
	}
	if h.Type == format.DataPageV2 && h.DataPageHeaderV2.V.IsCompressed.Valid && !h.DataPageHeaderV2.V.IsCompressed.V {
		return body, nil
	}
	if int64(h.UncompressedPageSize) > int64(len(body))*zstdMost {
		return nil, fmt.Errorf("%w: page header: %d bytes out of %d", ErrDamaged, h.UncompressedPageSize, len(body))
	}
	f.out = slices.Grow(f.out[:0], int(h.UncompressedPageSize))
	out, err := f.dec.DecodeAll(body, f.out[:0:int(h.UncompressedPageSize)])
	if err != nil || len(out) != int(h.UncompressedPageSize) {
		return nil, fmt.Errorf("%w: decompression: %w", ErrDamaged, err)
	}
	return out, nil
}

// data reads a block's page of a column.
func (f *File) data(b Block, col int, h *format.PageHeader) ([]byte, error) {
	c := &f.chunks[b.Group][f.at[col]]
	limit := int32(maxIntPage)
	if f.cols[col].Kind == Bytes {
		limit = maxBytesPage
	}
	body, err := f.page(c.pages[b.Page], c.pageSums[b.Page], limit, h)
	if err != nil {
		return nil, err
	}
	v2 := &h.DataPageHeaderV2
	if h.Type != format.DataPageV2 || !v2.Valid || int(v2.V.NumValues) != b.Rows ||
		v2.V.DefinitionLevelsByteLength != 0 || v2.V.RepetitionLevelsByteLength != 0 {
		return nil, fmt.Errorf("%w: not a page of %d rows", ErrDamaged, b.Rows)
	}
	return body, nil
}

// fault names the page an error belongs to.
func (f *File) fault(b Block, col int, inDict bool, cause error) error {
	c := &f.chunks[b.Group][f.at[col]]
	e := &PageError{Column: f.cols[col].Name, RowGroup: b.Group, Page: b.Page, Offset: c.pages[b.Page].Offset,
		FirstRow: b.FirstRow, Rows: int64(b.Rows), Cause: cause}
	if inDict {
		first := slices.IndexFunc(f.blocks, func(x Block) bool { return x.Group == b.Group })
		e.Dictionary, e.Page, e.Offset = true, -1, c.dict.Offset
		e.FirstRow, e.Rows = f.blocks[first].FirstRow, f.meta.RowGroups[b.Group].NumRows
	}
	return e
}

// CheckPages checks the checksum of every page of every column, known or not,
// and calls bad for each that fails. It returns the first error of bad.
func (f *File) CheckPages(bad func(*PageError) error) error {
	for g, all := range f.chunks {
		for k := range all {
			if err := f.checkChunk(g, k, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) checkChunk(g, k int, bad func(*PageError) error) error {
	c := &f.chunks[g][k]
	check := func(loc format.PageLocation, sum uint32) error {
		size := int(loc.CompressedPageSize)
		f.raw = slices.Grow(f.raw[:0], size)[:size]
		if n, err := f.r.ReadAt(f.raw, loc.Offset); n < size {
			return short(err)
		}
		if Checksum(f.raw) != sum {
			return fmt.Errorf("%w: checksum differs", ErrDamaged)
		}
		return nil
	}
	first := slices.IndexFunc(f.blocks, func(x Block) bool { return x.Group == g })
	name := f.meta.Schema[1+k].Name
	if c.dict.Offset != 0 {
		if err := check(c.dict, c.dictSum); err != nil {
			if err := bad(&PageError{Column: name, RowGroup: g, Page: -1, Dictionary: true, Offset: c.dict.Offset,
				FirstRow: f.blocks[first].FirstRow, Rows: f.meta.RowGroups[g].NumRows, Cause: err}); err != nil {
				return err
			}
		}
	}
	for p, loc := range c.pages {
		if err := check(loc, c.pageSums[p]); err != nil {
			b := f.blocks[first+p]
			if err := bad(&PageError{Column: name, RowGroup: g, Page: p, Offset: loc.Offset,
				FirstRow: b.FirstRow, Rows: int64(b.Rows), Cause: err}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close frees what the file holds; not its reader.
func (f *File) Close() { f.dec.Close() }
