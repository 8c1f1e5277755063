package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/walctl/walctl/pkg/walreader/source/internal/window"
)

// The places in a batch's header (wire format, version 2).
const (
	lengthAt   = 8
	versionAt  = 16
	crcAt      = 17
	attrsAt    = 21 // the checksum covers everything from here on
	deltaAt    = 23
	producerAt = 43
	countAt    = 57
	headerSize = 61

	lengthEnd = 12 // what the length does not count
)

// version is that of the batches Kafka has written since 0.11.
const version = 2

// The attributes of a batch (wire format).
const (
	attrCodec         = 7
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrKnown         = 1<<7 - 1
)

// Caps of what a batch says of itself. Milvus lets a batch be 10 MiB at most.
const (
	maxBatch  = 128 << 20
	minRecord = 7 // bytes
)

// header is what a batch says of itself.
type header struct {
	off, end int64 // in its file
	base     int64 // the offset of its first record
	length   int64
	version  byte
	crc      uint32
	attrs    uint16
	delta    int64 // of its last record's offset
	producer int64
	count    int64
}

// last is the last offset the batch takes.
func (h *header) last() int64 { return h.base + h.delta }

func (h *header) is(attr uint16) bool { return h.attrs&attr != 0 }

// headerAt reads what stands at an offset as the header of a batch; false where there is
// no room for one.
func headerAt(w *window.Window, off int64) (header, bool) {
	b, err := w.At(off, headerSize)
	if err != nil {
		return header{}, false
	}
	return parse(b, off), true
}

func parse(b []byte, off int64) header {
	be := binary.BigEndian
	h := header{off: off, base: int64(be.Uint64(b)), length: int64(int32(be.Uint32(b[lengthAt:]))), version: b[versionAt], crc: be.Uint32(b[crcAt:]),
		attrs: be.Uint16(b[attrsAt:]), delta: int64(int32(be.Uint32(b[deltaAt:]))), producer: int64(be.Uint64(b[producerAt:])), count: int64(int32(be.Uint32(b[countAt:])))}
	h.end = off + lengthEnd + h.length
	return h
}

// sane reports whether what the checksum covers can be a batch's, n bytes of it in all.
// What stands before the checksum is not asked.
func (h *header) sane(n int64) bool {
	return n >= headerSize && n <= maxBatch && h.attrs <= attrKnown && h.attrs&attrCodec <= codecZstd &&
		h.delta >= 0 && h.count >= 0 && h.count <= h.delta+1 && h.delta < math.MaxInt32 && (h.attrs&attrCodec != codecNone || h.count <= (n-headerSize)/minRecord)
}

// sound reports whether the bytes up to an end are those the checksum was made of.
func (h *header) sound(w *window.Window, end int64) bool {
	if !h.sane(end-h.off) || end > w.Size {
		return false
	}
	table, sum := crc32.MakeTable(crc32.Castagnoli), uint32(0)
	err := w.Each(h.off+attrsAt, end-h.off-attrsAt, func(b []byte) bool { sum = crc32.Update(sum, table, b); return true })
	return err == nil && sum == h.crc
}

// whole reports whether a batch stands at its place as it was written.
func (h *header) whole(w *window.Window) bool {
	return h.version == version && h.length >= headerSize-lengthEnd && h.end <= w.Size && h.sound(w, h.end)
}

// baseAt is the first offset of what follows at a place, as far as a batch begins there;
// −1 where none does. It need not be whole.
func baseAt(w *window.Window, off int64) int64 {
	b, err := w.At(off, versionAt+1)
	if err != nil || b[versionAt] != version || int32(binary.BigEndian.Uint32(b[lengthAt:])) < headerSize-lengthEnd {
		return -1
	}
	return max(int64(binary.BigEndian.Uint64(b)), -1)
}
