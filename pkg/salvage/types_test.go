package salvage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Every type has a case here, or the table of types says why not.
func TestEveryTypeIsSalvagedOrNot(t *testing.T) {
	for _, typ := range message.Types() {
		handled := definitionOf(typ) != nil || endOf(typ) != nil || lostOf(typ) != nil
		require.Equal(t, typ.Salvage() == message.Handled, handled, "%s: message/types.go says %q", typ, typ.Salvage())
	}
}
