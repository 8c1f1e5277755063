package jsonl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// record is one line taken apart: strings as they stand in it, nothing decoded.
type record struct {
	ordinal    int64 // −1 = the line has none
	id, ids    string
	hasID      bool
	props      message.Properties
	payload    string
	hasPayload bool
	size       int64 // of an absent payload, from d
}

var (
	errNoRecord = errors.New("no record") // blank, or a report's head
	errNoIDs    = errors.New(`no "ids": the record has no place in the log`)
)

// detailSize reads payload_size of `d`, which is for people else and may be anything.
func detailSize(d []byte) int64 {
	var v struct {
		PayloadSize int64 `json:"payload_size"`
	}
	if json.Unmarshal(d, &v) != nil {
		return 0
	}
	return max(v.PayloadSize, 0)
}

// parseAny reads any line the format allows, as encoding/json understands it.
func parseAny(line []byte, r *record) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return errNoRecord
	}
	if !utf8.Valid(line) {
		return errors.New("not UTF-8")
	}
	var l struct {
		I       *int64             `json:"i"`
		ID      *string            `json:"id"`
		IDs     *string            `json:"ids"`
		Props   map[string]*string `json:"props"`
		Payload *string            `json:"payload"`
		D       json.RawMessage    `json:"d"`
		Schema  json.RawMessage    `json:"schema"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("not a record: %s", jsonFault(err))
	}
	switch {
	case l.Props == nil && len(l.Schema) > 0:
		return errNoRecord
	case l.Props == nil:
		return errors.New(`not a record: no "props"`)
	case l.IDs == nil:
		return errNoIDs
	}
	*r = record{ordinal: -1, ids: *l.IDs, props: r.props[:0]}
	if l.I != nil {
		if *l.I < 0 {
			return fmt.Errorf(`"i" is %d`, *l.I)
		}
		r.ordinal = *l.I
	}
	if l.ID != nil {
		r.id, r.hasID = *l.ID, true
	}
	if l.Payload != nil {
		r.payload, r.hasPayload = *l.Payload, true
	} else if l.D != nil {
		r.size = detailSize(l.D)
	}
	for k, v := range l.Props {
		if v == nil {
			return fmt.Errorf("property %.40q is null", k)
		}
		r.props = append(r.props, message.Property{Key: k, Value: *v})
	}
	r.props.Sort()
	return nil
}

// jsonFault says in our words what is wrong with a line that is no JSON of the
// format; offsets are bytes from the line's start.
func jsonFault(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("no JSON from its byte %d on", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("%q is a %s", kind.Field, kind.Value)
	}
	return "no JSON object"
}

// fill puts a record into a message. Properties stay where they are, so they
// have to be cloned before the line's memory goes; line is the ordinal where
// the record has none. wantPayload tells what to decode.
func (r *record) fill(m *message.Message, d *message.Decoder, line int64, want func(message.Type) bool) error {
	if err := r.place(m); err != nil {
		return err
	}
	if m.Ordinal = r.ordinal; m.Ordinal < 0 {
		m.Ordinal = line
	}
	m.Props = r.props
	m.PayloadSize = r.size
	if r.hasPayload {
		m.PayloadSize = payloadSize(r.payload)
	}
	// A message from before the streaming service carries its type and
	// TimeTick inside the payload, so there the decoder needs it.
	_, versioned := r.props.Get(message.KeyVersion)
	if !versioned {
		r.decodePayload(m)
	}
	d.Decode(m)
	if !r.hasPayload {
		m.Flags |= message.PayloadAbsent
	}
	switch {
	case !want(m.Type):
		if versioned && m.Has(message.Chunked) {
			r.decodePayload(m)
		}
		m.DropPayload()
	case versioned:
		r.decodePayload(m)
	}
	return nil
}

func (r *record) decodePayload(m *message.Message) {
	if !r.hasPayload {
		return
	}
	p, err := base64.StdEncoding.DecodeString(r.payload)
	if err != nil {
		m.Defects = append(m.Defects, message.Defect{Property: "payload", Cause: "not base64"})
		return
	}
	m.Payload, m.PayloadSize = p, int64(len(p))
}

// payloadSize tells a base64 string's decoded bytes without decoding it.
func payloadSize(s string) int64 {
	n := base64.StdEncoding.DecodedLen(len(s))
	for pad := 0; pad < 2 && n > 0 && s[len(s)-1-pad] == '='; pad++ {
		n--
	}
	return int64(n)
}

// place decodes the ids. The stored spelling decides the position; where it
// cannot be read or tells another place than the readable one, that is a defect.
func (r *record) place(m *message.Message) error {
	var backend message.Backend
	switch strings.Count(r.ids, "/") {
	case 0:
		backend = message.BackendOffset
	case 1:
		backend = message.BackendWoodpecker
	default:
		backend = message.BackendPulsar
	}
	if !r.hasID {
		id, err := message.ParseText(backend, r.ids)
		m.ID = id
		m.SetTextID(r.ids)
		return err
	}
	id, form, err := message.ParseRaw(backend, r.id)
	var buf [64]byte
	if err != nil || string(id.AppendText(buf[:0])) != r.ids {
		text, textErr := message.ParseText(backend, r.ids)
		switch {
		case err != nil && textErr != nil:
			return err
		case err != nil:
			m.Defects = append(m.Defects, message.Defect{Property: "id", Cause: err.Error(), Fatal: true})
			id = text
		case textErr != nil || id != text:
			m.Defects = append(m.Defects, message.Defect{Property: "id", Cause: fmt.Sprintf("names %s, but the readable form says %.60q", id, r.ids)})
		}
	}
	m.SetRawID(id, form, r.id)
	m.SetTextID(r.ids)
	return nil
}
