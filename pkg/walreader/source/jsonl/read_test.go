package jsonl_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines makes a log of n record lines: id 7/i/0, TimeTick i ms, every tenth a
// TimeTick message.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		typ := 2
		if i%10 == 9 {
			typ = 1
		}
		id := message.ID{Backend: message.BackendPulsar, A: 7, B: int64(i)}
		fmt.Fprintf(&b, `{"i":%d,"id":"%s","ids":"%s","props":{"_h":"","_lcs":"","_t":"%d","_tt":"%s","_v":"1"},"payload":"AAEC"}`+"\n",
			i, id.Raw(message.Form{}), id, typ, base36(message.ComposeTSO(int64(i), 0)))
	}
	return b.String()
}

func base36(v uint64) string {
	s := ""
	for ; v > 0; v /= 36 {
		s = string("0123456789abcdefghijklmnopqrstuvwxyz"[v%36]) + s
	}
	return "0"[min(len(s), 1):] + s
}

func at(i int64) message.ID { return message.ID{Backend: message.BackendPulsar, A: 7, B: i} }

func TestRanges(t *testing.T) {
	id := func(i, off int64) source.Bound { return source.Bound{Kind: source.AtID, ID: at(i), Offset: off} }
	tick := func(i int64, off int64) source.Bound {
		return source.Bound{Kind: source.AtTimeTick, TimeTick: message.ComposeTSO(i, 0), Offset: off}
	}
	when := func(i int64) source.Bound { return source.Bound{Kind: source.AtTime, Time: time.UnixMilli(i)} }
	latest := source.Bound{Kind: source.AtID, ID: message.LatestID(), Offset: -10}
	for _, c := range []struct {
		name        string
		r           source.Range
		first, last int64 // −1 = nothing
	}{
		{"all", source.Range{}, 0, 99},
		{"limit", source.Range{Limit: 5}, 0, 4},
		{"ids are inclusive", source.Range{From: id(10, 0), To: id(20, 0)}, 10, 20},
		{"one", source.Range{From: id(10, 0), To: id(10, 0)}, 10, 10},
		{"offsets forward", source.Range{From: id(10, 3), To: id(20, 4)}, 13, 24},
		{"offsets back", source.Range{From: id(10, -3), To: id(20, -4)}, 7, 16},
		{"offset before the start", source.Range{From: id(1, -30), To: id(3, 0)}, 0, 3},
		{"earliest", source.Range{From: source.Bound{Kind: source.AtID, ID: message.EarliestID()}, Limit: 2}, 0, 1},
		{"the last ten", source.Range{From: latest}, 90, 99},
		{"all but the last ten", source.Range{To: latest}, 0, 89},
		{"timetick", source.Range{From: tick(10, 0), To: tick(15, 0)}, 10, 18}, // up to the TimeTick message above it
		{"at a timetick", source.Range{From: tick(10, 0), To: tick(19, 0)}, 10, 28},
		{"timetick with offsets", source.Range{From: tick(10, 1), To: tick(15, -1)}, 11, 17},
		{"time", source.Range{From: when(10), To: when(15)}, 10, 18},
		{"a time means its millisecond", source.Range{From: source.Bound{Kind: source.AtTime, Time: time.UnixMilli(10).Add(600 * time.Microsecond)}, Limit: 3}, 10, 12},
		{"behind the end", source.Range{From: id(1000, 0)}, -1, -1},
		{"before the start", source.Range{To: source.Bound{Kind: source.AtID, ID: message.EarliestID()}}, -1, -1},
		{"an id without knowing the backend", source.Range{
			From: source.Bound{Kind: source.AtID, ID: message.ID{Backend: message.BackendWoodpecker, A: 7, B: 98}},
		}, 98, 99},
		{"limit within a range", source.Range{From: id(10, 0), To: id(20, 0), Limit: 3}, 10, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			ms, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(lines(100))), c.r)
			require.Empty(t, errs)
			var got, want []int64
			for i := c.first; i >= 0 && i <= c.last; i++ {
				want = append(want, i)
			}
			for _, m := range ms {
				got = append(got, m.Ordinal)
			}
			require.Equal(t, want, got)
		})
	}
}

