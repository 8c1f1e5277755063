package order

import (
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// forcePromotes reports whether the message makes this cluster a primary by
// force, which gives up every open transaction. docs/rules.md#scanner
func forcePromotes(m *message.Message) bool {
	h, err := message.HeaderAs[*messagespb.AlterReplicateConfigMessageHeader](m)
	return err == nil && h.GetForcePromote() && !h.GetIgnore()
}
