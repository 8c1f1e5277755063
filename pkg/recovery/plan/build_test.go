package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// input is an Input over a catalog in memory.
func input(t testing.TB, before map[string][]byte, edits ...Edit) Input {
	t.Helper()
	revs := map[string]int64{}
	for k := range before {
		revs[k] = 7
	}
	return Input{PChannel: pchannel, Before: before, Revisions: revs, Edits: edits}
}

func must(t testing.TB, in Input) *Plan {
	t.Helper()
	p, err := Build(in)
	require.NoError(t, err)
	require.NoError(t, p.Verify())
	return p
}

// Whatever comes and goes, the catalog loads after each single change, and the
// state is never older than its checkpoint says.
func TestOrderLoadsAtEveryCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before, after := map[string][]byte{}, map[string][]byte{}
		cpBefore, cpAfter := rapid.Uint64Range(1, 9).Draw(rt, "checkpoint before"), rapid.Uint64Range(1, 9).Draw(rt, "after")
		checkpoint(t, before, cpBefore)
		checkpoint(t, after, cpAfter)
		for i := range rapid.IntRange(1, 6).Draw(rt, "vchannels") {
			for _, kv := range []map[string][]byte{before, after} {
				tts := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 6), 0, 4, rapid.ID).Draw(rt, "schemas")
				if len(tts) > 0 {
					channel(t, kv, i, tts...)
				}
			}
			segment(t, []map[string][]byte{before, after}[i%2], int64(i), 1)
		}
		in := input(t, before, Replayed(pchannel, before, after, KindReplayed, nil, "x")...)
		p := must(t, in)
		require.True(t, p.Applicable, "%v", p.NotApplicable)
		for n := range p.Changes {
			at := in.after(p.Changes[:n+1])
			requireLoads(t, at)
			md, _ := catalog.Decode(pchannel, at)
			written := n + 1
			if cpAfter < cpBefore {
				require.Equal(t, cpAfter, md.Checkpoint.TimeTick, "a checkpoint that moves back goes first")
			} else if written < len(p.Changes) {
				require.Equal(t, cpBefore, md.Checkpoint.TimeTick, "one that moves on goes last")
			}
		}
		require.Equal(t, after, in.after(p.Changes))
	})
}

// The golden catalogs: from before to after, by a plan.
func TestGoldenPlans(t *testing.T) {
	for _, name := range golden.Names(t) {
		for _, e := range golden.Expectations(t, name) {
			if e.KVAfter == nil {
				continue
			}
			in := input(t, e.KVBefore, Replayed(e.PChannel, e.KVBefore, e.KVAfter, KindReplayed, nil, "x")...)
			in.PChannel = e.PChannel
			p := must(t, in)
			require.True(t, p.Applicable, "%s: %v", name, p.NotApplicable)
			require.Equal(t, e.KVAfter, in.after(p.Changes))
		}
	}
}

