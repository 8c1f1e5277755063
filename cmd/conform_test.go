package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
)

// What verify has to say above info of the logs that are not sound, and its exit code.
// Transactions open across an opening are Milvus's own defect and may be told of besides.
var conformVerify = map[string]struct {
	code     int
	findings []string
}{
	"5k-faults":         {0, []string{"retry-duplicate"}},
	"v3-5k-mix":         {0, []string{"retry-duplicate"}},
	"carry26":           {3, []string{"last-confirmed-broken"}},
	"live-stale-writer": {3, []string{"stale-writer", "vchannel-unborn", "torn-transaction", "insert-outside-segment"}},
}

// largest is the log that is too large for testdata/golden.
const largest = "200k"

// Every log that Milvus wrote: the commands say of it what Milvus made of it. Its
// records come back in TestRecordsComeBackAsTheyWere. -short leaves out 200k.
func TestConformsWithMilvus(t *testing.T) {
	names := golden.Names(t)
	if !slices.Contains(names, largest) {
		names = append(names, largest)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden.Log(t, name) // skips, and says so, where nobody has it
			if name == largest && testing.Short() {
				t.Skip("SKIPPED: the large log, with -short")
			}
			t.Run("verify", func(t *testing.T) {
				if name == "wp-v6-clean" {
					t.Skip("SKIPPED: one WAL written twice into one log, for the file format alone")
				}
				conformFindings(t, name)
			})
			for _, e := range golden.Expectations(t, name) {
				t.Run(e.File, func(t *testing.T) { conformReplay(t, name, e) })
			}
		})
	}
}

func conformFindings(t *testing.T, name string) {
	code, out, errOut := run(t, nil, "verify", golden.WAL(t, name), "-o", "json")
	var got struct {
		Findings []struct{ Code, Severity string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got), errOut)
	want := conformVerify[name]
	require.Equal(t, want.code, code, "%s: a log that is not sound belongs into conformVerify. %s", name, errOut)
	codes := map[string]bool{}
	for _, f := range got.Findings {
		if f.Severity == "info" || f.Severity == "warning" && f.Code == "last-confirmed-broken" {
			continue
		}
		codes[f.Code] = true
		require.Contains(t, want.findings, f.Code, "%s", f.Severity)
	}
	require.Len(t, codes, len(want.findings), "%v", codes)
}

// stateCode is 3 where a log's recovery leaves messages out that should count: the
// whole log of a writer that went on after its successor had begun.
func stateCode(name string, e golden.Expected) int {
	if name == "live-stale-writer" && strings.HasPrefix(e.File, "expected.json") {
		return 3
	}
	return 0
}

// conformReplay holds state and recover to one state Milvus reached.
func conformReplay(t *testing.T, name string, e golden.Expected) {
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before.json"), filepath.Join(dir, "after.json")
	text, err := json.Marshal(e.KVBefore)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(before, text, 0o600))
	from := []string{"--catalog", "kvjson:" + before, "--until", "tt:" + itoa(e.LastTimeTick)}

	for view, want := range map[string]json.RawMessage{"snapshot": e.Snapshot, "all": e.All} {
		if len(want) == 0 {
			continue
		}
		code, out, errOut := run(t, nil, append([]string{"state", golden.WAL(t, name), "--view", view, "-o", "json"}, from...)...)
		require.Equal(t, stateCode(name, e), code, errOut)
		got := decodeJSON(t, []byte(out)).(map[string]any)
		require.Equal(t, plain(decodeJSON(t, want)), plain(got[view]), view)
		require.Equal(t, plain(decodeJSON(t, e.UncommittedTxns)), plain(got["uncommitted_txns"]))
		if e.AlterWAL != nil {
			require.Equal(t, plain(decodeJSON(t, e.AlterWAL)), plain(got["alter_wal"]))
		}
	}
	if e.KVAfter == nil {
		return
	}
	code, _, errOut := run(t, nil, append([]string{"recover", golden.WAL(t, name), "--write-to", "kvjson:" + after, "-o", "json"}, from...)...)
	require.Zero(t, code, errOut)
	text, err = os.ReadFile(after)
	require.NoError(t, err)
	var kv map[string][]byte
	require.NoError(t, json.Unmarshal(text, &kv))
	require.Equal(t, e.KVAfter, kv)
}
