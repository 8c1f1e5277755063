package jsonl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Source is a WAL in a file or stream of record lines.
type Source struct {
	name   string
	called string // the pchannel, as whoever opened it says
	open   func(context.Context) (io.ReadCloser, error)
	stream bool

	mu       sync.Mutex
	consumed bool
	backend  message.Backend
	seen     source.Bounds // as far as it was read
	ended    bool          // it was read to its end
	passage  source.Passage
}

var _ source.ProgressSource = (*Source)(nil)

// Open names a file; it is opened when it is read. The file may be compressed.
func Open(path string) *Source {
	return &Source{name: path, open: func(ctx context.Context) (io.ReadCloser, error) {
		f, err := openFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", source.ErrNotFound, err)
		}
		return f, err
	}}
}

// openFile opens a file. A FIFO that nobody writes to holds up whoever opens it:
// once the context ends it is let go by a writer of our own.
func openFile(ctx context.Context, path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil || st.Mode()&fs.ModeNamedPipe == 0 {
		return os.Open(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		if w, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			_ = w.Close() // it was only opened
		}
		if o := <-done; o.err == nil {
			_ = o.f.Close() // nothing was read
		}
		return nil, ctx.Err()
	}
}

// FromReader reads a stream under the given name. It can be opened once, and
// its Bounds cannot be told. Where r is an io.Closer, closing the reader closes it.
func FromReader(name string, r io.Reader) *Source {
	return &Source{name: name, stream: true, open: func(context.Context) (io.ReadCloser, error) {
		if c, ok := r.(io.ReadCloser); ok {
			return c, nil
		}
		return io.NopCloser(r), nil
	}}
}

// Named tells the source which pchannel's log it is: records of an idle log name none.
func (s *Source) Named(pchannel string) *Source {
	s.called = pchannel
	return s
}

// Describe implements source.Source. The backend is known once a record was read.
func (s *Source) Describe() source.Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	return source.Description{Kind: "jsonl", Location: s.name, PChannel: s.called, Called: true, Backend: s.backend}
}

// Bounds are what was seen, once a reader was at the end: they cost nothing then.
// Before, a file is read from end to end without its payloads; a stream fails with
// ErrConsumed, and First is the first record read so far. Records that cannot be read
// are left out; where they stand at an end, Lacks says so.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	s.mu.Lock()
	b, ended := s.seen, s.ended
	s.mu.Unlock()
	b.Empty = ended && b.First.IsZero()
	switch {
	case ended:
		return b, nil
	case s.stream:
		b.Records = -1
		return b, fmt.Errorf("find the end of %s: %w", s.name, source.ErrConsumed)
	}
	r, err := s.Open(ctx, source.Range{})
	if err != nil {
		return source.Bounds{}, err
	}
	defer func() { _ = r.Close() }()
	b = source.Bounds{Empty: true}
	err = source.Each(ctx, r, func(m *message.Message) error {
		if b.Empty {
			b.First, b.Empty = m.ID, false
		}
		b.Last, b.Lacks.End = m.ID, false
		b.Records++
		return nil
	}, func(*source.CorruptError) error {
		b.Lacks.Start, b.Lacks.End = b.Lacks.Start || b.Empty, true
		return nil
	})
	if errors.Is(err, source.ErrTornTail) {
		err = nil
	}
	return b, err
}

// Open implements source.Source. A bound whose id is of another backend than
// the log fails at the first record, wrapping message.ErrBadID.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.stream && s.consumed {
		s.mu.Unlock()
		return nil, fmt.Errorf("read %s: %w", s.name, source.ErrConsumed)
	}
	s.consumed = true
	s.mu.Unlock()
	f, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a log of record lines: %w", err)
	}
	return newReader(s, s.measured(f), r, sel), nil
}

// measured tells Passage how much of a file is read, in its bytes as they lie.
func (s *Source) measured(in io.ReadCloser) io.ReadCloser {
	s.passage.Begin(0)
	f, ok := in.(*os.File)
	if !ok {
		return in
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return in
	}
	s.passage.Begin(st.Size())
	return &measuredFile{f, &s.passage}
}

type measuredFile struct {
	*os.File
	at *source.Passage
}

// Read implements io.Reader.
func (f *measuredFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.at.Add(int64(n))
	return n, err
}

// Passed implements source.ProgressSource.
func (s *Source) Passed() (read, total int64) { return s.passage.Passed() }

// Close implements source.Source; readers are closed on their own.
func (s *Source) Close() error { return nil }

// sawFirst notes the first record read.
func (s *Source) sawFirst(id message.ID) {
	s.mu.Lock()
	s.backend, s.seen.First = id.Backend, id
	s.mu.Unlock()
}

// sawEnd notes that everything was read, up to the record last, and at which ends
// a line could not be.
func (s *Source) sawEnd(last message.ID, records int64, blind source.Lacks) {
	s.mu.Lock()
	s.seen.Last, s.seen.Records, s.seen.Lacks, s.ended = last, records, blind, true
	s.mu.Unlock()
}
