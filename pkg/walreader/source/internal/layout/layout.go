// Package layout decodes what Milvus puts into a queue: where that knows no properties,
// one protobuf message of payload and properties, as RocksMQ's and Woodpecker's values
// are; otherwise a payload and properties one by one, as Kafka's headers are.
package layout

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Decoder turns such values into messages. It is not safe for concurrent use.
type Decoder struct {
	Dec   message.Decoder
	text  []byte
	ends  []int // in text, of each key and value in turn
	props message.Properties
}

// Message builds the message of an id out of the payload and what Split or Legacy read
// last. Nothing of it shares memory with payload.
func (d *Decoder) Message(id message.ID, payload []byte, full bool, want func(message.Type) bool) *message.Message {
	m := &message.Message{PayloadSize: int64(len(payload))}
	m.SetID(id, message.Form{})
	m.Props = d.properties()
	if m.Payload = payload; payload == nil {
		m.Payload = []byte{}
	}
	d.Dec.Decode(m)
	switch {
	case !full && !m.NeedsFull():
		m.Props = nil
	case len(m.Props) == 0:
		m.Props = message.Properties{}
	default:
		m.Props = slices.Clone(m.Props)
	}
	if want(m.Type) {
		m.Payload = append(make([]byte, 0, len(payload)), payload...)
	} else {
		m.Payload = nil
	}
	return m
}

// Split takes a layout apart into its payload, which lies in it, and the properties,
// which Message takes; false for what is none.
func (d *Decoder) Split(body []byte) (payload []byte, ok bool) {
	d.Reset()
	ok = message.Fields(body, nil, func(n protowire.Number, v []byte) bool {
		switch n {
		case 1:
			payload = v
		case 2:
			return d.property(v)
		}
		return true
	})
	return payload, ok
}

// Legacy reads the properties a message from before streaming nodes carries in its
// base. Where there are none to be read, it has none.
func (d *Decoder) Legacy(value []byte) {
	d.Reset()
	ok := message.Fields(value, nil, func(n protowire.Number, base []byte) bool {
		return n != 1 || message.Fields(base, nil, func(n protowire.Number, v []byte) bool {
			return n != 6 || d.property(v)
		})
	})
	if !ok {
		d.Reset()
	}
}

// Reset forgets the properties read last; Property then adds one at a time.
func (d *Decoder) Reset() { d.text, d.ends = d.text[:0], d.ends[:0] }

// Property adds a property, for Message to take.
func (d *Decoder) Property(key, value []byte) {
	for _, s := range [2][]byte{key, value} {
		d.text = append(d.text, s...)
		d.ends = append(d.ends, len(d.text))
	}
}

// property reads one entry of a map of strings.
func (d *Decoder) property(b []byte) bool {
	var kv [2][]byte
	ok := message.Fields(b, nil, func(n protowire.Number, v []byte) bool {
		if n == 1 || n == 2 {
			kv[n-1] = v
		}
		return true
	})
	d.Property(kv[0], kv[1])
	return ok
}

// properties returns what was read, sorted, of a key that stands twice the last.
// The slice is valid until the next call, the strings for good.
func (d *Decoder) properties() message.Properties {
	text, from := string(d.text), 0
	d.props = d.props[:0]
	for i := 0; i < len(d.ends); i += 2 {
		k, v := text[from:d.ends[i]], text[d.ends[i]:d.ends[i+1]]
		from = d.ends[i+1]
		at := slices.IndexFunc(d.props, func(p message.Property) bool { return p.Key >= k })
		switch {
		case at < 0:
			d.props = append(d.props, message.Property{Key: k, Value: v})
		case d.props[at].Key == k:
			d.props[at].Value = v
		default:
			d.props = slices.Insert(d.props, at, message.Property{Key: k, Value: v})
		}
	}
	return d.props
}
