package salvage_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/salvage"
)

// lostRows reckons once more which rows of a log readers drop and miss: stale
// Inserts, those of transactions only where the transaction was committed.
func lostRows(t *testing.T, name string) (want []modelRow, stale int) {
	m := newModel(t, name)
	all := readRecords(t, name)
	commits := map[int64]uint64{}
	for _, r := range all {
		if r.kind == "901" {
			commits[r.txn.TxnId] = r.tt
		}
	}
	delivered := map[string]bool{}
	live, _ := modelScan(t, all)
	identity := func(r *record) string {
		props, err := json.Marshal(r.Props)
		require.NoError(t, err)
		return string(props) + string(r.Payload)
	}
	for _, r := range live {
		delivered[identity(r.record)] = true
	}
	// Deletes nobody sees count here too.
	for _, r := range m.stale {
		if at := r.tt; r.kind == "3" && (r.txn == nil || commits[r.txn.TxnId] > at) {
			if r.txn != nil {
				at = commits[r.txn.TxnId]
			}
			m.note(t, deliveredRecord{r, at})
		}
	}
	var candidates []modelRow
	for _, r := range m.stale {
		if r.kind != "2" {
			continue
		}
		at := r.tt
		if r.txn != nil {
			at = commits[r.txn.TxnId]
		}
		b := &msgpb.InsertRequest{}
		require.NoError(t, proto.Unmarshal(r.Payload, b))
		stale += int(b.NumRows)
		if at < r.tt || delivered[identity(r)] {
			continue
		}
		delivered[identity(r)] = true
		candidates = append(candidates, rowsOf(t, r, at, m.newest)...)
	}
	for _, r := range candidates {
		m.judge(&r)
		again := false
		for _, list := range [][]modelRow{m.rows, candidates} {
			for i := range list {
				again = again || list[i].vchannel == r.vchannel && list[i].key == r.key && list[i].tt > r.tt
			}
		}
		if !r.deleted && r.dropped == "" && !again {
			want = append(want, r)
		}
	}
	return want, stale
}

func TestLostRowsOfAStaleWriter(t *testing.T) {
	const name = "live-stale-writer"
	want, stale := lostRows(t, name)
	require.Equal(t, 643, stale)
	lines, report := salvageLines(t, name, salvage.Options{LostOnly: true})
	balanced(t, report)
	var w, g []string
	for _, r := range want {
		w = append(w, fmt.Sprint(r))
	}
	for i := range lines {
		require.Equal(t, "stale", lines[i].Lost)
		g = append(g, lines[i].text(t))
	}
	require.NotEmpty(t, w)
	requireSame(t, w, g)

	// With the lost ones a reader's rows are more, and none comes twice.
	live, _ := salvageLines(t, name, salvage.Options{})
	seen := map[string]bool{}
	for i := range live {
		seen[live[i].VChannel+string(live[i].Row["pk"])] = true
	}
	for i := range lines {
		k := lines[i].VChannel + string(lines[i].Row["pk"])
		require.Equal(t, lines[i].Replaces, seen[k], "a key that lives is marked: %s", k)
		seen[k] = true
	}
}

// TestNothingIsLostOfSoundLogs: appends that were retried are there under
// another id.
func TestNothingIsLostOfSoundLogs(t *testing.T) {
	for _, name := range []string{"small", "5k-faults", "10k-persist", "3k-secondary", "v3-5k-mix", "live-pulsar"} {
		want, _ := lostRows(t, name)
		lines, report := salvageLines(t, name, salvage.Options{LostOnly: true})
		balanced(t, report)
		require.Len(t, lines, len(want), name)
	}
}
