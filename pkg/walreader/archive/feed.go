package archive

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// feed brings a reader's messages. Of a reader that waits at the end it reads in
// a goroutine of its own, so that waiting for a message and for a time can be
// one wait; a reader that does not is read directly.
type feed struct {
	r     source.Reader
	batch []item // taken over, being given out
	last  error  // ended with this

	// Of a following feed only.
	stop  context.CancelFunc
	ended chan struct{} // pump has returned
	ready chan struct{} // something was read
	room  chan struct{} // what was read was taken over
	mu    sync.Mutex
	read  []item
}

type item struct {
	m   *message.Message
	err error
}

// feedAhead is how many messages are read ahead at most.
const feedAhead = 256

func newFeed(r source.Reader) *feed { return &feed{r: r} }

// newFollowing starts reading; close ends it and waits for it.
func newFollowing(r source.Reader) *feed {
	ctx, stop := context.WithCancel(context.Background())
	f := &feed{r: r, stop: stop, ended: make(chan struct{}), ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	go f.pump(ctx)
	return f
}

func (f *feed) pump(ctx context.Context) {
	defer close(f.ended)
	for {
		m, err := f.r.Next(ctx)
		f.mu.Lock()
		f.read = append(f.read, item{m, err})
		n := len(f.read)
		f.mu.Unlock()
		signal(f.ready)
		var corrupt *source.CorruptError
		if err != nil && !errors.As(err, &corrupt) {
			return
		}
		for ; n >= feedAhead; n = f.waiting() {
			select {
			case <-f.room:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (f *feed) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.read)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next returns the next message, or nil where until has come before it.
func (f *feed) next(ctx context.Context, until time.Time) (*message.Message, error) {
	if f.stop == nil {
		return f.r.Next(ctx)
	}
	for len(f.batch) == 0 {
		if f.last != nil {
			return nil, f.last
		}
		if f.takeOver(); len(f.batch) > 0 {
			break
		}
		if ok, err := f.await(ctx, until); !ok {
			return nil, err
		}
	}
	it := f.batch[0]
	f.batch = f.batch[1:]
	var corrupt *source.CorruptError
	if it.err != nil && !errors.As(it.err, &corrupt) {
		f.last = it.err
	}
	return it.m, it.err
}

func (f *feed) takeOver() {
	f.mu.Lock()
	f.batch, f.read = f.read, nil
	f.mu.Unlock()
	signal(f.room)
}

// await waits until something was read; false where the time came or ctx ended.
func (f *feed) await(ctx context.Context, until time.Time) (bool, error) {
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-f.ready:
		return true, nil
	case <-timer:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// close ends reading and closes the reader.
func (f *feed) close() error {
	if f.stop != nil {
		f.stop()
		<-f.ended
	}
	return f.r.Close()
}
