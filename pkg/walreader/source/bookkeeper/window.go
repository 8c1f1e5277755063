package bookkeeper

import (
	"errors"
	"io"
)

// maxEntry caps an entry, in bytes. Pulsar's largest message is 5 MB as it comes.
const maxEntry = 64 << 20

// windowSize is how much of a file is read at a time.
const windowSize = 1 << 20

// errBeyond means that a file is shorter than what is asked of it.
var errBeyond = errors.New("beyond the end of the file")

// window reads a file piece by piece.
type window struct {
	in   io.ReaderAt
	size int64
	off  int64
	buf  []byte

	failed error // what the system said of a read, other than that the file is shorter
}

// at returns n bytes from an offset, valid until the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || n > w.size-off {
		return nil, errBeyond
	}
	if off < w.off || off+n > w.off+int64(len(w.buf)) {
		want := min(max(n, windowSize), w.size-off)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		w.buf, w.off = w.buf[:want], off
		if got, err := w.in.ReadAt(w.buf, off); int64(got) < want {
			w.buf = w.buf[:0]
			if err == nil || errors.Is(err, io.EOF) {
				return nil, errBeyond
			}
			w.failed = err
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}
