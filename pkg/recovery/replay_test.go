package recovery_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func codesOf(r *recovery.Result) (out []recovery.Code) {
	for _, c := range r.State.Issues().Counts() {
		out = append(out, c.Code)
	}
	return out
}

// moved returns the case's catalog with its checkpoint at another id.
func (c *logCase) moved(t *testing.T, id *commonpb.MessageID) catalog.Metadata {
	t.Helper()
	md, _ := catalog.Decode(c.pchannel, c.before)
	cp := proto.Clone(md.Checkpoint)
	md.Checkpoint.Reset()
	proto.Merge(md.Checkpoint, cp)
	md.Checkpoint.MessageId = id
	return md
}

func TestCheckpointsThatPointNowhere(t *testing.T) {
	c := generated(2)
	first, last := c.list[0].ID, c.list[len(c.list)-1].ID
	pulsar := func(a, b int64) *commonpb.MessageID {
		return &commonpb.MessageID{WALName: commonpb.WALName_Pulsar, Id: message.ID{Backend: message.BackendPulsar, A: a, B: b}.Raw(message.Form{})}
	}
	for _, x := range []struct {
		name  string
		id    *commonpb.MessageID
		want  recovery.Code
		stops bool
	}{
		{"before the log", pulsar(first.A-1, 5), recovery.CodePositionGone, true},
		{"behind the log", pulsar(last.A+1, 0), recovery.CodePositionGone, true},
		{"another WAL", &commonpb.MessageID{WALName: commonpb.WALName_WoodPecker, Id: "CAE="}, recovery.CodePositionGone, true},
		{"no id", &commonpb.MessageID{WALName: commonpb.WALName_Pulsar, Id: "!"}, recovery.CodeCheckpointBroken, true},
		{"no checkpoint", nil, recovery.CodeNoCheckpoint, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			md := c.moved(t, x.id)
			if x.id == nil {
				md.Checkpoint = nil
			}
			r, err := recovery.Replay(context.Background(), &memory{list: c.list}, md, recovery.ReplayOptions{})
			require.NoError(t, err)
			require.Contains(t, codesOf(r), x.want)
			require.Equal(t, x.stops, !r.Verdicts()[0].Succeeds)
		})
	}
}

// Without a checkpoint a node starts at its opening TimeTick: nothing before counts.
func TestNoCheckpointStartsAtTheOpening(t *testing.T) {
	c := generated(2)
	r, err := recovery.Replay(context.Background(), &memory{list: c.list}, catalog.Metadata{PChannel: c.pchannel}, recovery.ReplayOptions{})
	require.NoError(t, err)
	require.Empty(t, r.State.All().VChannels)
	ticks := c.ticks()
	require.Equal(t, ticks[len(ticks)-1], r.State.TimeTick())
	require.EqualValues(t, 1, r.State.Checkpoint().RecoveryMagic)
	require.NotEmpty(t, r.State.Checkpoint().MessageId.Id)
}

func TestFromStartRebuildsWithoutACatalog(t *testing.T) {
	c := generated(2)
	want := c.replay(t, c.before, recovery.ReplayOptions{})
	got, err := recovery.Replay(context.Background(), &memory{list: c.list}, catalog.Metadata{PChannel: c.pchannel}, recovery.ReplayOptions{FromStart: true})
	require.NoError(t, err)
	require.Equal(t, string(asJSON(t, want.State.Snapshot())), string(asJSON(t, got.State.Snapshot())))
	require.Equal(t, codesOf(want), codesOf(got))
}

