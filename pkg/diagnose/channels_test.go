package diagnose

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

const (
	chP = "by-dev-rootcoord-dml_0"
	chV = chP + "_7v0"
	chQ = "by-dev-rootcoord-dml_9"
)

func atSecond(second int64) uint64 { return uint64(second*1000) << 18 }

func pulsarID(entry int64) message.ID {
	return message.ID{Backend: message.BackendPulsar, A: 1, B: entry}
}

// chSource is a log of one vchannel: data in the seconds given, a TimeTick in each
// second of ticks.
type chSource struct {
	at   int
	list []*message.Message
}

func (s *chSource) Close() error { return nil }
func (s *chSource) Next(context.Context) (*message.Message, error) {
	if s.at == len(s.list) {
		return nil, source.ErrTornTail
	}
	s.at++
	return s.list[s.at-1], nil
}

func chLog(t *testing.T, checkpoint uint64, list ...*message.Message) *ChannelLog {
	t.Helper()
	for i, m := range list {
		m.ID = pulsarID(int64(i))
	}
	l, err := ScanChannels(context.Background(), source.NewColumnReader(&chSource{list: list}),
		ChannelScan{PChannel: chP, Checkpoints: map[string]uint64{chV: checkpoint}, Broadcasts: map[uint64]bool{77: true}, ToEnd: true, WholeRead: true})
	require.NoError(t, err)
	return l
}

func chTick(second int64) *message.Message {
	return &message.Message{Type: message.TypeTimeTick, TimeTick: atSecond(second), Flags: message.HasTimeTick}
}

func chPut(second int64, typ message.Type) *message.Message {
	return &message.Message{Type: typ, TimeTick: atSecond(second), VChannel: chV, Flags: message.HasTimeTick | message.HasVChannel, Rows: 3}
}

// chSound is a healthy vchannel: created, written to, flushed to the log's end.
func chSound(t *testing.T) ChannelInput {
	return ChannelInput{
		PChannels: []string{chP}, Frozen: time.Hour, WAL: "dml_0",
		Logs:       map[string]*ChannelLog{chP: chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chPut(2, message.TypeInsert), chTick(3), chTick(4))},
		Assigned:   map[string]AssignedChannel{chP: {Term: 2, Node: "1", Assigned: true, Opened: true, Tick: atSecond(4)}},
		Registered: []RegisteredChannel{{PChannel: chP, VChannel: chV, Schemas: 1}},
		Listed:     map[string]ListedChannel{chV: {Collection: 7, Name: "c", State: "created", Schema: true}}, ListedKnown: true,
		Flushed: map[string]FlushedChannel{chV: {TimeTick: atSecond(4), ID: pulsarID(3), HasID: true}},
		Live:    []LiveWAL{{Node: "1", PChannel: chP, Term: 2, Recovery: "working"}}, LiveKnown: true,
	}
}

