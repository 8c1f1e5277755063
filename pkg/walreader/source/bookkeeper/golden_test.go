package bookkeeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/bookkeeper"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// unpack lays a golden disk out anew and returns its top.
func unpack(t testing.TB, name, which string) string {
	t.Helper()
	return sourcetest.Unpack(t, golden.File(t, name, which+".tar.zst"))
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
				before := sourcetest.Sums(t, bookie)
				for log, file := range logsOf(t, name) {
					if log == "by-dev-replicate-msg" && !with {
						continue // no message in it names it
					}
					s := open(t, place, log, bookkeeper.Options{})
					sourcetest.Whole(t, log, s, sourcetest.Records(t, file))
				}
				require.Equal(t, before, sourcetest.Sums(t, bookie))
			})
		}
	}
}

// An entry log alone and a journal alone give the same as both.
func TestEitherFile(t *testing.T) {
	want := sourcetest.Records(t, golden.WAL(t, "live-pulsar"))
	for _, without := range []string{"*.txn", "*.log"} {
		bookie := unpack(t, "live-pulsar", "bookie")
		remove(t, filepath.Join(bookie, "current", without))
		got, gaps, torn := sourcetest.Read(t, open(t, bookie, "", bookkeeper.Options{}), sourcetest.Everything())
		sourcetest.Same(t, "without "+without, got, want)
		require.Empty(t, gaps)
		require.False(t, torn)
	}
}
