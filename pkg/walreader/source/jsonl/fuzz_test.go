package jsonl

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/hammer"
	"github.com/walctl/walctl/pkg/walreader/source"
)

var seeds = []string{
	`{"i":0,"id":"CAUQABgAIAAwAQ==","ids":"5/0/0","props":{"_h":"","_lcs":"","_t":"1","_tt":"3kpvu3tx8ef4","_v":"1"},"payload":"Cg8IsAkYgICQxIr4/cMGIAE="}`,
	`{"i":1,"id":"","ids":"0/0","props":{},"payload":""}`,
	`{"i":12,"id":"a","ids":"10","props":{"_t":"2","x":"y"},"d":{"payload_size":9}}`,
	`{"i":12,"id":"a","ids":"10","props":{"x":"y","_t":"2"},"payload":"A","d":{}}`,
	`{"i":01,"id":"\u00e9","ids":"10","props":{"_t":"2","_t":"3"}}`,
	`{"i":1,"id":"a","ids":"10","props":{"_t":"2","_t":"3"}}`,
	`{"schema":"walctl/v1"}`, ``, "\x00", `{"ids":"1/2/3","props":{"_v":null}}`,
}

// FuzzLine reads arbitrary lines: what is read is written and read again alike.
// What the values are FuzzLineAgainstJSON asks.
func FuzzLine(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	c := newLineChecker()
	f.Fuzz(func(t *testing.T, line []byte) { c.check(t, line) })
}

func TestHammerLine(t *testing.T) {
	fields := make([][][]byte, len(seeds))
	for i, s := range seeds {
		fields[i] = [][]byte{[]byte(s)}
	}
	c := newLineChecker()
	hammer.Run(t, fields, func(f [][]byte) { c.check(t, f[0]) })
}

// lineChecker keeps memory from one execution to the next.
type lineChecker struct {
	p, again parser
	w        *Writer
	out      bytes.Buffer
}

func newLineChecker() *lineChecker {
	rng := source.Range{Props: true, Payload: source.PayloadAll}
	c := &lineChecker{p: parser{name: "fuzz", rng: rng}, again: parser{name: "fuzz", rng: rng}}
	c.w = NewWriter(&c.out, Options{Data: true})
	return c
}

func (c *lineChecker) check(t testing.TB, line []byte) {
	if bytes.IndexByte(line, '\n') >= 0 {
		return
	}
	m, err := c.p.line(line, string(line), 1)
	if (err == nil) != (m != nil) {
		t.Fatalf("%v and %v", m, err)
	}
	if m == nil {
		return
	}
	c.out.Reset()
	if err := errors.Join(c.w.Write(m), c.w.Flush()); err != nil {
		t.Fatal(err)
	}
	b := bytes.TrimSuffix(c.out.Bytes(), []byte("\n"))
	again, err := c.again.line(b, string(b), 1)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	// A payload that could not be decoded is not written again.
	if m.Ordinal != again.Ordinal || m.ID != again.ID || m.RawID() != again.RawID() || m.TextID() != again.TextID() ||
		!slices.Equal(m.Props, again.Props) || !bytes.Equal(m.Payload, again.Payload) {
		t.Fatalf("%+v reads as %+v", m, again)
	}
}

// FuzzLineAgainstJSON holds the scanner for the known shape against
// encoding/json: what it accepts, both read alike.
func FuzzLineAgainstJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var fast, slow record
		if bytes.IndexByte(line, '\n') >= 0 || !scanLine(line, string(line), &fast) {
			return
		}
		if err := parseAny(line, &slow); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(fast.props, slow.props) {
			t.Fatalf("%v, want %v", fast.props, slow.props)
		}
		fast.props, slow.props = nil, nil
		require.Equal(t, slow, fast)
	})
}

func TestPlainFindsTheFirstByteThatIsNot(t *testing.T) {
	for pad := range 20 {
		for c := range 256 {
			b := []byte(strings.Repeat("a", pad) + string([]byte{byte(c)}) + `a"\aaaaaaaaaaa`)
			want := pad
			if c >= 0x20 && c < 0x80 && c != '"' && c != '\\' {
				want = pad + 2
			}
			require.Equal(t, want, plain(b), "%q", b)
		}
	}
}

// TestTheKnownShapeTakesTheFastPath keeps the scanner from falling back in silence.
func TestTheKnownShapeTakesTheFastPath(t *testing.T) {
	for i, want := range []bool{true, true, true, false, false, false, false, false, false, false} {
		var r record
		require.Equal(t, want, scanLine([]byte(seeds[i]), seeds[i], &r), seeds[i])
	}
}
