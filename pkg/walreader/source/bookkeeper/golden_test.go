package bookkeeper_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/bookkeeper"
)

// unpack lays a golden disk out anew and returns its top.
func unpack(t testing.TB, name, which string) string {
	t.Helper()
	path := filepath.Join(golden.Log(t, name), which+".tar.zst")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(golden.Dir(), "../../../shared/golden", name, which+".tar.zst")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: the disk of golden log %s is too large for testdata/golden; name a directory that has it in %s", name, golden.FurtherEnv)
	}
	dir := t.TempDir()
	in := tar.NewReader(bytes.NewReader(golden.Read(t, path)))
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

// record is a golden record's line.
type record struct {
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

// open opens the log of a name; "" is the only one.
func open(t testing.TB, place, name string, o bookkeeper.Options) *bookkeeper.Source {
	t.Helper()
	logs, err := bookkeeper.Backend().Logs(t.Context(), place, source.Options{})
	require.NoError(t, err)
	for _, l := range logs {
		if l.Name == name || name == "" && len(logs) == 1 {
			s, err := bookkeeper.Open(t.Context(), place, l, o)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			return s
		}
	}
	require.FailNow(t, "no such log", "%s among %v", name, logs)
	return nil
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

func same(t testing.TB, what string, got []*message.Message, want []record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if r := asRecord(got[i]); fmt.Sprint(r) != fmt.Sprint(want[i]) {
			require.FailNow(t, what, "record %d is\n%.400v\nwant\n%.400v", i, r, want[i])
		}
	}
	require.Equal(t, len(want), len(got), what)
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
		st, _ := e.Info()
		out[path] = fmt.Sprintf("%x %s %s", sha256.Sum256(b), st.ModTime(), st.Mode())
		return err
	}))
	return out
}

// remove takes the files of a pattern off a disk.
func remove(t testing.TB, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
}

// logsOf lists a golden disk's logs with the file that says what is in each.
func logsOf(t testing.TB, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(golden.Log(t, name), "wal", "*.jsonl.zst"))
	require.NoError(t, err)
	for _, f := range files {
		out[strings.TrimSuffix(filepath.Base(f), ".jsonl.zst")] = f
	}
	if len(out) == 0 {
		out[""] = golden.WAL(t, name)
	}
	return out
}

// A bookie's disk gives what a reader got of the broker, ids and all, whether the
// broker's metadata lies beside it or not, and nothing on it changes.
func TestGoldenDisks(t *testing.T) {
	for _, name := range []string{"live-pulsar", "live-stale-writer", "v0-pulsar"} {
		for _, with := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, metadata %v", name, with), func(t *testing.T) {
				bookie := unpack(t, name, "bookie")
				place := bookie
				if with {
					place += "," + unpack(t, name, "meta")
				}
				before := sums(t, bookie)
				for log, file := range logsOf(t, name) {
					if log == "by-dev-replicate-msg" && !with {
						continue // no message in it names it
					}
					s := open(t, place, log, bookkeeper.Options{})
					got, gaps, torn := read(t, s, everything())
					want := lines(t, file)
					same(t, log, got, want)
					require.Empty(t, gaps)
					require.False(t, torn)
					b, err := s.Bounds(t.Context())
					require.NoError(t, err)
					require.Equal(t, [2]string{want[0].IDs, want[len(want)-1].IDs}, [2]string{b.First.String(), b.Last.String()})
					require.Equal(t, source.Lacks{}, b.Lacks)
				}
				require.Equal(t, before, sums(t, bookie))
			})
		}
	}
}

// An entry log alone and a journal alone give the same as both.
func TestEitherFile(t *testing.T) {
	want := lines(t, golden.WAL(t, "live-pulsar"))
	for _, without := range []string{"*.txn", "*.log"} {
		bookie := unpack(t, "live-pulsar", "bookie")
		remove(t, filepath.Join(bookie, "current", without))
		got, gaps, torn := read(t, open(t, bookie, "", bookkeeper.Options{}), everything())
		same(t, "without "+without, got, want)
		require.Empty(t, gaps)
		require.False(t, torn)
	}
}
