package jsonl

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// maxKept is how much of a stream is kept for another pass, in bytes.
const maxKept = 4 << 30

// FromKept reads a stream under the given name, and keeps in the file what goes by,
// so that it can be read again as a file can: a question that takes two passes gets
// the same answer over both. What is longer than limit, or finds no room, is kept no
// further: then it is a stream again, and a second pass fails with source.ErrConsumed.
func FromKept(name string, r io.Reader, f source.KeptFile, limit int64) *Source {
	k := &kept{r: r, f: f, limit: limit}
	return &Source{name: name, open: func(context.Context) (io.ReadCloser, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.lost {
			return nil, fmt.Errorf("read %s: %w", name, source.ErrConsumed)
		}
		return &keptView{k: k}, nil
	}}
}

// kept is what went by of a stream. Whoever waits for more of it holds one only, so
// that another pass can begin meanwhile, or end.
type kept struct {
	one   sync.Mutex // reads r
	r     io.Reader
	mu    sync.Mutex
	f     source.KeptFile
	limit int64
	n     int64 // bytes kept, all that were read
	err   error // how the stream ended
	lost  bool  // it is kept no longer
}

// keptView is one pass over it.
type keptView struct {
	k    *kept
	at   int64
	live bool // it has read from the stream itself, after all that was kept
}

// Read implements io.Reader.
func (v *keptView) Read(p []byte) (int, error) {
	if n, err, ok := v.again(p); ok {
		return n, err
	}
	k := v.k
	k.one.Lock()
	defer k.one.Unlock()
	if n, err, ok := v.again(p); ok { // another pass brought it meanwhile
		return n, err
	}
	n, err := k.r.Read(p)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err, v.live = err, true
	if n > 0 && !k.lost {
		k.keep(p[:n])
	}
	v.at += int64(n)
	return n, err
}

// again reads what was kept, or says how the stream ended; ok is false where the
// stream itself has to be read.
func (v *keptView) again(p []byte) (n int, err error, ok bool) { //nolint:revive,staticcheck // a Read's result, and whether it is one
	k := v.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.lost && !v.live:
		return 0, source.ErrConsumed, true
	case v.at < k.n && !k.lost:
		n, err = k.f.ReadAt(p[:min(int64(len(p)), k.n-v.at)], v.at)
		v.at += int64(n)
		return n, err, true
	case k.err != nil:
		return 0, k.err, true
	}
	return 0, nil, false
}

func (k *kept) keep(b []byte) {
	_, err := k.f.WriteAt(b, k.n)
	if k.n += int64(len(b)); err != nil || k.n > k.limit {
		k.lost = true
		_ = k.f.Truncate(0) // its room is needed elsewhere
	}
}

// Close implements io.Closer. The stream itself is the caller's.
func (v *keptView) Close() error { return nil }
