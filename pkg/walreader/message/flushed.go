package message

import (
	"encoding/base64"

	"google.golang.org/protobuf/encoding/protowire"
)

// FlushedSegments returns the segments a message seals by naming them in its
// header, as the streaming node fills them in; nil for types that name none and
// where the header cannot be read. docs/rules.md#recovery
func (m *Message) FlushedSegments() []int64 {
	var field protowire.Number
	switch m.Type {
	case TypeManualFlush, TypeTruncateCollection:
		field = 3
	case TypeSchemaChange:
		field = 2
	case TypeAlterCollection:
		field = 5
	default:
		return nil
	}
	v, _ := m.Props.Get(KeyHeader)
	if len(v) > maxHeader {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return nil
	}
	var ids []int64
	ok := fields(b, func(n protowire.Number, x uint64, packed []byte) bool {
		if n != field {
			return true
		}
		if packed == nil {
			ids = append(ids, int64(x))
			return true
		}
		for len(packed) > 0 {
			x, n := protowire.ConsumeVarint(packed)
			if n < 0 {
				return false
			}
			ids, packed = append(ids, int64(x)), packed[n:]
		}
		return true
	})
	if !ok {
		return nil
	}
	return ids
}
