package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/walctl/walctl/internal/render"
)

// Streams are a command's three files. Out is pure data and buffered; Err takes
// what a person watches: notes, errors. Nothing that a log, a catalog or a session
// says reaches a terminal through them unless it is safe there: render.SafeWriter.
type Streams struct {
	In  io.Reader
	Out *bufio.Writer
	Err io.Writer
	// Cursor takes what moves the cursor on stderr: the progress line, which cleans
	// what it draws.
	Cursor io.Writer
	OutTTY bool
	ErrTTY bool
	Width  int // of the terminal on Out, columns; 0 = unknown

	raw  io.Writer // what Out ends in
	safe *render.SafeWriter
	wrap *render.WrapWriter // nil: lines go out as long as they are

	pager *pager // nil: there is none
}

// SystemStreams are those of the process.
func SystemStreams() *Streams {
	s := &Streams{In: os.Stdin, Cursor: os.Stderr}
	s.OutTTY = term.IsTerminal(int(os.Stdout.Fd()))
	s.ErrTTY = term.IsTerminal(int(os.Stderr.Fd()))
	if s.OutTTY {
		s.Width, _, _ = term.GetSize(int(os.Stdout.Fd()))
	}
	s.guard(os.Stdout, os.Stderr)
	return s
}

// guard puts what makes text safe in front of the files.
func (s *Streams) guard(out, err io.Writer) {
	s.raw, s.safe = out, render.NewSafeWriter(out, s.OutTTY)
	s.Out = bufio.NewWriterSize(s.safe, 64<<10)
	if err != nil {
		s.Err = &whole{w: err}
	}
}

// leastWidth is the narrowest terminal that lines are broken for.
const leastWidth = 40

// breakLines has lines for a person broken where the terminal ends. What a program
// reads is not to go through it.
func (s *Streams) breakLines() {
	if !s.OutTTY || s.Width < leastWidth || s.wrap != nil || s.safe == nil {
		return
	}
	s.wrap = render.NewWrapWriter(s.safe, s.Width)
	s.Out = bufio.NewWriterSize(s.wrap, 64<<10)
}

// Flush brings everything out that Out was given.
func (s *Streams) Flush() error {
	if err := s.Out.Flush(); err != nil {
		return err
	}
	if s.wrap != nil {
		if err := s.wrap.Flush(); err != nil {
			return err
		}
	}
	if s.safe == nil {
		return nil
	}
	return s.safe.Flush()
}

// Close brings everything out and waits for the pager, if there is one.
func (s *Streams) Close() error {
	err := s.Flush()
	if s.pager != nil {
		err = errors.Join(err, s.pager.Close())
	}
	return err
}

// whole makes each write to stderr safe on its own: a note is one write, and
// several goroutines may have one to tell.
type whole struct {
	mu sync.Mutex
	w  io.Writer
}

func (e *whole) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := render.NewSafeWriter(e.w, false)
	if _, err := s.Write(p); err != nil {
		return 0, err
	}
	return len(p), s.Flush()
}

// TakeStdout gives standard output, byte for byte, to a file that was asked for
// there. What the command says goes to stderr from now on.
func (f *Factory) TakeStdout() io.Writer {
	s := f.IO
	out := s.raw
	if out == nil {
		out = flushed{s.Out}
	}
	s.Out, s.OutTTY, s.wrap = bufio.NewWriter(s.Err), s.ErrTTY, nil
	return out
}

// flushed brings out at once what is written to it.
type flushed struct{ w *bufio.Writer }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err == nil {
		err = f.w.Flush()
	}
	return n, err
}

// TestStreams returns streams over buffers.
func TestStreams(in io.Reader) (s *Streams, out, errOut *bytes.Buffer) {
	out, errOut = new(bytes.Buffer), new(bytes.Buffer)
	s = &Streams{In: in, Cursor: errOut}
	s.guard(out, errOut)
	return s, out, errOut
}
