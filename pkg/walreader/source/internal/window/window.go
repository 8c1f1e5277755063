// Package window reads a file of a known size through one buffer.
package window

import (
	"bytes"
	"errors"
	"io"
)

// size is how much of a file is read at a time.
const size = 1 << 20

// ErrBeyond means that a file is shorter than what is asked of it.
var ErrBeyond = errors.New("beyond the end of the file")

// Window reads a file piece by piece.
type Window struct {
	In     io.ReaderAt
	Size   int64
	Failed error // what the system said of a read, other than that the file is shorter

	off int64
	buf []byte
}

// At returns n bytes from an offset, valid until the next call. The caller has capped n.
func (w *Window) At(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || n > w.Size-off {
		return nil, ErrBeyond
	}
	if off < w.off || off+n > w.off+int64(len(w.buf)) {
		want := min(max(n, size), w.Size-off)
		if int64(cap(w.buf)) < want || cap(w.buf) > 4*size && want <= size {
			w.buf = make([]byte, want)
		}
		w.buf, w.off = w.buf[:want], off
		if got, err := w.In.ReadAt(w.buf, off); int64(got) < want {
			w.buf = w.buf[:0]
			if err == nil || errors.Is(err, io.EOF) {
				return nil, ErrBeyond
			}
			w.Failed = err
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// Each hands on a stretch of the file piece by piece, until fn says that it has enough.
func (w *Window) Each(off, n int64, fn func([]byte) bool) error {
	for n > 0 {
		b, err := w.At(off, min(n, size))
		if err != nil {
			return err
		}
		if !fn(b) {
			return nil
		}
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return nil
}

// Zeros reports whether nothing but zeros stands from an offset to the end.
func (w *Window) Zeros(off int64) bool {
	zeros := true
	err := w.Each(off, w.Size-off, func(b []byte) bool {
		zeros = bytes.Count(b, []byte{0}) == len(b)
		return zeros
	})
	return err == nil && zeros
}
