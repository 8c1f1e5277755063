package cmd

import (
	"path/filepath"
	"testing"

	"github.com/walctl/walctl/internal/golden"
)

func woodpeckerSegmentPage() page {
	const copied, keys = "cp -a /var/lib/milvus/data/wp ./wp", "etcdctl get --prefix woodpecker/ -w json > etcd.json"
	return page{
		file: "woodpecker-segment.md", elsewhere: map[string]string{copied: "the copy is prepared", keys: "there is no etcd here"},
		prepare: func(t *testing.T, p *place) {
			layOut(must{t}, filepath.Join(golden.Dir(), "live-woodpecker", "segments.tar.zst"), p.dir)
			flipByte(t, filepath.Join(p.dir, "wp", "files", "wp", "1", "5", "data.log"), 50000)
			layCatalog(t, p, "live-woodpecker")
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
