package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
)

func woodpeckerSegmentPage() page {
	const copied, keys = "cp -a /var/lib/milvus/data/wp ./wp", "etcdctl get --prefix woodpecker/ -w json > etcd.json"
	return page{
		file: "woodpecker-segment.md", elsewhere: map[string]string{copied: "the copy is prepared", keys: "there is no etcd here"},
		prepare: func(t *testing.T, p *place) {
			layOut(must{t}, filepath.Join(golden.Dir(), "live-woodpecker", "segments.tar.zst"), p.dir)
			file := filepath.Join(p.dir, "wp", "files", "wp", "1", "5", "data.log")
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			b[50000] ^= 0x40
			require.NoError(t, os.WriteFile(file, b, 0o600))
			kv, err := json.Marshal(golden.Expectations(t, "live-woodpecker")[0].KVBefore)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(p.dir, "before.json"), kv, 0o600))
			p.words["snapshot:etcd.snap"] = "kvjson:before.json"
		},
		steps: []step{
			{line: "walctl inspect ./wp", exit: 4, says: "616 records"},
			{line: "walctl verify ./wp", exit: 4, says: `reads segment 5 only up to its block(?s).*unreadable.*Next: walctl capture ./wp`},
			{line: "walctl capture ./wp --dir ./evidence", exit: 6, says: "616 records(?s).*GAP"},
			{line: "walctl recover ./evidence --catalog snapshot:etcd.snap", exit: 4, says: "INCOMPLETE: 5/"},
			{line: "walctl salvage ./evidence --dir ./rows", exit: 4, says: "brought out"},
		},
	}
}
