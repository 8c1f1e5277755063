package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// What no transaction of the catalog takes is told when the plan is made.
func TestTooLargeIsToldWhenMade(t *testing.T) {
	kv := map[string][]byte{}
	channel(t, kv, 1, 5)
	in := input(t, map[string][]byte{}, Replayed(pchannel, nil, kv, KindReplayed, nil, "x")...)
	require.True(t, must(t, in).Applicable)
	in.Limits = catalog.Limits{Ops: 128, Bytes: 16<<10 + 64}
	p := must(t, in)
	require.False(t, p.Applicable)
	require.Contains(t, p.NotApplicable[0], "does not fit into one transaction")
}
