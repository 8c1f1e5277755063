package message_test

import (
	"context"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	upstream "github.com/milvus-io/milvus/pkg/v3/streaming/util/message"
	"github.com/milvus-io/milvus/pkg/v3/util/funcutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// textID is an id as upstream's interface wants it: its stored spelling.
type textID struct {
	upstream.MessageID
	wal upstream.WALName
	raw string
}

func (t textID) WALName() upstream.WALName { return t.wal }
func (t textID) Marshal() string           { return t.raw }
func (t textID) String() string            { return t.raw }

func registerBackends() {
	for _, wal := range []upstream.WALName{upstream.WALNamePulsar, upstream.WALNameWoodpecker, upstream.WALNameRocksmq, upstream.WALNameKafka} {
		upstream.RegisterMessageIDUnmsarshaler(wal, func(raw string) (upstream.MessageID, error) {
			return textID{wal: wal, raw: raw}, nil
		})
	}
	upstream.RegisterDefaultWALName(upstream.WALNamePulsar)
}

func TestMain(m *testing.M) {
	registerBackends()
	m.Run()
}

// tried calls a method of upstream's that panics on bad input.
func tried[T any](f func() T) (v T, panicked bool) {
	defer func() {
		if recover() != nil {
			panicked = true
		}
	}()
	return f(), false
}

// requireLikeUpstream holds a decoded message against upstream's reading of the
// same properties: where upstream panics ours must have a fatal defect or none
// of the value, everywhere else the values are equal.
func requireLikeUpstream(t testing.TB, m *message.Message, props map[string]string) {
	t.Helper()
	wal := upstream.WALName(m.ID.Backend)
	if m.ID.Backend == message.BackendOffset {
		wal = upstream.WALNameKafka
	}
	u := upstream.NewImmutableMesasge(textID{wal: wal, raw: m.RawID()}, m.Payload, props)
	broken := m.Broken() != nil
	version, bad := tried(u.Version)
	require.Equal(t, bad, slices.ContainsFunc(m.Defects, func(d message.Defect) bool {
		return d.Property == message.KeyVersion && d.Fatal && props[message.KeyVersion] != "" && props[message.KeyVersion] != "0"
	}), "version %q", props[message.KeyVersion])
	if bad {
		return
	}
	if version >= 0 && version <= math.MaxInt8 {
		require.EqualValues(t, version, m.Version)
	}
	if version == 0 {
		return
	}
	typ := u.MessageType()
	if typ >= 0 && typ <= math.MaxUint16 {
		require.EqualValues(t, typ, m.Type)
	}
	if tt, bad := tried(u.TimeTick); bad {
		require.True(t, broken)
	} else {
		require.Equal(t, tt, m.TimeTick)
	}
	if tt, bad := tried(u.BarrierTimeTick); bad {
		require.True(t, broken)
	} else {
		require.Equal(t, tt, m.Barrier)
	}
	if v, bad := tried(u.VChannel); bad {
		require.True(t, broken)
	} else {
		require.Equal(t, v, m.VChannel)
	}
	if lc, bad := tried(u.LastConfirmedMessageID); bad {
		require.True(t, broken)
	} else if !broken {
		require.Equal(t, lc.Marshal(), m.RawLastConfirmed())
	}
	requireHeadersLikeUpstream(t, m, u, broken)
	require.Equal(t, u.IsPersisted(), !m.Has(message.NotPersisted))
	require.Equal(t, u.IsPChannelLevel(), m.Has(message.PChannelLevel))
	require.Equal(t, u.IsUnreplicable(), m.Has(message.UnsafeReplicate))
	requireBodyLikeUpstream(t, m, u)
}

func requireHeadersLikeUpstream(t testing.TB, m *message.Message, u upstream.ImmutableMessage, broken bool) {
	t.Helper()
	if x, bad := tried(u.TxnContext); bad {
		require.True(t, broken)
	} else if x != nil {
		require.EqualValues(t, x.TxnID, m.TxnID)
		if x.Keepalive%1e6 == 0 {
			require.EqualValues(t, x.IntoProto().GetKeepaliveMilliseconds(), m.Keepalive)
		}
	} else {
		require.False(t, m.Has(message.HasTxn))
	}
	if h, bad := tried(u.BroadcastHeader); bad {
		require.True(t, broken)
	} else if h != nil {
		require.Equal(t, h.BroadcastID, m.BroadcastID)
		ours, err := m.BroadcastHeader()
		require.NoError(t, err)
		require.Equal(t, h.VChannels, ours.GetVchannels())
	}
	if h, bad := tried(u.ReplicateHeader); bad {
		require.True(t, broken)
	} else if h != nil {
		ours, err := m.ReplicateHeader()
		require.NoError(t, err)
		require.Equal(t, h.TimeTick, ours.GetTimeTick())
		require.Equal(t, h.ClusterID, ours.GetClusterId())
		require.Equal(t, h.VChannel, ours.GetVchannel())
	}
	if _, bad := tried(u.EstimateSize); bad {
		require.True(t, broken)
	}
}

// requireBodyLikeUpstream decodes header and body by upstream's own table of types.
func requireBodyLikeUpstream(t testing.TB, m *message.Message, u upstream.ImmutableMessage) {
	t.Helper()
	special, ok := upstream.GetSerializeType(upstream.NewMessageTypeWithVersion(u.MessageType(), u.Version()))
	if !ok {
		_, err := m.Body()
		require.Error(t, err)
		return
	}
	want := newOf(special.HeaderType)
	raw, present := u.Properties().Get(message.KeyHeader)
	err := upstream.DecodeProto(raw, want)
	got, ourErr := m.Header()
	require.Equal(t, present && err == nil, ourErr == nil)
	if ourErr == nil {
		require.True(t, proto.Equal(want, got), "%v %v", want, got)
		requireFieldsLikeHeader(t, m, got)
	}
	if m.Has(message.HasCipher) {
		return
	}
	want = newOf(special.BodyType)
	err = proto.Unmarshal(m.Payload, want)
	got, ourErr = m.Body()
	require.Equal(t, err == nil, ourErr == nil)
	if ourErr == nil {
		require.True(t, proto.Equal(want, got))
	}
}

// requireFieldsLikeHeader holds the fields decoded without protobuf's help
// against the header decoded with it.
func requireFieldsLikeHeader(t testing.TB, m *message.Message, h proto.Message) {
	t.Helper()
	if c, ok := h.(interface{ GetCollectionId() int64 }); ok {
		require.Equal(t, c.GetCollectionId(), m.Collection, m.Type)
	}
	if p, ok := h.(interface{ GetPartitionId() int64 }); ok {
		require.Equal(t, p.GetPartitionId(), m.Partition)
	}
	if s, ok := h.(interface{ GetSegmentId() int64 }); ok {
		require.Equal(t, s.GetSegmentId(), m.Segment)
	}
	switch h := h.(type) {
	case *upstream.InsertMessageHeader:
		var rows, size uint64
		for _, p := range h.GetPartitions() {
			rows, size = rows+p.GetRows(), size+p.GetBinarySize()
		}
		require.Equal(t, []uint64{rows, size}, []uint64{m.Rows, m.BinarySize})
		if len(h.GetPartitions()) == 1 {
			p := h.GetPartitions()[0]
			require.Equal(t, p.GetPartitionId(), m.Partition)
			require.Equal(t, p.GetSegmentAssignment().GetSegmentId(), m.Segment)
		}
	case *upstream.DeleteMessageHeader:
		require.Equal(t, h.GetRows(), m.Rows)
	}
}

func TestGoldenLogsDecodeAsUpstreamDecodesThem(t *testing.T) {
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			r, err := jsonl.Open(golden.WAL(t, name)).Open(context.Background(), source.Range{Props: true, Payload: source.PayloadAll})
			require.NoError(t, err)
			defer func() { require.NoError(t, r.Close()) }()
			n := 0
			require.NoError(t, source.Each(context.Background(), r, func(m *message.Message) error {
				if n++; n > 20000 {
					return nil // the rest of the large log is more of the same
				}
				require.Empty(t, m.Defects, m.ID)
				requireLikeUpstream(t, m, asMap(m.Props))
				require.Equal(t, m.RawID(), m.ID.Raw(m.Form()))
				return nil
			}, nil))
			require.Positive(t, n)
		})
	}
}

