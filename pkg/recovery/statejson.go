package recovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// MarshalJSON renders a view as Milvus names things: proto3 JSON with the field
// names of the protos, vchannels by name, segments by id, credentials hidden.
func (v View) MarshalJSON() ([]byte, error) {
	segments := make(map[string]proto.Message, len(v.Segments))
	for id, m := range v.Segments {
		segments[strconv.FormatInt(id, 10)] = m
	}
	vchannels := make(map[string]proto.Message, len(v.VChannels))
	for name, m := range v.VChannels {
		vchannels[name] = m
	}
	var out struct {
		VChannels  map[string]json.RawMessage `json:"vchannels"`
		Segments   map[string]json.RawMessage `json:"segments"`
		Checkpoint json.RawMessage            `json:"checkpoint"`
	}
	var err error
	if out.VChannels, err = protoMap(vchannels); err != nil {
		return nil, err
	}
	if out.Segments, err = protoMap(segments); err != nil {
		return nil, err
	}
	if out.Checkpoint, err = message.RedactedJSON(v.Checkpoint); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func protoMap(in map[string]proto.Message) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(in))
	for key := range maps.Keys(in) {
		b, err := message.RedactedJSON(in[key])
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", key, err)
		}
		out[key] = b
	}
	return out, nil
}

// TxnJSON is an open transaction of Milvus's transaction buffer.
type TxnJSON struct {
	TxnID           int64    `json:"txn_id,string"`
	LastConfirmed   string   `json:"last_confirmed"`    // the Begin's, as stored
	ExpiredTimeTick uint64   `json:"expired_time_tick"` // given up at the first TimeTick from here on
	Messages        []string `json:"messages"`          // ids as stored, the Begin first
}

// TxnsJSON renders open transactions, in the order given.
func TxnsJSON(txns []*order.Txn) []TxnJSON {
	out := make([]TxnJSON, len(txns))
	for i, t := range txns {
		out[i] = TxnJSON{TxnID: t.ID, LastConfirmed: t.Begin.RawLastConfirmed(), ExpiredTimeTick: t.ExpiredTimeTick()}
		for _, m := range t.Messages() {
			out[i].Messages = append(out[i].Messages, m.RawID())
		}
	}
	return out
}
