package cmd

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// row is a check's fixture: what breaks the sound log or its catalog, the command
// line that must find it, and what must come with it and why.
type row struct {
	code  string
	args  string
	spoil func(x *fixture)
	with  map[string]string
}

const (
	verifyLine   = "verify wal.jsonl"
	tickLine     = "timetick wal.jsonl"
	recoverLine  = "recover wal.jsonl --catalog kvjson:kv.json"
	channelsLine = "channels wal.jsonl --catalog kvjson:kv.json"
	forecastLine = recoverLine + " --forecast --node-memory "
)

func fixtures() []row {
	rows := verifyRows()
	rows = append(rows, verifyMoreRows()...)
	rows = append(rows, tickRows()...)
	rows = append(rows, stopRows()...)
	rows = append(rows, loseRows()...)
	rows = append(rows, diskRows()...)
	rows = append(rows, momentRows()...)
	rows = append(rows, row{code: "catch-up-hangs", args: "scanners wal.jsonl --simulate --start after-last --policy 41201", spoil: func(*fixture) {}})
	return append(rows, channelRows()...)
}

// TestEveryCheckHasItsFixture: every check is met by exactly its code through the
// command line, and no check is without.
func TestEveryCheckHasItsFixture(t *testing.T) {
	have := map[string]bool{}
	for _, r := range fixtures() {
		have[r.code] = true
		t.Run(r.code, func(t *testing.T) {
			c := diagnose.Lookup(r.code)
			require.NotNil(t, c, "no such check")
			got := r.run(t)
			require.Contains(t, got, r.code)
			for code, severity := range got {
				switch {
				case code == r.code:
					require.Contains(t, []string{c.Severity.String(), c.SeverityWhere(true).String()}, severity)
				case severity != "info":
					require.NotEmpty(t, r.with[code], "%s comes with it: %v", code, got)
				}
			}
		})
	}
	for _, c := range diagnose.Checks() {
		if c.Kind == check.Finding && !have[c.Code] && elsewhere[c.Code] == "" {
			t.Errorf("%s has no fixture: add a row", c.Code)
		}
	}
	for code := range elsewhere {
		require.NotNil(t, diagnose.Lookup(code))
		require.False(t, have[code], code)
	}
}

// elsewhere are the checks that only a running broker or node shows; each has a
// test of its values alone.
var elsewhere = map[string]string{
	"position-soon": "pkg/diagnose TestPositionSoon",
}

// TestASoundLogHasNoFindings: the log that the fixtures break, unbroken.
func TestASoundLogHasNoFindings(t *testing.T) {
	for _, line := range []string{verifyLine + " --catalog kvjson:kv.json", tickLine, recoverLine, channelsLine} {
		got := row{args: line, spoil: func(*fixture) {}}.run(t)
		for code, severity := range got {
			require.Equal(t, "info", severity, "%s: %s", line, code)
		}
	}
}

// run returns the codes the command reports, with their severities.
func (r row) run(t *testing.T) map[string]string {
	x := newFixture(t)
	r.spoil(x)
	dir := t.TempDir()
	x.write(dir)
	t.Chdir(dir)
	nodes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(x.metrics)) }))
	defer nodes.Close()
	_, out, errOut := run(t, nil, append(strings.Fields(strings.ReplaceAll(r.args, "NODES", nodes.URL)), "-o", "json")...)
	var answer struct {
		Findings []struct {
			Code, Severity string
			Evidence       []struct{ Name, Value string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer), "%s: %s%s", r.args, out, errOut)
	got := map[string]string{}
	for _, f := range answer.Findings {
		t.Log(f)
		if f.Severity != "info" || got[f.Code] == "" {
			got[f.Code] = f.Severity
		}
	}
	return got
}

// diskRows are what a start would make of a disk.
func diskRows() []row {
	const line = "verify rocksmq:disk/rdb_data --log by-dev-rootcoord-dml_0"
	own := map[string]string{"last-confirmed-broken": "Milvus's own defect, in a log that Milvus wrote"}
	return []row{
		{code: "disk-whole", args: line, with: own, spoil: func(x *fixture) { x.disk = "rmq-small/rocksmq.tar.zst" }},
		{code: "disk-start", args: line, with: own, spoil: func(x *fixture) { x.disk = "rmq-torn/walhole.tar.zst" }},
	}
}

