package columnfile

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Options say how large row groups get. Zero values mean the defaults.
type Options struct {
	GroupRows  int64 // rows of a row group; default 1 << 20
	GroupBytes int64 // stored bytes of a row group; default 32 MiB
	BlockBytes int   // bytes of a byte-array column after which a block ends; default 1 MiB
	CreatedBy  string
	Meta       map[string]string // keys of the footer, for whoever finds the file alone
}

// Writer writes one file. Rows are added column by column: every column must
// get one value before EndRow. It keeps the open row group in memory, encoded.
type Writer struct {
	w      io.Writer
	opt    Options
	cols   []*chunk
	s      scratch
	hash   xxhash.Digest
	offset int64
	rows   int64 // of the file
	group  int64 // of the open row group, without the open block
	inRow  int   // rows of the open block
	bytes  int   // byte-array bytes of the open block
	meta   format.FileMetaData
	ci     [][]format.ColumnIndex
	oi     [][]format.OffsetIndex
	sums   []byte
	err    error
}

// Summary is what whoever names a file has to keep of it.
type Summary struct {
	Rows    int64
	Size    int64  // bytes of the file
	Tail    int64  // bytes of indexes and footer at its end
	TailSum uint32 // CRC-32C of the tail
	Hash    uint64 // xxhash64 of the file
}

// NewWriter writes the leading magic and returns a writer. Nothing is flushed
// or synced but by the caller.
func NewWriter(w io.Writer, cols []Column, opt Options) (*Writer, error) {
	if opt.GroupRows == 0 {
		opt.GroupRows = 1 << 20
	}
	if opt.GroupBytes == 0 {
		opt.GroupBytes = 32 << 20
	}
	if opt.BlockBytes == 0 {
		opt.BlockBytes = 1 << 20
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("starting compression: %w", err)
	}
	f := &Writer{w: w, opt: opt, s: scratch{enc: enc}}
	f.hash.Reset()
	for _, c := range cols {
		k := &chunk{col: c}
		if c.Kind == Bytes {
			k.lens = make([]int32, 0, BlockRows)
		} else {
			k.ints = make([]int64, 0, BlockRows)
		}
		f.cols = append(f.cols, k)
	}
	f.write([]byte(magic))
	return f, f.err
}

// Int adds a value to an integer or boolean column of the open row.
func (f *Writer) Int(col int, v int64) { c := f.cols[col]; c.ints = append(c.ints, v) }

// Bytes adds a value to a byte-array column of the open row.
func (f *Writer) Bytes(col int, v []byte) {
	c := f.cols[col]
	c.lens, c.data = append(c.lens, int32(len(v))), append(c.data, v...)
	f.bytes += len(v)
}

// Text is Bytes for a string.
func (f *Writer) Text(col int, v string) {
	c := f.cols[col]
	c.lens, c.data = append(c.lens, int32(len(v))), append(c.data, v...)
	f.bytes += len(v)
}

// Rows returns the rows ended so far.
func (f *Writer) Rows() int64 { return f.rows + f.group + int64(f.inRow) }

// Size returns the bytes written and gathered so far, the open block's uncompressed.
func (f *Writer) Size() int64 {
	n := f.offset + int64(f.bytes)
	for _, c := range f.cols {
		n += int64(len(c.body))
	}
	return n
}

// EndRow ends the open row. It writes out what is due.
func (f *Writer) EndRow() error {
	f.inRow++
	if f.inRow < BlockRows && f.bytes < f.opt.BlockBytes {
		return nil
	}
	return f.endBlock()
}

func (f *Writer) endBlock() error {
	if f.inRow == 0 || f.err != nil {
		return f.err
	}
	stored := int64(0)
	for _, c := range f.cols {
		if c.rows() != f.inRow {
			return f.fail(fmt.Errorf("column %s has %d values in a block of %d rows", c.col.Name, c.rows(), f.inRow))
		}
		if len(c.data) > maxBytesPage {
			return f.fail(fmt.Errorf("column %s: %d bytes in one page, at most %d", c.col.Name, len(c.data), maxBytesPage))
		}
		if err := c.finishPage(&f.s, f.group); err != nil {
			return f.fail(fmt.Errorf("encoding column %s: %w", c.col.Name, err))
		}
		stored += int64(len(c.body))
	}
	f.group += int64(f.inRow)
	f.inRow, f.bytes = 0, 0
	if f.group >= f.opt.GroupRows || stored >= f.opt.GroupBytes {
		return f.endGroup()
	}
	return nil
}

