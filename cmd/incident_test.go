package cmd

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// checker ends a test, or a script, at an error.
type checker interface {
	Check(err error)
	Fatalf(format string, args ...any)
}

// incidentLog is a log with the catalogs a node left in the middle and at the end.
type incidentLog struct {
	gen *walgen.Generator
	ms  []*message.Message
	mid map[string][]byte
	end map[string][]byte
}

func newIncidentLog(ts checker, cfg walgen.Config) *incidentLog {
	x := &incidentLog{gen: walgen.New(cfg)}
	x.ms = x.gen.Messages()
	x.mid, x.end = x.catalogAt(ts, len(x.ms)/2), x.catalogAt(ts, len(x.ms))
	return x
}

// catalogAt is what a node leaves that stops at the last TimeTick before index end.
func (x *incidentLog) catalogAt(ts checker, end int) map[string][]byte {
	for end--; x.ms[end].Type != message.TypeTimeTick || x.ms[end].OpensTerm(); {
		end--
	}
	p := x.gen.PChannel()
	md, _ := catalog.Decode(p, x.gen.CatalogBefore())
	r, err := recovery.Replay(context.Background(), walgen.SliceSource(p, x.ms), md,
		recovery.ReplayOptions{Until: source.Bound{Kind: source.AtTimeTick, TimeTick: x.ms[end].TimeTick}})
	ts.Check(err)
	kv, err := r.State.Persist()
	ts.Check(err)
	out := x.gen.ClusterKeys(x.ms[end])
	maps.Copy(out, kv)
	return out
}

func (x *incidentLog) checkpoint(ts checker, kv map[string][]byte, change func(*streamingpb.WALCheckpoint)) {
	key := catalog.CheckpointKey(x.gen.PChannel())
	var cp streamingpb.WALCheckpoint
	ts.Check(proto.Unmarshal(kv[key], &cp))
	change(&cp)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&cp)
	ts.Check(err)
	kv[key] = b
}

// keys lists the WAL's keys of one kind, sorted.
func (x *incidentLog) keys(kv map[string][]byte, kind catalog.KeyKind) (out []string) {
	for _, k := range catalog.Keys(kv) {
		if p := catalog.ParseKey(k); p.Kind == kind && strings.HasPrefix(k, catalog.WALPrefix(x.gen.PChannel())) {
			out = append(out, k)
		}
	}
	return out
}

func (x *incidentLog) inject(ts checker, f walgen.Fault) {
	ms, truth, err := walgen.Inject(x.ms, f, 5)
	ts.Check(err)
	at := slices.IndexFunc(ms, func(m *message.Message) bool { return m.ID == truth.IDs[0] })
	if at < 100 {
		ts.Fatalf("%s came too early, at %d", f, at)
	}
	x.mid = x.catalogAt(ts, at-50)
	x.ms = ms
}

func deleteSchemas(kv map[string][]byte, vchannelKey string) {
	for k := range kv {
		if strings.HasPrefix(k, vchannelKey+"/schema/") {
			delete(kv, k)
		}
	}
}

// trim removes the log's first ledgers.
func (x *incidentLog) trim() {
	x.ms = x.ms[slices.IndexFunc(x.ms, func(m *message.Message) bool { return m.ID.A > x.ms[len(x.ms)/4].ID.A }):]
}

