package recovery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// CloseWithin bounds how long Replayer.Close waits.
const CloseWithin = time.Second

// ErrStuck means that a reader obeyed neither its context nor its Close within CloseWithin.
// The replay ends by itself as soon as the reader does; its result is discarded.
var ErrStuck = errors.New("the reader does not stop: the replay is abandoned")

// ErrClosed is the result of a replay that was closed before it ended.
var ErrClosed = errors.New("the replay was closed")

// Replayer is a Replay under way, which can be given up from any state.
type Replayer struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	result *Result
	err    error

	mu       sync.Mutex
	closed   bool
	closeErr error
}

// Start begins a replay. The caller closes it.
func Start(ctx context.Context, src source.Source, md catalog.Metadata, o ReplayOptions) *Replayer {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &Replayer{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.result, r.err = Replay(ctx, src, md, o)
		if cause := context.Cause(ctx); cause != nil && r.err != nil {
			r.err = cause
		}
	}()
	return r
}

// Wait returns what Replay returns, once it has. It ends with ctx.
func (r *Replayer) Wait(ctx context.Context) (*Result, error) {
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close gives the replay up and waits until it has ended, CloseWithin at most.
// It may be called at any time, from any goroutine, and again.
func (r *Replayer) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.closeErr
	}
	r.closed = true
	r.cancel(ErrClosed)
	wait := time.NewTimer(CloseWithin)
	defer wait.Stop()
	select {
	case <-r.done:
	case <-wait.C:
		r.closeErr = ErrStuck
	}
	return r.closeErr
}
