package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
)

// runbookPages says, for each runbook, what incident its lines meet here and what each
// of them must end with.
func runbookPages() []page {
	return []page{
		{file: "README.md", prepare: withDemo("healthy"), elsewhere: map[string]string{"walctl explain CODE": onlyNames, "walctl demo NAME --dir ./try": onlyNames, "walctl doctor ./try": onlyNames}, steps: []step{
			{line: "walctl capture --evidence --dir ./evidence", says: "20,003 records"},
			{line: "walctl doctor ./evidence", says: "1 node\nok 1 of 1"},
			{line: "walctl inspect", says: "20,0.. records|TYPE"},
			{line: "walctl channels", says: "sound, 0 with faults"},
			{line: "walctl verify dml_3", says: "16 hold"},
		}},
		idleScannerPage(), terminatePage(), oomPage(), partitionPage(), reduplicatePage(), retentionPage(), staleWriterPage(), standaloneDiskPage(), bookieDiskPage(), woodpeckerSegmentPage(),
		unregisteredPage(), backlogFullPage(), oldCatalogPage(), replicationPage(),
	}
}

// nothingFound is a doctor's answer without a finding: no line begins with a severity.
const nothingFound = `\A\d+ pchannels? · \d+ nodes?\n(NOT CHECKED .*\n)*ok (\d+) of \d+\n`

// firstFinding is a doctor's answer that begins with a finding.
func firstFinding(severity, code string) string {
	return `\A\d+ pchannels? · \d+ nodes?\n(NOT CHECKED .*\n)*` + severity + " +" + code + " "
}

func idleScannerPage() page {
	return page{file: "idle-scanner.md", prepare: withDemo("idle"), steps: []step{
		{line: "walctl demo idle-collection --dir ./try", says: "messages"},
		{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "scanner-stuck")},
		{line: "walctl scanners ./try", exit: 3, says: "scanner-stuck"},
		{line: "walctl capture dml_3 --evidence --dir ./evidence", says: "6,003 records"},
		{line: "walctl doctor ./evidence", exit: 3, says: firstFinding("ERROR", "scanner-stuck")},
		{line: "walctl timetick dml_3", says: `longest idle 5h0m(?s).*\nidle\s`},
		{line: "walctl verify dml_3", says: "16 hold"},
		{line: "walctl inspect dml_3 --records --type TimeTick --from latest-200", says: `TimeTick.*\n$`},
		{line: "walctl scanners dml_3 --simulate --start after-last --idle 5h --policy 41201", exit: 3, says: "^HANGS"},
		{line: "walctl scanners dml_3 --simulate --start after-last --idle 5h", says: "^MEETS"},
		{line: "walctl explain timetick-lost", says: "timetick-lost"},
		{line: "walctl demo idle-hours --dir ./well", says: "everyone tails"},
		{line: "walctl doctor ./well", says: nothingFound},
	}}
}

func terminatePage() page {
	const remove = "kubectl delete pod NODE --grace-period=0 --force"
	return page{
		file: "node-cannot-terminate.md", elsewhere: map[string]string{remove: needsKubernetes},
		prepare: func(t *testing.T, p *place) {
			withDemo("crash")(t, p)
			p.metrics = []string{node(1, 2, "working"), node(2, 3, "working")} // the old owner does not end
			p.serve(t, "node-a:9091", "node-b:9091")
		},
		steps: []step{
			{line: "walctl demo stuck-terminating --dir ./try", says: "told to end"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "wal-in-recovery")},
			{line: "walctl recover ./try", says: "would recover(?s).*a restart replays"},
			{line: "walctl channels --metrics http://node-a:9091/metrics,http://node-b:9091/metrics", exit: 3, says: "wal-owned-twice"},
			{line: "walctl recover dml_3", says: "would recover"},
			{line: "walctl capture dml_3 --dir ./evidence", says: "records in"},
			{line: remove, after: func(_ *testing.T, p *place) { p.metrics[0] = "" }},
			{line: "walctl channels --metrics http://node-b:9091/metrics", says: "sound, 0 with faults"},
		},
	}
}

