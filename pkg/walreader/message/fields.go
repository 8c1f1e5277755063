package message

import (
	"encoding/base64"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields walks an encoded protobuf message and hands on varints and byte strings, the
// empty ones too. As every protobuf reader does, it passes over what it is not asked
// for, and over fields of fixed width, which no message of Milvus's log has. It reports
// false where the bytes are no message or onBytes refuses; what stands before the place
// was handed on. Either function may be nil.
func Fields(b []byte, onVarint func(protowire.Number, uint64), onBytes func(protowire.Number, []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return false
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			var x uint64
			if x, n = protowire.ConsumeVarint(b); n >= 0 && onVarint != nil {
				onVarint(num, x)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 && onBytes != nil && !onBytes(num, v) {
				return false
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// Numbers walks the repeated varint field want of an encoded message, packed or not. It
// reports false where the bytes are no message.
func Numbers(b []byte, want protowire.Number, see func(uint64)) bool {
	return Fields(b, func(n protowire.Number, x uint64) {
		if n == want {
			see(x)
		}
	}, func(n protowire.Number, v []byte) bool {
		for n == want && len(v) > 0 {
			x, k := protowire.ConsumeVarint(v)
			if k < 0 {
				return false
			}
			see(x)
			v = v[k:]
		}
		return true
	})
}

// PropertyBytes returns the bytes a property's base64 stands for, false where it is not
// there or no base64.
func (m *Message) PropertyBytes(key string) ([]byte, bool) {
	v, ok := m.Props.Get(key)
	if !ok || len(v) > maxHeader {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(v)
	return b, err == nil
}

// valid reports whether the bytes are some protobuf message.
func valid(b []byte) bool { return Fields(b, nil, nil) }