func verifyRows() []row {
	seg7 := &messagespb.FlushMessageHeader{CollectionId: 100, PartitionId: 1, SegmentId: 7}
	return []row{
		{code: "bad-envelope", args: verifyLine, spoil: func(x *fixture) { x.deletes.set("_v", "2") }},
		{code: "unknown-type", args: verifyLine, spoil: func(x *fixture) { x.add(77, "2", nil, nil); x.timeTick() }},
		{code: "chunked-payload", args: verifyLine, spoil: func(x *fixture) {
			tt := x.rows("_ci", "0", "_ct", "2").tick()
			x.rows("_ci", "1", "_ct", "2").at(tt)
			x.timeTick()
		}},
		{code: "chunked-incomplete", args: verifyLine, spoil: func(x *fixture) {
			tt := x.rows("_ci", "0", "_ct", "3").tick()
			x.rows("_ci", "2", "_ct", "3").at(tt)
			x.timeTick()
		}},
		{code: "chunked-unfinished", args: verifyLine, spoil: (*fixture).unfinished},
		{code: "stale-writer", args: verifyLine, spoil: func(x *fixture) {
			old := x.remove(1)
			x.recs = x.recs[:len(x.recs)-1]
			x.open()
			x.remove(1).at(old.tick()).set("_wt", "1")
			x.timeTick()
		}},
		{code: "behind-timetick", args: verifyLine, spoil: func(x *fixture) {
			tick := x.recs[len(x.recs)-1].tick()
			x.remove(1).at(tick - 1)
			x.timeTick()
		}},
		{code: "timetick-regress", args: verifyLine, spoil: func(x *fixture) { x.timeTick().at(x.deletes.tick()) }},
		{code: "timetick-jump", args: verifyLine, spoil: func(x *fixture) {
			x.tt += 11 * 365 * 24 * 3600 * 1000 << 18
			x.timeTick()
		}},
		{code: "duplicate-timetick", args: verifyLine, spoil: func(x *fixture) {
			tt := x.remove(1).tick()
			x.remove(2).at(tt)
			x.timeTick()
		}},
		{code: "retry-duplicate", args: verifyLine, spoil: func(x *fixture) {
			tt := x.remove(1).tick()
			x.remove(1).at(tt)
			x.timeTick()
		}},
		{code: "last-confirmed-ahead", args: verifyLine, spoil: func(x *fixture) { x.deletes.set("_lc", rawID(x.deletes.id)) }},
		{code: "last-confirmed-missing", args: verifyLine, spoil: func(x *fixture) {
			for _, r := range x.recs[1:3] { // the TimeTick after it goes along
				r.set("_lc", rawID(message.ID{Backend: message.BackendPulsar, B: 9}))
			}
		}},
		{code: "last-confirmed-regress", args: verifyLine, spoil: func(x *fixture) { x.deletes.set("_lc", rawID(x.recs[0].id)) }},
		{code: "last-confirmed-broken", args: verifyLine, spoil: func(x *fixture) {
			x.beginTxn(51, 10_000)
			tick := x.timeTick()
			x.rows("_tx", x.txn(51, 10_000)).set("_lc", rawID(tick.id))
			x.commitTxn(51, 10_000).set("_lc", rawID(tick.id))
			x.timeTick()
		}},
		{code: "term-missing", args: verifyLine, spoil: func(x *fixture) { x.deletes.set("_wt", "-") }},
		{code: "term-unopened", args: verifyLine, spoil: func(x *fixture) { x.term = "2"; x.remove(1); x.timeTick() }},
		{code: "catalog-term-behind", args: verifyLine + " --catalog kvjson:kv.json", spoil: func(x *fixture) { x.open(); x.remove(1); x.timeTick() }},
		{code: "exclusive-crossed", args: verifyLine, spoil: func(x *fixture) {
			first := x.add(message.TypeCreatePartition, "1", &messagespb.CreatePartitionMessageHeader{CollectionId: 100, PartitionId: 2}, nil)
			x.remove(1).at(first.tick() - 1)
			x.timeTick()
		}},
		{code: "torn-transaction", args: verifyLine, spoil: func(x *fixture) { x.commitTxn(51, 10_000); x.timeTick() }},
		{code: "transaction-order", args: verifyLine, spoil: func(x *fixture) {
			x.beginTxn(51, 10_000)
			x.beginTxn(51, 10_000)
			x.commitTxn(51, 10_000)
			x.timeTick()
		}},
		{code: "transaction-late-part", args: verifyLine, spoil: func(x *fixture) {
			x.beginTxn(51, 1)
			x.commitTxn(51, 1)
			x.timeTick()
		}},
		{code: "insert-malformed", args: verifyLine, spoil: func(x *fixture) { x.insert.set("_h", x.pb64(insertOf(1, 7, 0))) }},
		{code: "insert-outside-segment", args: verifyLine, spoil: func(x *fixture) {
			x.add(message.TypeFlush, "2", seg7, nil)
			x.rows()
			x.timeTick()
		}},
		{code: "insert-after-truncate", args: verifyLine, spoil: func(x *fixture) {
			x.add(message.TypeTruncateCollection, "2", &messagespb.TruncateCollectionMessageHeader{CollectionId: 100, SegmentIds: []int64{7}}, nil)
			x.rows()
			x.timeTick()
		}},
		{code: "insert-field-not-in-schema", args: verifyLine, spoil: func(x *fixture) { x.insert.payload = pb(x.t, fieldsBody(200)) }},
		{code: "unknown-partition", args: verifyLine, spoil: func(x *fixture) {
			x.add(message.TypeCreateSegment, "2", &messagespb.CreateSegmentMessageHeader{CollectionId: 100, PartitionId: 9, SegmentId: 8}, nil)
			x.timeTick()
		}},
		{code: "vchannel-unborn", args: verifyLine, spoil: func(x *fixture) {
			x.add(message.TypeDelete, "1", &messagespb.DeleteMessageHeader{CollectionId: 200, Rows: 1}, nil, "_vc", fixP+"_200v0")
			x.timeTick()
		}},
		{code: "vchannel-after-drop", args: verifyLine, spoil: func(x *fixture) { x.drop(); x.remove(1); x.timeTick() }},
	}
}