func TestJudgeChannels(t *testing.T) {
	frozenLog := func(t *testing.T, own bool) *ChannelLog {
		list := []*message.Message{chPut(1, message.TypeCreateCollection), chTick(4)}
		for s := int64(5); s < 5+2*3600; s += 30 {
			if own && s == 35 {
				list = append(list, chPut(s, message.TypeInsert))
			}
			list = append(list, chTick(s))
		}
		return chLog(t, atSecond(4), list...)
	}
	for _, c := range []struct {
		name string
		edit func(*testing.T, *ChannelInput)
		want string // code severity cure action
	}{
		{"sound", func(*testing.T, *ChannelInput) {}, ""},
		{"missing", func(_ *testing.T, in *ChannelInput) { in.Registered = nil }, "vchannel-missing critical catalog register"},
		{"missing, nobody has the schema", func(_ *testing.T, in *ChannelInput) {
			in.Registered, in.Listed[chV] = nil, ListedChannel{Collection: 7, State: "created"}
		}, "vchannel-missing critical decision "},
		{"missing, RootCoord not at hand", func(_ *testing.T, in *ChannelInput) { in.Registered, in.Listed, in.ListedKnown = nil, nil, false }, "vchannel-missing critical decision "},
		{"created behind the checkpoint: a restart registers it", func(_ *testing.T, in *ChannelInput) {
			in.Registered, in.Assigned[chP] = nil, AssignedChannel{Term: 2, Assigned: true, Opened: true}
		}, ""},
		{"a WAL that was never opened", func(_ *testing.T, in *ChannelInput) {
			in.Registered, in.Assigned[chP] = nil, AssignedChannel{Assigned: true}
		}, ""},
		{"unknown", func(_ *testing.T, in *ChannelInput) { in.Registered, in.Listed = nil, nil }, "vchannel-unknown warning decision "},
		{"twice", func(_ *testing.T, in *ChannelInput) {
			in.Registered = append(in.Registered, RegisteredChannel{PChannel: chQ, VChannel: chV, Schemas: 1})
		}, "vchannel-twice error catalog unregister"},
		{"misplaced", func(_ *testing.T, in *ChannelInput) { in.Registered[0].PChannel = chQ }, "vchannel-misplaced error catalog move"},
		{"dropped for RootCoord", func(_ *testing.T, in *ChannelInput) { in.Listed = nil }, "vchannel-dropped error catalog unregister"},
		{"dropped for RootCoord, which is not at hand", func(_ *testing.T, in *ChannelInput) { in.Listed, in.ListedKnown = nil, false }, ""},
		{"dropped in the log, consumed", func(t *testing.T, in *ChannelInput) {
			in.Listed = nil
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chPut(2, message.TypeDropCollection), chTick(3), chTick(4))
		}, "vchannel-dropped error catalog unregister"},
		{"dropped in the log, not consumed yet", func(t *testing.T, in *ChannelInput) {
			in.Listed = nil
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chTick(4), chPut(5, message.TypeDropCollection), chTick(6))
		}, ""},
		{"a drop nobody delivers", func(t *testing.T, in *ChannelInput) {
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chTick(4), chPut(2, message.TypeDropCollection), chTick(5))
		}, ""},
		{"a creation under way", func(_ *testing.T, in *ChannelInput) { in.Listed, in.Pending = nil, map[string]bool{chV: true} }, ""},
		{"a drop under way", func(_ *testing.T, in *ChannelInput) { in.Registered[0].Dropped = true }, ""},
		{"a removal cut off", func(_ *testing.T, in *ChannelInput) { in.Registered[0].Dropped, in.Registered[0].Schemas = true, 0 }, "vchannel-no-schema critical catalog unregister"},
		{"a drop under way that DataCoord knows", func(_ *testing.T, in *ChannelInput) {
			in.Registered[0].Dropped, in.Flushed[chV] = true, FlushedChannel{Dropped: true}
		}, ""},
		{"written to, then idle for a day", func(t *testing.T, in *ChannelInput) {
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chTick(4), chPut(5, message.TypeInsert), chTick(6), chTick(86_400))
		}, ""},
		{"no schema", func(_ *testing.T, in *ChannelInput) { in.Registered[0].Schemas = 0 }, "vchannel-no-schema critical catalog schema"},
		{"orphan schema", func(_ *testing.T, in *ChannelInput) { in.OrphanSchemas = map[string][]string{chP: {chP + "_8v0"}} }, "schema-orphan warning catalog unregister"},
		{"the sentinel is no reference", func(_ *testing.T, in *ChannelInput) { in.Flushed[chP+"_8v0"] = FlushedChannel{Dropped: true} }, ""},
		{"dropped for DataCoord", func(_ *testing.T, in *ChannelInput) { in.Flushed[chV] = FlushedChannel{Dropped: true} }, "channel-cp-dropped critical decision "},
		{"ahead of the log", func(_ *testing.T, in *ChannelInput) {
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(9), ID: pulsarID(99), HasID: true}
		}, "position-gone critical decision "},
		{"before the log's first record", func(_ *testing.T, in *ChannelInput) {
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4), ID: message.ID{Backend: message.BackendPulsar, B: 7}, HasID: true}
		}, "position-gone critical decision "},
		{"in a log that holds nothing", func(t *testing.T, in *ChannelInput) { in.Logs[chP] = chLog(t, atSecond(4)) }, "position-gone critical decision "},
		{"in another WAL", func(_ *testing.T, in *ChannelInput) {
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4), ID: message.ID{Backend: message.BackendWoodpecker, A: 1, B: 3}, HasID: true}
		}, "position-gone critical decision "},
		{"without an id", func(_ *testing.T, in *ChannelInput) { in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4)} }, "position-gone critical decision "},
		{"without an id, of a collection nobody has any more", func(_ *testing.T, in *ChannelInput) {
			in.Registered, in.Listed = nil, nil
			in.Logs[chP] = &ChannelLog{}
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4)}
		}, ""},
		{"the log's ends are not known", func(_ *testing.T, in *ChannelInput) {
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4), ID: pulsarID(99), HasID: true}
			in.Logs[chP].Known = false
		}, ""},
		{"held by a CommitImport", func(t *testing.T, in *ChannelInput) {
			list := []*message.Message{chPut(1, message.TypeCreateCollection), chTick(4), chPut(5, message.TypeCommitImport)}
			for s := int64(6); s < 2*3600; s += 30 {
				list = append(list, chTick(s))
			}
			in.Logs[chP] = chLog(t, atSecond(4), list...)
		}, "channel-cp-frozen error import-job "},
		{"held by another vchannel's CommitImport", func(t *testing.T, in *ChannelInput) {
			other := chPut(5, message.TypeCommitImport)
			other.VChannel = chP + "_8v0"
			list := []*message.Message{chPut(1, message.TypeCreateCollection), chTick(4), other}
			for s := int64(6); s < 2*3600; s += 30 {
				list = append(list, chTick(s))
			}
			in.Logs[chP], in.Listed[other.VChannel] = chLog(t, atSecond(4), list...), ListedChannel{State: "creating"}
		}, "channel-cp-frozen warning import-job "},
		{"frozen long before a CommitImport", func(t *testing.T, in *ChannelInput) {
			list := []*message.Message{chPut(1, message.TypeCreateCollection), chTick(4), chPut(5, message.TypeInsert)}
			for s := int64(6); s < 2*3600; s += 30 {
				list = append(list, chTick(s))
			}
			in.Logs[chP] = chLog(t, atSecond(4), append(list, chPut(2*3600, message.TypeCommitImport), chTick(2*3600+1))...)
		}, "channel-cp-frozen error restart "},
		{"a broadcast that came elsewhere alone", func(t *testing.T, in *ChannelInput) {
			in.Copies = []WaitedCopy{{BroadcastCopy: BroadcastCopy{Broadcast: 77, VChannel: chV}, Type: "DropPartition"}}
			other := chPut(3, message.TypeDropPartition)
			other.VChannel, other.BroadcastID, other.Flags = chP+"_vcchan", 77, other.Flags|message.HasBroadcast
			in.Logs[chP] = chLog(t, atSecond(14), chPut(1, message.TypeCreateCollection), other, chTick(14))
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(14), ID: pulsarID(2), HasID: true}
		}, "broadcast-copy-missing error restart "},
		{"a broadcast that may be on its way", func(_ *testing.T, in *ChannelInput) {
			in.Copies = []WaitedCopy{{BroadcastCopy: BroadcastCopy{Broadcast: 77, VChannel: chV}, Type: "DropPartition"}}
		}, "broadcast-copy-missing warning restart "},
		{"a broadcast that came and is not acknowledged yet", func(t *testing.T, in *ChannelInput) {
			in.Copies = []WaitedCopy{{BroadcastCopy: BroadcastCopy{Broadcast: 77, VChannel: chV}, Type: "DropPartition"}}
			own := chPut(3, message.TypeDropPartition)
			own.BroadcastID, own.Flags = 77, own.Flags|message.HasBroadcast
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), own, chTick(4))
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(4), ID: pulsarID(2), HasID: true}
		}, ""},
		{"a pchannel the coordinator does not know", func(_ *testing.T, in *ChannelInput) {
			in.Catalog = []catalog.Problem{{Code: catalog.CodeUnassigned, PChannel: chP, VChannel: chV}, {Code: catalog.CodeUnassigned, PChannel: chQ, VChannel: chQ + "_7v1"}}
		}, "pchannel-unassigned critical decision "},
		{"a catalog older than the log", func(_ *testing.T, in *ChannelInput) { in.Logs[chP].Term = 3 }, "catalog-term-behind error decision "},
		{"what concerns the pchannel as a whole", func(_ *testing.T, in *ChannelInput) {
			in.Catalog = []catalog.Problem{{Code: catalog.CodeNoReplicating, PChannel: chP}, {Code: catalog.CodeReplicateLocal, PChannel: chQ}}
		}, "replicating-pchannel-missing error decision "},
		{"a TimeTick of memory is not ahead", func(_ *testing.T, in *ChannelInput) {
			in.Flushed[chV] = FlushedChannel{TimeTick: atSecond(9000), ID: pulsarID(3), HasID: true}
		}, ""},
		{"frozen, rows wait", func(t *testing.T, in *ChannelInput) { in.Logs[chP] = frozenLog(t, true) }, "channel-cp-frozen error restart "},
		{"frozen, only the pchannel moved", func(t *testing.T, in *ChannelInput) { in.Logs[chP] = frozenLog(t, false) }, "channel-cp-frozen warning restart "},
		{"idle for a day, then one message", func(t *testing.T, in *ChannelInput) {
			in.Logs[chP] = chLog(t, atSecond(4), chPut(1, message.TypeCreateCollection), chTick(4), chTick(86_400), chPut(86_401, message.TypeInsert), chTick(86_402))
		}, ""},
		{"owned twice", func(_ *testing.T, in *ChannelInput) {
			in.Live = append(in.Live, LiveWAL{Node: "2", PChannel: chP, Term: 2})
		}, "wal-owned-twice critical restart "},
		{"another term", func(_ *testing.T, in *ChannelInput) { in.Live[0].Term = 1 }, "wal-term-differs warning restart "},
		{"handed on and on", func(_ *testing.T, in *ChannelInput) {
			in.Assigned[chP] = AssignedChannel{Term: 5, Opened: true, Tick: atSecond(4), Histories: []int64{2, 3, 4}}
			in.Live = nil
		}, "wal-opening-fails warning restart "},
		{"refused by a live process", func(_ *testing.T, in *ChannelInput) {
			in.Symptoms = []Reduplicate{{VChannel: chV, Lines: 3, Where: "x.log"}}
		}, "channel-reduplicates critical restart "},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := chSound(t)
			c.edit(t, &in)
			r := JudgeChannels(in)
			var got []string
			for _, f := range r.Faults {
				got = append(got, strings.Join([]string{f.Code, f.Severity.String(), string(f.Cure), string(f.Action)}, " "))
				require.NotEmpty(t, Lookup(f.Code).Title, f.Code)
				require.Equal(t, f.Action != "", strings.HasPrefix(f.Next, "walctl channels repair dml_0"))
			}
			require.Equal(t, c.want, strings.Join(got, "; "))
		})
	}
}

