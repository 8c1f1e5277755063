package selector

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Steps is a source.Reader over files that are walked step by step: what the
// sources of disks have in common. They embed it and hand what they find to Sel.
type Steps struct {
	Sel Selector
	End error // what follows what Sel holds; nil while more may come

	step func(ctx context.Context) error
	free func()
	mu   sync.Mutex
	stop stopper
	n    int64
}

// Begin sets the reader up. step hands what comes next to Sel or sets End; an error
// of it may be met again. Its context also ends when the reader is closed. free
// gives back what is held, once.
func (r *Steps) Begin(sel Selector, step func(ctx context.Context) error, free func()) {
	r.Sel, r.step, r.free = sel, step, free
}

// stopper is a call's context that also ends when the reader is closed.
type stopper struct {
	context.Context
	closed atomic.Bool
}

// Err implements context.Context.
func (s *stopper) Err() error {
	if s.closed.Load() {
		return os.ErrClosed
	}
	return s.Context.Err()
}

// Next implements source.Reader.
func (r *Steps) Next(ctx context.Context) (*message.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop.Context = ctx
	for {
		if err := r.stop.Err(); err != nil {
			return nil, err
		}
		if it, ok := r.Sel.Pop(); ok {
			if it.M != nil {
				it.M.Ordinal = r.n
				r.n++
			}
			return it.M, it.Err
		}
		if r.Sel.Finished() {
			return nil, io.EOF
		}
		if r.End != nil {
			return nil, r.End
		}
		if err := r.step(&r.stop); err != nil {
			return nil, err
		}
	}
}

// Close implements source.Reader.
func (r *Steps) Close() error {
	if r.stop.closed.Swap(true) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free()
	return nil
}
