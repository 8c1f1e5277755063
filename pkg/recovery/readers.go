package recovery

import (
	"context"
	"errors"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// guardedReader is closed when its context ends, so that a Next which waits for
// a broker and forgets its context returns all the same.
type guardedReader struct {
	source.Reader
	stop   func() bool
	closed chan struct{} // closed when the context's end has closed the reader
}

func guarded(ctx context.Context, src source.Source, r source.Range) (source.Reader, error) {
	rd, err := src.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	g := &guardedReader{Reader: rd, closed: make(chan struct{})}
	g.stop = context.AfterFunc(ctx, func() {
		defer close(g.closed)
		_ = rd.Close()
	})
	return g, nil
}

// Close closes the reader and leaves no goroutine behind.
func (g *guardedReader) Close() error {
	if !g.stop() {
		<-g.closed
	}
	g.stop = func() bool { return true }
	return g.Reader.Close()
}

// aheadReader reads on in a goroutine of its own while what it read is replayed:
// decoding and replaying take about the same time. Its Close waits for it.
type aheadReader struct {
	source.Reader
	batches chan batch
	done    chan struct{} // closed by Close
	ended   chan struct{} // closed when the goroutine has ended
	once    sync.Once
	now     batch
}

// batch is a run of records, then the error that ended it (nil: more follow).
type batch struct {
	list []*message.Message
	err  error
}

const (
	batchRecords = 256
	batchesAhead = 4
)

func readAhead(ctx context.Context, rd source.Reader) *aheadReader {
	r := &aheadReader{Reader: rd, batches: make(chan batch, batchesAhead), done: make(chan struct{}), ended: make(chan struct{})}
	go r.fill(ctx)
	return r
}

func (r *aheadReader) fill(ctx context.Context) {
	defer close(r.ended)
	for {
		b := batch{list: make([]*message.Message, 0, batchRecords)}
		for len(b.list) < batchRecords && b.err == nil {
			var m *message.Message
			if m, b.err = r.Reader.Next(ctx); b.err == nil {
				b.list = append(b.list, m)
			}
		}
		select {
		case r.batches <- b:
		case <-r.done:
			return
		}
		if !goesOn(b.err) {
			return
		}
	}
}

// goesOn reports whether a reader may be asked again.
func goesOn(err error) bool {
	var corrupt *source.CorruptError
	return err == nil || errors.As(err, &corrupt)
}

// Next implements source.Reader. The error that ended the reading is given again
// and again.
func (r *aheadReader) Next(ctx context.Context) (*message.Message, error) {
	for {
		if len(r.now.list) > 0 {
			m := r.now.list[0]
			r.now.list = r.now.list[1:]
			return m, nil
		}
		if err := r.now.err; err != nil {
			if goesOn(err) {
				r.now.err = nil
			}
			return nil, err
		}
		select {
		case r.now = <-r.batches:
		case <-r.done:
			return nil, context.Canceled
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close closes the reader below and waits for the goroutine.
func (r *aheadReader) Close() (err error) {
	r.once.Do(func() {
		close(r.done)
		err = r.Reader.Close()
		<-r.ended
	})
	return err
}

// pushedBack gives the first record, or its error, once more.
type pushedBack struct {
	source.Reader
	first *message.Message
	err   error
}

func (r *pushedBack) Next(ctx context.Context) (*message.Message, error) {
	if m, err := r.first, r.err; m != nil || err != nil {
		r.first, r.err = nil, nil
		return m, err
	}
	return r.Reader.Next(ctx)
}
