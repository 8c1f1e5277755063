package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// verify takes a vchannel's name apart as Milvus does, oddities included: a leading 0
// of the collection id means octal, and letters behind the shard change nothing.
func TestVChannelNames(t *testing.T) {
	for name, want := range map[string]vchannelState{
		"p_12v0":        {kind: kindData, collection: 12, plain: true},
		"p_010v1":       {kind: kindData, collection: 8, plain: true},
		"p_12v0b":       {kind: kindData, collection: 12, plain: true},
		"p_vcchan":      {kind: kindControl},
		"p":             {kind: kindPChannel},
		"q_12v0":        {kind: kindData, collection: 12, foreign: true},
		"q_vcchan":      {kind: kindControl, foreign: true},
		"p_09v0":        {kind: kindPChannel, foreign: true}, // no octal number: no collection, no vchannel of one
		"p-partition-0": {kind: kindPChannel, foreign: true},
	} {
		v := verifier{opts: VerifyOptions{PChannel: "p"}}
		require.Equal(t, want, v.newVChannel(name), name)
	}
}
