package render

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"github.com/stretchr/testify/require"
)

func TestSafeWriter(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode · …\n\ttab":   "plain ünïcode · …\n\ttab",
		"\x1b]0;title\x07":           `\x1b]0;title\x07`,
		"\x1b[31mred":                `\x1b[31mred`,
		"\x1b[1;31mred\x1b[0m":       `\x1b[1;31mred\x1b[0m`,
		"a\rb":                       `a\x0db`,
		"\u009b31m \u202etxt \u200f": `\u009b31m \u202etxt \u200f`,
		"\x7f":                       `\u007f`,
		"\xff\xfe":                   `\ufffd\ufffd`,
		"cut \xe2\x80":               `cut \ufffd\ufffd`,
		"\ufffd stands":              "\ufffd stands",
	} {
		for cut := 0; cut <= len(in); cut++ { // whatever two writes it comes in
			var b bytes.Buffer
			w := NewSafeWriter(&b, false)
			n, err := w.Write([]byte(in[:cut]))
			require.NoError(t, err)
			require.Equal(t, cut, n)
			_, err = w.Write([]byte(in[cut:]))
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			require.Equal(t, want, b.String(), "%q cut at %d", in, cut)
		}
	}
}

// Colours that walctl makes pass where colour is on, whole or in two writes; no
// other sequence does.
func TestSafeWriterPassesOwnColorsOnly(t *testing.T) {
	lipgloss.SetColorProfile(termenv.ANSI256)
	defer lipgloss.SetColorProfile(termenv.Ascii)
	for _, word := range []string{"critical", "error", "warning", "info", "ok", "bold"} {
		in := Style{Color: true}.Paint(word, "text")
		require.Contains(t, in, "\x1b[")
		for cut := range in {
			var b bytes.Buffer
			w := NewSafeWriter(&b, true)
			_, _ = w.Write([]byte(in[:cut]))
			_, _ = w.Write([]byte(in[cut:]))
			require.NoError(t, w.Flush())
			require.Equal(t, in, b.String(), "%s cut at %d", word, cut)
		}
	}
	var b bytes.Buffer
	w := NewSafeWriter(&b, true)
	_, _ = w.Write([]byte("\x1b[8mhidden\x1b]0;t\x07\x1b[2J\x1b["))
	require.NoError(t, w.Flush())
	require.Equal(t, `\x1b[8mhidden\x1b]0;t\x07\x1b[2J\x1b[`, b.String())
}

// JSON that passes a SafeWriter says what it said.
func TestSafeWriterKeepsJSON(t *testing.T) {
	in := map[string]string{"name": "a\x1bb\u009b\u202e\x7f\u2028\n\"\\ü"}
	var b bytes.Buffer
	w := NewSafeWriter(&b, false)
	require.NoError(t, NDJSON(w, in))
	require.NoError(t, w.Flush())
	out := map[string]string{}
	require.NoError(t, json.Unmarshal(b.Bytes(), &out), b.String())
	require.Equal(t, in, out)
	require.NotContains(t, b.String(), "\u009b")
}

func TestCleanShowsLineBreaksToo(t *testing.T) {
	require.Equal(t, `a\x0ab\x09c`, Clean("a\nb\tc"))
	require.Equal(t, "whole", Clean("whole"))
}
