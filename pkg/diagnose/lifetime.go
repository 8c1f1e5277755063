package diagnose

import (
	"fmt"
	"time"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Lifetime is how long a broker keeps what of a log is still needed.
type Lifetime struct {
	PChannel string
	WAL      string // the log as walctl's arguments name it
	// Position is where recovery starts, or the log's last record where no catalog
	// tells: a log that goes whole goes with it. Zero = the log holds no record.
	Position   message.ID
	Checkpoint bool // Position is a checkpoint
	// At is when the ledger that holds Position may be deleted at the earliest;
	// zero = never, or not known.
	At time.Time
	// Expired of Ledgers are past their retention: the next trim deletes them.
	Expired, Ledgers int
}

// soonIsNow is how near the end of a log has to be for its loss to be urgent.
const soonIsNow = 24 * time.Hour

// inWords is a time to come, as roughly as one acts on it.
func inWords(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return "about a minute"
}

// PositionSoon judges whether a log is about to lose what is still needed: a
// warning where its ledger goes some day although nothing is written after it,
// critical within a day or where the next trim takes it.
func PositionSoon(l Lifetime, now time.Time) []Finding {
	urgent := l.At.IsZero() || l.At.Sub(now) <= soonIsNow
	f := raise(positionSoon, urgent, Where{PChannel: l.PChannel}, nil)
	f.Next = "walctl capture " + l.WAL + " --dir ./evidence"
	what := "the log's last record, and with it the whole log,"
	if l.Checkpoint {
		what = "the position recovery starts from"
	}
	if !l.Position.IsZero() {
		f.Where.ID = l.Position.String()
	}
	switch {
	case !l.At.IsZero():
		f.Evidence = append(f.Evidence, Evidence{"deleted from", l.At.UTC().Format(time.RFC3339)})
		when := "goes when the broker next trims"
		if l.At.After(now) {
			when = "goes in " + inWords(l.At.Sub(now))
		}
		f.Meaning = fmt.Sprintf("%s lies in a closed ledger that %s: retention is all that keeps it. Capture the log, then raise retention.", what, when)
	case l.Expired > 0 && !l.Checkpoint:
		ledgers := "1 of its ledgers is"
		if l.Expired > 1 {
			ledgers = fmt.Sprintf("%d of its ledgers are", l.Expired)
		}
		f.Evidence = append(f.Evidence, Evidence{"ledgers past retention", fmt.Sprintf("%d of %d", l.Expired, l.Ledgers)})
		f.Meaning = ledgers + " past the retention that applies: the broker deletes them when it next trims. Capture the log, then raise retention."
	default:
		return nil
	}
	return []Finding{f}
}

var positionSoon = &Check{
	Code: "position-soon", Severity: SeverityWarning, Else: check.Else{Severity: check.Critical, Where: "it goes within a day, or when the broker next trims"}, Needs: check.NeedAdmin,
	Title:   "the log, or the position recovery needs, is about to be deleted",
	Meaning: "Retention is all that keeps a log on Pulsar: when the broker next trims, the ledger that holds the position goes, and what comes after it can't be recovered any more.",
	Cause:   "A short retention, while the node that would move the checkpoint does not run, or a log nobody writes to.",
	Do:      "Capture the log and verify the capture; raise retention. Lower it again only when the capture is verified: the broker then deletes the log.",
}
