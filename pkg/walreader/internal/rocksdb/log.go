package rocksdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const (
	blockSize    = 32 << 10
	windowSize   = 8 * blockSize
	headerSize   = 7
	recycledSize = 11
)

// Record types of a log file (wire format).
const (
	recFull = 1 + iota
	recFirst
	recMiddle
	recLast
	recRecycled // added to the four above
)

// LogReader returns the records of a log file. Behind a bad one it looks for the
// next that checks out.
type LogReader struct {
	name   string
	number uint32 // of the file; records of another number are left over from before
	in     io.ReaderAt
	size   int64

	window []byte
	winOff int64 // where window begins in the file
	at     int64 // the next physical record

	rec   []byte
	start int64   // of the record being put together; −1 = none
	bad   *Damage // being walked over
	torn  bool    // what bad began with runs beyond the file's end
	cut   int64   // where the record begins that the file ends in
	end   error   // final
}

// NewLogReader reads size bytes of a log file, from an offset that an earlier
// reader named as a record's, or 0.
func NewLogReader(name string, number uint64, in io.ReaderAt, size, from int64) *LogReader {
	return &LogReader{name: name, number: uint32(number), in: in, size: size, at: from, start: -1}
}

// Next returns the next record, valid until the next call, and where it begins.
// It ends with io.EOF or ErrTorn; a *Damage can be read past.
func (r *LogReader) Next() (data []byte, offset int64, err error) {
	for r.end == nil {
		from := r.at
		p, err := r.physical()
		switch {
		case err != nil:
			if out := r.broken(from, err); out != nil {
				return nil, 0, out
			}
			continue
		case p.skip:
			continue
		}
		switch p.kind {
		case recFull, recFirst:
			if r.start >= 0 { // the record before it never ended
				r.lose(r.start, errors.New("a record without its end"))
			}
			if r.bad != nil {
				r.at = from // read again once the damage was told
				return nil, 0, r.told(from)
			}
			if p.kind == recFull {
				return p.data, from, nil
			}
			r.start, r.rec = from, append(r.rec[:0], p.data...)
		case recMiddle, recLast:
			if r.start < 0 {
				r.lose(from, errors.New("a record without its beginning"))
				continue
			}
			if len(r.rec)+len(p.data) > MaxRecord {
				r.lose(r.start, fmt.Errorf("a record of more than %d MiB", MaxRecord>>20))
				continue
			}
			r.rec = append(r.rec, p.data...)
			if p.kind == recLast {
				offset, r.start = r.start, -1
				return r.rec, offset, nil
			}
		}
	}
	return nil, 0, r.end
}

// Cut is where the record begins that a file ends in; it is known with ErrTorn.
func (r *LogReader) Cut() int64 { return r.cut }

// lose begins a damage at from, or goes on with the one there is.
func (r *LogReader) lose(from int64, cause error) {
	r.start = -1
	if r.bad == nil {
		r.bad, r.torn = &Damage{File: r.name, From: from, Cause: cause}, false
	}
}

func (r *LogReader) told(to int64) *Damage {
	d := r.bad
	d.To, r.bad = to, nil
	return d
}

// broken deals with a physical record that cannot be read, and with the end.
func (r *LogReader) broken(from int64, err error) error {
	var short *shortError
	switch {
	case errors.Is(err, io.EOF):
		return r.finish()
	case errors.Is(err, os.ErrClosed):
		r.end = err
		return err
	case errors.As(err, &short) && r.zeros(from):
		r.at = r.size
		return r.finish()
	}
	began := from
	if r.start >= 0 {
		began = r.start
	}
	fresh := r.bad == nil
	r.lose(began, err)
	if fresh && short != nil {
		r.torn = short.end >= r.size || r.zeros(short.from)
	}
	r.resync(from, short)
	return nil
}

// finish ends the reading: cleanly, torn, or with a damage that reaches the end.
func (r *LogReader) finish() error {
	switch {
	case r.bad != nil && r.torn, r.bad == nil && r.start >= 0:
		if r.cut = r.start; r.bad != nil {
			r.cut = r.bad.From
		}
		r.end = ErrTorn
		return r.end
	case r.bad != nil:
		r.end = io.EOF
		return r.told(r.size)
	}
	r.end = io.EOF
	return r.end
}

// shortError is a physical record that is not there as its header says.
type shortError struct {
	from, end int64 // its data's bytes by its header
	cause     string
}

