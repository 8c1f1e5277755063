package message_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestFields(t *testing.T) {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), 9)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 3, protowire.Fixed32Type), 9)
	b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), nil)
	b = protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), []byte{1, 0x96, 1})
	b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.VarintType), 3)
	walk := func(b []byte) (seen []protowire.Number, ok bool) {
		ok = message.Fields(b, func(n protowire.Number, _ uint64) { seen = append(seen, n) },
			func(n protowire.Number, _ []byte) bool { seen = append(seen, n); return true })
		return seen, ok
	}
	seen, ok := walk(b)
	require.True(t, ok)
	require.Equal(t, []protowire.Number{1, 4, 5, 5}, seen, "fixed widths are passed over, empty bytes are not")
	seen, ok = walk(b[:len(b)-1])
	require.False(t, ok)
	require.Equal(t, []protowire.Number{1, 4, 5}, seen, "what stands before the break is seen")
	_, ok = walk(protowire.AppendVarint(nil, uint64(protowire.MaxValidNumber+1)<<3))
	require.False(t, ok, "a number no protobuf field has")

	var numbers []uint64
	require.True(t, message.Numbers(b, 5, func(x uint64) { numbers = append(numbers, x) }))
	require.Equal(t, []uint64{1, 150, 3}, numbers, "packed and not")
	require.False(t, message.Numbers(protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), []byte{0x80}), 5, func(uint64) {}))
}
