package pulsar

import (
	"context"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// item is one thing a pump hands on: a message, or a place that can't be read
// (err is then a *source.CorruptError, or what ends the read).
type item struct {
	m   *message.Message
	err error
}

// queue lies between one pump and one reader. It is bounded in bytes; a single
// item larger than the bound still passes.
type queue struct {
	limit int64

	mu     sync.Mutex
	items  []item
	bytes  int64
	closed bool
	whole  bool // everything that was to come has come

	filled  chan struct{} // holds a token while there may be something to take
	drained chan struct{} // holds a token after something was taken
}

func newQueue(limit int64) *queue {
	return &queue{limit: limit, filled: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// full reports whether another item has to wait.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes >= q.limit
}

// push adds an item without waiting.
func (q *queue) push(it item, size int64) {
	q.mu.Lock()
	q.items = append(q.items, it)
	q.bytes += size
	wake := len(q.items) == 1
	q.mu.Unlock()
	if wake {
		signal(q.filled)
	}
}

// waitRoom waits until the queue has room. poll is called now and then while it waits.
func (q *queue) waitRoom(ctx context.Context, poll func() error) error {
	if !q.full() {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for q.full() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.drained:
		case <-tick.C:
			if err := poll(); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete says that everything has come.
func (q *queue) complete() {
	q.mu.Lock()
	q.whole = true
	q.mu.Unlock()
	q.finish()
}

// isWhole reports whether complete was called.
func (q *queue) isWhole() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.whole
}

// finish says that nothing more comes.
func (q *queue) finish() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.filled)
}

// take returns everything queued, waiting for something. reuse's memory becomes
// the queue's. ok is false when nothing is left and nothing more comes.
func (q *queue) take(ctx context.Context, reuse []item) (items []item, ok bool, err error) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			items, q.items, q.bytes = q.items, reuse[:0], 0
			q.mu.Unlock()
			signal(q.drained)
			return items, true, nil
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return reuse[:0], false, nil
		}
		select {
		case <-ctx.Done():
			return reuse[:0], true, ctx.Err()
		case <-q.filled:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