// incidents are ways a log or its catalog breaks. Each changes log and catalog.
func incidents() map[string]func(checker, *incidentLog) {
	alter := func(stage streamingpb.AlterWALStage) func(checker, *incidentLog) {
		return func(ts checker, x *incidentLog) {
			x.checkpoint(ts, x.end, func(cp *streamingpb.WALCheckpoint) {
				cp.AlterWalState = &streamingpb.AlterWALState{TargetWalName: commonpb.WALName_WoodPecker, TimeTick: cp.TimeTick, Stage: stage}
			})
			x.mid = x.end
		}
	}
	fault := func(f walgen.Fault) func(checker, *incidentLog) {
		return func(ts checker, x *incidentLog) { x.inject(ts, f) }
	}
	return map[string]func(checker, *incidentLog){
		"none": func(checker, *incidentLog) {},
		"no-schema": func(_ checker, x *incidentLog) {
			deleteSchemas(x.mid, x.keys(x.mid, catalog.KeyVChannel)[0])
		},
		"unknown-type": fault(walgen.UnknownType),
		"bad-header":   fault(walgen.BadHeader),
		"partition":    fault(walgen.DroppedPartition),
		"stale":        fault(walgen.StaleWriter),
		"trimmed": func(_ checker, x *incidentLog) {
			maps.Copy(x.mid, x.gen.ClusterKeys(x.ms[3]))
			x.mid[catalog.CheckpointKey(x.gen.PChannel())] = x.gen.CatalogBefore()[catalog.CheckpointKey(x.gen.PChannel())]
			x.trim()
		},
		"other-wal": func(ts checker, x *incidentLog) {
			x.checkpoint(ts, x.mid, func(cp *streamingpb.WALCheckpoint) {
				cp.MessageId = &commonpb.MessageID{WALName: commonpb.WALName_WoodPecker, Id: "CAE="}
			})
		},
		"unreadable-checkpoint": func(_ checker, x *incidentLog) {
			x.mid[catalog.CheckpointKey(x.gen.PChannel())] = []byte{0xff, 0xff}
		},
		"alter-flushing": alter(streamingpb.AlterWALStage_FLUSHING),
		"alter-advance":  alter(streamingpb.AlterWALStage_ADVANCE_CHECKPOINT),
		"lost": func(_ checker, x *incidentLog) {
			x.mid = maps.Clone(x.end)
			for k := range x.mid {
				if strings.HasPrefix(k, catalog.WALPrefix(x.gen.PChannel())) {
					delete(x.mid, k)
				}
			}
		},
		"unregistered": func(_ checker, x *incidentLog) {
			v := x.keys(x.mid, catalog.KeyVChannel)[0]
			deleteSchemas(x.mid, v)
			delete(x.mid, v)
		},
		"half-written": func(_ checker, x *incidentLog) {
			p := x.gen.PChannel()
			x.mid = maps.Clone(x.end)
			x.mid[catalog.SchemaKey(p, p+"_99v0", 7)] = x.mid[x.keys(x.mid, catalog.KeySchema)[0]]
			x.mid[catalog.SegmentKey(p, 4242)] = []byte{0xff, 0xff}
		},
		"slashed": func(_ checker, x *incidentLog) {
			x.mid = maps.Clone(x.end)
			for _, k := range []string{catalog.ControlChannelKey, catalog.StreamingVersionKey} {
				x.mid[k+"/"] = x.mid[k]
				delete(x.mid, k)
			}
		},
	}
}

// incident NAME [secondary] writes wal.jsonl, the catalog kv.json that goes with it, and in
// whole.json the catalog a node leaves that replayed all of the unbroken log.
func incident(ts *testscript.TestScript, _ bool, args []string) {
	x := newIncident(ts, args[0], len(args) > 1)
	x.write(ts, ts.MkAbs("wal.jsonl"))
	for file, kv := range map[string]map[string][]byte{"kv.json": x.mid, "whole.json": x.end} {
		x.writeKV(ts, ts.MkAbs(file), kv)
	}
}

// shortScreen FILE holds a first screen to its length.
func shortScreen(ts *testscript.TestScript, _ bool, args []string) {
	if n := strings.Count(ts.ReadFile(args[0]), "\n"); n > cli.ScreenLines {
		ts.Fatalf("%d lines, at most %d:\n%s", n, cli.ScreenLines, ts.ReadFile(args[0]))
	}
}

// runNext FILE runs the command a screen names as the next one, just as it is printed:
// it must not be a wrong usage.
func runNext(ts *testscript.TestScript, _ bool, args []string) {
	_, cmd, ok := strings.Cut(ts.ReadFile(args[0]), "\nNext       ")
	if !ok {
		ts.Fatalf("no next command in:\n%s", ts.ReadFile(args[0]))
	}
	cmd, _, _ = strings.Cut(cmd, "\n")
	ts.Check(ts.Exec("sh", "-c", "{ "+cmd+"\n} >out 2>err </dev/null; echo $? >code"))
	switch code := strings.TrimSpace(ts.ReadFile("code")); code {
	case "0", "3":
	default:
		ts.Fatalf("%s: exit %s\n%s%s", cmd, code, ts.ReadFile("out"), ts.ReadFile("err"))
	}
}

func newIncident(ts checker, name string, secondary bool) *incidentLog {
	build := incidents()[name]
	if build == nil {
		ts.Fatalf("no incident %s", name)
	}
	x := newIncidentLog(ts, walgen.Config{Seed: 21, Messages: 3000, Terms: 2, LedgerEntries: 500, Secondary: secondary})
	if secondary {
		x.mid = x.catalogAt(ts, len(x.ms)/8) // before it became a replication target
	}
	build(ts, x)
	return x
}

func (x *incidentLog) write(ts checker, file string) {
	out, err := os.Create(file)
	ts.Check(err)
	defer out.Close()
	w := jsonl.NewWriter(out, jsonl.Options{Data: true})
	for _, m := range x.ms {
		ts.Check(w.Write(m))
	}
	ts.Check(w.Flush())
}

func (x *incidentLog) writeKV(ts checker, file string, kv map[string][]byte) {
	b, err := json.Marshal(kv)
	ts.Check(err)
	ts.Check(os.WriteFile(file, b, 0o600))
}