func TestBoundOfAnotherBackend(t *testing.T) {
	_, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(lines(3))), source.Range{
		To: source.Bound{Kind: source.AtID, ID: message.ID{Backend: message.BackendKafka, A: 7}},
	})
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], message.ErrBadID)
}

func TestCompressionIsToldByContent(t *testing.T) {
	text := []byte(lines(50))
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	zs := enc.EncodeAll(text, nil)
	require.NoError(t, enc.Close())
	for name, b := range map[string][]byte{
		"plain": text, "gzip": gz.Bytes(), "zstd": zs,
		"two gzip members": append(bytes.Clone(gz.Bytes()), gz.Bytes()...),
		"skippable frame":  append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, zs...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log") // the name tells nothing
			require.NoError(t, os.WriteFile(path, b, 0o600))
			s := jsonl.Open(path)
			ms, errs := readAll(t, s, source.Range{})
			require.Empty(t, errs)
			require.Len(t, ms, 50*(1+strings.Count(name, "two")))
			require.Equal(t, message.BackendPulsar, s.Describe().Backend)
			bounds, err := s.Bounds(context.Background())
			require.NoError(t, err)
			require.Equal(t, source.Bounds{First: at(0), Last: at(49), Records: int64(len(ms))}, bounds)
		})
	}
	for name, b := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs} {
		for _, cut := range []int{5, 6, 12, len(b) / 2, len(b) - 1} {
			_, errs := readAll(t, jsonl.FromReader(name, bytes.NewReader(b[:cut])), source.Range{})
			require.Len(t, errs, 2, "%s cut at %d", name, cut)
			var corrupt *source.CorruptError // a whole file ends with its checksum
			require.ErrorAs(t, errs[0], &corrupt, "%s cut at %d", name, cut)
			require.ErrorIs(t, errs[1], source.ErrTornTail, "%s cut at %d", name, cut)
		}
		bad := bytes.Clone(b)
		bad[len(bad)/2] ^= 0x55
		_, errs := readAll(t, jsonl.FromReader(name, bytes.NewReader(bad)), source.Range{})
		require.NotEmpty(t, errs, name)
	}
}

func TestDamagedLinesAreNamedAndTheRestIsRead(t *testing.T) {
	good := strings.SplitAfter(lines(4), "\n")
	long := `{"i":1,"id":"` + strings.Repeat("A", 65<<20) + `"}` + "\n"
	ids := func(raw, text string) string {
		return fmt.Sprintf(`{"i":1,"id":%q,"ids":%q,"props":{"_t":"1"}}`+"\n", raw, text)
	}
	for _, c := range []struct{ name, bad, place string }{
		{"no JSON", "x\n", "line 2 (byte 119)"},
		{"half a record", good[1][:40] + "\n", "line 2 (byte 119)"},
		{"no props", `{"i":1}` + "\n", "line 2 (byte 119)"},
		{"props is no object", `{"i":1,"ids":"1/2/3","props":[]}` + "\n", "line 2"},
		{"a property is no string", `{"i":1,"ids":"1/2/3","props":{"_t":1}}` + "\n", "line 2"},
		{"no ids", `{"i":1,"props":{"_t":"1"}}` + "\n", "line 2"},
		{"no id can be read", ids("???", "a/b/c"), "line 2"},
		{"id of another backend", ids("", "1/2"), "record 1"},
		{"not UTF-8", "{\"i\":1,\"ids\":\"1/2/3\",\"props\":{\"_t\":\"\xff\"}}\n", "line 2"},
		{"control character", "{\"i\":1,\"ids\":\"1/2/3\",\"props\":{\"_t\":\"\x01\"}}\n", "line 2"},
		{"too long", long, "line 2 (byte 119)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ms, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(good[0]+c.bad+good[2]+good[3])), source.Range{})
			require.Len(t, errs, 1)
			var corrupt *source.CorruptError
			require.ErrorAs(t, errs[0], &corrupt)
			require.Contains(t, corrupt.Place, c.place)
			require.Equal(t, "log", corrupt.Source)
			require.EqualValues(t, 1, corrupt.Lost)
			require.Len(t, ms, 3)
			require.Equal(t, at(2), ms[1].ID)
			_, errs = readAll(t, jsonl.FromReader("log", strings.NewReader(c.bad+good[0]+"x\n")), source.Range{})
			require.ErrorAs(t, errs[len(errs)-1], &corrupt)
			require.Equal(t, fmt.Sprintf("line 3 (byte %d)", len(c.bad)+len(good[0])), corrupt.Place)
		})
	}
}

