package columnfile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

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
// data[ends[i−1]:ends[i]]. ends is grown from dst, data from buf; with a nil buf
// both are the caller's to keep.
func (f *File) Bytes(b Block, col int, dst []int32, buf []byte) (ends []int32, data []byte, err error) {
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
	return dst, append(buf[:0], body...), nil
}