func TestGapsAreNamed(t *testing.T) {
	c := generated(4) // entries of several messages
	entry := slices.IndexFunc(c.list, func(m *message.Message) bool { return m.ID.Batch == 1 && m.ID.B > 50 })
	ledger := slices.IndexFunc(c.list, func(m *message.Message) bool { return m.ID.A != c.list[0].ID.A })
	require.Positive(t, entry)
	require.Positive(t, ledger)
	for name, i := range map[string]int{"a first batch": entry - 1, "a later batch": entry, "the first of a ledger": ledger} {
		cut := c
		cut.list = slices.Delete(slices.Clone(c.list), i, i+1)
		if name == "a later batch" && c.list[i+1].ID.Batch == 0 {
			continue
		}
		r := cut.replay(t, c.before, recovery.ReplayOptions{})
		require.False(t, r.Coverage.Contiguous(), name)
		g := r.Coverage.Gaps[0]
		require.Equal(t, c.list[i-1].ID, g.After, name)
		require.Equal(t, c.list[i+1].ID, g.Before, name)
		require.Contains(t, codesOf(r), recovery.CodeGap, name)
	}
}

// An entry that says how many messages it holds betrays the loss of its last one.
func TestLostLastMessageOfAnEntry(t *testing.T) {
	var list []*message.Message
	for i := range 3 {
		m := &message.Message{Type: message.TypeTimeTick, Version: 1, Flags: message.HasTimeTick | message.LastConfirmedSelf | message.HasTerm, TimeTick: uint64(200 + i)}
		m.SetID(message.ID{Backend: message.BackendPulsar, A: 1, B: int64(i / 2), Batch: int32(i % 2)}, message.Form{BatchSize: 2})
		list = append(list, m)
	}
	r, err := recovery.Replay(context.Background(), &memory{list: list}, catalog.Metadata{PChannel: "p"}, recovery.ReplayOptions{FromStart: true})
	require.NoError(t, err)
	require.True(t, r.Coverage.Contiguous())
	r, err = recovery.Replay(context.Background(), &memory{list: slices.Delete(slices.Clone(list), 1, 2)}, catalog.Metadata{PChannel: "p"}, recovery.ReplayOptions{FromStart: true})
	require.NoError(t, err)
	require.Equal(t, "1/0/0..1/1/0", r.Coverage.Gaps[0].String())
}

// flaky fails at some records and goes on after them.
type flaky struct {
	*memory
	corrupt map[int]bool
	end     error
}

func (s *flaky) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	inner, err := s.memory.Open(ctx, r)
	return &flakyReader{Reader: inner, s: s}, err
}

type flakyReader struct {
	source.Reader
	s *flaky
	n int
}

func (r *flakyReader) Next(ctx context.Context) (*message.Message, error) {
	m, err := r.Reader.Next(ctx)
	if errors.Is(err, io.EOF) && r.s.end != nil {
		return nil, r.s.end
	}
	if r.n++; err == nil && r.s.corrupt[r.n-1] {
		return nil, &source.CorruptError{Source: "test", Place: m.ID.String(), Lost: 1, Cause: errors.New("flipped")}
	}
	return m, err
}

func TestCorruptPlacesAreGapsWithTheirCause(t *testing.T) {
	c := generated(2)
	md := load(t, c.pchannel, onlyWAL(c))
	s := &flaky{&memory{list: c.list}, map[int]bool{0: true, 50: true, 51: true}, source.ErrTornTail}
	r, err := recovery.Replay(context.Background(), s, md, recovery.ReplayOptions{Tail: true})
	require.NoError(t, err)
	require.Len(t, r.Coverage.Gaps, 2)
	require.True(t, r.Coverage.TornTail)
	var corrupt *source.CorruptError
	require.ErrorAs(t, r.Coverage.Gaps[1].Cause, &corrupt)
	require.Equal(t, c.list[49].ID, r.Coverage.Gaps[1].After)
	require.Contains(t, codesOf(r), recovery.CodeUnreadable)

	broken := errors.New("broker gone")
	r, err = recovery.Replay(context.Background(), &flaky{&memory{list: c.list}, nil, broken}, md, recovery.ReplayOptions{Tail: true})
	require.ErrorIs(t, err, broken)
	require.NotNil(t, r, "what was read comes with the error")
	require.EqualValues(t, len(c.list), r.Records)
}

func onlyWAL(c logCase) map[string][]byte {
	md, _ := catalog.Decode(c.pchannel, c.before)
	return md.KV
}