func oomPage() page {
	return page{
		file: "oom.md",
		prepare: func(t *testing.T, p *place) {
			withDemo("crash")(t, p)
			p.second(t, "dml_1", "by-dev-rootcoord-dml_1")
			p.words["dml_0"], p.words[" …"] = "./log", ""
		},
		steps: []step{
			{line: "walctl demo oom --dir ./try", says: "past it"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "growing-near-watermark")},
			{line: "walctl recover ./try --forecast --node-memory 21MiB", exit: 3, says: "exceeds"},
			{line: "walctl recover ./try --forecast --node-memory 16GiB", says: "fits"},
			{line: "walctl recover dml_0 dml_1 … --forecast --node-memory 16GiB", says: `2 pchannels(?s).*fits`},
			{line: "walctl capture dml_0 dml_1 … --dir ./evidence", says: `dml_0: (?s).*dml_1: `},
			{line: "walctl recover ./evidence --forecast --node-memory 16GiB -o wide", says: `2 pchannels(?s).*fits`},
			{line: "walctl recover ./evidence --forecast --node-memory 16GiB --insert-buf-size 4MiB", says: "fits"},
			{line: "walctl recover ./evidence --memory 512MiB --parallel 4", says: "would recover all 2 logs"},
			{line: "walctl state dml_0 --view buffers", says: "."},
			{line: "walctl channels dml_0", says: "vchannels: "},
		},
	}
}

func partitionPage() page {
	var before map[string][]byte
	return page{
		file: "partition-crash-loop.md",
		prepare: func(t *testing.T, p *place) {
			withDemo("partition-ddl")(t, p)
			before = p.keys(t)
		},
		steps: []step{
			{line: "walctl demo partition-ddl --dir ./try", says: "without a schema"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("CRITICAL", "vchannel-no-schema")},
			{line: "walctl recover ./try --catalog file:./try/catalog.db --milvus-version 2.6.14 --out try.json", exit: 3, says: "Applicable yes"},
			{line: `walctl apply try.json --yes --reason "trying the runbook"`, says: "Applied "},
			{line: "walctl doctor ./try --catalog file:./try/catalog.db", says: nothingFound},
			{line: "walctl capture dml_3 --dir ./evidence", says: "8,002 records"},
			{line: "walctl recover dml_3", exit: 3, says: "would STOP(?s).*vchannel-no-schema.*recovery-insert-partition-unknown"},
			{line: "walctl channels dml_3", exit: 3, says: "vchannel-no-schema"},
			{line: "walctl inspect dml_3 --records --type CreatePartition,DropPartition", says: "DropPartition"},
			{line: "walctl recover dml_3 --milvus-version 2.6.14 --out p.json", exit: 3, says: "Applicable yes"},
			{line: `walctl apply p.json --milvus-version 2.6.14 --yes --reason "partition DDL incident"`, says: "Applied "},
			{line: "walctl recover dml_3 --milvus-version 2.6.14", says: "would recover(?s).*no difference", after: func(t *testing.T, p *place) {
				code, out := shell(t, p.dir, "walctl channels ./log --catalog "+p.catalog)
				require.Equal(t, 0, code, out)
			}},
			{line: `walctl undo latest --milvus-version 2.6.14 --yes --reason "back to how it was"`, says: "Undone ", after: func(t *testing.T, p *place) {
				require.Equal(t, before, p.keys(t))
			}},
			{line: "walctl salvage ./evidence --include-dropped --dir ./rows", says: "brought out"},
		},
	}
}

