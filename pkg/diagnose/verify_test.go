package diagnose

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func verifyGolden(t testing.TB, name string, opts VerifyOptions) *VerifyReport {
	t.Helper()
	ctx := context.Background()
	rd, err := source.OpenColumns(ctx, jsonl.Open(golden.WAL(t, name)), source.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	r, err := Verify(ctx, rd, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// golden logs that are not sound, and what verify has to say above info.
var unsound = map[string]map[string]int64{
	"5k-faults":         {"retry-duplicate": 88},
	"v3-5k-mix":         {"retry-duplicate": 58},
	"live-stale-writer": {"stale-writer": 88, "vchannel-unborn": 2, "torn-transaction": 1, "insert-outside-segment": 1},
}

func TestVerifyGolden(t *testing.T) {
	for _, name := range golden.Names(t) {
		if name == "wp-v6-clean" { // one WAL written twice into one log, for the file format only
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := verifyGolden(t, name, VerifyOptions{ListDropped: true})
			got := map[string]int64{}
			for _, f := range r.Findings {
				if f.Severity > SeverityInfo {
					got[f.Code] += f.Count
				}
				if Lookup(f.Code).Code == "" || f.Meaning == "" {
					t.Errorf("finding %s has no explanation", f.Code)
				}
			}
			want := unsound[name]
			if want == nil {
				want = map[string]int64{}
			}
			require.Equal(t, want, got)
			require.Equal(t, 1, r.Unchecked, "all but the checkpoint's invariant")
		})
	}
}

// TestVerifyStaleWriter: the 87 messages that every later reader drops.
func TestVerifyStaleWriter(t *testing.T) {
	r := verifyGolden(t, "live-stale-writer", VerifyOptions{ListDropped: true})
	require.EqualValues(t, 87, r.Dropped.Messages)
	require.Len(t, r.Dropped.List, 87)
	require.EqualValues(t, 723, r.Dropped.Rows+r.Dropped.Deletes)
	var again DroppedSummary
	for _, d := range r.Dropped.List {
		again.add(d.VChannel, d.Type, d.Rows)
		require.Less(t, d.TimeTick, d.Behind)
	}
	again.List = r.Dropped.List
	require.Equal(t, again, r.Dropped)
}

// TestEveryCheckIsExplained: the registry and the texts name the same codes.
func TestEveryCheckIsExplained(t *testing.T) {
	for _, c := range Checks() {
		require.NotEmpty(t, Lookup(c.Code).Do, c.Code)
	}
}
