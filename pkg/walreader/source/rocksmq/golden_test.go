package rocksmq_test

import (
	"encoding/json"
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

func disk(t testing.TB, name string) string {
	return sourcetest.Unpack(t, filepath.Join(golden.Log(t, name), "rocksmq.tar.zst"))
}

func open(t testing.TB, dir, topic string, o rocksmq.Options) *rocksmq.Source {
	t.Helper()
	s, err := rocksmq.Open(t.Context(), dir, topic, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
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

var goldenDisks = []string{"rmq-small", "rmq-v3-small", "v26-clean", "v26-kill9", "v26-ret-wal", "v0-a1"}

// A disk gives, topic by topic, what Milvus's own reader gave of it, and nothing on
// it changes.
func TestGoldenDisks(t *testing.T) {
	for _, name := range goldenDisks {
		t.Run(name, func(t *testing.T) {
			dir, logs := disk(t, name), logsOf(t, name)
			before := sourcetest.Sums(t, dir)
			topics, err := rocksmq.Topics(t.Context(), dir)
			require.NoError(t, err)
			for topic := range logs {
				require.Contains(t, topics, topic)
			}
			for topic, file := range logs {
				s := open(t, dir, topic, rocksmq.Options{})
				sourcetest.Whole(t, topic, s, sourcetest.Records(t, file))
			}
			require.Equal(t, before, sourcetest.Sums(t, dir))
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
	hidden := map[string][]sourcetest.Record{}
	for _, r := range sourcetest.Records(t, filepath.Join(golden.Log(t, "v26-ret-wal"), "hidden.jsonl.zst")) {
		hidden[r.Topic] = append(hidden[r.Topic], r)
	}
	require.Len(t, hidden, 2)
	for topic, file := range logsOf(t, "v26-ret-wal") {
		want := append(slices.Clone(hidden[topic]), sourcetest.Records(t, file)...)
		slices.SortStableFunc(want, func(a, b sourcetest.Record) int { return strings.Compare(a.IDs, b.IDs) })
		s := open(t, dir, topic, rocksmq.Options{IncludeDeleted: true})
		got, gaps, _ := sourcetest.Read(t, s, sourcetest.Everything())
		sourcetest.Same(t, topic, got, want)
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
			dir := sourcetest.Unpack(t, strings.TrimSuffix(file, ".expected.json")+".tar.zst")
			before := sourcetest.Sums(t, dir)
			for topic, n := range want.Intact {
				got, gaps, torn := sourcetest.Read(t, open(t, dir, topic, rocksmq.Options{}), sourcetest.Everything())
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
			require.Equal(t, before, sourcetest.Sums(t, dir))
		})
	}
}

// The suite every source passes.
func TestConformance(t *testing.T) {
	dir := disk(t, "rmq-small")
	want, _, _ := sourcetest.Read(t, open(t, dir, "by-dev-rootcoord-dml_0", rocksmq.Options{}), sourcetest.Everything())
	sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
		s, err := rocksmq.Open(t.Context(), dir, "by-dev-rootcoord-dml_0", rocksmq.Options{})
		require.NoError(t, err)
		return s
	}})
}
