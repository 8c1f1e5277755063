package woodpecker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// The kinds of records (wire format).
const (
	kindHeader = 1
	kindData   = 2
	kindIndex  = 3
	kindFooter = 4
	kindBlock  = 5
)

// frameSize is what stands before a record's payload: checksum, kind, length.
const frameSize = 9

// The payloads' lengths; that of a footer in format 5, longer since.
const (
	headerSize = 16
	blockSize  = 28
	indexSize  = 32
	footerSize = 36
	lacSize    = 8
)

// maxRecord caps the length of an entry that is believed.
const maxRecord = 128 << 20

// magicHeader and magicFooter stand in a header's and a footer's payload (wire format).
const (
	magicHeader, magicHeaderAt = "HDR\x01", 12
	magicFooter, magicFooterAt = "FTR\x01", 32
)

// record is one record of a file whose checksum is right.
type record struct {
	kind byte
	off  int64
	n    int64 // of the payload
}

// end is where the next record begins.
func (r record) end() int64 { return r.off + frameSize + r.n }

// blockHeader stands before the entries of a block.
type blockHeader struct {
	number      int32
	first, last int64
	length, crc uint32
}

func parseBlock(p []byte) (blockHeader, bool) {
	if len(p) != blockSize {
		return blockHeader{}, false
	}
	le := binary.LittleEndian
	h := blockHeader{int32(le.Uint32(p)), int64(le.Uint64(p[4:])), int64(le.Uint64(p[12:])), le.Uint32(p[20:]), le.Uint32(p[24:])}
	return h, h.first >= 0 && h.last >= h.first && h.last-h.first < maxBlockEntries
}

// maxBlockEntries caps how many entries a block header is believed to name.
const maxBlockEntries = 1 << 31

// footer closes a segment.
type footer struct {
	blocks    int32
	version   uint16
	compacted bool
	lac       int64 // the last entry acknowledged; −1 = it does not say
}

func parseFooter(p []byte) (footer, bool) {
	if len(p) < footerSize || string(p[magicFooterAt:footerSize]) != magicFooter {
		return footer{}, false
	}
	le := binary.LittleEndian
	f := footer{blocks: int32(le.Uint32(p)), version: le.Uint16(p[28:]), compacted: le.Uint16(p[30:])&1 != 0, lac: -1}
	if len(p) >= footerSize+lacSize {
		f.lac = int64(le.Uint64(p[footerSize:]))
	}
	return f, true
}

// parseIndex returns the last entry that an index record names.
func parseIndex(p []byte) (last int64, ok bool) {
	if len(p) != indexSize {
		return 0, false
	}
	last = int64(binary.LittleEndian.Uint64(p[24:]))
	return last, last >= 0
}

// plausible reports whether a record of a kind can have a length. first is the payload's
// first byte, where there is one: an entry is a layout of payload and properties.
func plausible(kind byte, n uint32, first byte) bool {
	switch kind {
	case kindHeader:
		return n == headerSize
	case kindBlock:
		return n == blockSize
	case kindIndex:
		return n == indexSize
	case kindFooter:
		return n == footerSize || n == footerSize+lacSize
	case kindData:
		return n == 0 || n <= maxRecord && (first == 1<<3|2 || first == 2<<3|2)
	}
	return false
}

// window reads a file of a known size through one buffer.
type window struct {
	in   io.ReaderAt
	size int64
	at   int64
	buf  []byte
	err  error // of the disk; what it hit reads as a bad record
}

const (
	windowSize = 256 << 10
	// hugeRecord is checked piece by piece before any memory is taken for it.
	hugeRecord = 1 << 20
)

// bytes returns n bytes at an offset, valid until the next call; nil beyond the end.
func (w *window) bytes(off int64, n int) []byte {
	if off < 0 || off+int64(n) > w.size {
		return nil
	}
	if off < w.at || off+int64(n) > w.at+int64(len(w.buf)) {
		want := int(min(max(int64(n), windowSize), w.size-off))
		if cap(w.buf) < want || cap(w.buf) > 4*hugeRecord && want <= windowSize {
			w.buf = make([]byte, want)
		}
		w.at, w.buf = off, w.buf[:want]
		got, err := w.in.ReadAt(w.buf, off)
		if err != nil && got < want && err != io.EOF {
			w.err = err
		}
		w.buf = w.buf[:got]
		if got < n {
			return nil
		}
	}
	i := int(off - w.at)
	return w.buf[i : i+n : i+n]
}

// record reads the frame at an offset and checks its checksum.
func (w *window) record(off int64) (record, bool) {
	head := w.bytes(off, frameSize)
	if head == nil {
		return record{}, false
	}
	sum, kind, n := binary.LittleEndian.Uint32(head), head[4], binary.LittleEndian.Uint32(head[5:])
	r := record{kind: kind, off: off, n: int64(n)}
	if kind < kindHeader || kind > kindBlock || n > maxRecord || r.end() > w.size {
		return r, false
	}
	if n <= hugeRecord {
		all := w.bytes(off, frameSize+int(n))
		return r, all != nil && crc32.ChecksumIEEE(all[4:]) == sum
	}
	crc, ok := w.crc(0, off+4, r.n+frameSize-4)
	return r, ok && crc == sum
}

// crc goes on with a checksum over a stretch of the file.
func (w *window) crc(crc uint32, off, n int64) (uint32, bool) {
	for n > 0 {
		b := w.bytes(off, int(min(n, windowSize)))
		if b == nil {
			return 0, false
		}
		crc = crc32.Update(crc, crc32.IEEETable, b)
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return crc, true
}

// payload returns a record's payload, valid until the next call.
func (w *window) payload(r record) []byte {
	b := w.bytes(r.off+frameSize, int(r.n))
	if b == nil {
		return []byte{}
	}
	return b
}

// frame tells what a record that is bad says of its own length; −1 = nothing to believe.
func (w *window) frame(off int64) (kind byte, end int64) {
	head := w.bytes(off, frameSize)
	if head == nil {
		return 0, -1
	}
	n := binary.LittleEndian.Uint32(head[5:])
	if end = off + frameSize + int64(n); n > maxRecord || end > w.size {
		return head[4], -1
	}
	return head[4], end
}

// zeros reports whether nothing but zeros stands from an offset to the end.
func (w *window) zeros(off int64) bool {
	for off < w.size {
		b := w.bytes(off, int(min(w.size-off, windowSize)))
		if b == nil || bytes.Count(b, []byte{0}) != len(b) {
			return false
		}
		off += int64(len(b))
	}
	return true
}
