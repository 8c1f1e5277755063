package source

import (
	"context"
	"errors"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// ahead runs a read in a goroutine of its own, so that reading and decoding take a
// processor of their own while what was read is judged. Its close waits for the
// goroutine.
type ahead[T any] struct {
	read  func(context.Context) (T, error)
	out   chan given[T]
	stop  context.CancelFunc
	ended chan struct{} // closed when the goroutine has ended
	once  sync.Once
	last  error // the error that ended the reading
}

// given is what one read gave: a value, or an error; both where the error stands after it.
type given[T any] struct {
	value T
	err   error
}

// startAhead starts reading: what is read waits in a queue of so many.
func startAhead[T any](ctx context.Context, queue int, read func(context.Context) (T, error)) *ahead[T] {
	a := &ahead[T]{read: read, out: make(chan given[T], queue), ended: make(chan struct{})}
	ctx, a.stop = context.WithCancel(ctx)
	go a.fill(ctx)
	return a
}

func (a *ahead[T]) fill(ctx context.Context) {
	defer close(a.ended)
	for {
		var g given[T]
		g.value, g.err = a.read(ctx)
		select {
		case a.out <- g:
		case <-ctx.Done():
			return
		}
		if !goesOn(g.err) {
			return
		}
	}
}

// goesOn reports whether a reader may be asked again.
func goesOn(err error) bool {
	var corrupt *CorruptError
	return err == nil || errors.As(err, &corrupt)
}

// next returns what was read next. The error that ended the reading is given again
// and again.
func (a *ahead[T]) next(ctx context.Context) (T, error) {
	if a.last != nil {
		var none T
		return none, a.last
	}
	g := a.take(ctx)
	if !goesOn(g.err) && ctx.Err() == nil {
		a.last = g.err
	}
	return g.value, g.err
}

func (a *ahead[T]) take(ctx context.Context) given[T] {
	select {
	case g := <-a.out:
		return g
	case <-ctx.Done():
		return given[T]{err: context.Cause(ctx)}
	case <-a.ended: // what it had read goes first
	}
	select {
	case g := <-a.out:
		return g
	default:
		return given[T]{err: context.Canceled}
	}
}

// close ends the reading, closes the reader and waits for the goroutine.
func (a *ahead[T]) close(reader func() error) (err error) {
	a.once.Do(func() {
		a.stop()
		err = reader()
		<-a.ended
	})
	return err
}

// What a reader of messages is read ahead by: batches end at the first of both.
const (
	batchRecords = 256
	batchBytes   = 1 << 20 // of payload
	batchesAhead = 4
)

// Ahead reads a reader's messages ahead of whoever asks for them, a few batches at
// most. Closing it closes the reader. It is for one goroutine, but Close may come from
// another.
func Ahead(ctx context.Context, r Reader) Reader {
	return &aheadReader{r: r, a: startAhead(ctx, batchesAhead, func(ctx context.Context) ([]*message.Message, error) {
		list, size := make([]*message.Message, 0, batchRecords), 0
		for len(list) < batchRecords && size < batchBytes {
			m, err := r.Next(ctx)
			if err != nil {
				return list, err
			}
			list, size = append(list, m), size+len(m.Payload)
		}
		return list, nil
	})}
}

type aheadReader struct {
	r   Reader
	a   *ahead[[]*message.Message]
	now []*message.Message
	err error // stands after now
}

// Next implements Reader.
func (r *aheadReader) Next(ctx context.Context) (*message.Message, error) {
	for {
		if len(r.now) > 0 {
			m := r.now[0]
			r.now = r.now[1:]
			return m, nil
		}
		if err := r.err; err != nil {
			r.err = nil
			return nil, err
		}
		r.now, r.err = r.a.next(ctx)
	}
}

// Close implements Reader.
func (r *aheadReader) Close() error { return r.a.close(r.r.Close) }

// LastingColumns is a ColumnReader whose columns can outlast the next call.
type LastingColumns interface {
	ColumnReader
	// Keep has it leave the Columns it returns valid while it is called n times more.
	// It is called before the first NextColumns.
	Keep(n int)
}

// AheadColumns reads a reader's columns ahead of whoever asks for them, where the
// reader can do that: one batch is read while another is judged, and no more, as a
// batch is large. Closing it closes the reader. It is for one goroutine, but Close may come from another.
func AheadColumns(ctx context.Context, r ColumnReader) ColumnReader {
	lasting, ok := r.(LastingColumns)
	if !ok {
		return r
	}
	lasting.Keep(1)
	return &aheadColumns{r: r, a: startAhead(ctx, 0, r.NextColumns)}
}

type aheadColumns struct {
	r ColumnReader
	a *ahead[*message.Columns]
}

// NextColumns implements ColumnReader.
func (r *aheadColumns) NextColumns(ctx context.Context) (*message.Columns, error) {
	return r.a.next(ctx)
}

// Close implements ColumnReader.
func (r *aheadColumns) Close() error { return r.a.close(r.r.Close) }
