package rocksdb

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression types of a block (wire format).
const (
	packNone, packSnappy, packZlib, packBZip2  = 0, 1, 2, 3
	packLZ4, packLZ4HC, packXpress, packZSTD   = 4, 5, 6, 7
	trailerSize                                = 5
	checksumNone, checksumCRC32C, checksumXX64 = 0, 1, 3
)

var (
	errBlock    = errors.New("a block's rows do not add up")
	errChecksum = errors.New("a block's checksum does not match")
)

// handle is where a block lies: its contents, without the trailer.
type handle struct{ off, size uint64 }

func (h handle) end() uint64 { return h.off + h.size + trailerSize }

func parseHandle(b []byte) (handle, []byte, bool) {
	off, b, ok := uvarint(b)
	if !ok {
		return handle{}, nil, false
	}
	size, b, ok := uvarint(b)
	return handle{off, size}, b, ok
}

// verify holds a block and its trailer against its checksum.
func verify(kind byte, b []byte) error {
	n := len(b) - 4
	stored := binary.LittleEndian.Uint32(b[n:])
	switch kind {
	case checksumNone, checksumCRC32C:
		if kind == checksumNone && stored == 0 {
			return nil // there is none; a footer that says so wrongly is found out by the rest
		}
		if mask(crc32.Checksum(b[:n], castagnoli)) != stored {
			return errChecksum
		}
	case checksumXX64:
		if uint32(xxhash.Sum64(b[:n])) != stored {
			return errChecksum
		}
	default:
		return fmt.Errorf("a block's checksum is of kind %d, which walctl does not know", kind)
	}
	return nil
}

// unpacker decompresses blocks into memory it uses again.
type unpacker struct {
	out []byte
	z   *zstd.Decoder
}

// close ends what the decoder holds.
func (u *unpacker) close() {
	if u.z != nil {
		u.z.Close()
		u.z = nil
	}
}

// unpack returns a block's contents, valid until the next call.
func (u *unpacker) unpack(kind byte, b []byte) ([]byte, error) {
	if kind == packNone {
		return b, nil
	}
	var size uint64
	if kind == packSnappy {
		n, err := s2.DecodedLen(b)
		if err != nil {
			return nil, errors.New("not snappy")
		}
		size = uint64(n)
	} else {
		var ok bool
		if size, b, ok = uvarint(b); !ok {
			return nil, errBlock
		}
	}
	if size < 4 {
		return nil, errBlock // the number of restarts takes four bytes
	}
	if size > MaxRecord {
		return nil, fmt.Errorf("a block of %d bytes, more than %d MiB", size, MaxRecord>>20)
	}
	if uint64(cap(u.out)) < size {
		u.out = make([]byte, size)
	}
	out, err := u.expand(kind, u.out[:size], b)
	if err != nil {
		return nil, err
	}
	if uint64(len(out)) != size {
		return nil, fmt.Errorf("a block of %d bytes that unpacks to %d", size, len(out))
	}
	return out, nil
}

func (u *unpacker) expand(kind byte, dst, b []byte) ([]byte, error) {
	bad := func(what string, err error) ([]byte, error) {
		if err != nil {
			return nil, fmt.Errorf("a block that is not %s, though it says so", what)
		}
		return dst, nil
	}
	switch kind {
	case packSnappy:
		_, err := s2.Decode(dst, b)
		return bad("snappy", err)
	case packZlib:
		_, err := io.ReadFull(flate.NewReader(bytes.NewReader(b)), dst)
		return bad("deflated", err)
	case packLZ4, packLZ4HC:
		n, err := lz4.UncompressBlock(b, dst)
		dst = dst[:max(n, 0)]
		return bad("LZ4", err)
	case packZSTD:
		if u.z == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(MaxRecord))
			if err != nil {
				return nil, err
			}
			u.z = z
		}
		out, err := u.z.DecodeAll(b, dst[:0])
		if err != nil {
			return bad("zstd", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("a block compressed by method %d, which walctl does not know", kind)
}

// rows walks a block's rows.
type rows struct {
	b     []byte // without the restarts
	key   []byte
	value []byte
	index indexForm // of an index block; zero for others
	at    handle    // of an index row
}

// indexForm says how an index block spells its rows.
type indexForm struct{ is, delta, userKey bool }

// open begins with a block's contents.
func (r *rows) open(b []byte) error {
	if len(b) < 4 {
		return errBlock
	}
	foot := binary.LittleEndian.Uint32(b[len(b)-4:])
	n, tail := uint64(foot&^(1<<31)), uint64(4)
	if foot>>31 != 0 { // a hash index stands between the restarts and their number
		if len(b) < 6 {
			return errBlock
		}
		tail += 2 + uint64(binary.LittleEndian.Uint16(b[len(b)-6:]))
	}
	if n*4+tail > uint64(len(b)) {
		return errBlock
	}
	r.b, r.key, r.value, r.at = b[:uint64(len(b))-tail-4*n], r.key[:0], nil, handle{}
	return nil
}

// next moves to the next row; false at the end.
func (r *rows) next() (bool, error) {
	if len(r.b) == 0 {
		return false, nil
	}
	shared, b, ok := uvarint(r.b)
	if !ok {
		return false, errBlock
	}
	rest, b, ok := uvarint(b)
	if !ok {
		return false, errBlock
	}
	var size uint64
	if !r.index.delta {
		if size, b, ok = uvarint(b); !ok {
			return false, errBlock
		}
	}
	if shared > uint64(len(r.key)) || rest > uint64(len(b)) || size > uint64(len(b))-rest {
		return false, errBlock
	}
	r.key = append(r.key[:shared], b[:rest]...)
	b = b[rest:]
	if r.index.delta {
		r.b, ok = r.step(b, shared == 0)
	} else {
		r.value, r.b = b[:size], b[size:]
		if r.index.is {
			r.at, _, ok = parseHandle(r.value)
		}
	}
	if !ok {
		return false, errBlock
	}
	return true, nil
}

// step reads an index row whose handle may be told as a difference.
func (r *rows) step(b []byte, whole bool) ([]byte, bool) {
	if whole {
		var ok bool
		r.at, b, ok = parseHandle(b)
		return b, ok
	}
	d, n := binary.Varint(b)
	if n <= 0 {
		return nil, false
	}
	r.at = handle{off: r.at.end(), size: r.at.size + uint64(d)}
	return b[n:], true
}
