package bookkeeper

import (
	"errors"
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// decoder turns entries into messages. It is not safe for concurrent use.
type decoder struct {
	check *checker
	un    unpacker
	dec   message.Decoder
}

// options say what of a message is kept.
type options struct {
	props bool
	wants func(message.Type) bool
}

// lostError is what of an entry cannot be read, and how many messages it is;
// −1 = not known.
type lostError struct {
	lost  int64
	cause error
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// messages takes an entry apart. The messages before an error are right; a nil
// slice without one is an entry of the broker's own. Nothing shares memory with e.
func (d *decoder) messages(ledger, number int64, e []byte, kind digest, o options) ([]*message.Message, error) {
	p, err := splitPayload(e[head+kind.length():])
	if err != nil {
		return nil, &lostError{-1, err}
	}
	if !p.sound(d.check.castagnoli) {
		return nil, &lostError{-1, errors.New("its digest is right, Pulsar's checksum of it is not")}
	}
	m, err := readMetadata(p.meta)
	switch {
	case err != nil:
		return nil, &lostError{-1, err}
	case m.marker:
		return nil, nil
	case m.encrypted:
		return nil, &lostError{int64(max(m.messages, 1)), errors.New("encrypted by the client that wrote it")}
	case m.chunks > 1:
		return nil, &lostError{0, fmt.Errorf("piece %d of %d of a message that Pulsar's client split (chunk fields 26 to 29), as Milvus's never does", m.chunk+1, m.chunks)}
	}
	body, err := d.un.body(m, p.body)
	if err != nil {
		return nil, &lostError{int64(min(max(m.messages, 1), maxMessages)), err}
	}
	if !m.batched {
		return []*message.Message{d.message(ledger, number, 0, 1, m, single{m.props, body}, o)}, nil
	}
	parts, err := singles(m, body)
	out := make([]*message.Message, len(parts))
	for i, s := range parts {
		out[i] = d.message(ledger, number, int32(i), int32(m.messages), m, s, o)
	}
	if err != nil {
		return out, &lostError{int64(m.messages) - int64(len(parts)), err}
	}
	return out, nil
}

func (d *decoder) message(ledger, number int64, batch, of int32, meta metadata, s single, o options) *message.Message {
	m := &message.Message{PublishTime: meta.publish, PayloadSize: int64(len(s.payload))}
	m.SetID(message.ID{Backend: message.BackendPulsar, A: ledger, B: number, Batch: batch}, message.Form{BatchSize: of})
	m.Props = sorted(s.props)
	if m.Payload = s.payload; m.Payload == nil {
		m.Payload = []byte{}
	}
	d.dec.Decode(m)
	if !o.props && !m.NeedsFull() {
		m.Props = nil
	}
	if o.wants(m.Type) {
		m.Payload = append(make([]byte, 0, len(s.payload)), s.payload...)
	} else {
		m.DropPayload()
	}
	return m
}

// sorted sorts properties, of a key that stands twice the last.
func sorted(in []message.Property) message.Properties {
	out := make(message.Properties, 0, len(in))
	for _, p := range in {
		if i := slices.IndexFunc(out, func(q message.Property) bool { return q.Key == p.Key }); i >= 0 {
			out[i].Value = p.Value
			continue
		}
		out = append(out, p)
	}
	out.Sort()
	return out
}
