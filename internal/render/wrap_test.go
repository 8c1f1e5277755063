package render

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWrapWriter(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"short", "one line\n", "one line\n"},
		{"between words", "one two three four five\n", "one two three four\n  five\n"},
		{"under its text", "          one two three four\n", "          one two\n          three four\n"},
		{"under a label", "Coverage   one two three\n", "Coverage   one two\n           three\n"},
		{"a label that fills its column", "Applicable one two three\n", "Applicable one two\n           three\n"},
		{"behind a severity", "ERROR  one two three four\n", "ERROR  one two three\n       four\n"},
		{"a command", "Next: walctl recover ./evidence --out p.json\n", "Next: walctl recover ./evidence --out p.json\n"},
		{"a word wider than the terminal", "+ aaaaaaaaaaaaaaaaaaaaaaaaaa b\n", "+ aaaaaaaaaaaaaaaaaaaaaaaaaa\n  b\n"},
		{"colours have no width", "\x1b[1;31mone\x1b[0m two three four\n", "\x1b[1;31mone\x1b[0m two three four\n"},
		{"no line's end", "a question that has no end? ", "a question that has no end? "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			w := NewWrapWriter(&b, 20)
			_, err := w.Write([]byte(c.in))
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			require.Equal(t, c.want, b.String())
		})
	}
}

// Whatever is cut into whichever writes: no word is lost or torn, and no line is
// longer than the terminal that could have been shorter.
func TestWrapKeepsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`([a-zäö …]{0,30}\n?){0,6}`).Draw(t, "text")
		width := rapid.IntRange(leastWidthTested, 60).Draw(t, "width")
		var b strings.Builder
		w := NewWrapWriter(&b, width)
		for rest := in; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Fields(b.String()), strings.Fields(in); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("%q became %q", in, b.String())
		}
		ended := b.String()[:strings.LastIndexByte(b.String(), '\n')+1]
		for line := range strings.Lines(ended) {
			line = strings.TrimSuffix(line, "\n")
			if wide := ansi.StringWidth(line); wide > width && strings.Contains(strings.TrimSpace(line), " ") && textColumn(line) < width/2 {
				t.Fatalf("%q is %d wide, the terminal %d", line, wide, width)
			}
		}
	})
}

const leastWidthTested = 40

// A table on a narrow terminal fits, step by step; for programs and -o wide it
// stays whole.
func TestTableFits(t *testing.T) {
	table := func() *Table {
		x := &Table{Columns: []Column{{Name: "vchannel"}, {Name: "rows", Right: true}, {Name: "last"}, {Name: "faults", Spare: true}}}
		for _, v := range []string{"by-dev-rootcoord-dml_0_450000000000000004v0", "by-dev-rootcoord-dml_0_450000000000000010v0"} {
			x.Add(Text(v), Count(4310), Tick(463377088385646593), Text("vchannel-no-schema"))
		}
		return x
	}
	for _, c := range []struct {
		width int
		want  []string
	}{
		{110, []string{"VCHANNEL  ROWS  LAST  FAULTS", "by-dev-rootcoord-dml_0_450000000000000004v0  4,310  2026-01-05 20:01:52.018Z  vchannel-no-schema"}},
		{90, []string{"VCHANNEL  ROWS  LAST  FAULTS", "by-dev-rootcoord-dml_0_450000000000000004v0  4,310  01-05 20:01:52Z  vchannel-no-schema"}},
		{70, []string{"VCHANNEL  ROWS  LAST  FAULTS", "…_450000000000000004v0  4,310  01-05 20:01:52Z  vchannel-no-schema"}},
		{50, []string{"VCHANNEL  ROWS  LAST", "…_450000000000000004v0  4,310  01-05 20:01:52Z"}},
		{40, []string{"VCHANNEL  ROWS  LAST", "…0000000000004v0  4,310  01-05 20:01:52Z"}},
	} {
		var b strings.Builder
		require.NoError(t, table().Write(&b, Style{Terminal: true, Width: c.width}))
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		require.Len(t, lines, 3)
		for i, want := range c.want {
			require.Equal(t, strings.Fields(want), strings.Fields(lines[i]), "%d columns", c.width)
		}
		for _, line := range lines {
			require.LessOrEqual(t, ansi.StringWidth(line), c.width, line)
		}
	}
	for _, s := range []Style{{Width: 40}, {Terminal: true, Wide: true, Width: 40}} {
		var b strings.Builder
		require.NoError(t, table().Write(&b, s))
		require.Contains(t, b.String(), "by-dev-rootcoord-dml_0_450000000000000004v0")
		require.Contains(t, b.String(), "vchannel-no-schema")
	}
}

func TestTableTellsHowManyRowsAreNotShown(t *testing.T) {
	x := &Table{Most: 2, Columns: []Column{{Name: "name"}}}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		x.Add(Text(name))
	}
	var b strings.Builder
	require.NoError(t, x.Write(&b, Style{Terminal: true}))
	require.Equal(t, "NAME\na\nb\n… 3 more (-o wide)\n", b.String())
	b.Reset()
	require.NoError(t, x.Write(&b, Style{}))
	require.Equal(t, "NAME\na\nb\nc\nd\ne\n", b.String())
}
