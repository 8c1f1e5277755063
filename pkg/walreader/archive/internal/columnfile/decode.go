package columnfile

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// Integer is what an integer column can be decoded into.
type Integer interface {
	~int64 | ~uint64 | ~int32 | ~uint32 | ~int16 | ~uint16 | ~int8 | ~uint8
}

// checkDelta walks a DELTA_BINARY_PACKED run without decoding it: it must hold
// exactly rows values in widths that exist. It returns the bytes the run takes.
// The decoder itself trusts all of this.
func checkDelta(src []byte, rows, maxWidth int) (int, error) {
	at := 0
	next := func() uint64 {
		v, n := binary.Uvarint(src[min(at, len(src)):])
		if n <= 0 {
			at = len(src) + 1
			return 0
		}
		at += n
		return v
	}
	block, minis, total := next(), next(), next()
	next() // first value
	if at > len(src) || block == 0 || block%128 != 0 || block > 1<<16 || minis == 0 || minis > block/32 ||
		block/minis%32 != 0 || total != uint64(rows) {
		return 0, fmt.Errorf("%w: not %d delta-packed values", ErrDamaged, rows)
	}
	perMini := int(block / minis)
	for left := rows - 1; left > 0; {
		next() // smallest delta
		widths := at
		if at += int(minis); at > len(src) {
			return 0, fmt.Errorf("%w: delta-packed values end early", ErrDamaged)
		}
		for i := 0; i < int(minis) && left > 0; i++ {
			w := int(src[widths+i])
			if w > maxWidth {
				return 0, fmt.Errorf("%w: values of %d bits", ErrDamaged, w)
			}
			if at += perMini / 8 * w; at > len(src) {
				return 0, fmt.Errorf("%w: delta-packed values end early", ErrDamaged)
			}
			left -= perMini
		}
	}
	return at, nil
}

func (f *File) deltaInts(dst []int64, src []byte, rows int) ([]int64, error) {
	if _, err := checkDelta(src, rows, 64); err != nil {
		return nil, err
	}
	return new(delta.BinaryPackedEncoding).DecodeInt64(dst[:0], src)
}

// deltaInt32s returns the values and the bytes they took.
func (f *File) deltaInt32s(src []byte, rows int) ([]int32, int, error) {
	n, err := checkDelta(src, rows, 32)
	if err != nil {
		return nil, 0, err
	}
	if f.i32, err = new(delta.BinaryPackedEncoding).DecodeInt32(f.i32[:0], src[:n]); err != nil {
		return nil, 0, err
	}
	return f.i32, n, nil
}

