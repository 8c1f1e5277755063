package jsonl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// How lines become messages, in the log's order:
//
//	feed ── chunks of whole lines ──► parse (several) ──► Next: range, limit
//	   └──────────── the same chunks, in order ──────────────┘
const (
	chunkSize   = 256 << 10
	largeChunk  = 4 * chunkSize
	maxParsers  = 4
	slabRecords = 32 // few, so that a message kept does not keep many others
	closeWait   = 700 * time.Millisecond
)

// chunk is a run of whole lines on its way.
type chunk struct {
	buf    []byte
	line   int64 // of the first line, from 1
	offset int64 // of the first line, in the decompressed text
	tail   bool  // the last line has no newline
	items  []selector.Item
	end    error         // set instead of buf: what the reading ended with
	done   chan struct{} // parsed
	taken  chan struct{} // by Next; only a large chunk has it
}

type reader struct {
	src      *Source
	rng      source.Range
	file     io.ReadCloser
	ctx      context.Context
	cancel   context.CancelFunc
	order    chan *chunk
	work     chan *chunk
	free     chan []byte
	finished chan struct{} // closed when no goroutine is left
	once     sync.Once

	sel     selector.Selector
	current []selector.Item
	backend message.Backend
	records int64
	blind   source.Lacks // at which ends lines could not be read
	last    message.ID
	failed  error
}

func newReader(s *Source, f io.ReadCloser, rng source.Range, sel selector.Selector) *reader {
	parsers := min(maxParsers, runtime.GOMAXPROCS(0))
	r := &reader{
		src: s, rng: rng, file: f, sel: sel,
		order: make(chan *chunk, parsers+2), work: make(chan *chunk, parsers+2),
		free: make(chan []byte, 2*parsers+4), finished: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range parsers {
		wg.Go(r.parse)
	}
	wg.Go(r.feed)
	go func() { wg.Wait(); close(r.finished) }()
	return r
}

// Close implements source.Reader. Where a stream that nobody writes to cannot
// be closed under its reader, Close does not wait for it beyond a moment.
func (r *reader) Close() error {
	var err error
	r.once.Do(func() {
		r.cancel()
		err = r.file.Close()
		select {
		case <-r.finished:
		case <-time.After(closeWait):
		}
	})
	return err
}

// Next implements source.Reader.
func (r *reader) Next(ctx context.Context) (*message.Message, error) {
	for {
		if it, ok := r.sel.Pop(); ok {
			return it.M, it.Err
		}
		if r.sel.Finished() {
			return nil, io.EOF
		}
		if r.failed != nil {
			return nil, r.failed
		}
		it, err := r.nextItem(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			r.failed = err
			r.sel.End()
			if errors.Is(err, io.EOF) || errors.Is(err, source.ErrTornTail) {
				r.src.sawEnd(r.last, r.records, r.blind)
			}
		default:
			r.accept(it)
		}
	}
}

// accept hands an item to the selector, having looked at whose ids it has.
func (r *reader) accept(it selector.Item) {
	if it.M == nil {
		r.blind.Start, r.blind.End = r.blind.Start || r.backend == message.BackendUnknown, true
		r.sel.Corrupt(it.Err)
		return
	}
	b := it.M.ID.Backend
	if r.backend == message.BackendUnknown {
		r.backend = b
		r.src.sawFirst(it.M.ID)
		if r.failed = r.sel.Adapt(b); r.failed != nil {
			return
		}
	}
	if b != r.backend {
		r.sel.Corrupt(&source.CorruptError{
			Source: r.src.name, Place: fmt.Sprintf("record %d", it.M.Ordinal), Lost: 1,
			Cause: fmt.Errorf("a %s id (%s) in a log of %s ids", b, it.M.TextID(), r.backend),
		})
		return
	}
	r.last, r.blind.End = it.M.ID, false
	r.records++
	r.sel.Push(it.M)
}

func (r *reader) nextItem(ctx context.Context) (selector.Item, error) {
	for len(r.current) == 0 {
		var c *chunk
		select {
		case c = <-r.order:
		case <-ctx.Done():
			return selector.Item{}, ctx.Err()
		case <-r.ctx.Done():
			return selector.Item{}, fmt.Errorf("read %s: %w", r.src.name, os.ErrClosed)
		}
		if c.end != nil {
			return selector.Item{}, c.end
		}
		select {
		case <-c.done:
		case <-r.ctx.Done():
			return selector.Item{}, fmt.Errorf("read %s: %w", r.src.name, os.ErrClosed)
		}
		r.current = c.items
		if c.taken != nil {
			close(c.taken)
		}
	}
	it := r.current[0]
	r.current = r.current[1:]
	return it, nil
}

// send puts a chunk into line and, if it has lines, to work. It waits until a
// large one has been taken, so that at most one is in memory beside what Next
// has returned.
func (r *reader) send(c *chunk) bool {
	c.done = make(chan struct{})
	if len(c.buf) > largeChunk {
		c.taken = make(chan struct{})
	}
	select {
	case r.order <- c:
	case <-r.ctx.Done():
		return false
	}
	if c.buf == nil {
		close(c.done)
		return true
	}
	select {
	case r.work <- c:
	case <-r.ctx.Done():
		return false
	}
	if c.taken != nil {
		select {
		case <-c.taken:
		case <-r.ctx.Done():
			return false
		}
	}
	return true
}

func (r *reader) parse() {
	p := parser{name: r.src.name, rng: r.rng}
	for {
		select {
		case <-r.ctx.Done():
			return
		case c, ok := <-r.work:
			if !ok {
				return
			}
			p.chunk(c)
			r.recycle(c.buf)
			c.buf = nil
			close(c.done)
		}
	}
}

// recycle keeps a buffer for the feeder, but none that a long line blew up.
func (r *reader) recycle(b []byte) {
	if cap(b) > 2*chunkSize {
		return
	}
	select {
	case r.free <- b[:0]:
	default:
	}
}