func asMap(p message.Properties) map[string]string {
	out := make(map[string]string, len(p))
	for _, kv := range p {
		out[kv.Key] = kv.Value
	}
	return out
}

func asProps(p map[string]string) message.Properties {
	out := make(message.Properties, 0, len(p))
	for _, k := range slices.Sorted(maps.Keys(p)) {
		out = append(out, message.Property{Key: k, Value: p[k]})
	}
	return out
}

func newOf(t reflect.Type) proto.Message { return reflect.New(t.Elem()).Interface().(proto.Message) }

func TestTypesAreUpstreams(t *testing.T) {
	for _, typ := range message.Types() {
		require.Equal(t, typ.String(), upstream.MessageType(typ).String())
		require.Equal(t, typ.Is(message.System), upstream.MessageType(typ).IsSystem(), typ)
		require.Equal(t, typ.Is(message.SelfControlled), upstream.MessageType(typ).IsSelfControlled(), typ)
		require.Equal(t, typ.Is(message.Exclusive) || typ.Is(message.Exclusive30), upstream.MessageType(typ).IsExclusiveRequired(), typ)
	}
}

func FuzzChannelNames(f *testing.F) {
	for _, s := range []string{
		"by-dev-rootcoord-dml_0", "by-dev-rootcoord-dml_0_450000000001000001v0", "by-dev-rootcoord-dml_0_vcchan",
		"my_vchan", "", "_", "a_08v1", "a_010v1x", "a_1v0_2v0", "a\n_1v2", "a_1v\n_2v3", "x_99999999999999999999v0", "a_1v0_v1", "a_1v0_2v",
	} {
		f.Add(s)
	}
	f.Fuzz(func(test *testing.T, s string) {
		t := quiet{test}
		require.Equal(t, funcutil.ToPhysicalChannel(s), message.PChannelOf(s))
		require.Equal(t, funcutil.GetCollectionIDFromVChannel(s), message.CollectionIDOf(s))
		require.Equal(t, funcutil.IsControlChannel(s), message.IsControlChannel(s))
	})
}
