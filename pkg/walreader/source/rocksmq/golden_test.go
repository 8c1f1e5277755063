package rocksmq_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/rocksmq"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// unpack lays a golden disk out anew and returns its top.
func unpack(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	in := tar.NewReader(bytes.NewReader(golden.Read(t, archive)))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		require.NoError(t, err)
		path := filepath.Join(dir, filepath.Clean(h.Name))
		if h.FileInfo().IsDir() {
			require.NoError(t, os.MkdirAll(path, 0o700))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		b, err := io.ReadAll(in)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
}

func disk(t testing.TB, name string) string {
	return unpack(t, filepath.Join(golden.Log(t, name), "rocksmq.tar.zst"))
}

// record is a golden record's line.
type record struct {
	Topic   string            `json:"topic"`
	ID      string            `json:"id"`
	IDs     string            `json:"ids"`
	Props   map[string]string `json:"props"`
	Payload string            `json:"payload"`
}

func lines(t testing.TB, path string) []record {
	t.Helper()
	var out []record
	d := json.NewDecoder(bytes.NewReader(golden.Read(t, path)))
	for {
		var r record
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, r)
	}
}

func asRecord(m *message.Message) record {
	r := record{ID: m.RawID(), IDs: m.TextID(), Props: map[string]string{}, Payload: base64.StdEncoding.EncodeToString(m.Payload)}
	for _, p := range m.Props {
		r.Props[p.Key] = p.Value
	}
	return r
}

func open(t testing.TB, dir, topic string, o rocksmq.Options) *rocksmq.Source {
	t.Helper()
	s, err := rocksmq.Open(t.Context(), dir, topic, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func everything() source.Range { return source.Range{Props: true, Payload: source.PayloadAll} }

// read returns all that a log gives: its messages and what it says is missing.
func read(t testing.TB, s source.Source, r source.Range) (out []*message.Message, gaps []*source.CorruptError, torn bool) {
	t.Helper()
	rd, err := s.Open(t.Context(), r)
	require.NoError(t, err)
	defer func() { require.NoError(t, rd.Close()) }()
	err = source.Each(t.Context(), rd, func(m *message.Message) error { out = append(out, m); return nil },
		func(c *source.CorruptError) error { gaps = append(gaps, c); return nil })
	if torn = errors.Is(err, source.ErrTornTail); !torn {
		require.NoError(t, err)
	}
	return out, gaps, torn
}

// logsOf lists a golden disk's topics with the file that says what is in each.
func logsOf(t testing.TB, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(golden.Log(t, name), "wal", "*.jsonl.zst"))
	require.NoError(t, err)
	for _, f := range files {
		out[strings.TrimSuffix(filepath.Base(f), ".jsonl.zst")] = f
	}
	if len(out) == 0 {
		out["by-dev-rootcoord-dml_0"] = filepath.Join(golden.Log(t, name), "wal.jsonl.zst")
	}
	return out
}

// sums are the checksums of every file below a directory.
func sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		st, _ := e.Info()
		out[path] = hex.EncodeToString(sum[:]) + " " + st.ModTime().String() + st.Mode().String()
		return err
	}))
	return out
}

func same(t *testing.T, what string, got []*message.Message, want []record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		w := want[i]
		w.Topic = ""
		if r := asRecord(got[i]); fmt.Sprint(r) != fmt.Sprint(w) {
			t.Fatalf("%s: record %d is\n%.400v\nwant\n%.400v", what, i, r, w)
		}
	}
	require.Equal(t, len(want), len(got), what)
}

var goldenDisks = []string{"rmq-small", "rmq-v3-small", "v26-clean", "v26-kill9", "v26-ret-wal", "v0-a1"}

// A disk gives, topic by topic, what Milvus's own reader gave of it, and nothing on
// it changes.
func TestGoldenDisks(t *testing.T) {
	for _, name := range goldenDisks {
		t.Run(name, func(t *testing.T) {
			dir, logs := disk(t, name), logsOf(t, name)
			before := sums(t, dir)
			topics, err := rocksmq.Topics(t.Context(), dir)
			require.NoError(t, err)
			for topic := range logs {
				require.Contains(t, topics, topic)
			}
			for topic, file := range logs {
				s := open(t, dir, topic, rocksmq.Options{})
				got, gaps, torn := read(t, s, everything())
				want := lines(t, file)
				same(t, topic, got, want)
				require.Empty(t, gaps)
				require.False(t, torn)
				b, err := s.Bounds(t.Context())
				require.NoError(t, err)
				require.Equal(t, [2]string{want[0].IDs, want[len(want)-1].IDs}, [2]string{b.First.String(), b.Last.String()})
				require.Equal(t, source.Lacks{}, b.Lacks)
			}
			require.Equal(t, before, sums(t, dir))
		})
	}
}

