package message

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"
)

// Sentinels of what a message cannot give although nothing is wrong with it.
var (
	// ErrNotRead: the reader was not asked for the properties or the payload.
	ErrNotRead = errors.New("not read: open the range with properties and payload")
	// ErrNoProperty: the message does not carry the property asked for.
	ErrNoProperty = errors.New("no such property")
	// ErrUnknownType: neither 2.6 nor 3.0 define the type, so nothing tells its
	// header and body.
	ErrUnknownType = errors.New("unknown message type")
)

// EncryptedError says that a payload is encrypted, and whose key opens it.
type EncryptedError struct {
	Zone       int64 // encryption zone id
	Collection int64
}

// Error implements error.
func (e *EncryptedError) Error() string {
	return fmt.Sprintf("payload is encrypted with the key of encryption zone %d (collection %d); walctl has no keys", e.Zone, e.Collection)
}

// Header decodes the typed header: a *messagespb.<Type>MessageHeader. For a
// message from before the streaming service it is the one Milvus would give it.
// Errors: ErrNotRead, ErrUnknownType, or the Defect of property `_h`.
// docs/rules.md#types
func (m *Message) Header() (proto.Message, error) {
	if m.Version == 0 {
		return m.legacyHeader()
	}
	i := m.Type.info()
	if i == nil {
		return nil, fmt.Errorf("header of %s: %w", m.Type, ErrUnknownType)
	}
	h := i.header.ProtoReflect().New().Interface()
	if err := m.property(KeyHeader, h); err != nil {
		if errors.Is(err, ErrNoProperty) {
			err = Defect{Property: KeyHeader, Cause: "missing"}
		}
		return nil, err
	}
	return h, nil
}

// Body decodes the payload: a *msgpb request for version 0 and 1, a
// *messagespb.<Type>MessageBody for version 2. It may carry rows and passwords.
// Errors: ErrNotRead, ErrUnknownType, *EncryptedError, or the Defect of "payload".
// docs/rules.md#types
func (m *Message) Body() (proto.Message, error) {
	i := m.Type.info()
	if i == nil {
		return nil, fmt.Errorf("body of %s: %w", m.Type, ErrUnknownType)
	}
	if m.Has(HasCipher) {
		e := &EncryptedError{}
		if c, err := m.CipherHeader(); err == nil {
			e.Zone, e.Collection = c.GetEzId(), c.GetCollectionId()
		}
		return nil, e
	}
	if m.Payload == nil && m.PayloadSize > 0 {
		return nil, fmt.Errorf("body of %s: %w", m.Type, ErrNotRead)
	}
	if max(m.Version, 1) != i.version {
		return nil, Defect{Property: KeyVersion, Cause: fmt.Sprintf("version %d, but %s is of version %d", m.Version, m.Type, i.version)}
	}
	b := i.body.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(m.Payload, b); err != nil {
		return nil, Defect{Property: "payload", Cause: "not a body of " + m.Type.String()}
	}
	return b, nil
}

// HeaderAs is Header as the type the caller expects, for instance
// HeaderAs[*messagespb.AlterWALMessageHeader](m).
func HeaderAs[T proto.Message](m *Message) (T, error) {
	h, err := m.Header()
	return as[T](m, h, err)
}

// BodyAs is Body as the type the caller expects.
func BodyAs[T proto.Message](m *Message) (T, error) {
	b, err := m.Body()
	return as[T](m, b, err)
}

func as[T proto.Message](m *Message, p proto.Message, err error) (T, error) {
	t, ok := p.(T)
	if err == nil && !ok {
		err = fmt.Errorf("%s does not carry a %T", m.Type, t)
	}
	return t, err
}

// Schema returns the schema a CreateCollection, SchemaChange or AlterCollection
// brings; nil where an AlterCollection changes none. CreateCollections from
// before 2.6.1 carry it as bytes. docs/rules.md#schema
func (m *Message) Schema() (*schemapb.CollectionSchema, error) {
	b, err := m.Body()
	if err != nil {
		return nil, err
	}
	switch b := b.(type) {
	case interface { // CreateCollection
		GetCollectionSchema() *schemapb.CollectionSchema
		GetSchema() []byte
	}:
		if s := b.GetCollectionSchema(); s != nil {
			return s, nil
		}
		s := &schemapb.CollectionSchema{}
		if err := proto.Unmarshal(b.GetSchema(), s); err != nil {
			return nil, Defect{Property: "payload", Cause: "its schema is not a CollectionSchema"}
		}
		return s, nil
	case *messagespb.SchemaChangeMessageBody:
		return b.GetSchema(), nil
	case *messagespb.AlterCollectionMessageBody:
		mask, err := m.UpdateMask()
		if err != nil || !slices.Contains(mask, "schema") {
			return nil, err
		}
		return b.GetUpdates().GetSchema(), nil
	}
	return nil, fmt.Errorf("%s brings no schema", m.Type)
}

// UpdateMask returns which parts of a collection an AlterCollection changes.
func (m *Message) UpdateMask() ([]string, error) {
	h, err := HeaderAs[*messagespb.AlterCollectionMessageHeader](m)
	return h.GetUpdateMask().GetPaths(), err
}

// FlushedSegments returns the segments a message seals by naming them in its
// header, where the WAL itself wrote them: of a ManualFlush, TruncateCollection,
// SchemaChange or AlterCollection. nil for other types and where the header
// cannot be read, which is a Defect. docs/rules.md#types
func (m *Message) FlushedSegments() []int64 {
	if m.Type.Seals() != SealsListed {
		return nil
	}
	b, ok := m.PropertyBytes(KeyHeader)
	var out []int64
	if !ok || m.Version == 0 || !Numbers(b, m.Type.row().listed, func(x uint64) { out = append(out, int64(x)) }) {
		return nil
	}
	return out
}

// BroadcastHeader decodes `_bh`.
func (m *Message) BroadcastHeader() (*messagespb.BroadcastHeader, error) {
	h := &messagespb.BroadcastHeader{}
	return h, m.property(KeyBroadcast, h)
}

// ReplicateHeader decodes `_rh`: where the message stands in the source cluster.
func (m *Message) ReplicateHeader() (*messagespb.ReplicateHeader, error) {
	h := &messagespb.ReplicateHeader{}
	return h, m.property(KeyReplicate, h)
}

// CipherHeader decodes `_ch`.
func (m *Message) CipherHeader() (*messagespb.CipherHeader, error) {
	h := &messagespb.CipherHeader{}
	return h, m.property(KeyCipher, h)
}

// TxnContext decodes `_tx`; its fields also stand in TxnID and Keepalive.
func (m *Message) TxnContext() (*messagespb.TxnContext, error) {
	h := &messagespb.TxnContext{}
	return h, m.property(KeyTxn, h)
}

// property decodes one property's base64 of a protobuf message.
func (m *Message) property(key string, into proto.Message) error {
	v, ok := m.Props.Get(key)
	switch {
	case m.Props == nil:
		return fmt.Errorf("property %s of %s: %w", key, m.ID, ErrNotRead)
	case !ok:
		return fmt.Errorf("property %s of %s: %w", key, m.ID, ErrNoProperty)
	case len(v) > maxHeader:
		return Defect{Property: key, Cause: fmt.Sprintf("%d characters long", len(v))}
	}
	b, err := base64.StdEncoding.DecodeString(v)
	if err == nil {
		err = proto.Unmarshal(b, into)
	}
	if err != nil {
		return Defect{Property: key, Cause: "not a " + string(into.ProtoReflect().Descriptor().Name())}
	}
	return nil
}
