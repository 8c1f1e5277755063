package pulsar

import (
	"testing"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func id(a, b int64) message.ID { return message.ID{Backend: message.BackendPulsar, A: a, B: b} }

func TestMissing(t *testing.T) {
	ledgers := []ledger{{ID: 5, Entries: 10}, {ID: 7, Entries: 4}, {ID: 9, Entries: 0}, {ID: 12, Entries: 3}}
	for name, c := range map[string]struct {
		prev  message.ID
		batch int32
		next  message.ID
		want  int64
	}{
		"next entry":                       {id(5, 3), 1, id(5, 4), 0},
		"next in the batch":                {id(5, 3), 2, message.ID{Backend: message.BackendPulsar, A: 5, B: 3, Batch: 1}, 0},
		"entries left out":                 {id(5, 3), 1, id(5, 6), 2},
		"a batch not finished":             {id(5, 3), 2, id(5, 4), 1},
		"next ledger":                      {id(5, 9), 1, id(7, 0), 0},
		"an empty ledger between":          {id(7, 3), 1, id(12, 0), 0},
		"the end of a ledger":              {id(5, 7), 1, id(7, 0), 2},
		"a whole ledger":                   {id(5, 9), 1, id(9, 0), 4},
		"the begin of a ledger":            {id(5, 9), 1, id(7, 2), 2},
		"all three":                        {id(5, 8), 1, id(12, 1), 6},
		"a ledger that is gone":            {id(3, 1), 1, id(5, 0), -1},
		"a ledger opened since":            {id(12, 2), 1, id(15, 0), 0},
		"from a ledger opened since":       {id(15, 2), 1, id(16, 0), 0},
		"the begin of one opened since":    {id(15, 2), 1, id(16, 3), 3},
		"more than the snapshot had in it": {id(12, 8), 1, id(15, 0), 0},
	} {
		if got := missing(c.prev, c.batch, c.next, ledgers); got != c.want {
			t.Errorf("%s: from %s to %s misses %d, want %d", name, c.prev, c.next, got, c.want)
		}
	}
}

// What lies before the first entry delivered is missing from where the log begins, or from
// where reading was to begin; of a ledger that was deleted nothing is passed over.
func TestMissingBefore(t *testing.T) {
	ledgers := []ledger{{ID: 5, Entries: 10}, {ID: 7, Entries: 4}, {ID: 9, Entries: 0}, {ID: 12, Entries: 3}}
	for name, c := range map[string]struct {
		from, next message.ID
		ledgers    []ledger
		want       int64
	}{
		"the log's first entry":               {message.ID{}, id(5, 0), ledgers, 0},
		"entries at its start":                {message.ID{}, id(5, 2), ledgers, 2},
		"its first ledger":                    {message.ID{}, id(7, 0), ledgers, 10},
		"its first ledgers":                   {message.ID{}, id(12, 1), ledgers, 15},
		"no ledgers known":                    {message.ID{}, id(5, 0), nil, 0},
		"no ledgers known, its first entries": {message.ID{}, id(5, 3), nil, 3},
		"from an entry":                       {id(5, 3), id(5, 3), ledgers, 0},
		"from an entry not delivered":         {id(5, 3), id(5, 4), ledgers, 1},
		"from the end of a ledger":            {id(5, 9), id(7, 0), ledgers, 1},
		"from after the end of a ledger":      {id(5, 20), id(7, 0), ledgers, 0},
		"from a ledger deleted":               {id(3, 1), id(5, 0), ledgers, 0},
		"from a ledger deleted, and more":     {id(3, 1), id(7, 1), ledgers, 11},
		"from a ledger between":               {id(6, 1), id(7, 0), ledgers, 0},
		"from a ledger between, and more":     {id(6, 1), id(12, 0), ledgers, 4},
		"from a ledger nobody knows":          {id(3, 1), id(5, 0), nil, -1},
	} {
		if got := missingBefore(c.from, c.next, c.ledgers); got != c.want {
			t.Errorf("%s: from %s to %s misses %d, want %d", name, c.from, c.next, got, c.want)
		}
	}
}

// Pieces cover a span without overlap, in order, whatever its ends.
func TestSplitCovers(t *testing.T) {
	ledgers := []ledger{{ID: 5, Entries: 10, Size: 1000}, {ID: 6}, {ID: 7, Entries: 4, Size: 4000}, {ID: 12, Entries: 3, Size: 3}}
	in := func(s span, at message.ID) bool { return !at.Less(s.from) && !s.past(at) }
	for _, whole := range []span{{to: id(12, 2)}, {from: id(5, 4), to: id(7, 2)}, {from: id(7, 0), to: id(7, 0)}, {from: id(6, 0), to: id(12, 1)}} {
		for _, size := range []int64{1, 150, 1 << 30} {
			pieces := split(whole, ledgers, size)
			for _, l := range ledgers {
				for e := range l.Entries {
					n := 0
					for _, p := range pieces {
						if in(p, id(l.ID, e)) {
							n++
						}
					}
					if want := in(whole, id(l.ID, e)); want != (n == 1) || n > 1 {
						t.Errorf("%v in pieces of %d bytes: %d/%d lies in %d of %v", whole, size, l.ID, e, n, pieces)
					}
				}
			}
		}
	}
}