func (e *shortError) Error() string { return e.cause }

type physical struct {
	kind int
	data []byte
	skip bool // padding, or of a type to be passed over
	old  bool // written before the file was used again: the log ends before it
}

// physical reads the physical record at r.at and moves behind it.
func (r *LogReader) physical() (physical, error) {
	if r.at >= r.size {
		return physical{}, io.EOF
	}
	edge := min((r.at/blockSize+1)*blockSize, r.size)
	if edge-r.at < headerSize {
		from := r.at
		r.at = edge
		if edge%blockSize != 0 && !r.zeros(from) {
			return physical{}, &shortError{from: edge, end: r.size, cause: "a record's head is cut off"}
		}
		return physical{skip: true}, nil
	}
	b, err := r.bytes(r.at, edge)
	if err != nil {
		r.at = edge
		return physical{}, err
	}
	p, n, err := r.parse(b)
	if err != nil {
		return physical{}, err
	}
	if r.at += int64(n); p.old {
		r.at = r.size
	}
	return p, nil
}

// parse reads the physical record that b begins with; b ends where its block ends.
func (r *LogReader) parse(b []byte) (physical, int, error) {
	kind, n := int(b[6]), int(binary.LittleEndian.Uint16(b[4:]))
	head := headerSize
	if kind >= recFull+recRecycled-1 && kind <= recLast+recRecycled-1 {
		head = recycledSize
	}
	fail := func(cause string) (physical, int, error) {
		return physical{}, 0, &shortError{from: r.at + int64(head), end: r.at + int64(head) + int64(n), cause: cause}
	}
	switch {
	case kind == 0 && n == 0:
		return fail("zeros in place of a record")
	case head+n > len(b):
		return fail("a record that is longer than its block")
	}
	crc := crc32.Checksum(b[6:head+n], castagnoli)
	if mask(crc) != binary.LittleEndian.Uint32(b) {
		return fail("a record's checksum does not match")
	}
	p := physical{kind: kind, data: b[head : head+n]}
	if head == recycledSize {
		if binary.LittleEndian.Uint32(b[headerSize:]) != r.number {
			return physical{old: true, skip: true}, head + n, nil
		}
		p.kind -= recRecycled - 1
	}
	p.skip = p.kind < recFull || p.kind > recLast
	return p, head + n, nil
}

// resync moves to the next physical record that checks out behind a bad one, or
// to the next block.
func (r *LogReader) resync(from int64, bad *shortError) {
	edge := min((from/blockSize+1)*blockSize, r.size)
	b, err := r.bytes(from, edge)
	if err != nil {
		r.at = edge
		return
	}
	valid := func(at int) bool {
		if at+headerSize > len(b) {
			return at <= len(b)
		}
		kind := b[at+6]
		if kind < recFull || kind > recLast+recRecycled-1 {
			return false
		}
		p, _, err := r.parse(b[at:])
		return err == nil && !p.old
	}
	if bad != nil && bad.end <= edge && bad.end > bad.from && valid(int(bad.end-from)) {
		r.at = bad.end
		return
	}
	for at := 1; at+headerSize <= len(b); at++ {
		if valid(at) {
			r.at = from + int64(at)
			return
		}
	}
	r.at = edge
}

// zeros reports whether nothing but zeros follows an offset.
func (r *LogReader) zeros(from int64) bool {
	for from < r.size {
		to := min((from/blockSize+1)*blockSize, r.size)
		b, err := r.bytes(from, to)
		if err != nil {
			return false
		}
		for _, c := range b {
			if c != 0 {
				return false
			}
		}
		from = to
	}
	return true
}

// bytes returns a stretch within one block, valid until the next call.
func (r *LogReader) bytes(from, to int64) ([]byte, error) {
	if from < r.winOff || to > r.winOff+int64(len(r.window)) {
		if r.window == nil {
			r.window = make([]byte, 0, min(windowSize, max(r.size, 1)))
		}
		off := from / blockSize * blockSize
		n, err := r.in.ReadAt(r.window[:min(int64(cap(r.window)), r.size-off)], off)
		r.winOff, r.window = off, r.window[:n]
		if to > off+int64(n) { // the disk gives less than it should: perhaps this block alone
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("not readable: %w", cause(err))
		}
	}
	return r.window[from-r.winOff : to-r.winOff], nil
}

// cause strips what only repeats the file's name.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
