package rocksmq

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source/internal/layout"
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
type decoder struct{ layout.Decoder }

// message builds a message of a row. Nothing of it shares memory with value.
func (d *decoder) message(id int64, value []byte, full bool, want func(message.Type) bool) (*message.Message, error) {
	payload := value
	if body, streaming := bytes.CutPrefix(value, streamMark); !streaming {
		d.Legacy(value)
	} else if split, ok := d.Split(body); ok {
		payload = split
	} else {
		return nil, errLayout
	}
	return d.Message(message.ID{Backend: message.BackendRocksMQ, A: id}, payload, full, want), nil
}
