package diagnose

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestTimeTicksGolden(t *testing.T) {
	for _, name := range golden.Names(t) {
		if name == "wp-v6-clean" {
			continue // one WAL written twice into one log, for the file format only
		}
		r, err := TimeTicks(context.Background(), columnsOf(goldenMessages(t, name)), TickOptions{})
		require.NoError(t, err)
		require.Empty(t, aboveInfo(r.Findings), name)
		require.NotZero(t, r.TimeTicks, name)
		for _, x := range r.Stretches {
			require.Equal(t, TickIdle, x.State, name)
		}
	}
}

// aboveInfo lists the codes that make a log unsound. Milvus's own last confirmed ids
// pass open transactions at every opening: a warning, on logs that are sound.
func aboveInfo(all []Finding) []string {
	var codes []string
	for _, f := range all {
		if f.Severity > SeverityInfo && (f.Code != "last-confirmed-broken" || f.Severity > SeverityWarning) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// TestTimeTicksFaults: generated logs keep time; each that lost its TimeTicks is
// found, at the place.
func TestTimeTicksFaults(t *testing.T) {
	lost := 0
	for seed := range uint64(10) {
		clean := walgen.New(walgen.Config{Seed: seed, Messages: 6000, Terms: 3, Rate: 800, DDLRatio: 0.03, TxnRatio: 0.1, SegmentBytes: 16 << 10}).Messages()
		r, err := TimeTicks(context.Background(), columnsOf(clean), TickOptions{})
		require.NoError(t, err)
		require.Empty(t, aboveInfo(r.Findings), "seed %d", seed)
		broken, truth, err := walgen.Inject(clean, walgen.MissingTimeTick, seed)
		require.NoError(t, err)
		r, err = TimeTicks(context.Background(), columnsOf(broken), TickOptions{})
		require.NoError(t, err)
		codes := aboveInfo(r.Findings)
		if r.LongestWait >= 1 && !slices.Contains(codes, "timetick-lost") && !slices.Contains(codes, "timetick-stalled") {
			t.Errorf("seed %d: %d TimeTicks taken away over %d ms, longest wait %.3f s: %v", seed, len(truth.TimeTicks),
				message.PhysicalMillis(truth.TimeTicks[len(truth.TimeTicks)-1])-message.PhysicalMillis(truth.TimeTicks[0]), r.LongestWait, codes)
		}
		if slices.Contains(codes, "timetick-lost") {
			lost++
		}
	}
	require.NotZero(t, lost, "told from stalled by what last confirmed ids prove")
}
