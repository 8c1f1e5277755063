package message

import (
	"slices"
	"strings"
)

// Property keys (wire format; docs/rules.md#envelope).
const (
	KeyVersion           = "_v"
	KeyType              = "_t"
	KeyTimeTick          = "_tt"
	KeyBarrier           = "_btt"
	KeyTerm              = "_wt"
	KeyLastConfirmed     = "_lc"
	KeyLastConfirmedSelf = "_lcs"
	KeyVChannel          = "_vc"
	KeyHeader            = "_h"
	KeyBroadcast         = "_bh"
	KeyTxn               = "_tx"
	KeyCipher            = "_ch"
	KeyReplicate         = "_rh"
	KeyNotPersisted      = "_np"
	KeyPChannelLevel     = "_pcl"
	KeyUnsafeReplicate   = "_ur"
	KeyPartialUpdate     = "_puc"
	KeyChunkIndex        = "_ci" // of writers newer than 3.0, with KeyChunkTotal
	KeyChunkTotal        = "_ct"
)

// Property is one key and its value as they stand on the wire.
type Property struct{ Key, Value string }

// Properties are a message's properties, sorted by key, each key once. They are
// never changed by walctl: unknown keys pass through and round-trip.
type Properties []Property

// Get returns a key's value and whether it is present. Present and empty means
// something for several keys.
func (p Properties) Get(key string) (string, bool) {
	for i := range p {
		if p[i].Key == key {
			return p[i].Value, true
		}
	}
	return "", false
}

// Sort brings properties gathered in any order into the order Properties promises.
func (p Properties) Sort() {
	slices.SortFunc(p, func(a, b Property) int { return strings.Compare(a.Key, b.Key) })
}

// Size returns the bytes of all keys and values.
func (p Properties) Size() int {
	n := 0
	for i := range p {
		n += len(p[i].Key) + len(p[i].Value)
	}
	return n
}

// Clone copies properties out of a buffer that will be used again: all of them
// into one string, known keys excepted.
func (p Properties) Clone() Properties {
	n := 0
	for i := range p {
		n += len(p[i].Value)
		if knownKey(p[i].Key) == "" {
			n += len(p[i].Key)
		}
	}
	var b strings.Builder
	b.Grow(n)
	out := make(Properties, len(p))
	put := func(s string) string {
		from := b.Len()
		b.WriteString(s)
		return b.String()[from:] // never reallocated: it was grown to size
	}
	for i := range p {
		if out[i].Key = knownKey(p[i].Key); out[i].Key == "" {
			out[i].Key = put(p[i].Key)
		}
		out[i].Value = put(p[i].Value)
	}
	return out
}

// knownKey returns the constant equal to a key, "" for keys walctl does not know.
func knownKey(k string) string {
	switch k {
	case KeyVersion:
		return KeyVersion
	case KeyType:
		return KeyType
	case KeyTimeTick:
		return KeyTimeTick
	case KeyBarrier:
		return KeyBarrier
	case KeyTerm:
		return KeyTerm
	case KeyLastConfirmed:
		return KeyLastConfirmed
	case KeyLastConfirmedSelf:
		return KeyLastConfirmedSelf
	case KeyVChannel:
		return KeyVChannel
	case KeyHeader:
		return KeyHeader
	case KeyBroadcast:
		return KeyBroadcast
	case KeyTxn:
		return KeyTxn
	case KeyReplicate:
		return KeyReplicate
	}
	return ""
}