// A shard that nobody serves is told where every pchannel is asked for, once.
func TestUnservedFaults(t *testing.T) {
	list := []catalog.Problem{{Code: catalog.CodeUnassigned, PChannel: chP, VChannel: chV}, {Code: catalog.CodeUnassigned, PChannel: chQ, VChannel: chQ + "_7v1"}, {Code: catalog.CodeNoReplicating, PChannel: chQ}}
	got := UnservedFaults(list, []string{chP})
	require.Len(t, got, 1)
	require.Equal(t, chQ+"_7v1", got[0].Where.VChannel)
	require.Equal(t, SeverityCritical, got[0].Severity)
}

// A replicate checkpoint that is a record of this log, TimeTick and all, is no position
// in the source's; one whose number alone is met may be.
func TestScanSeesTheForeignPosition(t *testing.T) {
	for tick, want := range map[uint64]bool{atSecond(2): true, atSecond(9): false} {
		list := []*message.Message{chPut(1, message.TypeCreateCollection), chPut(2, message.TypeInsert), chTick(3)}
		for i, m := range list {
			m.ID = pulsarID(int64(i))
		}
		l, err := ScanChannels(context.Background(), source.NewColumnReader(&chSource{list: list}), ChannelScan{PChannel: chP, Foreign: &ForeignPosition{ID: pulsarID(1), TimeTick: tick}})
		require.NoError(t, err)
		require.Equal(t, want, l.Local)
	}
}