func reduplicatePage() page {
	return page{
		file: "reduplicate.md",
		prepare: func(t *testing.T, p *place) {
			withDemo("reduplicate")(t, p)
			p.metrics = []string{node(1, 1, "persist-recovering")}
			p.serve(t, "NODE:9091")
			line := "[2026/01/05 23:01:45.000 +00:00] [WARN] [adaptor/opener.go:1] [\"failed to register channel buffer\"] [channel=by-dev-rootcoord-dml_0] [error=\"channel reduplicates[channel=by-dev-rootcoord-dml_0_450000000000000004v0]\"]\n"
			require.NoError(t, os.WriteFile(filepath.Join(p.dir, "streamingnode.log"), []byte(line), 0o600))
		},
		steps: []step{
			{line: "walctl demo reduplicates --dir ./try", says: "refuses the second buffer"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("CRITICAL", "channel-reduplicates")},
			{line: "walctl channels repair ./try --catalog file:./try/catalog.db --milvus-version 2.6.14 --out try.json", says: "Applicable yes"},
			{line: `walctl apply try.json --yes --reason "trying the runbook"`, says: "Applied "},
			{line: "walctl channels ./try --catalog file:./try/catalog.db", says: "1 fault: 1 needs a decision\nWARN +vchannel-unknown"},
			{line: "walctl channels dml_3 --metrics http://NODE:9091/metrics --logs streamingnode.log", exit: 3, says: "vchannel-missing(?s).*channel-reduplicates"},
			{line: "walctl recover dml_3", exit: 3, says: "vchannel-missing"},
			{line: "walctl recover dml_3 --forecast --node-memory 16GiB", says: "fits"},
			{line: "walctl verify dml_3", says: "16 hold"},
			{line: "walctl capture dml_3 --dir ./evidence", says: "6,001 records"},
			{line: "walctl channels repair dml_3 --milvus-version 2.6.14 --out p.json", says: "Applicable yes"},
			{line: `walctl apply p.json --milvus-version 2.6.14 --yes --reason "vchannels registered wrongly"`, says: "Applied "},
			{line: "walctl channels repair dml_3 --milvus-version 2.6.14 --out again.json", says: "The plan is empty"},
			{line: "walctl recover dml_3 --milvus-version 2.6.14", says: "would recover(?s).*no difference"},
		},
	}
}

func retentionPage() page {
	return page{
		file: "retention.md",
		prepare: func(t *testing.T, p *place) {
			withDemo("trimmed")(t, p)
			p.second(t, "dml_7", "by-dev-rootcoord-dml_7")
			p.words["GAP"] = "1001/0/0..1008/0/0"
		},
		steps: []step{
			{line: "walctl inspect", says: "TimeTick"},
			{line: "walctl inspect dml_3", says: "TimeTick"},
			{line: "walctl recover dml_3", exit: 3, says: `gap 1001/0/0\.\.1008/0/0 not accepted(?s).*Cost .*position-gone`},
			{line: "walctl capture dml_3 dml_7 --dir ./evidence", says: `dml_0: (?s).*dml_7: `},
			{line: "walctl verify ./evidence --log by-dev-rootcoord-dml_3", exit: 3, says: "position-gone"},
			{line: "walctl recover dml_3 --accept-gap GAP --milvus-version 2.6.14 --out p.json", exit: 3, says: "Applicable yes"},
			{line: `walctl apply p.json --milvus-version 2.6.14 --yes --reason "rows before the gap given up by their owner"`, says: "Applied "},
			{line: "walctl recover dml_3 --milvus-version 2.6.14", says: "would recover(?s).*no difference"},
		},
	}
}

func staleWriterPage() page {
	return page{
		file: "stale-writer.md", prepare: withDemo("stale-writer"),
		steps: []step{
			{line: "walctl capture dml_3 --dir ./evidence", says: "20,010 records"},
			{line: "walctl verify ./evidence --dropped", exit: 3, says: "stale-writer(?s).*8 messages never reach a reader: 54 rows, 6 deletes"},
			{line: "walctl salvage ./evidence --lost-only", says: "34 would be brought out"},
			{line: "walctl salvage ./evidence --lost-only --dir ./rows", says: "34 brought out"},
		},
		done: func(t *testing.T, p *place) {
			files, err := filepath.Glob(filepath.Join(p.dir, "rows", "*", "*.parquet"))
			require.NoError(t, err)
			require.NotEmpty(t, files)
			require.FileExists(t, filepath.Join(p.dir, "rows", "salvage.json"))
		},
	}
}

// flipByte damages a file.
func flipByte(t *testing.T, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	b[at] ^= 0x40
	require.NoError(t, os.WriteFile(file, b, 0o600))
}

// layCatalog lays down the catalog before a golden log, for the page's snapshot of etcd.
func layCatalog(t *testing.T, p *place, log string) {
	t.Helper()
	kv, err := json.Marshal(golden.Expectations(t, log)[0].KVBefore)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "before.json"), kv, 0o600))
	p.words["snapshot:etcd.snap"] = "kvjson:before.json"
}

