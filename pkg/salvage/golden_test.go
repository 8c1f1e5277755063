package salvage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

type line struct {
	Collection, Partition, Segment int64
	VChannel, ID                   string
	TT                             uint64
	Dropped, Lost                  string
	Deleted, Replaces              bool
	Row                            map[string]json.RawMessage
}

// text is the line as the model spells a row.
func (l *line) text(t testing.TB) string {
	var values []string
	for name, raw := range l.Row {
		v := string(raw)
		switch {
		case name == "vec":
			var f []float32
			require.NoError(t, json.Unmarshal(raw, &f))
			v = fmt.Sprint(f)
		case v[0] == '"':
			var s string
			require.NoError(t, json.Unmarshal(raw, &s))
			v = strconv.Quote(s)
		}
		values = append(values, name+"="+v)
	}
	sort.Strings(values)
	return modelRow{collection: l.Collection, partition: l.Partition, segment: l.Segment, vchannel: l.VChannel, tt: l.TT, id: l.ID,
		fields: strings.Join(values, " ")}.String()
}

func salvageLines(t testing.TB, name string, o salvage.Options) ([]line, *salvage.Report) {
	var out bytes.Buffer
	report, err := salvage.Run(context.Background(), jsonl.Open(golden.WAL(t, name)), salvage.NewNDJSON(&out), o)
	require.NoError(t, err)
	var lines []line
	for raw := range strings.Lines(out.String()) {
		var l line
		require.NoError(t, json.Unmarshal([]byte(raw), &l), raw)
		lines = append(lines, l)
	}
	return lines, report
}

func balanced(t testing.TB, r *salvage.Report) {
	sum := r.RowsOut
	for _, n := range r.NotOut {
		sum += n
	}
	require.Equal(t, r.RowsIn, sum, "every row read is brought out or has a reason: %v", r.NotOut)
}

// TestSurvivingRowsOfGoldenLogs holds every row, field by field, to the model.
func TestSurvivingRowsOfGoldenLogs(t *testing.T) {
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			if name == "200k" && testing.Short() {
				t.Skip("SKIPPED: the large log, with -short")
			}
			m := newModel(t, name)
			options := []salvage.Options{{}, {IncludeDeleted: true, IncludeDropped: true}, {IncludeDeleted: true}, {IncludeDropped: true}}
			if name == "200k" {
				options = options[:2]
			}
			for _, o := range options {
				lines, report := salvageLines(t, name, o)
				balanced(t, report)
				var want, got []string
				for _, r := range m.rows {
					if (!r.deleted || o.IncludeDeleted) && (r.dropped == "" || o.IncludeDropped) {
						want = append(want, fmt.Sprintf("%v %v %v", r, r.deleted, r.dropped))
					}
				}
				for i := range lines {
					if first, ok := m.alias[lines[i].ID]; ok {
						lines[i].ID = first
					}
					got = append(got, fmt.Sprintf("%v %v %v", lines[i].text(t), lines[i].Deleted, lines[i].Dropped))
				}
				require.NotEmpty(t, want)
				requireSame(t, want, got)
			}
		})
	}
}

// requireSame fails with the first few differences of two sorted lists.
func requireSame(t testing.TB, want, got []string) {
	t.Helper()
	count := map[string]int{}
	for _, s := range want {
		count[s]++
	}
	for _, s := range got {
		count[s]--
	}
	var diff []string
	for s, n := range count {
		if n != 0 {
			diff = append(diff, fmt.Sprintf("%+d %s", -n, s))
		}
	}
	sort.Strings(diff)
	require.Empty(t, diff[:min(len(diff), 3)], "%d rows differ of %d wanted, %d brought out", len(diff), len(want), len(got))
}