// drop appends the DropCollection of the fixture's collection.
func (x *fixture) drop() {
	x.add(message.TypeDropCollection, "1", &messagespb.DropCollectionMessageHeader{CollectionId: 100}, &msgpb.DropCollectionRequest{CollectionID: 100})
}

func (x *fixture) broadcast(id uint64, vchannels ...string) string {
	return x.pb64(&messagespb.BroadcastHeader{BroadcastId: id, Vchannels: vchannels})
}

// oneCopy appends a definition whose second copy never comes, and lets it be missed.
func (x *fixture) oneCopy() {
	x.add(message.TypeCreatePartition, "1", &messagespb.CreatePartitionMessageHeader{CollectionId: 100, PartitionId: 2}, &msgpb.CreatePartitionRequest{}, "_bh", x.broadcast(9, fixV, fixP+"_200v0"))
	for range 40 {
		x.tt += 900 << 18
		x.timeTick()
	}
}

// cut takes the last records away, with what a row does to the text of the rest.
func tearLast(b []byte) []byte { return b[:len(b)-20] }

// spoilLine makes the n-th line from the end unreadable.
func spoilLine(n int) func([]byte) []byte {
	return func(b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		k := len(lines) - 1 - n
		lines[k] = []byte("{nonsense\n")
		return bytes.Join(lines, nil)
	}
}

func (x *fixture) last() *fixRec { return x.recs[len(x.recs)-1] }

// lose takes a record out of the log.
func (x *fixture) lose(r *fixRec) {
	for i := range x.recs {
		if x.recs[i] == r {
			x.recs = append(x.recs[:i:i], x.recs[i+1:]...)
			return
		}
	}
}

// beyond is a checkpoint's move to a place the log does not reach.
func (x *fixture) beyond() {
	x.move(func(cp *streamingpb.WALCheckpoint) {
		cp.MessageId.Id = rawID(message.ID{Backend: message.BackendPulsar, A: 1, B: 900})
	})
}