func standaloneDiskPage() page {
	const copied = "cp -a /var/lib/milvus/rdb_data ./rdb_data"
	return page{
		file: "standalone-disk.md", elsewhere: map[string]string{copied: "the copy is prepared"},
		prepare: func(t *testing.T, p *place) {
			layOut(must{t}, filepath.Join(golden.Dir(), "rmq-small", "rocksmq.tar.zst"), p.dir)
			flipByte(t, filepath.Join(p.dir, "rdb_data", "000005.log"), 120000)
			layCatalog(t, p, "rmq-small")
		},
		steps: []step{
			{line: "walctl inspect ./rdb_data", exit: 4, says: "530 records"},
			{line: "walctl verify ./rdb_data", exit: 4, says: `deletes the log file 000005.log: 271 messages(?s).*unreadable.*Next: walctl capture ./rdb_data`},
			{line: "walctl capture ./rdb_data --dir ./evidence", exit: 6, says: "530 records(?s).*GAP"},
			{line: "walctl recover ./evidence --catalog snapshot:etcd.snap", exit: 4, says: "INCOMPLETE: 470780431746728195"},
			{line: "walctl salvage ./evidence --dir ./rows", exit: 4, says: "917 brought out"},
		},
	}
}

func bookieDiskPage() page {
	const disk, meta = "cp -a /pulsar/data/standalone/bookkeeper ./bookie", "cp -a /pulsar/data/standalone/metadata ./meta"
	return page{
		file: "bookie-disk.md", elsewhere: map[string]string{disk: "the copy is prepared", meta: "the copy is prepared"},
		prepare: func(t *testing.T, p *place) {
			top := filepath.Join(golden.Dir(), "live-pulsar")
			layOut(must{t}, filepath.Join(top, "bookie.tar.zst"), filepath.Join(p.dir, "bookie"))
			layOut(must{t}, filepath.Join(top, "meta.tar.zst"), filepath.Join(p.dir, "meta"))
			journals, err := filepath.Glob(filepath.Join(p.dir, "bookie", "current", "*.txn"))
			require.NoError(t, err)
			for _, j := range journals {
				require.NoError(t, os.Remove(j))
			}
			flipByte(t, filepath.Join(p.dir, "bookie", "current", "0.log"), 300000)
			layCatalog(t, p, "live-pulsar")
		},
		steps: []step{
			{line: "walctl inspect bookkeeper:./bookie,./meta", exit: 4, says: "616 records"},
			{line: "walctl verify bookkeeper:./bookie,./meta", exit: 4, says: `entry 311 of ledger 5(?s).*unreadable`},
			{line: "walctl capture bookkeeper:./bookie,./meta --dir ./evidence", exit: 6, says: "616 records(?s).*GAP"},
			{line: "walctl recover ./evidence --catalog snapshot:etcd.snap", exit: 4, says: "INCOMPLETE"},
			{line: "walctl salvage ./evidence --dir ./rows", exit: 4, says: "brought out"},
		},
	}
}

func unregisteredPage() page {
	const aside = "walctl salvage ./evidence --dir ./rows"
	return page{
		file: "vchannel-unregistered.md", prepare: withDemo("unregistered"),
		steps: []step{
			{line: "walctl demo unregistered --dir ./try", says: "registration is gone"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("CRITICAL", "vchannel-missing")},
			{line: "walctl channels repair ./try --catalog file:./try/catalog.db --milvus-version 2.6.14 --out try.json", says: "Applicable yes"},
			{line: `walctl apply try.json --yes --reason "trying the runbook"`, says: "Applied "},
			{line: "walctl doctor ./try --catalog file:./try/catalog.db", says: nothingFound},
			{line: "walctl capture dml_3 --evidence --dir ./evidence", says: "4,001 records"},
			{line: "walctl doctor ./evidence", exit: 3, says: firstFinding("CRITICAL", "vchannel-missing")},
			{line: "walctl channels dml_3 -o wide", exit: 3, says: "vchannel-missing"},
			{line: "walctl channels repair dml_3 --milvus-version 2.6.14 --out p.json", says: "Applicable yes"},
			{line: `walctl apply p.json --milvus-version 2.6.14 --yes --reason "vchannel was not registered"`, says: "Applied "},
			{line: "walctl channels dml_3", says: "sound, 0 with faults"},
			{line: aside, says: "brought out"},
		},
	}
}