// The rows are those that RocksDB's own tool dumps, key by key and value by value.
func TestAgreesWithRocksDB(t *testing.T) {
	for _, name := range goldenDisks {
		t.Run(name, func(t *testing.T) {
			dir := disk(t, name)
			dump := strings.Split(strings.TrimSpace(string(golden.Read(t, filepath.Join(golden.Log(t, name), "rdb_data.ldb-scan-hex.zst")))), "\n")
			rows, err := rocksmq.Rows(t.Context(), dir)
			require.NoError(t, err)
			for i, line := range dump {
				require.Equal(t, line, rows[i])
			}
			require.Len(t, rows, len(dump))
		})
	}
}

// Messages that retention deleted are read when asked for, and only then.
func TestDeleted(t *testing.T) {
	dir := disk(t, "v26-ret-wal")
	hidden := map[string][]record{}
	for _, r := range lines(t, filepath.Join(golden.Log(t, "v26-ret-wal"), "hidden.jsonl.zst")) {
		hidden[r.Topic] = append(hidden[r.Topic], r)
	}
	require.Len(t, hidden, 2)
	for topic, file := range logsOf(t, "v26-ret-wal") {
		want := append(slices.Clone(hidden[topic]), lines(t, file)...)
		slices.SortStableFunc(want, func(a, b record) int { return strings.Compare(a.IDs, b.IDs) })
		s := open(t, dir, topic, rocksmq.Options{IncludeDeleted: true})
		got, gaps, _ := read(t, s, everything())
		same(t, topic, got, want)
		require.Empty(t, gaps)
		deleted := 0
		for _, m := range got {
			if m.Has(message.Deleted) {
				deleted++
			}
		}
		require.Len(t, hidden[topic], deleted)
		b, err := s.Bounds(t.Context())
		require.NoError(t, err)
		require.Equal(t, want[0].IDs, b.First.String())
	}
}

// A damaged disk gives what is intact on it, with what its sequence numbers say is
// missing.
func TestTornDisks(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(golden.Log(t, "rmq-torn"), "*.expected.json"))
	require.NoError(t, err)
	further, _ := filepath.Glob(filepath.Join(golden.Dir(), "../../../shared/golden/rmq-torn/*.expected.json"))
	for _, file := range further {
		if !slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) == filepath.Base(file) }) {
			files = append(files, file)
		}
	}
	require.NotEmpty(t, files)
	for _, file := range files {
		var want struct {
			Name    string
			Written map[string]int
			Intact  map[string]int `json:"intact_on_disk"`
			Gaps    [][2]int64     `json:"wal_sequence_gaps"`
			Damaged []string       `json:"damaged"`
		}
		require.NoError(t, json.Unmarshal(golden.Read(t, file), &want))
		t.Run(want.Name, func(t *testing.T) {
			dir := unpack(t, strings.TrimSuffix(file, ".expected.json")+".tar.zst")
			before := sums(t, dir)
			for topic, n := range want.Intact {
				got, gaps, torn := read(t, open(t, dir, topic, rocksmq.Options{}), everything())
				require.Equal(t, n, len(got), topic)
				require.False(t, torn)
				lost := int64(0)
				for _, g := range gaps {
					t.Log(g)
					lost += g.Lost
				}
				require.EqualValues(t, want.Written[topic]-n, lost, topic)
				require.Equal(t, want.Written[topic] > n, len(gaps) == 1)
			}
			require.Equal(t, before, sums(t, dir))
		})
	}
}

// The suite every source passes.
func TestConformance(t *testing.T) {
	dir := disk(t, "rmq-small")
	want, _, _ := read(t, open(t, dir, "by-dev-rootcoord-dml_0", rocksmq.Options{}), everything())
	sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
		s, err := rocksmq.Open(t.Context(), dir, "by-dev-rootcoord-dml_0", rocksmq.Options{})
		require.NoError(t, err)
		return s
	}})
}
