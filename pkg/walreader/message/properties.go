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
