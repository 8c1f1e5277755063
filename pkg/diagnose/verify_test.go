package diagnose

import (
	"context"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func verifyGolden(t testing.TB, name string, opts VerifyOptions) *VerifyReport {
	t.Helper()
	ctx := context.Background()
	rd, err := source.OpenColumns(ctx, jsonl.Open(golden.WAL(t, name)), source.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	r, err := Verify(ctx, rd, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// golden logs that are not sound, and what verify has to say above info.
var unsound = map[string]map[string]int64{
	"carry26":           {"last-confirmed-broken": 1},
	"5k-faults":         {"retry-duplicate": 88},
	"v3-5k-mix":         {"retry-duplicate": 58},
	"live-stale-writer": {"stale-writer": 88, "vchannel-unborn": 2, "torn-transaction": 1, "insert-outside-segment": 1},
}

func TestVerifyGolden(t *testing.T) {
	for _, name := range golden.Names(t) {
		if name == "wp-v6-clean" { // one WAL written twice into one log, for the file format only
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := verifyGolden(t, name, VerifyOptions{ListDropped: true})
			got := map[string]int64{}
			for _, f := range r.Findings {
				if f.Severity > SeverityInfo && (f.Code != "last-confirmed-broken" || f.Severity > SeverityWarning) {
					got[f.Code] += f.Count
				}
				if Lookup(f.Code) == nil || f.Meaning == "" {
					t.Errorf("finding %s has no explanation", f.Code)
				}
			}
			want := unsound[name]
			if want == nil {
				want = map[string]int64{}
			}
			require.Equal(t, want, got)
			unchecked := 1 // the checkpoint's invariant
			if strings.HasPrefix(name, "rmq-") || strings.HasPrefix(name, "kafka-") {
				unchecked = 2 // offsets need not be contiguous
			}
			require.Equal(t, unchecked, r.Unchecked)
		})
	}
}

// TestVerifyStaleWriter: the 87 messages that every later reader drops.
func TestVerifyStaleWriter(t *testing.T) {
	r := verifyGolden(t, "live-stale-writer", VerifyOptions{ListDropped: true})
	require.EqualValues(t, 87, r.Dropped.Messages)
	require.Len(t, r.Dropped.List, 87)
	require.EqualValues(t, 723, r.Dropped.Rows+r.Dropped.Deletes)
	var again DroppedSummary
	for _, d := range r.Dropped.List {
		again.add(d.VChannel, d.Type, d.Rows)
		require.Less(t, d.TimeTick, d.Behind)
	}
	again.List = r.Dropped.List
	require.Equal(t, again, r.Dropped)
}

// legacyMessage is a message as releases before the streaming service wrote it.
func legacyMessage(t *testing.T, entry int64, typ string, body proto.Message) *message.Message {
	t.Helper()
	b, err := proto.Marshal(body)
	require.NoError(t, err)
	m := &message.Message{Payload: b, PayloadSize: int64(len(b)), Props: message.Properties{{Key: message.LegacyKeyType, Value: typ}}}
	m.SetRawID(message.ID{Backend: message.BackendPulsar, A: 1000, B: entry}, message.Form{}, "")
	var d message.Decoder
	d.Decode(m)
	m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
	return m
}

// TestVerifyBeforeStreaming: a log that an older release began is sound; a
// message of it that Milvus cannot adapt, and would panic on, is not.
func TestVerifyBeforeStreaming(t *testing.T) {
	tick := &msgpb.TimeTickMsg{Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_TimeTick, Timestamp: 11}}
	old := []*message.Message{legacyMessage(t, 0, "TimeTick", tick), legacyMessage(t, 1, "TimeTick", tick)}
	log := append(old, goldenMessages(t, "small")...)
	r, err := Verify(context.Background(), columnsOf(log), VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, aboveInfo(r.Findings))

	old[1] = legacyMessage(t, 1, "CreateAlias", tick)
	r, err = Verify(context.Background(), columnsOf(append(old, log[2:]...)), VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"bad-envelope"}, aboveInfo(r.Findings))
}

// TestVerifyPartial: any suffix of a sound log is sound.
func TestVerifyPartial(t *testing.T) {
	for _, name := range []string{"small", "live-pulsar", "live-woodpecker", "3k-secondary", "v3-small", "10k-persist"} {
		log := goldenMessages(t, name)
		for from := 1; from < len(log); from += max(1, len(log)/40) {
			r, err := Verify(context.Background(), columnsOf(log[from:]), VerifyOptions{})
			require.NoError(t, err)
			require.Empty(t, aboveInfo(r.Findings), "%s from %s", name, log[from].ID)
			r, err = Verify(context.Background(), columnsOf(log[:from]), VerifyOptions{})
			require.NoError(t, err)
			require.Empty(t, aboveInfo(r.Findings), "%s up to %s", name, log[from].ID)
		}
	}
}

// TestVerifyCheckpoint: invariant 15, and the role a checkpoint tells a log that
// starts in the middle.
func TestVerifyCheckpoint(t *testing.T) {
	log := goldenMessages(t, "3k-secondary")
	last := log[len(log)-1]
	for name, c := range map[string]struct {
		cp   Checkpoint
		from int
		want []string
	}{
		"good":           {Checkpoint{ID: log[10].ID, TimeTick: log[20].TimeTick}, 0, nil},
		"of the end":     {Checkpoint{ID: log[2000].ID, TimeTick: last.TimeTick, Role: &message.ClusterRole{Cluster: "dst", Source: "src"}}, 0, nil},
		"role":           {Checkpoint{ID: log[2000].ID, TimeTick: log[2000].TimeTick, Role: &message.ClusterRole{Cluster: "dst", Source: "src"}}, 1500, nil},
		"wrong source":   {Checkpoint{ID: log[1500].ID, TimeTick: log[1400].TimeTick, Role: &message.ClusterRole{Cluster: "dst", Source: "other"}}, 1500, []string{"replicate-mismatch"}},
		"too far ahead":  {Checkpoint{ID: log[500].ID, TimeTick: log[20].TimeTick}, 0, []string{"checkpoint-beyond"}},
		"no longer held": {Checkpoint{ID: log[10].ID, TimeTick: log[20].TimeTick}, 1500, []string{"position-gone"}},
	} {
		r, err := Verify(context.Background(), columnsOf(log[c.from:]), VerifyOptions{Checkpoint: &c.cp})
		require.NoError(t, err)
		require.Equal(t, c.want, aboveInfo(r.Findings), name)
	}
}
