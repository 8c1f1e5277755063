package recovery

import (
	"errors"
	"unicode/utf8"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// errNotUTF8: a vchannel's name no protobuf can carry, so no metadata of it could
// ever be written.
var errNotUTF8 = errors.New("property " + message.KeyVChannel + ": not UTF-8")

// apply changes the metadata as a message demands, with the TimeTick it is
// delivered with. docs/rules.md#recovery
func (s *State) apply(m *message.Message, tick uint64) {
	if len(m.Defects) > 0 {
		s.defects(m)
	}
	if isControl(m) {
		return
	}
	if !utf8.ValidString(m.VChannel) {
		s.stops(CodeEnvelope, m, errNotUTF8)
		s.lose(m)
		return
	}
	s.checkVChannel(m)
	s.broadcast(m)
	switch m.Type {
	case message.TypeTimeTick, message.TypeDelete:
	case message.TypeInsert:
		s.insert(m, tick)
	case message.TypeCreateSegment:
		s.createSegment(m, tick)
	case message.TypeFlush:
		if g := s.segments[m.Segment]; g != nil {
			s.flush(g, tick)
		}
	case message.TypeManualFlush:
		if _, ok := header[*messagespb.ManualFlushMessageHeader](s, m); ok {
			s.flushListed(m, tick)
		}
	case message.TypeTruncateCollection:
		if _, ok := header[*messagespb.TruncateCollectionMessageHeader](s, m); ok {
			s.flushListed(m, tick)
		}
	case message.TypeFlushAll:
		s.flushAll(tick)
	case message.TypeCreateCollection:
		s.createCollection(m, tick)
	case message.TypeDropCollection:
		s.dropCollection(m, tick)
	case message.TypeCreatePartition:
		s.createPartition(m, tick)
	case message.TypeDropPartition:
		s.dropPartition(m, tick)
	case message.TypeSchemaChange:
		s.schemaChange(m, tick)
	case message.TypeAlterCollection:
		s.alterCollection(m, tick)
	case message.TypeAlterWAL:
		s.alterWALTo(m, tick)
	case message.TypeCommitImport, message.TypeRollbackImport:
		i := about(CodeNewerType, m)
		i.Stops = Line26
		s.issues.add(i)
	case message.TypeTxn:
		s.stops(CodeNeverOnWire, m, errors.New("a whole transaction as one record"))
	default:
		if !m.Type.Known() {
			i := about(CodeUnknownType, m)
			i.Detail = m.Type.String()
			if v := s.vchannels[m.VChannel]; v != nil && !dropped(v) {
				i.Stops = AllLines // its flusher gets it
			}
			s.issues.add(i)
		}
	}
}

// defects turns what is wrong with an envelope into issues.
func (s *State) defects(m *message.Message) {
	for _, d := range m.Defects {
		switch {
		case d.Fatal:
			s.stops(CodeEnvelope, m, d)
		case d.Property == message.KeyHeader && readsHeader(m.Type):
			s.stops(CodeHeader, m, d)
		}
	}
	if m.Has(message.NotPersisted) {
		s.issues.add(about(CodeNeverOnWire, m))
	}
}

// readsHeader reports whether recovery takes a type's header apart by force.
func readsHeader(t message.Type) bool {
	switch t {
	case message.TypeInsert, message.TypeDelete, message.TypeFlush, message.TypeCreateSegment, message.TypeImport,
		message.TypeBeginTxn, message.TypeCommitTxn, message.TypeRollbackTxn:
		return true
	}
	return false // the others are unmarshalled whole where they are applied
}

// header decodes a typed header. What is missing or broken would make a node
// panic: it is noted, and false returned.
func header[T proto.Message](s *State, m *message.Message) (T, bool) {
	h, err := message.HeaderAs[T](m)
	if err != nil {
		s.stops(CodeHeader, m, err)
		s.lose(m)
	}
	return h, err == nil
}

// schema is header for the schema a message brings in its body. It is nil where the
// log was copied without payloads: nothing is said of a body that was not read.
func (s *State) schema(m *message.Message) (*schemapb.CollectionSchema, bool) {
	schema, err := m.Schema()
	if errors.Is(err, message.ErrNotRead) {
		s.issues.add(about(CodePayloadAbsent, m))
		return nil, true
	}
	if err != nil {
		s.stops(CodeBody, m, err)
		s.lose(m)
	}
	return schema, err == nil
}

// stops notes what no line gets past.
func (s *State) stops(code Code, m *message.Message, cause error) {
	i := about(code, m)
	i.Stops, i.Detail = AllLines, cause.Error()
	s.issues.add(i)
}
