package plan

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a change is digested as is what encoding/json writes of it.
func TestAppendJSON(t *testing.T) {
	for _, text := range []string{"", "a/b-1.v0", `"`, `\`, "<", ">", "&", "\n", "\x00", "\x7f", "é", "\u2028", "\xff"} {
		for _, value := range [][]byte{nil, {}, {0}, {1, 2}, {1, 2, 0xff}} {
			for _, c := range []Change{{Key: text, Old: value, ModRevision: -3}, {Key: "k", New: value, Kind: Kind(text), ModRevision: 1 << 62}, {Key: "k", Reason: text}} {
				want, err := json.Marshal(&c)
				require.NoError(t, err)
				got, err := c.appendJSON([]byte("x"))
				require.NoError(t, err)
				require.Equal(t, "x"+string(want), string(got))
			}
		}
	}
}