func (f *Writer) endGroup() error {
	if err := f.endBlock(); err != nil || f.group == 0 {
		return err
	}
	rg := format.RowGroup{NumRows: f.group, FileOffset: f.offset, Ordinal: int16(len(f.meta.RowGroups))}
	if len(f.meta.RowGroups) == 1<<15-1 {
		return f.fail(errors.New("too many row groups in one file"))
	}
	var ci []format.ColumnIndex
	var oi []format.OffsetIndex
	for _, c := range f.cols {
		cc, index, offsets, err := f.endChunk(c)
		if err != nil {
			return f.fail(err)
		}
		rg.Columns = append(rg.Columns, cc)
		rg.TotalByteSize += cc.MetaData.TotalUncompressedSize
		rg.TotalCompressedSize += cc.MetaData.TotalCompressedSize
		ci, oi = append(ci, index), append(oi, offsets)
		c.reset()
	}
	f.meta.RowGroups = append(f.meta.RowGroups, rg)
	f.ci, f.oi = append(f.ci, ci), append(f.oi, oi)
	f.rows += f.group
	f.group = 0
	return f.err
}

func (c *chunk) reset() {
	c.dict.reset()
	c.texts.reset()
	*c = chunk{col: c.col, ints: c.ints, lens: c.lens, data: c.data, dict: c.dict, texts: c.texts,
		body: c.body[:0], pages: c.pages[:0]}
}

// endChunk writes a column's pages and returns what the footer says of them.
func (f *Writer) endChunk(c *chunk) (format.ColumnChunk, format.ColumnIndex, format.OffsetIndex, error) {
	cc := format.ColumnChunk{MetaData: format.ColumnMetaData{
		Type: c.col.physical(), PathInSchema: []string{c.col.Name}, Codec: format.Zstd,
		NumValues: c.values, TotalUncompressedSize: c.raw, DataPageOffset: f.offset,
	}}
	m := &cc.MetaData
	used := map[format.Encoding]int32{}
	start, sum := f.offset, uint32(0)
	if c.any {
		page, raw, err := f.dictionary(c)
		if err != nil {
			return cc, format.ColumnIndex{}, format.OffsetIndex{}, err
		}
		m.DictionaryPageOffset, sum = f.offset, Checksum(page)
		m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
		m.TotalUncompressedSize += raw
		f.write(page)
		m.DataPageOffset = f.offset
	}
	f.sums = binary.LittleEndian.AppendUint32(f.sums, sum)
	var index format.ColumnIndex
	var offsets format.OffsetIndex
	at := f.offset
	for i := range c.pages {
		p := &c.pages[i]
		used[p.encoding]++
		f.sums = binary.LittleEndian.AppendUint32(f.sums, p.sum)
		lo, hi := c.stat(p.min), c.stat(p.max)
		index.NullPages = append(index.NullPages, false)
		index.NullCounts = append(index.NullCounts, 0)
		index.MinValues, index.MaxValues = append(index.MinValues, lo), append(index.MaxValues, hi)
		offsets.PageLocations = append(offsets.PageLocations,
			format.PageLocation{Offset: at, CompressedPageSize: p.size, FirstRowIndex: p.firstRow})
		at += int64(p.size)
	}
	for _, e := range slices.Sorted(maps.Keys(used)) {
		n := used[e]
		m.Encoding = append(m.Encoding, e)
		m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DataPageV2, Encoding: e, Count: n})
	}
	if c.any {
		m.Encoding = append(m.Encoding, format.Plain)
	}
	if c.col.Kind != Bytes {
		m.Statistics = format.Statistics{MinValue: c.stat(c.min), MaxValue: c.stat(c.max)}
	}
	f.write(c.body)
	m.TotalCompressedSize = f.offset - start
	return cc, index, offsets, f.err
}

func (f *Writer) dictionary(c *chunk) (page []byte, raw int64, err error) {
	h := format.PageHeader{Type: format.DictionaryPage}
	n := len(c.dict.values)
	f.s.buf = f.s.buf[:0]
	if c.col.Kind == Bytes {
		n = len(c.texts.values)
		for _, v := range c.texts.values {
			f.s.buf = binary.LittleEndian.AppendUint32(f.s.buf, uint32(len(v)))
			f.s.buf = append(f.s.buf, v...)
		}
	} else {
		f.s.buf = appendInts(f.s.buf, c.dict.values, c.col.Kind)
	}
	h.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: int32(n), Encoding: format.Plain})
	page, err = f.s.appendPage(nil, &h, f.s.buf, false)
	return page, int64(len(page)) + int64(h.UncompressedPageSize-h.CompressedPageSize), err
}

