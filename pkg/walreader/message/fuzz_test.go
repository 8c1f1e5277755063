package message_test

import (
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// fuzzed are the keys FuzzEnvelope gives values to, in the order of its arguments.
var fuzzed = [...]string{
	message.KeyVersion, message.KeyType, message.KeyTimeTick, message.KeyBarrier, message.KeyTerm,
	message.KeyLastConfirmed, message.KeyVChannel, message.KeyHeader, message.KeyBroadcast,
	message.KeyTxn, message.KeyCipher, message.KeyReplicate,
}

// marked are the keys without a value.
var marked = [...]string{
	message.KeyLastConfirmedSelf, message.KeyNotPersisted, message.KeyPChannelLevel,
	message.KeyUnsafeReplicate, message.KeyPartialUpdate, "_tc",
}

// present has a bit for each of fuzzed, then of marked.
func presentBits(keys ...string) uint32 {
	var bits uint32
	for _, k := range keys {
		if i := slices.Index(fuzzed[:], k); i >= 0 {
			bits |= 1 << i
		}
		if i := slices.Index(marked[:], k); i >= 0 {
			bits |= 1 << (len(fuzzed) + i)
		}
	}
	return bits
}

// quiet leaves out marking helpers: finding the caller each time takes half of
// a fuzz execution.
type quiet struct{ testing.TB }

// Helper implements testing.TB.
func (quiet) Helper() {}

// FuzzEnvelope decodes arbitrary properties and holds the outcome against
// upstream, whose panics are caught.
func FuzzEnvelope(f *testing.F) {
	all := uint32(math.MaxUint32)
	sound := presentBits("_v", "_t", "_tt", "_lc", "_h", "_wt", "_vc")
	f.Add(all, "1", "2", "3kpqvxts1ekg", "z", "1", "COkHEAAY////////////ASAAMAA=", "by-dev-rootcoord-dml_0_1v0", "CAESBAgBEAI=", "CAE=", "CAEQZA==", "CAE=", "", []byte{})
	f.Add(sound, "1", "1", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v", "", "", "", "", "", []byte("\n\r\b\xb0\t\x18\x80"))
	f.Add(sound, "1", "2", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v", "EgQQARAC", "", "", "", "", []byte{}) // rows twice: the last counts
	f.Add(sound, "2", "4", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v", "CAEQAhgD", "", "", "", "", []byte{})
	f.Add(presentBits("_v", "_t", "_tt", "_lcs", "_rh", "_h"), "2", "37", "1", "", "", "", "", "", "", "", "", "CgFhEhAKDENBVVFBQmdBSUFBdxACIAU=", []byte{})
	f.Add(presentBits("_v", "_bh"), "-1", "x", "", "", "", "", "", "", "AA", "", "", "", []byte{0xff})
	f.Fuzz(func(test *testing.T, present uint32, v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh string, payload []byte) {
		t := quiet{test}
		props := make(map[string]string)
		for i, value := range [...]string{v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh} {
			if present>>i&1 == 1 {
				props[fuzzed[i]] = value
			}
		}
		for i, key := range marked {
			if present>>(len(fuzzed)+i)&1 == 1 {
				props[key] = ""
			}
		}
		m := &message.Message{Props: asProps(props), Payload: payload}
		m.SetRawID(message.ID{Backend: message.BackendPulsar, A: 5, B: 1}, message.Form{BatchSize: 1}, "CAUQARgAIAAwAQ==")
		var d message.Decoder
		d.Decode(m)
		requireLikeUpstream(t, m, maps.Clone(props))
		require.Equal(t, asProps(props), m.Props)
		require.Equal(t, m.Props, m.Props.Clone())
		_ = m.Describe()
		_, _ = m.Schema()
		_ = m.FlushedSegments()
	})
}

// FuzzID parses ids in every spelling: what is accepted comes back as it was.
func FuzzID(f *testing.F) {
	for _, raw := range []string{"COkHEAAY////////////ASAAMAA=", "CAUQARgAIAAwAQ==", "CAUQAQ==", "CAU=", "CAUQASoBAA==", "CAUQAToECAUQAQ=="} {
		b, _ := base64.StdEncoding.DecodeString(raw)
		f.Add(uint16(message.BackendPulsar), string(b))
	}
	for _, s := range []string{"COkHEAAY////////////ASAAMAA=", "CAUQABgAIAAwAQ==", "", "EAI=", "zz", "-1", "1/2/3", "1:2", "4/8", "12", "1//2", "+1/2/3", "3w5e11264sgsf"} {
		for _, b := range []uint16{0, 1, 2, 3, 4, 1000} {
			f.Add(b, s)
		}
	}
	f.Fuzz(func(test *testing.T, backend uint16, s string) {
		t := quiet{test}
		b := message.Backend(backend)
		if id, form, err := message.ParseRaw(b, s); err == nil {
			require.Equal(t, b, id.Backend)
			again, form2, err := message.ParseRaw(b, id.Raw(form))
			require.NoError(t, err)
			require.Equal(t, id, again)
			require.Equal(t, form, form2)
			var m message.Message
			m.SetRawID(id, form, s)
			require.Equal(t, s, m.RawID())
			m.SetRawLastConfirmed(id, form, s)
			m.Flags |= message.HasLastConfirmed
			require.Equal(t, s, m.RawLastConfirmed())
			text, err := message.ParseText(b, id.String())
			require.NoError(t, err)
			require.Equal(t, id, text)
		} else {
			require.ErrorIs(t, err, message.ErrBadID)
		}
		if id, err := message.ParseText(b, s); err == nil {
			again, err := message.ParseText(id.Backend, id.String())
			require.NoError(t, err)
			require.Equal(t, id, again)
			require.Zero(t, id.Compare(again))
		} else {
			require.ErrorIs(t, err, message.ErrBadID)
		}
		requireLikeClient(t, []byte(s))
		if id, form, err := message.ParseBytes(b, []byte(s)); err == nil {
			again, form2, err := message.ParseRaw(b, id.Raw(form))
			require.NoError(t, err)
			require.Equal(t, id, again)
			require.Equal(t, form, form2)
		} else {
			require.ErrorIs(t, err, message.ErrBadID)
		}
	})
}

// requireLikeClient holds the bytes of a Pulsar id against the client's reading.
func requireLikeClient(t testing.TB, b []byte) {
	want, wantErr := pulsar.DeserializeMessageID(b)
	id, form, err := message.ParseBytes(message.BackendPulsar, b)
	if wantErr != nil || err != nil {
		require.Equal(t, wantErr == nil, err == nil)
		return
	}
	require.Equal(t, []int64{want.LedgerID(), want.EntryID(), int64(want.BatchIdx())}, []int64{id.A, id.B, int64(id.Batch)})
	require.Equal(t, []int32{want.PartitionIdx(), want.BatchSize()}, []int32{form.Partition, form.BatchSize})
	require.Equal(t, want.Serialize(), mustDecode(t, id.Raw(form)))
}

func mustDecode(t testing.TB, s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

// FuzzV0 decodes arbitrary messages from before the streaming service: what has
// no fatal defect gives a header, a body and a place in a scan.
func FuzzV0(f *testing.F) {
	for _, seed := range legacySeeds(f) {
		f.Add(seed.typ, seed.vchannel, seed.payload)
	}
	f.Add("", "", []byte{})
	f.Add("Insert", "x", []byte{0xff})
	f.Fuzz(func(test *testing.T, typ, vchannel string, payload []byte) {
		t := quiet{test}
		props := map[string]string{message.LegacyKeyType: typ, message.LegacyKeyVChannel: vchannel}
		m := &message.Message{Props: asProps(props), Payload: payload, ID: message.ID{Backend: message.BackendPulsar, A: 1}}
		d := message.Decoder{PChannel: "p"}
		d.Decode(m)
		require.Zero(t, m.Version)
		if m.Broken() == nil {
			if old, ok := commonpb.MsgType_value[typ]; ok && old != 0 {
				require.Equal(t, typ, m.Type.String())
			}
			_, err := m.Header()
			require.NoError(t, err)
			_, err = m.Body()
			require.NoError(t, err)
			var l message.Legacy
			adapted, ok := l.Adapt(m)
			require.Equal(t, m.ID, adapted.LastConfirmed)
			require.Equal(t, m.Type == message.TypeTimeTick || m.Has(message.HasVChannel), ok)
		}
		_ = m.Describe()
	})
}