func verifyMoreRows() []row {
	withCatalog := verifyLine + " --catalog kvjson:kv.json"
	return []row{
		{code: "broadcast-mismatch", args: verifyLine, spoil: func(x *fixture) { x.create.set("_bh", x.broadcast(0, fixV)) }},
		{code: "broadcast-copy-missing", args: verifyLine, spoil: (*fixture).oneCopy},
		{code: "barrier-ahead", args: verifyLine, spoil: func(x *fixture) { x.deletes.set("_btt", x.deletes.props["_tt"]) }},
		{code: "replicate-mismatch", args: verifyLine, spoil: func(x *fixture) {
			x.deletes.set("_rh", x.pb64(&messagespb.ReplicateHeader{ClusterId: "src"}))
		}},
		{code: "checkpoint-beyond", args: withCatalog, spoil: func(x *fixture) {
			x.move(func(cp *streamingpb.WALCheckpoint) { cp.TimeTick = x.create.tick() })
		}},
		{code: "position-gone", args: withCatalog, spoil: (*fixture).beyond},
		{code: "ids-out-of-order", args: verifyLine, spoil: func(x *fixture) { r := x.last(); x.timeTick().set("_lc", r.props["_lc"]).id = r.id }},
		{code: "ledger-hole", args: verifyLine, spoil: func(x *fixture) { x.lose(x.deletes) }},
		{code: "unreadable", args: verifyLine, spoil: func(x *fixture) { x.text = spoilLine(2) }},
		{code: "torn-tail", args: verifyLine, spoil: func(x *fixture) { x.text = tearLast }},
		{code: "unconfirmed-tail", args: verifyLine, spoil: func(x *fixture) { x.remove(1) }},
		{code: "open-transaction", args: verifyLine, spoil: func(x *fixture) { x.beginTxn(51, 60_000); x.timeTick() }},
		{code: "expired-transaction", args: verifyLine, spoil: func(x *fixture) { x.beginTxn(51, 1); x.timeTick() }},
		{code: "partial-start", args: verifyLine, spoil: func(x *fixture) { x.recs = x.recs[1:] }},
		{code: "not-checked", args: verifyLine, spoil: func(*fixture) {}},
	}
}

func tickRows() []row {
	return []row{
		{code: "timetick-stalled", args: tickLine, spoil: func(x *fixture) {
			x.remove(1)
			x.tt += 5000 << 18
			x.timeTick()
		}},
		{code: "timetick-lost", args: tickLine, spoil: func(x *fixture) {
			first := x.remove(1)
			x.remove(1).set("_lc", rawID(first.id))
			x.tt += 2000 << 18
			x.timeTick()
		}},
		{code: "timetick-regress", args: tickLine, spoil: func(x *fixture) { x.timeTick().at(x.deletes.tick()) }},
		{code: "timetick-jump", args: tickLine, spoil: func(x *fixture) {
			x.tt += 11 * 365 * 24 * 3600 * 1000 << 18
			x.timeTick()
		}},
		{code: "unconfirmed-tail", args: tickLine, spoil: func(x *fixture) { x.remove(1) }},
	}
}

