package diagnose

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestPositionSoon(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	id := message.ID{Backend: message.BackendPulsar, A: 12, B: 3}
	for name, c := range map[string]struct {
		in    Lifetime
		worst Severity
		says  string // "" = no finding
	}{
		"kept for ever":             {Lifetime{Position: id}, 0, ""},
		"the next trim":             {Lifetime{Position: id, At: now.Add(-time.Hour)}, SeverityCritical, "the whole log, lies in a closed ledger that goes when the broker next trims"},
		"within a day":              {Lifetime{Position: id, At: now.Add(23 * time.Hour), Checkpoint: true}, SeverityCritical, "recovery starts from lies in a closed ledger that goes in 23 hours"},
		"in three days":             {Lifetime{Position: id, At: now.Add(72 * time.Hour)}, SeverityWarning, "goes in 3 days"},
		"older ledgers, unknown":    {Lifetime{Position: id, Expired: 2, Ledgers: 3}, SeverityCritical, "2 of its ledgers are past"},
		"one older ledger":          {Lifetime{Position: id, Expired: 1, Ledgers: 3}, SeverityCritical, "1 of its ledgers is past"},
		"older than the checkpoint": {Lifetime{Position: id, Expired: 2, Ledgers: 3, Checkpoint: true}, 0, ""},
	} {
		c.in.WAL = "dml_3"
		got := PositionSoon(c.in, now)
		if c.says == "" {
			require.Empty(t, got, name)
			continue
		}
		require.Len(t, got, 1, name)
		require.Equal(t, c.worst, got[0].Severity, name)
		require.Contains(t, got[0].Meaning, c.says, name)
		require.Equal(t, "walctl capture dml_3 --dir ./evidence", got[0].Next)
		require.NotEmpty(t, Lookup(got[0].Code).Do)
	}
}
