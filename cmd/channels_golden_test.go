package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
)

// TestChannelsOfGoldenLogs: over the catalogs Milvus left behind its own logs,
// before and after each opening, no registration is at fault; but for the collection
// whose creation a stale writer lost.
func TestChannelsOfGoldenLogs(t *testing.T) {
	lost := 0
	for _, name := range golden.Names(t) {
		if name == "200k" {
			continue // the same writer as 10k-persist
		}
		for _, e := range golden.Expectations(t, name) {
			for when, kv := range map[string]map[string][]byte{"before": e.KVBefore, "after": e.KVAfter} {
				if len(kv) == 0 {
					continue
				}
				path := filepath.Join(t.TempDir(), "kv.json")
				b, err := json.Marshal(kv)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, b, 0o600))
				code, out, errOut := run(t, nil, "channels", golden.WAL(t, name), "--catalog", "kvjson:"+path, "--fail-on", "warning")
				if name == "live-stale-writer" && code == 3 {
					lost++
					require.Contains(t, out, "1 fault:")
					require.Contains(t, out, "its CreateCollection came too late for a TimeTick")
					continue
				}
				require.Equal(t, 0, code, "%s %s %s\n%s%s", name, e.File, when, out, errOut)
			}
		}
	}
	require.Positive(t, lost)
}