func backlogFullPage() page {
	const (
		topic   = "persistent://public/default/by-dev-rootcoord-dml_3"
		stats   = "pulsar-admin topics stats " + topic
		foreign = "pulsar-admin topics unsubscribe -s NAME " + topic
		quota   = "pulsar-admin namespaces set-backlog-quota --limit 50G --policy producer_request_hold public/default"
		broker  = "needs a broker"
	)
	return page{
		file: "backlog-full.md", prepare: withDemo("backlog-full"), elsewhere: map[string]string{stats: broker, foreign: broker, quota: broker},
		steps: []step{
			{line: "walctl demo backlog-full --dir ./try", says: "thrown the producer out"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "append-not-acknowledged")},
			{line: "walctl timetick ./try", says: "TimeTicks"},
			{line: "walctl capture dml_3 --evidence --dir ./evidence", says: "4,001 records"},
			{line: "walctl doctor ./evidence", exit: 3, says: firstFinding("ERROR", "append-not-acknowledged")},
			{line: "walctl channels ./evidence", says: "sound, 0 with faults"},
			{line: quota, after: func(t *testing.T, p *place) { // the broker takes writes again
				code, out := shell(t, p.dir, "walctl demo restarted --dir ./goes-on")
				require.Equal(t, 0, code, out)
				p.words["dml_3"], p.catalog = "./goes-on", "file:goes-on/catalog.db"
			}},
			{line: "walctl capture dml_3 --evidence --dir ./after", says: "records in"},
			{line: "walctl doctor ./after", says: nothingFound},
		},
	}
}

func oldCatalogPage() page {
	return page{
		file: "old-catalog.md",
		prepare: func(t *testing.T, p *place) {
			withDemo("old-catalog")(t, p)
			p.words["snapshot:etcd.snap"] = "file:log/catalog-later.db"
		},
		steps: []step{
			{line: "walctl demo old-catalog --dir ./try", says: "was restored"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "catalog-term-behind")},
			{line: "walctl diff ./try", says: "consume-checkpoint"},
			{line: "walctl doctor ./try --catalog file:./try/catalog-later.db", says: nothingFound},
			{line: "walctl recover ./try --catalog file:./try/catalog-later.db", says: "would recover(?s).*no difference"},
			{line: "walctl capture dml_3 --dir ./evidence", says: "6,002 records"},
			{line: "walctl doctor ./evidence", exit: 3, says: firstFinding("ERROR", "catalog-term-behind")},
			{line: "walctl recover ./evidence", says: "a restart replays 2,0"},
			{line: "walctl doctor ./evidence --catalog snapshot:etcd.snap", says: nothingFound},
			{line: "walctl recover ./evidence --catalog snapshot:etcd.snap", says: "a restart replays 10 messages"},
			{line: "walctl doctor ./evidence --catalog snapshot:etcd.snap", says: nothingFound},
			{line: "walctl salvage ./evidence --dir ./rows", says: "brought out"},
		},
	}
}

func replicationPage() page {
	return page{
		file: "replication-stopped.md", prepare: withDemo("replication-stopped"),
		steps: []step{
			{line: "walctl demo replication-stopped --dir ./try", says: "nothing arrives there"},
			{line: "walctl doctor ./try", exit: 3, says: firstFinding("ERROR", "replicating-pchannel-missing")},
			{line: "walctl catalog get streamingcoord-meta/replicate-configuration --catalog file:./try/catalog.db", says: "backup"},
			{line: "walctl doctor ./try --catalog file:./try/catalog-later.db", says: nothingFound},
			{line: "walctl capture dml_3 --evidence --dir ./evidence", says: "4,001 records"},
			{line: "walctl doctor ./evidence", exit: 3, says: firstFinding("ERROR", "replicating-pchannel-missing")},
			{line: "walctl verify ./evidence", says: "hold", after: func(_ *testing.T, p *place) { p.catalog = "file:log/catalog-later.db" }},
			{line: "walctl capture dml_3 --evidence --dir ./after", says: "4,001 records"},
			{line: "walctl doctor ./after", says: nothingFound},
		},
	}
}
