package jsonl

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Options say what a Writer puts into a line.
type Options struct {
	// Data brings the payload (the rows of users, and passwords) and headers with
	// the credentials they hold. Without it the line says under `d` how many bytes
	// were left out, and credentials are hidden.
	Data bool
	// Plain leaves the decoded fields `d` away.
	Plain bool
}

// Writer writes record lines. It is not safe for concurrent use. After an error
// every call returns it.
type Writer struct {
	w    *bufio.Writer
	opts Options
	line []byte
	err  error
}

// NewWriter returns a Writer onto w. Flush it at the end.
func NewWriter(w io.Writer, opts Options) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 1<<16), opts: opts}
}

// Write writes a message's line. The message must carry its properties, and its
// payload where Options.Data is set: read it with Range{Props: true, Payload: PayloadAll}.
func (w *Writer) Write(m *message.Message) error {
	if w.err != nil {
		return w.err
	}
	b := append(w.line[:0], `{"i":`...)
	b = strconv.AppendInt(b, m.Ordinal, 10)
	b = appendString(append(b, `,"id":`...), m.RawID())
	b = appendString(append(b, `,"ids":`...), m.TextID())
	b = append(b, `,"props":{`...)
	for i := range m.Props {
		if i > 0 {
			b = append(b, ',')
		}
		value := m.Props[i].Value
		if m.Props[i].Key == message.KeyHeader && !w.opts.Data {
			value = m.ShownHeader(value)
		}
		b = appendString(append(appendString(b, m.Props[i].Key), ':'), value)
	}
	b = append(b, '}')
	if w.opts.Data {
		b = append(b, `,"payload":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, m.Payload), '"')
	}
	if !w.opts.Plain {
		d, err := json.Marshal(m.Describe())
		if err != nil {
			w.err = fmt.Errorf("write record %s: %w", m.TextID(), err)
			return w.err
		}
		b = append(append(b, `,"d":`...), d...)
	}
	w.line = append(b, "}\n"...)
	if _, err := w.w.Write(w.line); err != nil {
		w.err = fmt.Errorf("write record lines: %w", err)
	}
	return w.err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if w.err == nil {
		if err := w.w.Flush(); err != nil {
			w.err = fmt.Errorf("write record lines: %w", err)
		}
	}
	return w.err
}

func appendString(b []byte, s string) []byte {
	if plain([]byte(s)) != len(s) {
		q, _ := json.Marshal(s) // a string always marshals
		return append(b, q...)
	}
	return append(append(append(b, '"'), s...), '"')
}
