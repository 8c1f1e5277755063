package recovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Every type has a case in recovery, or the table of types says why not.
func TestEveryTypeIsRecoveredOrNot(t *testing.T) {
	for _, typ := range message.Types() {
		handled := caseOf(typ) != nil || advanceOf(typ) != nil
		require.Equal(t, typ.Recovery() == message.Handled, handled, "%s: message/types.go says %q", typ, typ.Recovery())
	}
}
