package archive

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// index/ is the half of an archive that may be copied, mailed and queried: it has
// no row's data and no credential. A header that holds one, such as the token of a
// replicate configuration, stands in the index without it; the one of the log
// stands in the payload file, where rows and passwords lie too:
//
//	index    header       `_h` without credentials          canonical  bitPrivateHeader
//	payload  payload_ddl  length (varint) | `_h` as stored | payload
//
// A reader that brings payloads puts the header of the log back.

// public is a property's value as the index may hold it. What it must not hold is
// kept in s.private.
func (s *splitter) public(m *message.Message, p *message.Property) string {
	if p.Key != message.KeyHeader {
		return p.Value
	}
	shown := m.ShownHeader(p.Value)
	if shown != p.Value {
		s.private = append(s.private[:0], p.Value...)
		s.canonical |= bitPrivateHeader
	}
	return shown
}

// withPrivate is what the payload file holds of a message.
func (s *splitter) withPrivate(payload []byte) []byte {
	if s.canonical&bitPrivateHeader == 0 {
		return payload
	}
	b := protowire.AppendBytes(make([]byte, 0, len(s.private)+len(payload)+4), s.private)
	return append(b, payload...)
}

// splitPrivate takes apart what withPrivate made.
func splitPrivate(b []byte) (header string, payload []byte, err error) {
	h, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return "", nil, fmt.Errorf("%w: a header's length runs past its row", ErrDamaged)
	}
	if payload = b[n:]; len(payload) == 0 {
		payload = nil
	}
	return string(h), payload, nil
}

// restore puts the header of the log back into a message whose index row has it
// without credentials.
func restore(m *message.Message, stored []byte) error {
	header, payload, err := splitPrivate(stored)
	if err != nil {
		return err
	}
	for i := range m.Props {
		if m.Props[i].Key == message.KeyHeader {
			m.Props[i].Value = header
		}
	}
	m.Payload = payload
	return nil
}
