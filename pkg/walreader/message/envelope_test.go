package message_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/internalpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// sound is a message without a defect, and the id it stands at.
func sound() map[string]string {
	return map[string]string{
		"_v": "1", "_t": "2", "_tt": "3kpqvxts1ekg", "_lc": "CAUQABgAIAAwAQ==", "_wt": "1",
		"_vc": "by-dev-rootcoord-dml_0_1v0", "_h": "CAESBAgBEAI=",
	}
}

func decode(props map[string]string) *message.Message {
	m := &message.Message{Props: asProps(props)}
	m.SetRawID(message.ID{Backend: message.BackendPulsar, A: 5, B: 1}, message.Form{BatchSize: 1}, "CAUQARgAIAAwAQ==")
	var d message.Decoder
	d.Decode(m)
	return m
}

func TestEveryDefectNamesItsProperty(t *testing.T) {
	require.Empty(t, decode(sound()).Defects)
	const absent = "\x00"
	for _, c := range []struct {
		key, value string
		on         string // the property the defect names, the key where ""
		fatal      bool
	}{
		{"_v", "x", "", true},
		{"_v", "3", "", false},
		{"_v", "-1", "", false},
		{"_v", "9999999999", "", false},
		{"_v", absent, "", true},
		{"_v", "0", "", true},
		{"_t", "x", "", false},
		{"_t", "-1", "", false},
		{"_t", "999", "", false},
		{"_tt", "!", "", true},
		{"_tt", "zzzzzzzzzzzzzz", "", true},
		{"_tt", absent, "", true},
		{"_lc", absent, "", true},
		{"_lc", "!", "", true},
		{"_lc", "CAU=", "", true}, // no entry
		{"_lc", strings.Repeat("A", 1000), "", true},
		{"_lcs", "", "", false}, // beside _lc
		{"_btt", "!", "", true},
		{"_wt", "!", "", false},
		{"_h", "!", "", false},
		{"_h", "CA==", "", false}, // cut short
		{"_h", absent, "", false},
		{"_bh", "!", "", true},
		{"_bh", "EgH/", "", true}, // a vchannel that is not UTF-8
		{"_tx", "CA==", "", true},
		{"_ch", "!", "", true},
		{"_rh", "!", "", true},
		{"_rh", "EgQKABAC", "", true},
		{"_rh", "EgcKAyEhIRAC", "", true}, // an id that is no Pulsar id
		{"_np", "", "", false},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			props := sound()
			props[c.key] = c.value
			if c.value == absent {
				delete(props, c.key)
			}
			m := decode(props)
			require.Len(t, m.Defects, 1)
			require.Equal(t, c.key, m.Defects[0].Property)
			require.Equal(t, c.fatal, m.Defects[0].Fatal)
			require.Equal(t, c.fatal, m.Broken() != nil)
			require.Contains(t, m.Defects[0].Error(), c.key)
			require.Less(t, len(m.Defects[0].Error()), 300)
			require.True(t, m.NeedsFull())
		})
	}
}

func TestABroadcastNeedsAVChannel(t *testing.T) {
	props := sound()
	props["_bh"] = ""
	require.Empty(t, decode(props).Defects)
	delete(props, "_vc")
	require.Equal(t, message.KeyVChannel, decode(props).Defects[0].Property)
}

func TestUnknownPropertiesPassThrough(t *testing.T) {
	props := sound()
	props["_ci"], props["_ct"], props["_ik"], props["_tc"], props["x"] = "1", "2", "d:1:k", "t", ""
	m := decode(props)
	require.Empty(t, m.Defects)
	require.True(t, m.Has(message.HasOtherProps))
	require.Equal(t, props, asMap(m.Props))
	props["_t"] = "47" // a type of the future
	m = decode(props)
	require.Empty(t, m.Defects)
	require.EqualValues(t, 47, m.Type)
	_, err := m.Header()
	require.ErrorIs(t, err, message.ErrUnknownType)
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for _, name := range []string{"small", "live-pulsar", "live-woodpecker", "3k-secondary", "v3-small"} {
		var d message.Decoder
		ms := goldenMessages(t, name, 500)
		var scratch message.Message
		decodeAll := func() {
			for _, m := range ms {
				scratch = message.Message{ID: m.ID, Props: m.Props, PayloadSize: m.PayloadSize}
				d.Decode(&scratch)
			}
		}
		require.Zero(t, testing.AllocsPerRun(5, decodeAll), name)
	}
}

func TestAMessageStaysSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(message.Message{}), uintptr(320))
}

func goldenMessages(t testing.TB, name string, n int64) []*message.Message {
	t.Helper()
	r, err := jsonl.Open(golden.WAL(t, name)).Open(context.Background(), source.Range{Props: true, Limit: n})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var ms []*message.Message
	require.NoError(t, source.Each(context.Background(), r, func(m *message.Message) error { ms = append(ms, m); return nil }, nil))
	return ms
}

func BenchmarkDecode(b *testing.B) {
	ms := goldenMessages(b, "200k", 20000)
	var d message.Decoder
	var scratch message.Message
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		m := ms[n%len(ms)]
		scratch = message.Message{ID: m.ID, Props: m.Props, PayloadSize: m.PayloadSize}
		d.Decode(&scratch)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
}

// with returns a message of a type with a header and a body.
func with(t testing.TB, typ message.Type, version int, header, body proto.Message) *message.Message {
	t.Helper()
	h, err := proto.Marshal(header)
	require.NoError(t, err)
	props := sound()
	props["_t"], props["_v"], props["_h"] = fmt.Sprint(int(typ)), fmt.Sprint(version), base64.StdEncoding.EncodeToString(h)
	m := decode(props)
	m.Payload, err = proto.Marshal(body)
	require.NoError(t, err)
	m.PayloadSize = int64(len(m.Payload))
	return m
}

func TestSchema(t *testing.T) {
	schema := &schemapb.CollectionSchema{Name: "c"}
	raw, err := proto.Marshal(schema)
	require.NoError(t, err)
	altered := &messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Schema: schema}}
	mask := &messagespb.AlterCollectionMessageHeader{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schema"}}}
	create := &messagespb.CreateCollectionMessageHeader{}
	for name, c := range map[string]struct {
		m    *message.Message
		want *schemapb.CollectionSchema
	}{
		"of a create":           {with(t, message.TypeCreateCollection, 1, create, &msgpb.CreateCollectionRequest{CollectionSchema: schema}), schema},
		"of a create, as bytes": {with(t, message.TypeCreateCollection, 1, create, &msgpb.CreateCollectionRequest{Schema: raw}), schema},
		"of a schema change":    {with(t, message.TypeSchemaChange, 2, &messagespb.SchemaChangeMessageHeader{}, &messagespb.SchemaChangeMessageBody{Schema: schema}), schema},
		"of an alter":           {with(t, message.TypeAlterCollection, 2, mask, altered), schema},
		"of an alter without":   {with(t, message.TypeAlterCollection, 2, &messagespb.AlterCollectionMessageHeader{}, altered), nil},
	} {
		got, err := c.m.Schema()
		require.NoError(t, err, name)
		require.True(t, proto.Equal(c.want, got), name)
	}
	_, err = with(t, message.TypeFlush, 2, &messagespb.FlushMessageHeader{}, &messagespb.FlushMessageBody{}).Schema()
	require.Error(t, err)
}

func TestFlushedSegments(t *testing.T) {
	ids := []int64{3, 4}
	for typ, h := range map[message.Type]proto.Message{
		message.TypeManualFlush:        &messagespb.ManualFlushMessageHeader{SegmentIds: ids},
		message.TypeTruncateCollection: &messagespb.TruncateCollectionMessageHeader{SegmentIds: ids},
		message.TypeSchemaChange:       &messagespb.SchemaChangeMessageHeader{FlushedSegmentIds: ids},
		message.TypeAlterCollection:    &messagespb.AlterCollectionMessageHeader{FlushedSegmentIds: ids},
	} {
		require.Equal(t, ids, with(t, typ, 2, h, &messagespb.ManualFlushMessageBody{}).FlushedSegments(), typ)
	}
	require.Nil(t, with(t, message.TypeFlush, 2, &messagespb.FlushMessageHeader{SegmentId: 3}, &messagespb.FlushMessageBody{}).FlushedSegments())
}

