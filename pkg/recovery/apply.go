package recovery

import (
	"encoding/base64"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// apply changes the metadata as a message demands, with the TimeTick it is
// delivered with. docs/rules.md#recovery
func (s *State) apply(m *message.Message, tick uint64) {
	if len(m.Defects) > 0 {
		s.defects(m)
	}
	if isControl(m) {
		return
	}
	s.checkVChannel(m)
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
		var h messagespb.ManualFlushMessageHeader
		if s.header(m, &h) {
			s.flushListed(m, h.GetSegmentIds(), tick)
		}
	case message.TypeTruncateCollection:
		var h messagespb.TruncateCollectionMessageHeader
		if s.header(m, &h) {
			s.flushListed(m, h.GetSegmentIds(), tick)
		}
	case message.TypeFlushAll:
		s.flushWhere(tick, func(*streamingpb.SegmentAssignmentMeta) bool { return true })
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
		i := about(CodeNeverOnWire, m)
		i.Stops = AllLines
		s.issues.add(i)
	default:
		if !m.Type.Known() {
			i := about(CodeUnknownType, m)
			i.Detail = m.Type.String()
			s.issues.add(i)
		}
	}
}

// defects turns what is wrong with an envelope into issues.
func (s *State) defects(m *message.Message) {
	for _, d := range m.Defects {
		switch {
		case d.Fatal:
			i := about(CodeEnvelope, m)
			i.Stops, i.Detail = AllLines, d.Error()
			s.issues.add(i)
		case d.Property == message.KeyHeader && readsHeader(m.Type):
			i := about(CodeHeader, m)
			i.Stops, i.Detail = AllLines, d.Error()
			s.issues.add(i)
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

// header unmarshals a typed header. What is missing or broken would make a node
// panic: it is noted, and false returned.
func (s *State) header(m *message.Message, h proto.Message) bool {
	v, ok := m.Props.Get(message.KeyHeader)
	cause := "property " + message.KeyHeader + " is missing"
	if ok {
		b, err := base64.StdEncoding.DecodeString(v)
		if err == nil {
			err = proto.Unmarshal(b, h)
		}
		if err == nil {
			return true
		}
		cause = "property " + message.KeyHeader + " is no header of " + m.Type.String() + ": " + err.Error()
	}
	i := about(CodeHeader, m)
	i.Stops, i.Detail = AllLines, cause
	s.issues.add(i)
	return false
}

// body unmarshals a payload, as header does.
func (s *State) body(m *message.Message, b proto.Message) bool {
	cause := "the payload was not read"
	if int64(len(m.Payload)) == m.PayloadSize {
		err := proto.Unmarshal(m.Payload, b)
		if err == nil {
			return true
		}
		cause = "the payload is no body of " + m.Type.String() + ": " + err.Error()
	}
	i := about(CodeBody, m)
	i.Stops, i.Detail = AllLines, cause
	s.issues.add(i)
	return false
}
