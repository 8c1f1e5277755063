package source_test

import (
	"slices"
	"testing"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func pulsarID(ledger, entry int64) message.ID {
	return message.ID{Backend: message.BackendPulsar, A: ledger, B: entry}
}

// A hole lies between two records that were read, or at the place a reading began.
func TestSight(t *testing.T) {
	const unread = -1
	for name, c := range map[string]struct {
		from    int64
		entries []int64
		want    []int64
	}{
		"all there":                       {0, []int64{3, 4, 5}, nil},
		"one gone":                        {0, []int64{3, 5}, []int64{4}},
		"before the first, after the end": {0, []int64{6, 7}, nil},
		"a place unread around it":        {0, []int64{3, unread, 5}, nil},
		"a place unread elsewhere":        {0, []int64{1, unread, 3, 5}, []int64{4}},
		"ids that fall":                   {0, []int64{3, 2, 5}, nil},
		"ids that fall before it":         {0, []int64{1, 3, 2, 5}, nil},
		"many before it":                  {0, []int64{0, 1, 2, 3, 5, 6}, []int64{4}},
		"where the reading began":         {4, []int64{5, 6}, []int64{4}},
		"before the reading began":        {5, []int64{5, 6}, nil},
	} {
		s := source.NewSight(message.ID{}, pulsarID(1, 4), message.LatestID(), message.ID{Backend: message.BackendKafka, A: 4})
		if c.from != 0 {
			s.From(pulsarID(1, c.from))
		}
		for _, e := range c.entries {
			if e == unread {
				s.Unread()
			} else {
				s.Record(pulsarID(1, e))
			}
		}
		byColumns := source.NewSight(pulsarID(1, 4))
		if c.from != 0 {
			byColumns.From(pulsarID(1, c.from))
		}
		rows := &message.Columns{Backend: message.BackendPulsar}
		for _, e := range append(c.entries, unread) {
			if e != unread {
				rows.A, rows.B, rows.Batch, rows.N = append(rows.A, 1), append(rows.B, e), append(rows.Batch, 0), rows.N+1
				continue
			}
			byColumns.Columns(rows)
			byColumns.Unread()
			rows = &message.Columns{Backend: message.BackendPulsar}
		}
		if !slices.Equal(byColumns.Holes(), s.Holes()) {
			t.Errorf("%s: by columns %v, by records %v", name, byColumns.Holes(), s.Holes())
		}
		var got []int64
		for _, id := range s.Holes() {
			got = append(got, id.B)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: holes %v, want %v", name, got, c.want)
		}
	}
	b := source.Bounds{First: pulsarID(1, 3), Last: pulsarID(1, 6), Holes: []message.ID{pulsarID(1, 4)}}
	if b.Standing(pulsarID(1, 4)) != source.Hole || b.Standing(pulsarID(1, 5)) != source.Within {
		t.Error("Standing does not know the holes")
	}
}
