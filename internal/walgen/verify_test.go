package walgen

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func verify(t testing.TB, ms []*message.Message) *diagnose.VerifyReport {
	t.Helper()
	r, err := source.OpenColumns(context.Background(), SliceSource("by-dev-rootcoord-dml_0", ms), source.Range{})
	require.NoError(t, err)
	rep, err := diagnose.Verify(context.Background(), r, diagnose.VerifyOptions{ListDropped: true})
	require.NoError(t, err)
	return rep
}

// TestVerifyIsSilentOnCleanLogs: nothing above info.
func TestVerifyIsSilentOnCleanLogs(t *testing.T) {
	for name, cfg := range configs() {
		for seed := range uint64(6) {
			cfg.Seed = seed
			for _, f := range verify(t, New(cfg).Messages()).Findings {
				if f.Severity > diagnose.SeverityInfo {
					t.Errorf("%s seed %d: %s %s %v %v", name, seed, f.Severity, f.Code, f.Where, f.Evidence)
				}
			}
		}
	}
}

// TestVerifyFindsEveryFault holds the code each fault is told by, docs/faults.md.
func TestVerifyFindsEveryFault(t *testing.T) {
	want := map[Fault]string{
		StaleWriter: "stale-writer", RetryDuplicate: "retry-duplicate", EarlyTimeTick: "behind-timetick",
		TimeTickRegression: "timetick-regress", LostBegin: "torn-transaction", ExpiredTxn: "transaction-late-part",
		DroppedEntry: "ledger-hole", LostSegment: "insert-outside-segment", EqualTimeTick: "duplicate-timetick",
		LastConfirmedBack: "last-confirmed-regress", LastConfirmedAhead: "last-confirmed-broken",
		UnknownType: "unknown-type", BadHeader: "bad-envelope", NoTimeTick: "bad-envelope", NotPersisted: "bad-envelope",
		InsertAfterFlush: "insert-outside-segment", InsertAfterSeal: "insert-outside-segment",
		InsertAfterDrop: "vchannel-after-drop", DroppedPartition: "insert-outside-segment", BarrierAhead: "barrier-ahead", ForeignBroadcast: "broadcast-mismatch",
		TermBack: "stale-writer",
	}
	for seed := range uint64(6) {
		clean := New(faultLog(seed)).Messages()
		for _, f := range Faults() {
			ms, truth, err := Inject(clean, f, seed)
			require.NoError(t, err)
			rep := verify(t, ms)
			var codes []string
			for _, x := range rep.Findings {
				if x.Severity > diagnose.SeverityInfo {
					codes = append(codes, x.Code)
				}
			}
			if f == MissingTimeTick { // the timetick command's; the next one's last confirmed id can tell too
				codes = slices.DeleteFunc(codes, func(c string) bool { return c == "last-confirmed-regress" })
			}
			if f.Traceless() || f == MissingTimeTick {
				require.Empty(t, codes, "%s at %v", f, truth.IDs)
				continue
			}
			if f == DroppedPartition && slices.Contains(codes, "unknown-partition") {
				continue // told by either rule
			}
			require.True(t, slices.Contains(codes, want[f]), "seed %d: %s at %v found as %v", seed, f, truth.IDs, codes)
			if f == StaleWriter {
				requireDropped(t, truth, rep)
			}
		}
	}
}

// requireDropped: exactly the zombie's messages are listed as dropped.
func requireDropped(t *testing.T, truth Injected, rep *diagnose.VerifyReport) {
	t.Helper()
	var got []message.ID
	for _, d := range rep.Dropped.List {
		got = append(got, d.ID)
	}
	require.ElementsMatch(t, truth.IDs, got)
}

func timeTicks(t *testing.T, ms []*message.Message) *diagnose.TickReport {
	t.Helper()
	r, err := source.OpenColumns(context.Background(), SliceSource("by-dev-rootcoord-dml_0", ms), source.Range{})
	require.NoError(t, err)
	rep, err := diagnose.TimeTicks(context.Background(), r, diagnose.TickOptions{})
	require.NoError(t, err)
	return rep
}

// TestTimeTicksTellsMissingFromIdle: pauses nobody wrote in are healthy, a
// stretch with data and no TimeTick is not.
func TestTimeTicksTellsMissingFromIdle(t *testing.T) {
	for name, cfg := range configs() {
		rep := timeTicks(t, New(cfg).Messages())
		for _, f := range rep.Findings {
			require.LessOrEqual(t, f.Severity, diagnose.SeverityInfo, "%s: %s %v", name, f.Code, f.Where)
		}
		require.Zero(t, rep.Regressions, name)
	}
	for seed := range uint64(6) {
		clean := New(faultLog(seed)).Messages()
		ms, truth, err := Inject(clean, MissingTimeTick, seed)
		require.NoError(t, err)
		rep, worst := timeTicks(t, ms), diagnose.SeverityInfo
		for _, f := range rep.Findings {
			worst = max(worst, f.Severity)
		}
		require.Greater(t, worst, diagnose.SeverityInfo, "seed %d: %d TimeTicks taken at %v; %v", seed, len(truth.TimeTicks), truth.IDs, rep.Findings)
	}
}
