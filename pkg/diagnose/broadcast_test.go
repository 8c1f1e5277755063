package diagnose

import (
	"encoding/base64"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Copies that came, came twice, came late or never, by the list they carry.
func TestCopyWatch(t *testing.T) {
	raw, err := proto.Marshal(&messagespb.BroadcastHeader{BroadcastId: 5, Vchannels: []string{chP + "_vcchan", chP, chV, chP + "_8v0", chQ + "_7v1"}})
	require.NoError(t, err)
	props := message.Properties{{Key: message.KeyBroadcast, Value: base64.StdEncoding.EncodeToString(raw)}}
	for name, c := range map[string]struct {
		came  []string
		begun bool
		end   int64
		want  []string
	}{
		"all":                          {[]string{chP + "_vcchan", chV, chP + "_8v0"}, true, 60, nil},
		"one never":                    {[]string{chP + "_vcchan", chV}, true, 60, []string{chP + "_8v0"}},
		"two never":                    {[]string{chP + "_vcchan"}, true, 60, []string{chV, chP + "_8v0"}},
		"too fresh to tell":            {[]string{chV}, true, 3, nil},
		"the log begins in between":    {[]string{chV}, false, 60, nil},
		"sent again when all had come": {[]string{chV, chP + "_8v0", chV}, true, 60, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := message.NewCopyWatch(chP)
			for i, v := range c.came {
				w.See(&message.Message{Type: message.TypeDropPartition, TimeTick: atSecond(1), ID: pulsarID(int64(i)), Props: props}, v, c.begun)
			}
			var got []string
			for _, m := range w.Missing(atSecond(c.end)) {
				require.Equal(t, pulsarID(0), m.At)
				got = append(got, m.VChannel)
			}
			require.Equal(t, c.want, got)
		})
	}
}
