package message_test

import (
	"encoding/base64"
	"testing"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// quiet leaves out marking helpers: finding the caller each time takes half of
// a fuzz execution.
type quiet struct{ testing.TB }

// Helper implements testing.TB.
func (quiet) Helper() {}

// FuzzEnvelopeAgainstUpstream holds what arbitrary properties decode to against
// upstream, whose panics are caught.
func FuzzEnvelopeAgainstUpstream(f *testing.F) {
	addEnvelopes(f)
	f.Fuzz(func(t *testing.T, present uint32, v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh string, payload []byte) {
		e := envelope{present, [12]string{v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh}, payload}
		m := e.message(e.appendProps(nil))
		var d message.Decoder
		d.Decode(m)
		requireLikeUpstream(quiet{t}, m, asMap(m.Props))
	})
}

// FuzzIDAgainstClient holds the bytes of a Pulsar id against the client's reading.
func FuzzIDAgainstClient(f *testing.F) {
	_, spellings := idSeeds()
	for _, s := range spellings {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { requireLikeClient(quiet{t}, b) })
}

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
