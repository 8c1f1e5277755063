package channelbuf

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Every type has a case in a flusher's buffers, or the table of types says why not.
func TestEveryTypeIsBufferedOrNot(t *testing.T) {
	for _, typ := range message.Types() {
		handled := caseOf(typ) != nil || begins(typ)
		require.Equal(t, typ.Flusher() == message.Handled, handled, "%s: message/types.go says %q", typ, typ.Flusher())
	}
}
