package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// FuzzReplay overwrites properties and payloads of a sound log: whatever stands
// there, the replay ends, renders and persists.
func FuzzReplay(f *testing.F) {
	c := generated(1)
	c.list = c.list[:200]
	f.Add(uint16(3), "_tt", "zzzz", []byte{8, 1})
	f.Add(uint16(7), "_h", "", []byte(nil))
	f.Add(uint16(11), "_tx", "CAE=", []byte{255})
	f.Add(uint16(12), "_t", "800", []byte(nil))
	f.Add(uint16(1), "_vc", "\xff_1v0", []byte(nil))
	f.Add(uint16(20), "_lc", "AAAA", []byte(nil))
	f.Fuzz(func(t *testing.T, at uint16, key, value string, payload []byte) {
		bad := c
		bad.list = append([]*message.Message(nil), c.list...)
		i := int(at) % len(bad.list)
		old := bad.list[i]
		m := &message.Message{Ordinal: old.Ordinal, Payload: payload}
		m.SetID(old.ID, old.Form())
		for _, p := range old.Props {
			if p.Key != key {
				m.Props = append(m.Props, p)
			}
		}
		m.Props = append(m.Props, message.Property{Key: key, Value: value})
		m.Props.Sort()
		var d message.Decoder
		d.Decode(m)
		bad.list[i] = m
		md, _ := catalog.Decode(bad.pchannel, bad.before)
		r, err := recovery.Replay(context.Background(), &memory{list: bad.list}, md, recovery.ReplayOptions{Tail: true})
		require.NoError(t, err)
		asJSON(t, r.State.All())
		asJSON(t, recovery.TxnsJSON(r.Uncommitted))
		persist(t, r)
	})
}
