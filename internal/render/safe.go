package render

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a log, a catalog or a session says may carry control characters that a
// terminal obeys. Everything walctl prints goes through a SafeWriter, so a name
// cannot move the cursor, set the window's title or hide what stands beside it.
//
//	below 0x20, not \n or \t     \x1b       never stands raw in JSON or in our own text
//	0x7f to 0x9f, bidi marks …   \u009b     reads the same in JSON
//	bytes that are no UTF-8      \ufffd     the replacement character, spelled out
//
// Colours are walctl's own: the few sequences that Paint makes pass where colour
// is on.

// Clean makes text safe for a terminal: control characters are shown, not obeyed.
func Clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return unsafeRune(r) || r == '\n' || r == '\t' }) < 0 {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for _, r := range s {
		if unsafeRune(r) || r == '\n' || r == '\t' {
			b = appendShown(b, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// unsafeRune reports what a SafeWriter never passes on.
func unsafeRune(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 ||
		r == 0x200e || r == 0x200f || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// appendShown spells a rune that must not be obeyed.
func appendShown(b []byte, r rune) []byte {
	head, digits := `\u`, 4
	if r < 0x20 {
		head, digits = `\x`, 2
	}
	hex := strconv.FormatInt(int64(r), 16)
	b = append(b, head...)
	for i := len(hex); i < digits; i++ {
		b = append(b, '0')
	}
	return append(b, hex...)
}

// SafeWriter passes text on and shows what a terminal would obey. Make it with
// NewSafeWriter; it is not for use from several goroutines at once.
type SafeWriter struct {
	w     io.Writer
	color bool
	held  []byte // the start of a rune or of a colour that the last Write cut in two
	buf   []byte
}

// NewSafeWriter returns a writer in front of w. color lets Paint's sequences pass.
func NewSafeWriter(w io.Writer, color bool) *SafeWriter { return &SafeWriter{w: w, color: color} }

// Write implements io.Writer. A rune that ends in a later Write is held back.
func (s *SafeWriter) Write(p []byte) (int, error) {
	if len(s.held) == 0 && plain(p) {
		return s.w.Write(p)
	}
	in := p
	if len(s.held) > 0 {
		in = append(s.held, p...)
	}
	var rest []byte
	s.buf, rest = s.clean(s.buf[:0], in, false)
	s.held = append([]byte(nil), rest...)
	if _, err := s.w.Write(s.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was held back: no more of it will come.
func (s *SafeWriter) Flush() error {
	if len(s.held) == 0 {
		return nil
	}
	s.buf, _ = s.clean(s.buf[:0], s.held, true)
	s.held = nil
	_, err := s.w.Write(s.buf)
	return err
}

// plain reports text that needs no look: ASCII without control characters.
func plain(p []byte) bool {
	for _, c := range p {
		if c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// clean appends p as it may be shown and returns what may go on in a later write.
func (s *SafeWriter) clean(b, p []byte, last bool) (out, rest []byte) {
	for len(p) > 0 {
		c := p[0]
		switch {
		case c >= 0x20 && c < 0x7f || c == '\n' || c == '\t':
			b, p = append(b, c), p[1:]
			continue
		case c == 0x1b && s.color:
			n, whole := ownColor(p)
			if !whole && !last {
				return b, p
			}
			if n > 0 {
				b, p = append(b, p[:n]...), p[n:]
				continue
			}
		case c >= 0x80 && !utf8.FullRune(p) && !last:
			return b, p
		}
		r, n := utf8.DecodeRune(p)
		if unsafeRune(r) || r == utf8.RuneError && n == 1 {
			b = appendShown(b, r)
		} else {
			b = append(b, p[:n]...)
		}
		p = p[n:]
	}
	return b, nil
}

// ownColors are the parameters of the sequences that Paint makes, read only.
var ownColors = [...]string{"0", "1", "1;31", "1;32", "1;33", "1;36", "1;7;31"}

// ownColor returns the length of one of walctl's own colours at the start of p,
// 0 for anything else; whole is false where p may be the start of one.
func ownColor(p []byte) (n int, whole bool) {
	whole = true
	for _, c := range ownColors {
		seq := "\x1b[" + c + "m"
		if len(p) >= len(seq) && string(p[:len(seq)]) == seq {
			return len(seq), true
		}
		if len(p) < len(seq) && seq[:len(p)] == string(p) {
			whole = false
		}
	}
	return 0, whole
}
