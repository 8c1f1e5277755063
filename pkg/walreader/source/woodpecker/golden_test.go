package woodpecker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
	"github.com/walctl/walctl/pkg/walreader/source/woodpecker"
)

func disk(t testing.TB, name string) string {
	return sourcetest.Unpack(t, filepath.Join(golden.Log(t, name), "segments.tar.zst"))
}

// open opens the one log of a place.
func open(t testing.TB, path string) *woodpecker.Source {
	t.Helper()
	logs, err := woodpecker.Logs(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, logs, 1)
	s, err := woodpecker.Open(t.Context(), path, logs[0], "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// A disk gives what Milvus's own reader gave of it, with and without Woodpecker's
// metadata, and nothing on it changes.
func TestGoldenDisks(t *testing.T) {
	names := map[string][2]string{"live-woodpecker": {"by-dev-rootcoord-dml_2", "by-dev-rootcoord-dml_2"}, "wp-v6-clean": {"by-dev-rootcoord-dml_0", "by-dev-rootcoord-dml_4"}}
	for name, called := range names {
		for i, with := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, metadata %v", name, with), func(t *testing.T) {
				dir := disk(t, name)
				if with {
					require.NoError(t, os.WriteFile(filepath.Join(dir, "etcd.json"), golden.Read(t, filepath.Join(golden.Log(t, name), "etcd.json")), 0o600))
				}
				before := sourcetest.Sums(t, dir)
				s := open(t, dir)
				require.Equal(t, called[i], s.Describe().PChannel)
				got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
				want := sourcetest.Records(t, filepath.Join(golden.Log(t, name), "wal.jsonl.zst"))
				sourcetest.Same(t, "the log", got, want)
				require.Empty(t, gaps)
				require.False(t, torn)
				truncated := 0
				for _, m := range got {
					require.False(t, m.Has(message.InBadBlock) || m.Has(message.Unacknowledged))
					if m.Has(message.Deleted) {
						truncated++
						require.False(t, id(5, 30).Less(m.ID), "id %s", m.ID)
					}
				}
				require.Equal(t, with && name == "live-woodpecker", truncated > 0)
				b, err := s.Bounds(t.Context())
				require.NoError(t, err)
				require.Equal(t, [2]string{want[0].IDs, want[len(want)-1].IDs}, [2]string{b.First.String(), b.Last.String()})
				require.Equal(t, source.Lacks{}, b.Lacks)
				require.Equal(t, before, sourcetest.Sums(t, dir))
			})
		}
	}
}

func id(segment, entry int64) message.ID {
	return message.ID{Backend: message.BackendWoodpecker, A: segment, B: entry}
}

// spread lists the entries of ranges.
func spread(ranges [][2]int64) (out []int64) {
	for _, r := range ranges {
		for e := r[0]; e <= r[1]; e++ {
			out = append(out, e)
		}
	}
	return out
}

// A damaged segment gives exactly what is intact in it, and says of each entry whether
// the block around it is, and how many are lost.
func TestTornSegments(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(golden.Log(t, "wp-torn"), "*.expected.json"))
	require.NoError(t, err)
	require.Len(t, files, 8)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".expected.json"), func(t *testing.T) {
			var want struct {
				Segment    int64
				Intact     [][2]int64 `json:"intact_entries"`
				Lost       [][2]int64 `json:"lost_entries"`
				InBadBlock [][2]int64 `json:"intact_in_bad_blocks"`
				Gaps       []struct{ Start, End int64 }
			}
			require.NoError(t, json.Unmarshal(golden.Read(t, file), &want))
			dir := sourcetest.Unpack(t, strings.TrimSuffix(file, ".expected.json")+".tar.zst")
			before := sourcetest.Sums(t, dir)
			got, gaps, torn := sourcetest.Read(t, open(t, dir), sourcetest.Everything())
			var intact, inBad []int64
			for _, m := range got {
				require.Equal(t, want.Segment, m.ID.A)
				intact = append(intact, m.ID.B)
				if m.Has(message.InBadBlock) {
					inBad = append(inBad, m.ID.B)
				}
			}
			require.Equal(t, spread(want.Intact), intact)
			require.Equal(t, spread(want.InBadBlock), inBad)
			require.False(t, torn)
			lost := int64(0)
			for _, g := range gaps {
				lost += g.Lost
			}
			require.EqualValues(t, len(spread(want.Lost)), lost)
			require.Len(t, gaps, 1)
			for _, g := range want.Gaps {
				require.ErrorContains(t, gaps[0], fmt.Sprintf("bytes %d to %d", g.Start, g.End-1))
			}
			require.Equal(t, before, sourcetest.Sums(t, dir))
			start, err := open(t, dir).Start(t.Context())
			require.NoError(t, err)
			switch name := filepath.Base(file); name[0] {
			case 'b':
				require.Equal(t, [2]any{source.StartSkips, int64(269)}, [2]any{start.Outcome, start.Loses})
			case 'i':
				require.Equal(t, [2]any{source.StartSkips, int64(272)}, [2]any{start.Outcome, start.Loses})
			default:
				require.Equal(t, source.StartHangs, start.Outcome, name)
			}
		})
	}
}

// One segment, and one file of it, are read by themselves.
func TestPartsOfALog(t *testing.T) {
	dir := disk(t, "live-woodpecker")
	for _, part := range []string{"wp", "wp/files/wp", "wp/files/wp/1"} {
		got, _, _ := sourcetest.Read(t, open(t, filepath.Join(dir, part)), sourcetest.Everything())
		require.Len(t, got, 617, part)
	}
	for _, part := range []string{"wp/files/wp/1/5", "wp/files/wp/1/5/data.log"} {
		s := open(t, filepath.Join(dir, part))
		got, gaps, _ := sourcetest.Read(t, s, sourcetest.Everything())
		require.Empty(t, gaps)
		require.Equal(t, "5/0", got[0].ID.String())
		require.Equal(t, "by-dev-rootcoord-dml_2", s.Describe().PChannel)
	}
}

// The suite every source passes.
func TestConformance(t *testing.T) {
	dir := disk(t, "live-woodpecker")
	want, _, _ := sourcetest.Read(t, open(t, dir), sourcetest.Everything())
	sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
		logs, err := woodpecker.Logs(t.Context(), dir)
		require.NoError(t, err)
		s, err := woodpecker.Open(t.Context(), dir, logs[0], "")
		require.NoError(t, err)
		return s
	}})
}
