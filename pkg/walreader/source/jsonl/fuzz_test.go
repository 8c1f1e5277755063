package jsonl

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
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

// quiet leaves out marking helpers: finding the caller each time takes half of
// a fuzz execution.
type quiet struct{ testing.TB }

// Helper implements testing.TB.
func (quiet) Helper() {}

// FuzzLine holds the scanner for the known shape against encoding/json: what it
// accepts, both read alike. And no line makes a reader fall.
func FuzzLine(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(test *testing.T, line []byte) {
		t := quiet{test}
		if bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		var fast, slow record
		slowErr := parseAny(line, &slow)
		if scanLine(line, string(line), &fast) {
			require.NoError(t, slowErr)
			require.Equal(t, len(slow.props), len(fast.props))
			for i := range slow.props {
				require.Equal(t, slow.props[i], fast.props[i])
			}
			fast.props, slow.props = nil, nil
			require.Equal(t, slow, fast)
		}
		p := parser{name: "fuzz", rng: source.Range{Props: true, Payload: source.PayloadAll}}
		m, err := p.line(line, string(line), 1)
		require.Equal(t, err == nil, m != nil)
		if m == nil {
			return
		}
		var out bytes.Buffer
		w := NewWriter(&out, Options{Data: true})
		require.NoError(t, w.Write(m))
		require.NoError(t, w.Flush())
		b := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		again, err := p.line(b, string(b), 1)
		require.NoError(t, err, "%s", b)
		requireSame(t, m, again)
	})
}

// requireSame compares what a line carries; a payload that could not be decoded
// is not written again.
func requireSame(t testing.TB, a, b *message.Message) {
	t.Helper()
	require.Equal(t, a.Ordinal, b.Ordinal)
	require.Equal(t, a.ID, b.ID)
	require.Equal(t, a.RawID(), b.RawID())
	require.Equal(t, a.TextID(), b.TextID())
	require.Equal(t, a.Props, b.Props)
	require.True(t, bytes.Equal(a.Payload, b.Payload))
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