func TestAnEncryptedBodyIsNamed(t *testing.T) {
	c, err := proto.Marshal(&messagespb.CipherHeader{EzId: 7, CollectionId: 8, SafeKey: []byte("secret")})
	require.NoError(t, err)
	props := sound()
	props["_ch"] = base64.StdEncoding.EncodeToString(c)
	_, err = decode(props).Body()
	var encrypted *message.EncryptedError
	require.ErrorAs(t, err, &encrypted)
	require.Equal(t, message.EncryptedError{Zone: 7, Collection: 8}, *encrypted)
}

func TestWhatWasNotReadIsNotMissing(t *testing.T) {
	m := &message.Message{Type: message.TypeInsert, Version: 1, PayloadSize: 3}
	_, err := m.Header()
	require.ErrorIs(t, err, message.ErrNotRead)
	_, err = m.Body()
	require.ErrorIs(t, err, message.ErrNotRead)
	_, err = decode(sound()).BroadcastHeader()
	require.ErrorIs(t, err, message.ErrNoProperty)
}

func TestNoCredentialIsDescribed(t *testing.T) {
	const secret = "s3cr3t"
	for _, m := range []*message.Message{
		with(t, message.TypeAlterWAL, 2, &messagespb.AlterWALMessageHeader{Config: map[string]string{"password": secret}}, &messagespb.AlterWALMessageBody{}),
		with(t, message.TypeRefreshExternalCollection, 2, &messagespb.RefreshExternalCollectionMessageHeader{ExternalSpec: secret, ExternalSource: secret}, &messagespb.RefreshExternalCollectionMessageBody{}),
		with(t, message.TypeRestoreSnapshot, 2, &messagespb.RestoreSnapshotMessageHeader{ExternalSpec: secret, SnapshotS3Location: secret}, &messagespb.RestoreSnapshotMessageBody{}),
		with(t, message.TypeAlterReplicateConfig, 2, &messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: &commonpb.ReplicateConfiguration{
			Clusters: []*commonpb.MilvusCluster{{ClusterId: "a", ConnectionParam: &commonpb.ConnectionParam{Uri: "u", Token: secret}}},
		}}, &messagespb.AlterReplicateConfigMessageBody{}),
	} {
		j, err := m.HeaderJSON()
		require.NoError(t, err)
		require.NotContains(t, string(j), secret)
		h, err := m.Header()
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(h), secret, "only what is shown is redacted")
	}
	j, err := message.RedactedJSON(&messagespb.AlterUserMessageBody{CredentialInfo: &internalpb.CredentialInfo{
		Username: "u", EncryptedPassword: secret, Sha256Password: secret,
	}})
	require.NoError(t, err)
	require.NotContains(t, string(j), secret)
}

func TestDescribe(t *testing.T) {
	props := sound()
	m := decode(props)
	d := m.Describe()
	require.Equal(t, "Insert", d.Type)
	require.Equal(t, "5/0/0", d.LastConfirmed)
	require.Equal(t, message.FormatTSO(m.TimeTick), d.Time)
	require.Nil(t, d.Header, "an Insert's header stands in the fields")
	flush := with(t, message.TypeManualFlush, 2, &messagespb.ManualFlushMessageHeader{CollectionId: 4, SegmentIds: []int64{9}}, &messagespb.ManualFlushMessageBody{})
	require.JSONEq(t, `{"collection_id":"4","segment_ids":["9"]}`, string(flush.Describe().Header))
	for _, m := range goldenMessages(t, "3k-secondary", 3000) {
		if m.Has(message.HasReplicate) {
			d := m.Describe()
			require.NotEmpty(t, d.Replicated.Cluster)
			require.NotEmpty(t, d.Replicated.ID)
			require.NotZero(t, d.Replicated.TimeTick)
			return
		}
	}
	t.Fatal("no replicated message in the log of a secondary")
}

func TestTSO(t *testing.T) {
	tso := message.ComposeTSO(1_700_000_000_123, 7)
	require.EqualValues(t, 1_700_000_000_123, message.PhysicalMillis(tso))
	require.EqualValues(t, 7, message.Logical(tso))
	require.Equal(t, "2023-11-14T22:13:20.123Z", message.FormatTSO(tso))
	require.Equal(t, tso-7, message.TSOAt(message.TimeOf(tso)))
	require.Equal(t, "-", message.FormatTSO(0))
	require.Zero(t, message.ComposeTSO(-5, 0))
}
