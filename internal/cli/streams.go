package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are a command's three files. Out is pure data and buffered; Err takes
// what a person watches: progress, notes, errors.
type Streams struct {
	In     io.Reader
	Out    *bufio.Writer
	Err    io.Writer
	OutTTY bool
	ErrTTY bool
	Width  int // of the terminal on Out, columns; 0 = unknown
}

// SystemStreams are those of the process.
func SystemStreams() *Streams {
	s := &Streams{In: os.Stdin, Out: bufio.NewWriterSize(os.Stdout, 64<<10), Err: os.Stderr}
	s.OutTTY = term.IsTerminal(int(os.Stdout.Fd()))
	s.ErrTTY = term.IsTerminal(int(os.Stderr.Fd()))
	if s.OutTTY {
		s.Width, _, _ = term.GetSize(int(os.Stdout.Fd()))
	}
	return s
}

// TestStreams returns streams over buffers.
func TestStreams(in io.Reader) (s *Streams, out, errOut *bytes.Buffer) {
	out, errOut = new(bytes.Buffer), new(bytes.Buffer)
	return &Streams{In: in, Out: bufio.NewWriter(out), Err: errOut}, out, errOut
}
