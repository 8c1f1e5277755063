package jsonl

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// maxLine is the longest line read; Milvus's largest message is a tenth of it.
const maxLine = 64 << 20

// maxWindow is the largest zstd window accepted: what `zstd --long` writes.
const maxWindow = 128 << 20

// Decompress returns what a reader gives, unpacked where its first bytes say that
// it is gzip or zstd; packed says that they do.
func Decompress(r io.Reader) (out io.ReadCloser, packed bool, err error) {
	return decompress(bufio.NewReaderSize(r, 1<<16))
}

// decompress tells gzip, zstd and plain text apart by their first bytes.
func decompress(in *bufio.Reader) (out io.ReadCloser, packed bool, err error) {
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		return z, true, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}): // a skippable frame first
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, true, err
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(in), false, nil
}

// noted remembers an error of the place itself, to tell it from broken compression.
type noted struct {
	r   io.Reader
	mu  sync.Mutex
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	c, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.mu.Lock()
		n.err = err
		n.mu.Unlock()
	}
	return c, err
}

func (n *noted) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// feeder cuts the text into chunks of whole lines.
type feeder struct {
	r        *reader
	in       io.Reader
	packed   bool
	eager    bool // hand on what has arrived rather than wait for a full chunk
	buf      []byte
	line     int64
	offset   int64
	skipping bool // within a line longer than maxLine
}

// feed reads to the end and says how it ended.
func (r *reader) feed() {
	defer close(r.work)
	place := &noted{r: r.file}
	in, packed, err := decompress(bufio.NewReaderSize(place, 1<<16))
	f := feeder{r: r, packed: packed, eager: r.src.stream, line: 1}
	if err == nil {
		defer func() { _ = in.Close() }()
		f.in = in
		err = f.run()
	}
	if err == nil {
		return // closed meanwhile
	}
	if lost := place.failure(); lost != nil {
		r.send(&chunk{end: fmt.Errorf("read %s: %w", r.src.name, lost)})
		return
	}
	switch {
	case errors.Is(err, io.EOF):
		err = io.EOF
	default:
		if errors.Is(err, io.ErrUnexpectedEOF) { // a whole file ends with its checksum: part of this one is missing
			err = errors.New("the compressed text stops before its end")
		}
		// Nothing behind broken compression can be read, so the log is also torn there.
		bad := &source.CorruptError{Source: r.src.name, Place: fmt.Sprintf("compressed text after byte %d", f.offset), Lost: -1, Cause: err}
		r.send(&chunk{items: []selector.Item{{Err: bad}}})
		err = fmt.Errorf("%s: nothing can be read after byte %d: %w", r.src.name, f.offset, source.ErrTornTail)
	}
	r.send(&chunk{end: err})
}

// run returns what the text ended with, or nil where the reader was closed.
func (f *feeder) run() error {
	f.buf = f.take()
	last := -1 // the last newline in buf
	for {
		if len(f.buf) == cap(f.buf) && !f.grow() {
			return nil
		}
		from := len(f.buf)
		n, err := f.in.Read(f.buf[from:min(cap(f.buf), from+chunkSize)])
		f.buf = f.buf[:from+n]
		if f.skipping {
			f.skip()
			from = 0
		}
		if nl := bytes.LastIndexByte(f.buf[from:], '\n'); nl >= 0 {
			last = from + nl
		}
		if last >= 0 && (err != nil || f.eager || len(f.buf) >= chunkSize/2) {
			if !f.cut(last + 1) {
				return nil
			}
			last = -1
		}
		if err != nil {
			return f.tail(err)
		}
	}
}

// tail deals with a last line that has no newline.
func (f *feeder) tail(err error) error {
	if len(f.buf) == 0 || !errors.Is(err, io.EOF) {
		return err
	}
	if !f.r.send(&chunk{buf: f.buf, line: f.line, offset: f.offset, tail: true}) {
		return nil
	}
	return err
}

// cut sends the first n bytes, which are whole lines, and keeps the rest.
func (f *feeder) cut(n int) bool {
	c := &chunk{buf: f.buf[:n], line: f.line, offset: f.offset}
	f.line += int64(bytes.Count(c.buf, []byte{'\n'}))
	f.offset += int64(n)
	f.buf = append(f.take(), f.buf[n:]...)
	return f.r.send(c)
}

// grow makes room, or gives up the line that is too long.
func (f *feeder) grow() bool {
	if len(f.buf) < maxLine {
		f.buf = append(make([]byte, 0, min(2*cap(f.buf), maxLine)), f.buf...)
		return true
	}
	bad := corrupt(f.r.src.name, f.line, f.offset, fmt.Errorf("the line is longer than %d MiB", maxLine>>20))
	f.offset += int64(len(f.buf))
	f.buf, f.skipping = f.take(), true
	return f.r.send(&chunk{items: []selector.Item{{Err: bad}}})
}

// skip drops what belongs to the line given up.
func (f *feeder) skip() {
	n := bytes.IndexByte(f.buf, '\n') + 1
	if f.skipping = n == 0; f.skipping {
		n = len(f.buf)
	} else {
		f.line++
	}
	f.offset += int64(n)
	f.buf = f.buf[:copy(f.buf, f.buf[n:])]
}

func (f *feeder) take() []byte {
	select {
	case b := <-f.r.free:
		return b
	default:
	}
	return make([]byte, 0, 2*chunkSize)
}
