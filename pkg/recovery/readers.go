package recovery

import (
	"context"

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
