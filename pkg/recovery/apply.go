package recovery

import (
	"errors"
	"unicode/utf8"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
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
	if m.Has(message.Chunked) {
		s.chunked(m)
	}
	s.checkVChannel(m)
	s.broadcast(m)
	if change := caseOf(m.Type); change != nil {
		change(s, m, tick)
	} else if !m.Type.Known() {
		s.unknown(m)
	}
}

// caseOf returns what a type changes in the metadata, nil for types that change
// nothing there: what changes with the checkpoint is advanceOf's.
func caseOf(t message.Type) func(*State, *message.Message, uint64) {
	switch t {
	case message.TypeInsert:
		return (*State).insert
	case message.TypeCreateSegment:
		return (*State).createSegment
	case message.TypeFlush:
		return (*State).flushOwn
	case message.TypeManualFlush, message.TypeTruncateCollection:
		return (*State).flushNamed
	case message.TypeFlushAll:
		return (*State).flushEvery
	case message.TypeCreateCollection:
		return (*State).createCollection
	case message.TypeDropCollection:
		return (*State).dropCollection
	case message.TypeCreatePartition:
		return (*State).createPartition
	case message.TypeDropPartition:
		return (*State).dropPartition
	case message.TypeSchemaChange:
		return (*State).schemaChange
	case message.TypeAlterCollection:
		return (*State).alterCollection
	case message.TypeAlterWAL:
		return (*State).alterWALTo
	case message.TypeCommitImport, message.TypeRollbackImport:
		return (*State).newer
	case message.TypeTxn:
		return (*State).wholeTxn
	}
	return nil
}

// newer notes a type that a flusher of 2.6 does not get past.
func (s *State) newer(m *message.Message, _ uint64) {
	i := about(CodeNewerType, m)
	i.Stops = Line26
	s.issues.add(i)
}

func (s *State) wholeTxn(m *message.Message, _ uint64) {
	s.stops(CodeNeverOnWire, m, errors.New("a whole transaction as one record"))
}

func (s *State) unknown(m *message.Message) {
	i := about(CodeUnknownType, m)
	i.Detail = m.Type.String()
	if v := s.vchannels[m.VChannel]; v != nil && !dropped(v) {
		i.Stops = AllLines // its flusher gets it
	}
	s.issues.add(i)
}

// chunked notes a message that was put together from several records. A node that
// does not do so takes a definition's body from the first of them alone.
func (s *State) chunked(m *message.Message) {
	i := about(CodeChunked, m)
	switch m.Type {
	case message.TypeCreateCollection, message.TypeSchemaChange, message.TypeAlterCollection:
		i.Stops, i.Detail = AllLines, "a definition: a node of 2.6 or 3.0 panics on the part of it that one record holds"
	}
	s.issues.add(i)
}

// defects turns what is wrong with an envelope into issues.
func (s *State) defects(m *message.Message) {
	for _, d := range m.Defects {
		switch {
		case d.Fatal:
			s.stops(CodeEnvelope, m, d)
		case d.Property == message.KeyHeader && m.Type.Is(message.HeaderForced):
			s.stops(CodeHeader, m, d)
		case d.Property == message.KeyChunkIndex:
			i := about(CodeChunksMissing, m)
			i.Detail = d.Error()
			s.issues.add(i)
		}
	}
	if m.Has(message.NotPersisted) {
		s.issues.add(about(CodeNeverOnWire, m))
	}
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
