package sourcetest

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
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Unpack lays out a golden disk (a .tar.zst) anew and returns its top.
func Unpack(t testing.TB, archive string) string {
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
		require.NoError(t, os.Chtimes(path, h.ModTime, h.ModTime))
	}
}

// Record is a golden record's line.
type Record struct {
	Topic   string            `json:"topic"`
	ID      string            `json:"id"`
	IDs     string            `json:"ids"`
	Props   map[string]string `json:"props"`
	Payload string            `json:"payload"`
}

// Records reads a file of golden records.
func Records(t testing.TB, path string) []Record {
	t.Helper()
	var out []Record
	d := json.NewDecoder(bytes.NewReader(golden.Read(t, path)))
	for {
		var r Record
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, r)
	}
}

// Same holds messages against golden records, byte for byte; what names the log.
func Same(t testing.TB, what string, got []*message.Message, want []Record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		w, m := want[i], got[i]
		w.Topic = ""
		r := Record{ID: m.RawID(), IDs: m.TextID(), Props: map[string]string{}, Payload: base64.StdEncoding.EncodeToString(m.Payload)}
		for _, p := range m.Props {
			r.Props[p.Key] = p.Value
		}
		if fmt.Sprint(r) != fmt.Sprint(w) {
			require.FailNow(t, what, "record %d is\n%.400v\nwant\n%.400v", i, r, w)
		}
	}
	require.Equal(t, len(want), len(got), what)
}

// Everything is the range of all there is, whole.
func Everything() source.Range { return source.Range{Props: true, Payload: source.PayloadAll} }

// Read returns all that a range gives: its messages and what it says is missing.
func Read(t testing.TB, s source.Source, r source.Range) (out []*message.Message, gaps []*source.CorruptError, torn bool) {
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

// Whole holds a source against all records of a log: each is read, nothing is missing
// or torn, and the ends are the first and the last one.
func Whole(t testing.TB, what string, s source.Source, want []Record) {
	t.Helper()
	got, gaps, torn := Read(t, s, Everything())
	Same(t, what, got, want)
	require.Empty(t, gaps)
	require.False(t, torn)
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, [2]string{want[0].IDs, want[len(want)-1].IDs}, [2]string{b.First.String(), b.Last.String()})
	require.Equal(t, source.Lacks{}, b.Lacks)
}

// Sums are the checksum, time and mode of every file below a directory: equal
// where nothing was written there.
func Sums(t testing.TB, dir string) map[string]string {
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