// stopRows are what stops a node that replays.
func stopRows() []row {
	after := func(typ message.Type, version string, pairs ...string) func(x *fixture) {
		return func(x *fixture) { x.add(typ, version, nil, nil, pairs...); x.timeTick() }
	}
	return []row{
		{code: "recovery-catalog-key", args: recoverLine, spoil: func(x *fixture) { x.forget("/schema/") }},
		{code: "recovery-envelope-undecodable", args: recoverLine, spoil: after(message.TypeCreateDatabase, "2", "_vc", "-", "_bh", "")},
		{code: "recovery-header-undecodable", args: recoverLine, spoil: after(message.TypeCreatePartition, "1", "_h", "-")},
		{code: "recovery-body-undecodable", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCreateCollection, "1", &messagespb.CreateCollectionMessageHeader{CollectionId: 101}, nil, "_vc", fixP+"_101v0").payload = []byte{255}
			x.timeTick()
		}},
		{code: "recovery-never-on-wire", args: recoverLine, spoil: after(message.TypeTxn, "2")},
		{code: "recovery-unknown-type", args: recoverLine, spoil: after(555, "2")},
		{code: "recovery-newer-type", args: recoverLine, spoil: after(message.TypeRollbackImport, "2")},
		{code: "recovery-replicate-config", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeAlterReplicateConfig, "2", &messagespb.AlterReplicateConfigMessageHeader{}, &messagespb.AlterReplicateConfigMessageBody{},
				"_vc", fixP+"_vcchan", "_bh", x.broadcast(9, fixP+"_vcchan"))
			x.timeTick()
		}},
		{code: "position-gone", args: recoverLine, spoil: (*fixture).beyond},
		{code: "recovery-checkpoint-unreadable", args: recoverLine, spoil: func(x *fixture) {
			x.move(func(cp *streamingpb.WALCheckpoint) { cp.MessageId.Id = "!!" })
		}},
		{code: "recovery-no-checkpoint", args: recoverLine, spoil: func(x *fixture) { x.forget("/consume-checkpoint") }},
		{code: "recovery-opening-unreadable", args: recoverLine + " --until tt:5", spoil: func(*fixture) {}},
		{code: "recovery-alter-wal-stage-lost", args: recoverLine, spoil: func(x *fixture) {
			x.move(func(cp *streamingpb.WALCheckpoint) {
				cp.AlterWalState = &streamingpb.AlterWALState{TargetWalName: commonpb.WALName_WoodPecker, TimeTick: cp.TimeTick, Stage: streamingpb.AlterWALStage_FLUSHING}
			})
		}},
		{code: "recovery-log-unreadable", args: recoverLine, spoil: func(x *fixture) { x.remove(1); x.remove(1); x.timeTick(); x.text = spoilLine(2) }},
		{code: "recovery-log-gap", args: recoverLine, spoil: func(x *fixture) { r := x.remove(1); x.remove(1); x.timeTick(); x.lose(r) }},
		{code: "recovery-id-backwards", args: recoverLine, spoil: func(x *fixture) { id := x.last().id; x.timeTick(); x.timeTick().id = id }},
		{code: "recovery-payload-absent", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCreateCollection, "1", &messagespb.CreateCollectionMessageHeader{CollectionId: 101, PartitionIds: []int64{1}}, &msgpb.CreateCollectionRequest{CollectionID: 101, CollectionSchema: fixSchema()}, "_vc", fixP+"_101v0")
			x.timeTick()
			x.withoutData = true
		}},
		{code: "recovery-import-waits", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCommitImport, "2", nil, nil)
			x.tt += 90_000 << 18
			x.timeTick()
		}},
	}
}

