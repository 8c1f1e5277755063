package rocksmq

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// streamMark begins the value of a message that a streaming node wrote (wire format).
var streamMark = []byte("\xff\xfe\xfd\xfcSTREAM")

// splitKey takes a row's key apart; false is no message's key. A topic holds no
// slash: keys of RocksMQ's bookkeeping do.
func splitKey(key []byte) (topic []byte, id int64, ok bool) {
	i := bytes.IndexByte(key, '/')
	if i <= 0 || i+1 == len(key) || key[i+1] == '0' && len(key) > i+2 {
		return nil, 0, false
	}
	for _, c := range key[i+1:] {
		if c < '0' || c > '9' {
			return nil, 0, false
		}
	}
	id, err := strconv.ParseInt(string(key[i+1:]), 10, 64)
	return key[:i], id, err == nil
}

// keyOf is the key of a topic's message.
func keyOf(topic string, id int64) []byte {
	return strconv.AppendInt(append([]byte(topic), '/'), id, 10)
}

// startOf and endOf bound a topic's keys: from the first, before the second.
func startOf(topic string) []byte { return append([]byte(topic), '/') }
func endOf(topic string) []byte   { return append([]byte(topic), '/'+1) }

var errLayout = errors.New("a value that says it is a streaming message and is not: Milvus skips it with a warning")

// decoder turns rows into messages. It is not safe for concurrent use.
type decoder struct {
	text  []byte
	ends  []int // in text, of each key and value in turn
	props message.Properties
	dec   message.Decoder
}

// message builds a message of a row. Nothing of it shares memory with value.
func (d *decoder) message(id int64, value []byte, full bool, want func(message.Type) bool) (*message.Message, error) {
	payload, err := d.split(value)
	if err != nil {
		return nil, err
	}
	m := &message.Message{PayloadSize: int64(len(payload))}
	m.SetID(message.ID{Backend: message.BackendRocksMQ, A: id}, message.Form{})
	m.Props = d.properties()
	if m.Payload = payload; payload == nil {
		m.Payload = []byte{}
	}
	d.dec.Decode(m)
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
	return m, nil
}

// split takes a value apart into its payload, which lies in it, and the
// properties, which properties returns.
func (d *decoder) split(value []byte) ([]byte, error) {
	d.text, d.ends = d.text[:0], d.ends[:0]
	body, streaming := bytes.CutPrefix(value, streamMark)
	if !streaming {
		d.legacy(value)
		return value, nil
	}
	var payload []byte
	ok := message.Fields(body, nil, func(n protowire.Number, v []byte) bool {
		switch n {
		case 1:
			payload = v
		case 2:
			return d.property(v)
		}
		return true
	})
	if !ok {
		return nil, errLayout
	}
	return payload, nil
}

// legacy reads the properties a message from before streaming nodes carries in its
// base. Where there are none to be read, it has none.
func (d *decoder) legacy(value []byte) {
	ok := message.Fields(value, nil, func(n protowire.Number, base []byte) bool {
		return n != 1 || message.Fields(base, nil, func(n protowire.Number, v []byte) bool {
			return n != 6 || d.property(v)
		})
	})
	if !ok {
		d.text, d.ends = d.text[:0], d.ends[:0]
	}
}

// property reads one entry of a map of strings.
func (d *decoder) property(b []byte) bool {
	var kv [2][]byte
	ok := message.Fields(b, nil, func(n protowire.Number, v []byte) bool {
		if n == 1 || n == 2 {
			kv[n-1] = v
		}
		return true
	})
	for _, s := range kv {
		d.text = append(d.text, s...)
		d.ends = append(d.ends, len(d.text))
	}
	return ok
}

// properties returns what was read, sorted, of a key that stands twice the last.
// The slice is valid until the next call, the strings for good.
func (d *decoder) properties() message.Properties {
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
