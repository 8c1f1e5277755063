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
	if err := thrift.Unmarshal(compact(), f.tail[int64(n-8)-size:n-8], &f.meta); err != nil {
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
	return thrift.Unmarshal(compact(), f.tail[at-f.end:at-f.end+int64(n)], v)
}

// Blocks returns the file's blocks in row order.
func (f *File) Blocks() []Block { return f.blocks }

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
	f.raw = slices.Grow(f.raw[:0], size)[:size]
	if n, err := f.r.ReadAt(f.raw, loc.Offset); n < size {
		return nil, short(err)
	}
	if Checksum(f.raw) != sum {
		return nil, fmt.Errorf("%w: checksum differs", ErrDamaged)
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
	f.out = slices.Grow(f.out[:0], int(h.UncompressedPageSize))
	out, err := f.dec.DecodeAll(body, f.out[:0:int(h.UncompressedPageSize)])
	if err != nil || len(out) != int(h.UncompressedPageSize) {
		return nil, fmt.Errorf("%w: decompression: %v", ErrDamaged, err)
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

// Ints decodes a block of an integer or boolean column into dst, which is grown
// as needed. An error is a *PageError.
func Ints[T Integer](f *File, b Block, col int, dst []T) (out []T, err error) {
	inDict := false
	defer func() {
		if p := recover(); p != nil { // the value decoders are not ours
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil {
			out, err = nil, f.fault(b, col, inDict, err)
		}
	}()
	dst = slices.Grow(dst[:0], b.Rows)[:b.Rows]
	var h format.PageHeader
	body, err := f.data(b, col, &h)
	if err != nil {
		return nil, err
	}
	kind := f.cols[col].Kind
	switch h.DataPageHeaderV2.V.Encoding {
	case format.RLEDictionary:
		return decodeDict(f, b, col, dst, body, &inDict)
	case format.Plain:
		return dst, decodePlain(dst, body, kind)
	case format.DeltaBinaryPacked:
		return decodeDelta(f, kind, dst, body)
	}
	return nil, fmt.Errorf("%w: encoding %v", ErrDamaged, h.DataPageHeaderV2.V.Encoding)
}

func decodeDict[T Integer](f *File, b Block, col int, dst []T, body []byte, inDict *bool) ([]T, error) {
	held := append([]byte(nil), body...)
	if f.dicts[col].group == b.Group+1 {
		held = body
	}
	d := f.dictionary(b.Group, col)
	if d.err != nil {
		*inDict = true
		return nil, d.err
	}
	if wide := asInt64s(dst); wide != nil {
		return dst, decodeIndexes(wide, held, d.ints)
	}
	table := make([]T, len(d.ints))
	for i, v := range d.ints {
		table[i] = T(v)
	}
	return dst, decodeIndexes(dst, held, table)
}

func decodeDelta[T Integer](f *File, kind Kind, dst []T, body []byte) ([]T, error) {
	if kind == Int32 {
		v, _, err := f.deltaInt32s(body, len(dst))
		if err != nil {
			return nil, err
		}
		for i, x := range v {
			dst[i] = T(x)
		}
		return dst, nil
	}
	if wide := asInt64s(dst); wide != nil {
		_, err := f.deltaInts(wide, body, len(dst))
		return dst, err
	}
	var err error
	if f.wide, err = f.deltaInts(f.wide, body, len(dst)); err != nil {
		return nil, err
	}
	for i, x := range f.wide {
		dst[i] = T(x)
	}
	return dst, nil
}

// dictionary returns a column's dictionary of a row group, read once.
func (f *File) dictionary(group, col int) *dict {
	d := &f.dicts[col]
	if d.group == group+1 {
		return d
	}
	*d = dict{group: group + 1, ints: d.ints[:0]}
	c := &f.chunks[group][f.at[col]]
	if c.dict.Offset == 0 {
		d.err = fmt.Errorf("%w: no dictionary", ErrDamaged)
		return d
	}
	limit := int32(16 << 20)
	if f.cols[col].Kind == Bytes {
		limit = maxBytesPage
	}
	var h format.PageHeader
	body, err := f.page(c.dict, c.dictSum, limit, &h)
	if err == nil {
		err = d.parse(body, &h, f.cols[col].Kind)
	}
	d.err = err
	return d
}

func (d *dict) parse(body []byte, h *format.PageHeader, k Kind) error {
	n := int(h.DictionaryPageHeader.V.NumValues)
	if h.Type != format.DictionaryPage || n <= 0 || n > maxDict {
		return fmt.Errorf("%w: dictionary of %d values", ErrDamaged, n)
	}
	if k != Bytes {
		d.ints = slices.Grow(d.ints, n)[:n]
		return decodePlain(d.ints, body, k)
	}
	for range n {
		if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
			return fmt.Errorf("%w: dictionary text ends early", ErrDamaged)
		}
		l := binary.LittleEndian.Uint32(body)
		d.texts = append(d.texts, string(body[4:4+l]))
		body = body[4+l:]
	}
	return nil
}

// Texts decodes a block of a dictionary column of byte arrays: intern numbers a
// text, dst gets the numbers. intern is called once a distinct text of the row
// group at most, and for every row where the dictionary overflowed.
func (f *File) Texts(b Block, col int, dst []uint32, intern func(string) uint32) (out []uint32, err error) {
	inDict := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil {
			out, err = nil, f.fault(b, col, inDict, err)
		}
	}()
	dst = slices.Grow(dst[:0], b.Rows)[:b.Rows]
	var h format.PageHeader
	body, err := f.data(b, col, &h)
	if err != nil {
		return nil, err
	}
	switch h.DataPageHeaderV2.V.Encoding {
	case format.RLEDictionary:
		d := &f.dicts[col]
		if d.group != b.Group+1 {
			body = append([]byte(nil), body...)
			d = f.dictionary(b.Group, col)
			for _, s := range d.texts {
				d.ints = append(d.ints, int64(intern(s)))
			}
		}
		if d.err != nil {
			inDict = true
			return nil, d.err
		}
		table := make([]uint32, len(d.ints))
		for i, v := range d.ints {
			table[i] = uint32(v)
		}
		return dst, decodeIndexes(dst, body, table)
	case format.DeltaLengthByteArray:
		lens, data, err := f.byteArrays(body, b.Rows)
		if err != nil {
			return nil, err
		}
		for i, n := range lens {
			dst[i] = intern(string(data[:n]))
			data = data[n:]
		}
		return dst, nil
	}
	return nil, fmt.Errorf("%w: encoding %v", ErrDamaged, h.DataPageHeaderV2.V.Encoding)
}

func (f *File) byteArrays(body []byte, rows int) ([]int32, []byte, error) {
	lens, n, err := f.deltaInt32s(body, rows)
	if err != nil {
		return nil, nil, err
	}
	data, total := body[n:], int64(0)
	for _, l := range lens {
		if l < 0 {
			return nil, nil, fmt.Errorf("%w: negative length", ErrDamaged)
		}
		total += int64(l)
	}
	if total != int64(len(data)) {
		return nil, nil, fmt.Errorf("%w: lengths of %d bytes over %d", ErrDamaged, total, len(data))
	}
	return lens, data, nil
}

// Bytes decodes a block of a byte-array column that has no dictionary: row i is
// data[ends[i−1]:ends[i]]. Both are the caller's to keep; ends is grown from dst.
func (f *File) Bytes(b Block, col int, dst []int32) (ends []int32, data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil {
			ends, data, err = nil, nil, f.fault(b, col, false, err)
		}
	}()
	var h format.PageHeader
	body, err := f.data(b, col, &h)
	if err != nil {
		return nil, nil, err
	}
	if h.DataPageHeaderV2.V.Encoding != format.DeltaLengthByteArray {
		return nil, nil, fmt.Errorf("%w: encoding %v", ErrDamaged, h.DataPageHeaderV2.V.Encoding)
	}
	lens, body, err := f.byteArrays(body, b.Rows)
	if err != nil {
		return nil, nil, err
	}
	dst = dst[:0]
	at := int32(0)
	for _, n := range lens {
		at += n
		dst = append(dst, at)
	}
	return dst, append([]byte(nil), body...), nil
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