// loseRows are what loses rows, or only puzzles, where a log is replayed.
func loseRows() []row {
	insert := func(x *fixture, v string, partition, segment int64) {
		x.add(message.TypeInsert, "1", insertOf(partition, segment, 3), fieldsBody(100), "_vc", v)
		x.timeTick()
	}
	return []row{
		{code: "chunked-payload", args: recoverLine, spoil: func(x *fixture) {
			tt := x.rows("_ci", "0", "_ct", "2").tick()
			x.rows("_ci", "1", "_ct", "2").at(tt)
			x.timeTick()
		}},
		{code: "chunked-incomplete", args: recoverLine, spoil: func(x *fixture) {
			tt := x.rows("_ci", "0", "_ct", "3").tick()
			x.rows("_ci", "2", "_ct", "3").at(tt)
			x.timeTick()
		}},
		{code: "chunked-unfinished", args: recoverLine, spoil: (*fixture).unfinished},
		{code: "vchannel-missing", args: recoverLine, spoil: func(x *fixture) { x.collection(200, fixP+"_200v0") }},
		{code: "channel-cp-dropped", args: recoverLine, spoil: (*fixture).markDropped},
		{code: "recovery-vchannel-unknown", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCreatePartition, "1", &messagespb.CreatePartitionMessageHeader{CollectionId: 300, PartitionId: 1}, &msgpb.CreatePartitionRequest{}, "_vc", fixP+"_300v0")
			x.timeTick()
		}},
		{code: "recovery-insert-segment-missing", args: recoverLine, spoil: func(x *fixture) { insert(x, fixV, 1, 99) }},
		{code: "recovery-insert-segment-flushed", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeFlush, "2", &messagespb.FlushMessageHeader{CollectionId: 100, PartitionId: 1, SegmentId: 7}, nil)
			insert(x, fixV, 1, 7)
		}},
		{code: "recovery-insert-vchannel-unknown", args: recoverLine, spoil: func(x *fixture) { insert(x, fixP+"_300v0", 1, 99) },
			with: map[string]string{"recovery-vchannel-unknown": "any message on such a vchannel is told so"}},
		{code: "recovery-insert-vchannel-dropped", args: recoverLine, spoil: func(x *fixture) { x.drop(); insert(x, fixV, 1, 7) }},
		{code: "recovery-insert-partition-unknown", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeDropPartition, "1", &messagespb.DropPartitionMessageHeader{CollectionId: 100, PartitionId: 1}, &msgpb.DropPartitionRequest{})
			insert(x, fixV, 1, 7)
		}},
		{code: "recovery-segment-without-vchannel", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCreateSegment, "2", &messagespb.CreateSegmentMessageHeader{CollectionId: 300, PartitionId: 1, SegmentId: 8}, nil, "_vc", fixP+"_300v0")
			x.timeTick()
		}, with: map[string]string{"recovery-vchannel-unknown": "any message on such a vchannel is told so"}},
		{code: "recovery-segment-orphan", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeCreateSegment, "2", &messagespb.CreateSegmentMessageHeader{CollectionId: 100, PartitionId: 9, SegmentId: 8}, nil)
			x.timeTick()
		}},
		{code: "recovery-flush-segment-missing", args: recoverLine, spoil: func(x *fixture) {
			x.add(message.TypeManualFlush, "2", &messagespb.ManualFlushMessageHeader{CollectionId: 100, SegmentIds: []int64{99}}, nil)
			x.timeTick()
		}},
		{code: "broadcast-copy-missing", args: recoverLine, spoil: (*fixture).oneCopy},
		{code: "recovery-replicate-checkpoint", args: recoverLine, spoil: func(x *fixture) {
			x.remove(1).set("_rh", x.pb64(&messagespb.ReplicateHeader{ClusterId: "src", TimeTick: 7, MessageId: &commonpb.MessageID{Id: "m"}, LastConfirmedMessageId: &commonpb.MessageID{Id: "l"}}))
			x.timeTick()
		}},
		{code: "recovery-message-stale", args: recoverLine, spoil: func(x *fixture) {
			tick := x.timeTick().tick()
			x.remove(1).at(tick - 1)
			x.timeTick()
		}},
		{code: "recovery-duplicate-id", args: recoverLine, spoil: func(x *fixture) { id := x.remove(1).id; x.remove(2).id = id; x.timeTick().id.B = id.B + 1 }, with: map[string]string{"recovery-id-backwards": "an id met twice is not larger than the one before it"}},
		{code: "recovery-equal-timetick", args: recoverLine, spoil: func(x *fixture) { tt := x.remove(1).tick(); x.remove(2).at(tt); x.timeTick() }},
		{code: "recovery-time-went-back", args: recoverLine, spoil: func(x *fixture) {
			x.remove(1)
			x.timeTick()
			x.tt = x.deletes.tick() - 5*fixStep
			x.open()
			x.remove(1)
			x.timeTick()
		}},
		{code: "recovery-transaction-broken", args: recoverLine, spoil: func(x *fixture) { x.commitTxn(51, 10_000); x.timeTick() }},
		{code: "recovery-transaction-expired", args: recoverLine, spoil: func(x *fixture) {
			x.beginTxn(51, 1)
			x.rows("_tx", x.txn(51, 1)).at(x.last().tick())
			x.tt += 1000 << 18
			x.timeTick()
		}},
		{code: "recovery-transaction-discarded", args: recoverLine, spoil: func(x *fixture) {
			for range 2 {
				x.beginTxn(51, 10_000).set("_rh", x.pb64(&messagespb.ReplicateHeader{ClusterId: "src", TimeTick: 7, MessageId: &commonpb.MessageID{Id: "m"}, LastConfirmedMessageId: &commonpb.MessageID{Id: "l"}}))
			}
			x.timeTick()
		}, with: map[string]string{"recovery-replicate-checkpoint": "only replication begins a transaction again, and this catalog is of no secondary"}},
		{code: "restart-out-of-memory", args: forecastLine + "1MiB", spoil: (*fixture).unflushed},
		{code: "restart-memory-tight", args: forecastLine + "128MiB --watermark 0.4", spoil: (*fixture).unflushed},
	}
}