// stat spells a page's smallest or largest value as Parquet statistics do.
func (c *chunk) stat(v int64) []byte {
	switch c.col.Kind {
	case Bytes: // no bounds: Writer.hasIndex
		return nil
	case Int64:
		return binary.LittleEndian.AppendUint64(nil, uint64(v))
	case Int32:
		return binary.LittleEndian.AppendUint32(nil, uint32(v))
	}
	return []byte{byte(v)}
}

// Close writes what is open and the tail. The underlying writer stays open.
func (f *Writer) Close() (Summary, error) {
	if err := f.endGroup(); err != nil {
		return Summary{}, err
	}
	dataEnd := f.offset
	tail, err := f.tail()
	if err != nil {
		return Summary{}, f.fail(fmt.Errorf("writing the footer: %w", err))
	}
	f.write(tail)
	return Summary{Rows: f.rows, Size: f.offset, Tail: f.offset - dataEnd, TailSum: Checksum(tail), Hash: f.hash.Sum64()}, f.err
}

func (f *Writer) tail() ([]byte, error) {
	var out []byte
	put := func(v any) (int64, int32, error) {
		b, err := thrift.Marshal(compact(), v)
		at := f.offset + int64(len(out))
		out = append(out, b...)
		return at, int32(len(b)), err
	}
	var err error
	for g := range f.meta.RowGroups {
		for k := range f.cols {
			cc := &f.meta.RowGroups[g].Columns[k]
			if f.hasIndex(k) {
				if cc.ColumnIndexOffset, cc.ColumnIndexLength, err = put(&f.ci[g][k]); err != nil {
					return nil, err
				}
			}
		}
	}
	for g := range f.meta.RowGroups {
		for k := range f.cols {
			cc := &f.meta.RowGroups[g].Columns[k]
			if cc.OffsetIndexOffset, cc.OffsetIndexLength, err = put(&f.oi[g][k]); err != nil {
				return nil, err
			}
		}
	}
	f.meta.Version, f.meta.NumRows, f.meta.CreatedBy = 2, f.rows, f.opt.CreatedBy
	f.meta.Schema = schema(f.cols)
	f.meta.KeyValueMetadata = []format.KeyValue{{Key: pagesKey, Value: base64.StdEncoding.EncodeToString(f.sums)}}
	for _, k := range slices.Sorted(maps.Keys(f.opt.Meta)) {
		f.meta.KeyValueMetadata = append(f.meta.KeyValueMetadata, format.KeyValue{Key: k, Value: f.opt.Meta[k]})
	}
	f.meta.KeyValueMetadata = append(f.meta.KeyValueMetadata, format.KeyValue{Key: tailKey, Value: noTailSum})
	for range f.cols {
		f.meta.ColumnOrders = append(f.meta.ColumnOrders, format.ColumnOrder{Value: new(format.TypeDefinedOrder)})
	}
	_, n, err := put(&f.meta)
	if err != nil {
		return nil, err
	}
	out = append(binary.LittleEndian.AppendUint32(out, uint32(n)), magic...)
	copy(tailSumIn(out), fmt.Sprintf("%08x", Checksum(out)))
	return out, nil
}

// hasIndex: byte arrays carry no page bounds, nothing seeks in them.
func (f *Writer) hasIndex(k int) bool { return f.cols[k].col.Kind != Bytes }

func schema(cols []*chunk) []format.SchemaElement {
	n := int32(len(cols))
	out := []format.SchemaElement{{Name: "walctl", NumChildren: thrift.New(n)}}
	for _, c := range cols {
		e := format.SchemaElement{Name: c.col.Name, Type: thrift.New(c.col.physical()), RepetitionType: thrift.New(format.Required)}
		switch c.col.Logical {
		case Text:
			e.LogicalType.Value, e.ConvertedType = new(format.StringType), thrift.New(deprecated.UTF8)
		case JSON:
			e.LogicalType.Value, e.ConvertedType = new(format.JsonType), thrift.New(deprecated.Json)
		case Millis:
			e.LogicalType.Value = &format.TimestampType{IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: new(format.MilliSeconds)}}
			e.ConvertedType = thrift.New(deprecated.TimestampMillis)
		}
		out = append(out, e)
	}
	return out
}

func (c *Column) physical() format.Type {
	return [...]format.Type{Int64: format.Int64, Int32: format.Int32, Bool: format.Boolean, Bytes: format.ByteArray}[c.Kind]
}

func (f *Writer) write(b []byte) {
	if f.err != nil {
		return
	}
	_, _ = f.hash.Write(b)
	n, err := f.w.Write(b)
	f.offset += int64(n)
	if err != nil {
		f.err = err
	}
}

func (f *Writer) fail(err error) error {
	if f.err == nil {
		f.err = err
	}
	return f.err
}
