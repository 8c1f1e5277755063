package walgen

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// faultLog is rich enough for every fault.
func faultLog(seed uint64) Config {
	return Config{Seed: seed, Messages: 6000, Terms: 3, Rate: 800, DDLRatio: 0.03, TxnRatio: 0.1, SegmentBytes: 16 << 10}
}

func TestRenumberKeepsACleanLog(t *testing.T) {
	for name, cfg := range configs() {
		ms := New(cfg).Messages()
		e := &edit{ms: append([]*message.Message(nil), ms...)}
		e.renumber()
		require.Equal(t, ms, e.ms, name)
	}
}

func TestEveryFaultHasAPlace(t *testing.T) {
	backends := []message.Backend{message.BackendPulsar, message.BackendWoodpecker, message.BackendKafka}
	for seed := range uint64(6) {
		cfg := faultLog(seed)
		cfg.Backend, cfg.Batches = backends[seed%3], seed == 3
		clean := New(cfg).Messages()
		require.Empty(t, check(clean))
		before := sumOf(clean)
		for _, f := range Faults() {
			ms, truth, err := Inject(clean, f, seed)
			require.NoError(t, err, "seed %d", seed)
			again, _, err := Inject(clean, f, seed)
			require.NoError(t, err)
			require.Equal(t, sumOf(ms), sumOf(again), f)
			require.NotEqual(t, before, sumOf(ms), f)
			require.Equal(t, before, sumOf(clean), "%s changed its input", f)
			require.NotEmpty(t, append(truth.TimeTicks, uint64(len(truth.IDs))), f)
			if f != DroppedEntry {
				at := map[message.ID]bool{}
				for _, m := range ms {
					at[m.ID] = true
				}
				for _, id := range truth.IDs {
					require.True(t, at[id], "%s: %s is not in the log", f, id)
				}
			}
		}
	}
}

func sumOf(ms []*message.Message) (s uint64) {
	for _, m := range ms {
		s = s*31 + message.ComputeChecksum(m.Props, m.Payload) + uint64(m.ID.A*1000003+m.ID.B*7+int64(m.ID.Batch)) + uint64(m.Ordinal)
	}
	return s
}

// TestPlainFaultsAreSeen holds faults against the plain checker: those it has a
// rule for.
func TestPlainFaultsAreSeen(t *testing.T) {
	for seed := range uint64(4) {
		clean := New(faultLog(seed)).Messages()
		for _, f := range []Fault{StaleWriter, RetryDuplicate, EarlyTimeTick, TimeTickRegression, LostBegin, ExpiredTxn,
			LostSegment, EqualTimeTick, LastConfirmedAhead, BadHeader, NoTimeTick, InsertAfterFlush, BarrierAhead, TermBack} {
			ms, truth, err := Inject(clean, f, seed)
			require.NoError(t, err)
			require.NotEmpty(t, check(ms), "%s at %v", f, truth.IDs)
		}
		for _, f := range Faults() {
			if f.Traceless() {
				ms, truth, err := Inject(clean, f, seed)
				require.NoError(t, err)
				require.Empty(t, check(ms), "%s at %v leaves a trace", f, truth.IDs)
			}
		}
	}
}