// unfinished appends the first of two records whose second never came.
func (x *fixture) unfinished() {
	x.rows("_ci", "0", "_ct", "2")
	x.timeTick()
	x.remove(1)
	x.timeTick()
}

// unflushed leaves the whole log to be replayed.
func (x *fixture) unflushed() {
	x.move(func(cp *streamingpb.WALCheckpoint) { *cp = *checkpointAt(x.recs[0]) })
	x.put(catalog.ChannelCheckpointKey(fixV), x.position(x.recs[0]))
}

// markDropped leaves DataCoord's mark of a dropped channel.
func (x *fixture) markDropped() {
	x.put(catalog.ChannelCheckpointKey(fixV), &msgpb.MsgPosition{ChannelName: fixV, Timestamp: math.MaxUint64})
}

// momentRows are what only a node's metrics tell: how it would look were it to
// happen to the log's WAL.
func momentRows() []row {
	const line = "doctor wal.jsonl --catalog kvjson:kv.json --metrics NODES"
	says := func(pairs ...string) func(*fixture) {
		return func(x *fixture) {
			x.metrics = strings.Join([]string{gauge("growing_segment_hwm_bytes", "", "1000"), gauge("growing_segment_bytes", "", "10")}, "")
			for i := 0; i+2 < len(pairs); i += 3 {
				x.metrics += gauge(pairs[i], pairs[i+1], pairs[i+2])
			}
		}
	}
	open := []string{"info", `,term="1"`, "1", "last_confirmed_time_tick", "", "1000"}
	return []row{
		{code: "scanner-stuck", args: line, spoil: says(append(open, "scanner_total", `,scanner_model="catchup"`, "1", "sync_time_tick", `,type="persistent"`, "900")...)},
		{code: "append-not-acknowledged", args: line, spoil: says(append(open, "last_allocated_time_tick", "", "1060")...)},
		{code: "flusher-blocked", args: line, spoil: says(append(open, "flusher_time_tick", `,term="1"`, "900", "scanner_pending_queue_bytes", "", "64")...)},
		{code: "wal-in-recovery", args: line, spoil: says("recovery_info", `,term="1",state="stream-recovering"`, "1")},
		{code: "growing-near-watermark", args: line, spoil: says(append(open, "growing_segment_bytes", `,lv="L1"`, "890")...)},
	}
}

// gauge is one line of a node's metrics.
func gauge(name, labels, value string) string {
	return "milvus_wal_" + name + `{channel_name="` + fixP + `",node_id="1"` + labels + "} " + value + "\n"
}

