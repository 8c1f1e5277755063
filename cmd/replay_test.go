package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
)

// goldenkv NAME before|after FILE writes a golden log's catalog as kvjson.
func goldenkv(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(filepath.Join(golden.Dir(), args[0], "expected.json.zst"))
	ts.Check(err)
	d, err := zstd.NewReader(bytes.NewReader(b))
	ts.Check(err)
	defer d.Close()
	var e map[string]json.RawMessage
	ts.Check(json.NewDecoder(d).Decode(&e))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), e["kv_"+args[1]], 0o600))
}

// TestStateOverTheCommandLine replays every golden log through the command and
// holds its JSON to the names scripts read.
func TestStateOverTheCommandLine(t *testing.T) {
	for _, name := range golden.Names(t) {
		all := golden.Expectations(t, name)
		if name == "200k" || len(all) == 0 {
			continue // pkg/recovery replays it; here only the rendering is new
		}
		e := all[0]
		before := filepath.Join(t.TempDir(), "before.json")
		b, err := json.Marshal(e.KVBefore)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(before, b, 0o600))
		for _, view := range []string{"snapshot", "all"} {
			f, out, errOut := testFactory(nil)
			Run(context.Background(), f, []string{"state", golden.WAL(t, name), "--catalog", "kvjson:" + before, "--view", view,
				"--until", fmt.Sprintf("tt:%d", e.LastTimeTick), "-o", "json"})
			var got map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(out.Bytes(), &got), errOut.String())
			var checkpoint struct {
				Checkpoint struct {
					TimeTick uint64 `json:"time_tick,string"`
				} `json:"checkpoint"`
			}
			require.NoError(t, json.Unmarshal(got[view], &checkpoint))
			require.Equal(t, e.LastTimeTick, checkpoint.Checkpoint.TimeTick, name)
			require.Contains(t, got, "uncommitted_txns")
			require.Contains(t, got, "alter_wal")
		}
	}
}

func TestEveryRecoveryCodeIsExplained(t *testing.T) {
	require.Greater(t, len(recovery.Codes()), 30)
	for _, c := range recovery.Codes() {
		require.Equal(t, string(c), diagnose.Lookup(string(c)).Code)
	}
}