func TestCoverageDecides(t *testing.T) {
	kv := map[string][]byte{}
	checkpoint(t, kv, 5)
	gap := Gap{From: "15/1516/0", To: "16/2/0", Cause: "trimmed"}
	for name, c := range map[string]struct {
		coverage   Coverage
		accept     []string
		applicable bool
	}{
		"whole":            {Coverage{}, nil, true},
		"gap":              {Coverage{Gaps: []Gap{gap}}, nil, false},
		"accepted":         {Coverage{Gaps: []Gap{gap}}, []string{"15/1516..16/2"}, true},
		"accepted in full": {Coverage{Gaps: []Gap{gap}}, []string{"15/1516/0..16/2/0"}, true},
		"with colons":      {Coverage{Gaps: []Gap{gap}}, []string{"15:1516..16:2"}, true},
		"one of two":       {Coverage{Gaps: []Gap{gap, {From: "17/0/0", To: "17/1/0"}}}, []string{"15/1516..16/2"}, false},
		"filter":           {Coverage{Filter: "--vchannel v"}, nil, false},
		"until":            {Coverage{Until: "tt:5"}, nil, false},
		"undecodable":      {Coverage{Undecodable: 1}, nil, false},
	} {
		in := input(t, kv)
		in.Coverage, in.AcceptGaps = c.coverage, c.accept
		p, err := Build(in)
		if unknown := (&UnknownGapError{}); errors.As(err, &unknown) {
			require.False(t, c.applicable, name)
			require.Equal(t, c.accept, []string{unknown.Name}, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.applicable, p.Applicable, "%s: %v", name, p.NotApplicable)
		require.Equal(t, c.applicable, len(p.NotApplicable) == 0, name)
	}
	for _, name := range []string{"15/1515..16/2", "all"} { // another's, and a blanket
		in := input(t, kv)
		in.Coverage, in.AcceptGaps = Coverage{Gaps: []Gap{gap}}, []string{name}
		_, err := Build(in)
		require.ErrorContains(t, err, "no such gap; missing is 15/1516/0..16/2/0")
	}
	in := input(t, kv)
	in.AcceptGaps = []string{"1/1..2/2"}
	_, err := Build(in)
	require.ErrorContains(t, err, "no gap to accept")
}

func TestOnly(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	a := Edit{Key: catalog.SegmentKey(pchannel, 1), New: []byte{0x18, 1}, Kind: KindReplayed}
	b := Edit{Key: catalog.SegmentKey(pchannel, 2), New: []byte{0x18, 2}, Kind: KindRegister}
	in := input(t, kv, a, b)
	require.Len(t, must(t, in).Changes, 2)
	in.Only = []Kind{KindRegister}
	require.Equal(t, b.Key, must(t, in).Changes[0].Key)
	require.Len(t, must(t, in).Changes, 1)

	other := b
	other.New, other.Kind = nil, KindRemoveOrphans
	_, err := Build(input(t, kv, b, other))
	require.ErrorContains(t, err, "--only")
	for _, key := range []string{"session/mixcoord", "walctl/journal/x", "root-coord/collection/1"} {
		_, err = Build(input(t, kv, Edit{Key: key, New: []byte("x"), Kind: KindReplayed}))
		require.Error(t, err, key)
	}
}

// A value nobody can give back is not rewritten; one that would break loading is
// not written.
func TestBuildRefusesWhatWouldHarm(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	odd := []byte{0x18, 0x81, 0x00} // 1 as a varint of two bytes
	kv[catalog.SegmentKey(pchannel, 1)] = odd
	kv[catalog.SegmentKey(pchannel, 2)] = []byte{0xff}
	write := func(id int64, kind Kind) Edit {
		return Edit{Key: catalog.SegmentKey(pchannel, id), New: []byte{0x18, byte(id)}, Kind: kind}
	}
	require.False(t, must(t, input(t, kv, write(1, KindReplayed))).Applicable)
	require.False(t, must(t, input(t, kv, write(1, KindRebuild))).Applicable, "an odd value may hold what only its writer knows")
	require.False(t, must(t, input(t, kv, write(2, KindReplayed))).Applicable)
	require.True(t, must(t, input(t, kv, write(2, KindRebuild))).Applicable, "rubbish is what a rebuild is for")
	require.False(t, must(t, input(t, kv, Edit{Key: catalog.SegmentKey(pchannel, 3), New: odd, Kind: KindReplayed})).Applicable)
	require.True(t, must(t, input(t, kv, Edit{Key: catalog.SegmentKey(pchannel, 1), Kind: KindReplayed})).Applicable, "deleting loses no bytes: they are in the journal")
	p := must(t, input(t, kv, Edit{Key: catalog.SchemaKey(pchannel, pchannel+"_1v0", 5), Kind: KindReplayed}))
	require.False(t, p.Applicable)
	require.Contains(t, p.NotApplicable[0], "would not load")
}

var form = func() message.Form {
	_, f, err := message.ParseRaw(message.BackendPulsar, message.ID{Backend: message.BackendPulsar, A: 1}.Raw(message.Form{}))
	if err != nil {
		panic(err)
	}
	return f
}()

func at(a, b int64) Target {
	return Target{ID: message.ID{Backend: message.BackendPulsar, A: a, B: b}, Form: form, TimeTick: 500}
}

func rawID(t testing.TB, to Target) []byte {
	b, err := to.bytes()
	require.NoError(t, err)
	return b
}

// A plan that moves one position moves all that are concerned, or says which not.
func TestMovePositions(t *testing.T) {
	kv := map[string][]byte{}
	for i := range 5 {
		channel(t, kv, i+1, 5)
	}
	name := func(i int) string { return []string{"", "_1v0", "_2v0", "_3v0", "_4v0", "_5v0"}[i] }
	kv[catalog.CheckpointKey(pchannel)] = enc(t, &streamingpb.WALCheckpoint{MessageId: at(15, 1).messageID(), TimeTick: 400, RecoveryMagic: 1})
	flushed := map[string]*msgpb.MsgPosition{
		pchannel + name(1): {ChannelName: pchannel + name(1), MsgID: rawID(t, at(14, 0)), Timestamp: 300, WALName: commonpb.WALName_Pulsar}, // lost
		pchannel + name(2): {ChannelName: pchannel + name(2), MsgID: rawID(t, at(17, 0)), Timestamp: 600, WALName: commonpb.WALName_Pulsar}, // lives
		pchannel + name(3): {ChannelName: pchannel + name(3), Timestamp: math.MaxUint64},                                                    // dropped
		pchannel + name(4): {ChannelName: pchannel + name(4), MsgID: []byte{0xff}, Timestamp: 1},                                            // unreadable
	}
	for v, m := range flushed {
		kv[catalog.ChannelCheckpointKey(v)] = enc(t, m)
	}
	md, _ := catalog.Decode(pchannel, kv)
	edits, err := MovePositions(md, flushed, at(16, 3))
	require.NoError(t, err)
	var keys []string
	for _, e := range edits {
		keys = append(keys, e.Key)
	}
	require.ElementsMatch(t, []string{
		catalog.CheckpointKey(pchannel), catalog.ChannelCheckpointKey(pchannel + name(1)),
		catalog.ChannelCheckpointKey(pchannel + name(4)), catalog.ChannelCheckpointKey(pchannel + name(5)),
	}, keys)

	positions, problems, err := catalog.Positions(t.Context(), catalog.FromMap(kv), pchannel)
	require.NoError(t, err)
	require.Empty(t, problems)
	in := input(t, kv, edits...)
	in.Positions, in.Log.First, in.Log.Last = positions, at(16, 3).ID, at(20, 0).ID
	p := must(t, in)
	require.True(t, p.Applicable, "%v", p.NotApplicable)
	var cp streamingpb.WALCheckpoint
	require.NoError(t, proto.Unmarshal(in.after(p.Changes)[catalog.CheckpointKey(pchannel)], &cp))
	require.Equal(t, uint64(400), cp.TimeTick, "what was seen does not change")
	require.Equal(t, at(16, 3).ID.Raw(form), cp.MessageId.Id)

	for i, e := range edits { // each one alone left out is told by its key
		in.Edits = slices.Delete(slices.Clone(edits), i, i+1)
		p := must(t, in)
		if e.Key == catalog.ChannelCheckpointKey(pchannel+name(5)) {
			continue // it had no position that could be judged
		}
		require.False(t, p.Applicable, e.Key)
		require.Contains(t, p.NotApplicable[0], e.Key)
	}
	in.Edits, in.Log.Last = edits, at(16, 2).ID
	require.False(t, must(t, in).Applicable, "a position behind the end of the log")

	_, err = MovePositions(catalog.Metadata{PChannel: pchannel}, nil, at(1, 1))
	require.ErrorIs(t, err, ErrCannotRepair)
}

// Positions only RootCoord or DataCoord may write are covered by a flush position.
func TestPositionsOfOthers(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	v := pchannel + "_1v0"
	kv[catalog.CheckpointKey(pchannel)] = enc(t, &streamingpb.WALCheckpoint{MessageId: at(15, 1).messageID(), TimeTick: 400})
	md, _ := catalog.Decode(pchannel, kv)
	edits, err := MovePositions(md, nil, at(16, 3))
	require.NoError(t, err)
	in := input(t, kv, edits...)
	in.Log.First = at(16, 3).ID
	in.Positions = []catalog.Position{{Place: catalog.PlaceSegmentDML, Key: "datacoord-meta/s/1/1/1", VChannel: v, ID: at(3, 0).ID, HasID: true}}
	require.True(t, must(t, in).Applicable)
	in.Edits = slices.DeleteFunc(slices.Clone(edits), func(e Edit) bool { return e.Key == catalog.ChannelCheckpointKey(v) })
	p := must(t, in)
	require.False(t, p.Applicable)
	require.Contains(t, p.NotApplicable[0], "datacoord-meta/s/1/1/1")
}

func TestRegister(t *testing.T) {
	v := pchannel + "_100v0"
	col := &catalog.Collection{
		Info:       &etcdpb.CollectionInfo{ID: 100, VirtualChannelNames: []string{v}},
		Schema:     &schemapb.CollectionSchema{Name: "docs", Fields: []*schemapb.FieldSchema{{FieldID: 100}}},
		Partitions: []*etcdpb.PartitionInfo{{PartitionID: 9}},
	}
	edits, err := Register(pchannel, v, col)
	require.NoError(t, err)
	kv := map[string][]byte{}
	checkpoint(t, kv, 5)
	in := input(t, kv, edits...)
	p := must(t, in)
	require.True(t, p.Applicable, "%v", p.NotApplicable)
	md, problems := catalog.Decode(pchannel, in.after(p.Changes))
	require.Empty(t, problems)
	require.Equal(t, "docs", md.VChannels[v].CollectionInfo.Schemas[0].Schema.Name)
	require.Equal(t, int64(9), md.VChannels[v].CollectionInfo.Partitions[0].PartitionId)
	require.Zero(t, md.VChannels[v].CheckpointTimeTick)

	for _, bad := range []*catalog.Collection{nil, {Info: col.Info, Schema: &schemapb.CollectionSchema{}}, {Info: &etcdpb.CollectionInfo{}, Schema: col.Schema}} {
		_, err = Register(pchannel, v, bad)
		require.ErrorIs(t, err, ErrCannotRepair)
	}
}

func TestRemoveOrphans(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	channel(t, kv, 2, 5, 6)
	channel(t, kv, 3, 5)
	delete(kv, catalog.VChannelKey(pchannel, pchannel+"_2v0"))
	dropped := pchannel + "_4v0"
	kv[catalog.VChannelKey(pchannel, dropped)] = enc(t, &streamingpb.VChannelMeta{Vchannel: dropped, State: 2, CollectionInfo: &streamingpb.CollectionInfoOfVChannel{}})
	delete(kv, catalog.SchemaKey(pchannel, pchannel+"_3v0", 5))
	md, problems := catalog.Decode(pchannel, kv)
	edits := RemoveOrphans(md, problems)
	require.Len(t, edits, 3, "a live vchannel without schema is not thrown away")
	p := must(t, input(t, kv, edits...))
	require.True(t, p.Applicable, "%v: a fault that stays is not the plan's", p.NotApplicable)
}

func TestAlterWAL(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	v := pchannel + "_1v0"
	state := &streamingpb.AlterWALState{TargetWalName: commonpb.WALName_WoodPecker, TimeTick: 450, Stage: streamingpb.AlterWALStage_FLUSHING}
	cp := &streamingpb.WALCheckpoint{MessageId: at(15, 1).messageID(), TimeTick: 400, AlterWalState: state}
	kv[catalog.CheckpointKey(pchannel)] = enc(t, cp)
	md, _ := catalog.Decode(pchannel, kv)

	edits, err := DropAlterWAL(md)
	require.NoError(t, err)
	got := &streamingpb.WALCheckpoint{}
	require.NoError(t, proto.Unmarshal(edits[0].New, got))
	require.Nil(t, got.AlterWalState)
	require.Equal(t, cp.MessageId.Id, got.MessageId.Id)

	_, err = FinishAlterWAL(md, nil)
	require.ErrorIs(t, err, ErrCannotRepair, "rows may lie in the old WAL only")
	state.Stage = streamingpb.AlterWALStage_ADVANCE_CHECKPOINT
	kv[catalog.CheckpointKey(pchannel)] = enc(t, cp)
	md, _ = catalog.Decode(pchannel, kv)
	edits, err = FinishAlterWAL(md, map[string]*msgpb.MsgPosition{v: {ChannelName: v, MsgID: rawID(t, at(14, 0)), Timestamp: 300}})
	require.NoError(t, err)
	require.Len(t, edits, 2, "checkpoint and flush position go together")
	p := must(t, input(t, kv, edits...))
	require.True(t, p.Applicable, "%v", p.NotApplicable)
	state.TargetWalName = commonpb.WALName_Kafka
	md.Checkpoint.AlterWalState = state
	_, err = FinishAlterWAL(md, nil)
	require.ErrorIs(t, err, ErrCannotRepair)

	md.Checkpoint.AlterWalState = nil
	edits, err = DropAlterWAL(md)
	require.NoError(t, err)
	require.Empty(t, edits)
}

func TestTrailingSlash(t *testing.T) {
	version := func(n int64) []byte { return enc(t, &streamingpb.StreamingVersion{Version: n}) }
	const v, c = catalog.StreamingVersionKey, catalog.ControlChannelKey
	for name, s := range map[string]struct {
		kv      map[string][]byte
		slashed bool
		want    map[string][]byte
	}{
		"healthy":         {map[string][]byte{v: version(2), c: nil}, false, map[string][]byte{v: version(2), c: nil}},
		"to bare":         {map[string][]byte{v + "/": version(2)}, false, map[string][]byte{v: version(2)}},
		"to slash":        {map[string][]byte{v: version(2)}, true, map[string][]byte{v + "/": version(2)}},
		"both, one newer": {map[string][]byte{v: version(1), v + "/": version(2)}, false, map[string][]byte{v: version(2)}},
		"both equal":      {map[string][]byte{c: []byte("\x0a\x01p"), c + "/": []byte("\x0a\x01p")}, false, map[string][]byte{c: []byte("\x0a\x01p")}},
	} {
		edits, err := TrailingSlash(s.kv, s.slashed)
		require.NoError(t, err, name)
		in := input(t, s.kv, edits...)
		require.Equal(t, s.want, in.after(must(t, in).Changes), name)
	}
	_, err := TrailingSlash(map[string][]byte{c: []byte("\x0a\x01p"), c + "/": []byte("\x0a\x01q")}, false)
	require.ErrorIs(t, err, ErrCannotRepair)
}

func TestTooLargeForOneTransaction(t *testing.T) {
	_, err := cut([]Change{{Key: "k", Old: make([]byte, 600<<10), New: make([]byte, 600<<10)}}, catalog.Limits{Ops: 128, Bytes: 1 << 20})
	require.ErrorIs(t, err, catalog.ErrTooLarge)
	cuts, err := cut(slices.Repeat([]Change{{Key: "k", New: make([]byte, 300<<10)}}, 7), catalog.Limits{Ops: 128, Bytes: 1 << 20})
	require.NoError(t, err)
	require.Equal(t, []int{3, 3, 1}, cuts)
}

func BenchmarkBuild100kSegments(b *testing.B) {
	before, after := map[string][]byte{}, map[string][]byte{}
	for i := range int64(100_000) {
		segment(b, before, i, 1)
		segment(b, after, i, 2)
	}
	in := input(b, before)
	for b.Loop() {
		in.Edits = Replayed(pchannel, before, after, KindReplayed, nil, "x")
		if p := must(b, in); len(p.Changes) != 100_000 {
			b.Fatal(len(p.Changes))
		}
	}
}

// A plan made again right after the first was taken back is another plan: its
// journal must not be taken for the first one's.
func TestPlansOfOneSecondDiffer(t *testing.T) {
	in := input(t, map[string][]byte{}, Edit{Key: catalog.CheckpointKey("p"), New: []byte{8, 1}, Kind: KindReplayed, Reason: "test"})
	in.PChannel, in.Created = "p", time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	first := must(t, in)
	in.Created = in.Created.Add(time.Millisecond)
	require.NotEqual(t, first.ID, must(t, in).ID)
}

// The digest is over the plan's JSON, whatever stands in it: plans on disk rest on it.
func TestDigestIsOfTheJSON(t *testing.T) {
	for _, changes := range [][]Change{nil, {}, {{Key: "a", New: []byte("1")}, {Key: `"changes":null`, Old: []byte{}, Reason: "<&>"}}} {
		p := Plan{Schema: SchemaVersion, Notes: []string{`"changes":null`}, Changes: changes, Digest: "d", ID: "i"}
		got, plain, err := p.digest()
		require.NoError(t, err)
		require.True(t, plain)
		p.Digest, p.ID = "", ""
		b, err := json.Marshal(&p)
		require.NoError(t, err)
		want := sha256.Sum256(b)
		require.Equal(t, hex.EncodeToString(want[:]), got)
	}
	p := Plan{Changes: []Change{{Reason: "\xff"}}}
	require.NoError(t, p.seal())
	require.Equal(t, "\ufffd", p.Changes[0].Reason)
}
