package order

import (
	"encoding/base64"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// forcePromotes reports whether the message makes this cluster a primary by
// force, which gives up every open transaction. docs/rules.md#scanner
func forcePromotes(m *message.Message) bool {
	v, ok := m.Props.Get(message.KeyHeader)
	if !ok {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return false
	}
	var h messagespb.AlterReplicateConfigMessageHeader
	return proto.Unmarshal(b, &h) == nil && h.GetForcePromote() && !h.GetIgnore()
}