func TestALogCutAnywhereIsTorn(t *testing.T) {
	text := lines(2)
	first := strings.Index(text, "\n")
	for cut := range len(text) {
		ms, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(text[:cut])), source.Range{})
		switch cut {
		case 0, first, first + 1, len(text) - 1: // between lines, or just their newline missing
			require.Empty(t, errs, cut)
		default:
			require.Len(t, errs, 1, cut)
			require.ErrorIs(t, errs[0], source.ErrTornTail, cut)
		}
		want := 0
		if cut >= first {
			want++
		}
		if cut == len(text)-1 {
			want++
		}
		require.Len(t, ms, want, cut)
	}
}

func TestSpellingsAreKept(t *testing.T) {
	text := `{"i":7,"id":"CAUQARgA","ids":"5/01/0","props":{"_lc":"CAUQARgA","_t":"1","_tt":"1","_v":"1","_z":"\u00e9<&>","_h":""},"payload":"AA=="}
{"schema":"walctl/v1","command":"inspect"}

{"props":{"_t":"1"},"ids":"5/2/0","payload":null,"d":{"payload_size":12}}
{"i":9,"id":"CAUQAhgAIAAwAA==","ids":"5/3/0","props":{}}
`
	ms, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(text)), everything)
	require.Empty(t, errs)
	require.Len(t, ms, 3)
	require.Equal(t, "CAUQARgA", ms[0].RawID())
	require.Equal(t, "CAUQARgA", ms[0].RawLastConfirmed())
	require.Equal(t, "5/01/0", ms[0].TextID())
	require.Equal(t, message.ID{Backend: message.BackendPulsar, A: 5, B: 1, Batch: -1}, ms[0].ID)
	require.EqualValues(t, 12, ms[1].PayloadSize)
	require.Nil(t, ms[1].Payload)
	require.EqualValues(t, 3, ms[1].Ordinal, "without an i: the line's")
	require.ErrorContains(t, ms[2].Defects[0], "names 5/2/0")
	var out bytes.Buffer
	w := jsonl.NewWriter(&out, jsonl.Options{Data: true})
	require.NoError(t, w.Write(ms[0]))
	require.NoError(t, w.Flush())
	require.Equal(t, parseFields(t, []byte(text[:strings.Index(text, "\n")]))[0], parseFields(t, out.Bytes())[0])
}

func TestPayloadIsBroughtWhereAsked(t *testing.T) {
	text := lines(1) + strings.Replace(lines(1), `"_t":"2"`, `"_t":"9"`, 1)
	for want, sizes := range map[source.Payload][2]int{source.PayloadNone: {0, 0}, source.PayloadDDL: {0, 3}, source.PayloadAll: {3, 3}} {
		ms, errs := readAll(t, jsonl.FromReader("log", strings.NewReader(text)), source.Range{Payload: want})
		require.Empty(t, errs)
		for i, m := range ms {
			require.Len(t, m.Payload, sizes[i])
			require.Equal(t, sizes[i] == 0, m.Payload == nil)
			require.EqualValues(t, 3, m.PayloadSize)
		}
		require.Nil(t, ms[0].Props, "an Insert's properties were not asked for")
		require.NotNil(t, ms[1].Props)
	}
}