func TestReadLiveWALs(t *testing.T) {
	wals, err := ReadLiveWALs(strings.NewReader(`# HELP milvus_wal_info wal
# TYPE milvus_wal_info gauge
milvus_wal_info{channel_name="p0",node_id="3",term="7",wal_name="pulsar"} 1
milvus_wal_info{channel_name="p1",node_id="3",term="2",wal_name="pulsar"} 0
# TYPE milvus_wal_recovery_info gauge
milvus_wal_recovery_info{channel_name="p0",node_id="3",term="7",state="stream-recovering"} 1
milvus_wal_recovery_info{channel_name="p0",node_id="3",term="7",state="working"} 0
# TYPE milvus_wal_flusher_info gauge
milvus_wal_flusher_info{channel_name="p0",node_id="3",term="7",state="in_recovery"} 1
# TYPE process_open_fds gauge
process_open_fds 12
`))
	require.NoError(t, err)
	require.Equal(t, []LiveWAL{{Node: "3", PChannel: "p0", Term: 7, Recovery: "stream-recovering", Flusher: "in_recovery"}}, wals)
	_, err = ReadLiveWALs(strings.NewReader("<html>no metrics</html>"))
	require.Error(t, err)
}

func TestReadReduplicates(t *testing.T) {
	text := strings.Repeat("x", 3<<20) + "\n" +
		`[2025/04/21 08:12:01.003 +00:00] [WARN] ["failed to register channel buffer"] [error="channel reduplicates[channel=p_1v0]"]` + "\n" +
		`no newline: channel reduplicates[channel=p_2v0]`
	got, err := ReadReduplicates("a.log", strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, []Reduplicate{{VChannel: "p_1v0", Lines: 1, Last: "2025/04/21 08:12:01.003 +00:00", Where: "a.log"}, {VChannel: "p_2v0", Lines: 1, Where: "a.log"}}, got)
}

func FuzzReadLiveWALs(f *testing.F) {
	f.Add("milvus_wal_info{channel_name=\"p\",node_id=\"1\",term=\"x\"} 1\n")
	f.Add("milvus_wal_flusher_info{channel_name=\"p\"} NaN\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = ReadLiveWALs(strings.NewReader(text))
		_, _ = ReadReduplicates("f", strings.NewReader(text))
	})
}