// decodeIndexes decodes RLE_DICTIONARY indexes and looks each up.
func decodeIndexes[T any](dst []T, src []byte, dict []T) error {
	if len(src) == 0 || src[0] > 32 || len(dict) == 0 {
		return fmt.Errorf("%w: no dictionary indexes", ErrDamaged)
	}
	width := uint(src[0])
	src = src[1:]
	for len(dst) > 0 {
		if width == 0 && len(src) == 0 {
			fill(dst, dict[0])
			return nil
		}
		h, n := binary.Uvarint(src)
		if n <= 0 || h>>1 == 0 {
			return fmt.Errorf("%w: dictionary indexes end early", ErrDamaged)
		}
		src = src[n:]
		var err error
		if h&1 == 0 {
			dst, src, err = decodeRun(dst, src, dict, h>>1, width)
		} else {
			dst, src, err = decodePacked(dst, src, dict, h>>1, width)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeRun[T any](dst []T, src []byte, dict []T, count uint64, width uint) ([]T, []byte, error) {
	bytes := int(width+7) / 8
	if len(src) < bytes {
		return nil, nil, fmt.Errorf("%w: dictionary indexes end early", ErrDamaged)
	}
	var k uint64
	for i := range bytes {
		k |= uint64(src[i]) << (8 * i)
	}
	if k >= uint64(len(dict)) {
		return nil, nil, fmt.Errorf("%w: index %d into a dictionary of %d", ErrDamaged, k, len(dict))
	}
	n := int(min(count, uint64(len(dst))))
	fill(dst[:n], dict[k])
	return dst[n:], src[bytes:], nil
}

func decodePacked[T any](dst []T, src []byte, dict []T, groups uint64, width uint) ([]T, []byte, error) {
	if groups > uint64(len(dst)+7)/8 {
		groups = uint64(len(dst)+7) / 8
	}
	size := int(groups) * int(width)
	if size > len(src) {
		return nil, nil, fmt.Errorf("%w: dictionary indexes end early", ErrDamaged)
	}
	n := min(int(groups)*8, len(dst))
	mask, limit := uint64(1)<<width-1, uint64(len(dict))
	i, err := decodeNarrow(dst[:n], src, dict, width)
	if err != nil {
		return nil, nil, err
	}
	bit := uint(i) * width
	for ; i < n && int(bit>>3)+8 <= len(src); i++ {
		k := binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7) & mask
		if k >= limit {
			return nil, nil, fmt.Errorf("%w: index %d into a dictionary of %d", ErrDamaged, k, limit)
		}
		dst[i] = dict[k]
		bit += width
	}
	for ; i < n; i++ {
		var pad [8]byte
		copy(pad[:], src[bit>>3:])
		k := binary.LittleEndian.Uint64(pad[:]) >> (bit & 7) & mask
		if k >= limit {
			return nil, nil, fmt.Errorf("%w: index %d into a dictionary of %d", ErrDamaged, k, limit)
		}
		dst[i] = dict[k]
		bit += width
	}
	return dst[n:], src[size:], nil
}

// decodeNarrow decodes indexes of at most 8 bits, eight at a time, as long as 8
// bytes can be read at once. It returns how many it decoded.
func decodeNarrow[T any](dst []T, src []byte, dict []T, width uint) (int, error) {
	if width == 0 || width > 8 || len(dst) < 64 {
		return 0, nil
	}
	var table [256]T // of every index that fits, so that none is out of bounds
	copy(table[:], dict)
	mask, last, over := uint64(1)<<width-1, int64(min(len(dict), len(table)))-1, int64(0)
	i := 0
	for ; i+8 <= len(dst) && len(src) >= 8; i += 8 {
		x, d := binary.LittleEndian.Uint64(src), (*[8]T)(dst[i:])
		for k := range d {
			at := x & mask
			over |= last - int64(at) // negative where one is too large
			d[k] = table[uint8(at)]
			x >>= width
		}
		src = src[width:]
	}
	if over < 0 {
		return 0, fmt.Errorf("%w: an index beyond a dictionary of %d", ErrDamaged, len(dict))
	}
	return i, nil
}

func fill[T any](dst []T, v T) {
	if len(dst) == 0 {
		return
	}
	dst[0] = v
	for n := 1; n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}

func decodePlain[T Integer](dst []T, src []byte, k Kind) error {
	switch {
	case k == Bool && len(src) == (len(dst)+7)/8:
		for i := range dst {
			dst[i] = T(src[i/8] >> (i % 8) & 1)
		}
	case k == Int32 && len(src) == 4*len(dst):
		for i := range dst {
			dst[i] = T(int32(binary.LittleEndian.Uint32(src[4*i:])))
		}
	case k == Int64 && len(src) == 8*len(dst):
		for i := range dst {
			dst[i] = T(binary.LittleEndian.Uint64(src[8*i:]))
		}
	default:
		return fmt.Errorf("%w: %d bytes for %d plain values", ErrDamaged, len(src), len(dst))
	}
	return nil
}

// asInt64s views a slice of 8-byte integers as int64, so that decoders write
// into the caller's memory; nil for other sizes.
func asInt64s[T Integer](s []T) []int64 {
	if unsafe.Sizeof(*new(T)) != 8 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}