func TestWithoutDataNoPayloadIsWritten(t *testing.T) {
	ms, _ := readAll(t, jsonl.FromReader("log", strings.NewReader(lines(1))), everything)
	var out bytes.Buffer
	w := jsonl.NewWriter(&out, jsonl.Options{})
	require.NoError(t, w.Write(ms[0]))
	require.NoError(t, w.Flush())
	require.NotContains(t, out.String(), `"payload":`)
	again, errs := readAll(t, jsonl.FromReader("log", &out), everything)
	require.Empty(t, errs)
	require.Equal(t, ms[0].PayloadSize, again[0].PayloadSize)
}

// stuck is a stream whose writer never writes; closing it ends the read.
type stuck struct{ closed chan struct{} }

func (s stuck) Read([]byte) (int, error) { <-s.closed; return 0, os.ErrClosed }
func (s stuck) Close() error             { close(s.closed); return nil }

func TestNextObeysItsContextAndClose(t *testing.T) {
	r, err := jsonl.FromReader("-", stuck{make(chan struct{})}).Open(context.Background(), source.Range{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = r.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ended := make(chan error)
	go func() {
		_, err := r.Next(context.Background())
		ended <- err
	}()
	require.NoError(t, r.Close())
	require.Error(t, <-ended)
	require.NoError(t, r.Close())
}

func TestAReaderClosedEarlyLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte(lines(20000)), 0o600))
	for i := range 50 {
		r, err := jsonl.Open(path).Open(context.Background(), source.Range{})
		require.NoError(t, err)
		for range i {
			_, err := r.Next(context.Background())
			require.NoError(t, err)
		}
		require.NoError(t, r.Close())
	}
}

func TestWhatIsNotThere(t *testing.T) {
	_, err := jsonl.Open(filepath.Join(t.TempDir(), "none")).Open(context.Background(), source.Range{})
	require.ErrorIs(t, err, source.ErrNotFound)
	s := jsonl.FromReader("-", strings.NewReader(""))
	_, err = s.Bounds(context.Background())
	require.ErrorIs(t, err, source.ErrConsumed)
	ms, errs := readAll(t, s, source.Range{})
	require.Empty(t, ms)
	require.Empty(t, errs)
	_, err = s.Open(context.Background(), source.Range{})
	require.ErrorIs(t, err, source.ErrConsumed)
}

func TestAReadThatFailsIsNoEnd(t *testing.T) {
	failing := io.MultiReader(strings.NewReader(lines(3)), errReader{})
	ms, errs := readAll(t, jsonl.FromReader("-", failing), source.Range{})
	require.Len(t, ms, 3)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], errBroken)
}

var errBroken = errors.New("broken pipe")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

// TestLongLinesDoNotPileUp reads many lines near the cap and holds the heap to a
// few of them.
func TestLongLinesDoNotPileUp(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: hundreds of megabytes are not read with -short")
	}
	line := strings.Replace(lines(1), "AAEC", strings.Repeat("AAEC", 4<<20), 1) // 16 MiB
	var text []io.Reader
	for range 30 {
		text = append(text, strings.NewReader(line))
	}
	r, err := jsonl.FromReader("log", io.MultiReader(text...)).Open(context.Background(), everything)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	n, most := 0, uint64(0)
	require.NoError(t, source.Each(context.Background(), r, func(m *message.Message) error {
		require.EqualValues(t, 12<<20, m.PayloadSize)
		n++
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		most = max(most, s.HeapAlloc)
		return nil
	}, nil))
	require.Equal(t, 30, n)
	require.Less(t, most, uint64(160<<20))
}