func channelRows() []row {
	return []row{
		{code: "vchannel-missing", args: channelsLine, spoil: func(x *fixture) { x.forget("/vchannel/") }},
		{code: "vchannel-unknown", args: channelsLine, spoil: func(x *fixture) {
			x.forget("/vchannel/", "channel-cp")
			x.forgetCollection()
		}},
		{code: "vchannel-twice", args: channelsLine, spoil: func(x *fixture) { x.registerUnder("by-dev-rootcoord-dml_9") }},
		{code: "vchannel-misplaced", args: channelsLine, spoil: func(x *fixture) {
			x.registerUnder("by-dev-rootcoord-dml_9")
			x.forget("wal/" + fixP + "/vchannel/")
		}},
		{code: "vchannel-dropped", args: channelsLine, spoil: (*fixture).forgetCollection},
		{code: "vchannel-no-schema", args: channelsLine, spoil: func(x *fixture) { x.forget("/schema/") }},
		{code: "schema-orphan", args: channelsLine, spoil: func(x *fixture) {
			for k, v := range x.kv {
				if strings.Contains(k, "/schema/") {
					x.kv[strings.Replace(k, "_100v0", "_200v0", 1)] = v
				}
			}
		}},
		{code: "position-gone", args: channelsLine, spoil: func(x *fixture) {
			p := x.position(x.last())
			p.MsgID = x.position(&fixRec{id: message.ID{Backend: message.BackendPulsar, A: 1, B: 900}, props: x.last().props}).MsgID
			x.put(catalog.ChannelCheckpointKey(fixV), p)
		}},
		{code: "channel-cp-frozen", args: channelsLine + " --frozen-after 1s", spoil: func(x *fixture) {
			for range 20 {
				x.tt += 300 << 18
				x.remove(1)
				x.timeTick()
			}
		}},
		{code: "channel-cp-dropped", args: channelsLine, spoil: (*fixture).markDropped},
		{code: "pchannel-unassigned", args: channelsLine, spoil: func(x *fixture) {
			x.forget("/pchannel/")
			x.assign("by-dev-rootcoord-dml_9")
		}},
		{code: "broadcast-copy-missing", args: channelsLine, spoil: (*fixture).oneCopy},
		{code: "catalog-term-behind", args: channelsLine, spoil: func(x *fixture) { x.open(); x.remove(1); x.timeTick() }},
		{code: "replicating-pchannel-missing", args: channelsLine, spoil: func(x *fixture) {
			cfg := &commonpb.ReplicateConfiguration{Clusters: []*commonpb.MilvusCluster{{ClusterId: "by-dev", Pchannels: []string{fixP}}, {ClusterId: "b", Pchannels: []string{"b_0"}}},
				CrossClusterTopology: []*commonpb.CrossClusterTopology{{SourceClusterId: "by-dev", TargetClusterId: "b"}}}
			x.put(catalog.ReplicateConfigurationKey, &streamingpb.ReplicateConfigurationMeta{ReplicateConfiguration: cfg})
		}},
		{code: "replicate-checkpoint-local", args: channelsLine, spoil: func(x *fixture) {
			x.move(func(cp *streamingpb.WALCheckpoint) {
				cp.ReplicateCheckpoint = &commonpb.ReplicateCheckpoint{ClusterId: "src", Pchannel: fixP, MessageId: &commonpb.MessageID{Id: "m"}}
			})
		}},
		{code: "wal-owned-twice", args: channelsLine + " --metrics NODES", spoil: func(x *fixture) { x.metrics = walMetric("1", "1") + walMetric("2", "1") }},
		{code: "wal-term-differs", args: channelsLine + " --metrics NODES", spoil: func(x *fixture) { x.metrics = walMetric("1", "5") }},
		{code: "wal-opening-fails", args: channelsLine, spoil: func(x *fixture) {
			x.put(catalog.PChannelKey(fixP), &streamingpb.PChannelMeta{Channel: &streamingpb.PChannelInfo{Name: fixP, Term: 3}, State: streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNING,
				Histories: []*streamingpb.PChannelAssignmentLog{{Term: 1}, {Term: 2}}})
		}},
		{code: "channel-reduplicates", args: channelsLine + " --logs node.log", spoil: func(x *fixture) {
			x.logs = "[2025/04/21 08:12:01.003 +00:00] [WARN] [\"failed\"] [error=\"channel reduplicates[channel=" + fixV + "]\"]\n"
		}},
	}
}

// walMetric is what a node that has the WAL open reports.
func walMetric(node, term string) string {
	return `milvus_wal_info{channel_name="` + fixP + `",node_id="` + node + `",term="` + term + `",wal_name="pulsar"} 1` + "\n"
}

// forgetCollection leaves RootCoord another collection alone, on another pchannel.
func (x *fixture) forgetCollection() {
	x.forget("/100")
	x.collection(200, "by-dev-rootcoord-dml_9_200v0")
	x.assign("by-dev-rootcoord-dml_9")
}

func (x *fixture) assign(p string) {
	x.put(catalog.PChannelKey(p), &streamingpb.PChannelMeta{Channel: &streamingpb.PChannelInfo{Name: p, Term: 1}, State: streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNED})
}

// registerUnder registers the vchannel under another pchannel too.
func (x *fixture) registerUnder(p string) {
	for k, v := range x.kv {
		if strings.Contains(k, "wal/"+fixP+"/vchannel/") {
			x.kv[strings.Replace(k, "wal/"+fixP+"/", "wal/"+p+"/", 1)] = v
		}
	}
}
