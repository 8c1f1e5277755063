package render

import (
	"bytes"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// WrapWriter breaks lines that are longer than a terminal is wide, between words,
// and sets what follows under the text it belongs to:
//
//	Cost       a restart replays 13,754 messages, 6.4 MiB,
//	           under a second
//
// A line that holds a command is left whole, so that it can be marked and pasted.
// It is not for use from several goroutines at once.
type WrapWriter struct {
	w     io.Writer
	width int
	line  []byte // what has no end yet
}

// NewWrapWriter returns a writer in front of w, for a terminal of so many columns.
func NewWrapWriter(w io.Writer, width int) *WrapWriter { return &WrapWriter{w: w, width: width} }

// Write implements io.Writer. A line that has no end yet is held back.
func (x *WrapWriter) Write(p []byte) (int, error) {
	x.line = append(x.line, p...)
	end := bytes.LastIndexByte(x.line, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	var b strings.Builder
	for line := range strings.Lines(string(x.line[:end])) {
		x.wrap(&b, strings.TrimSuffix(line, "\n"))
		b.WriteByte('\n')
	}
	x.line = append(x.line[:0], x.line[end:]...)
	if _, err := io.WriteString(x.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was held back, as a question without a line's end is.
func (x *WrapWriter) Flush() error {
	if len(x.line) == 0 {
		return nil
	}
	_, err := x.w.Write(x.line)
	x.line = x.line[:0]
	return err
}

// mostIndent is how far to the right wrapped text is set at most.
const mostIndent = 24

// Height is how many lines these make where they are printed.
func (s Style) Height(lines []string) int {
	if !s.Terminal || s.Wide || s.Width <= 0 {
		return len(lines)
	}
	x, n := WrapWriter{width: s.Width}, 0
	for _, line := range lines {
		var b strings.Builder
		x.wrap(&b, line)
		n += 1 + strings.Count(b.String(), "\n")
	}
	return n
}

func (x *WrapWriter) wrap(b *strings.Builder, line string) {
	if ansi.StringWidth(line) <= x.width || strings.Contains(line, "walctl ") {
		b.WriteString(line)
		return
	}
	indent := textColumn(line)
	col := 0
	for len(line) > 0 {
		blank := len(line) - len(strings.TrimLeft(line, " "))
		word, rest := line[blank:], ""
		if i := strings.IndexByte(word, ' '); i >= 0 {
			word, rest = word[:i], word[i:]
		}
		wide := ansi.StringWidth(word)
		if col > indent && col+blank+wide > x.width && indent+wide <= x.width {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", indent))
			col = indent
		} else {
			b.WriteString(line[:blank])
			col += blank
		}
		b.WriteString(word)
		col += wide
		line = rest
	}
}

// labelWidth is the column of the labels that reports begin their lines with.
const labelWidth = 11

// textColumn is where a line's text begins: behind its indentation, or behind the
// first word or two where a gap sets them apart as a label.
func textColumn(line string) int {
	text := ansi.Strip(line)
	start := len(text) - len(strings.TrimLeft(text, " "))
	if start > 0 {
		return min(start, mostIndent)
	}
	if label, _, _ := strings.Cut(text, " "); len(label) == labelWidth-1 {
		return labelWidth // it fills its column
	}
	gap := strings.Index(text, "  ")
	if gap <= 0 {
		return 2
	}
	rest := strings.TrimLeft(text[gap:], " ")
	if col := ansi.StringWidth(text[:len(text)-len(rest)]); col <= mostIndent {
		return col
	}
	return 2
}
