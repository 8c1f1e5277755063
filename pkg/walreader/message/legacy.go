package message

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"
)

// Property keys of messages from before the streaming service, version 0
// (wire format; docs/rules.md#v0). None of them is certain to be there.
const (
	LegacyKeyType       = "msg_type" // the enum's name
	LegacyKeyID         = "msg_id"
	LegacyKeyTimestamp  = "timestamp"
	LegacyKeyVChannel   = "vchannel"
	LegacyKeyCollection = "collection_id"
)

// legacy fills the envelope of a version 0 message as Milvus's catch-up scanner
// would rebuild it. What only a scanner or the catalog knows is left to Legacy.
func (d *Decoder) legacy(m *Message) {
	if m.Flags&(HasTimeTick|HasHeader|HasTerm) != 0 {
		m.defect(KeyVersion, "missing, so Milvus takes the message for one from before the streaming service", true)
		return
	}
	old, err := legacyType(m)
	if err != nil {
		m.defect(LegacyKeyType, err.Error(), true)
		return
	}
	t, ok := legacyTypeOf(old)
	if !ok {
		m.defect(LegacyKeyType, "Milvus cannot adapt "+old.String()+" from before the streaming service", true)
		return
	}
	m.Type = t
	if m.Payload == nil && m.PayloadSize > 0 {
		d.legacyProps(m)
		return
	}
	body := m.Type.info().body.ProtoReflect().New().Interface()
	if proto.Unmarshal(m.Payload, body) != nil {
		m.defect("payload", "not a body of "+m.Type.String(), true)
		return
	}
	d.legacyBody(m, body)
}

// legacyType takes the type from the property, else from the payload's header.
func legacyType(m *Message) (commonpb.MsgType, error) {
	name, _ := m.Props.Get(LegacyKeyType)
	if old := commonpb.MsgType(commonpb.MsgType_value[name]); old != commonpb.MsgType_Undefined {
		return old, nil
	}
	if m.Payload == nil && m.PayloadSize > 0 {
		return 0, fmt.Errorf("%q is no type, and the payload was not read", clip(name))
	}
	h := &commonpb.MsgHeader{}
	if proto.Unmarshal(m.Payload, h) != nil || h.Base == nil {
		return 0, fmt.Errorf("%s is no type, and the payload has no header", clip(name))
	}
	return h.Base.MsgType, nil
}

// legacyProps is what the properties alone tell.
func (d *Decoder) legacyProps(m *Message) {
	if v, ok := m.Props.Get(LegacyKeyTimestamp); ok {
		if tt, err := strconv.ParseUint(v, 10, 64); err == nil {
			m.TimeTick, m.Flags = tt, m.Flags|HasTimeTick
		}
	}
	if v, ok := m.Props.Get(LegacyKeyCollection); ok {
		m.Collection, _ = strconv.ParseInt(v, 10, 64)
	}
	d.legacyVChannel(m, "")
}

// legacyBody reads what a header would say out of the body. The TimeTick is the
// message stream's begin timestamp: the smallest of a row's, else the base's.
func (d *Decoder) legacyBody(m *Message, body proto.Message) {
	type named interface {
		GetBase() *commonpb.MsgBase
		GetCollectionID() int64
		GetPartitionID() int64
	}
	m.Flags |= HasTimeTick
	m.TimeTick = body.(interface{ GetBase() *commonpb.MsgBase }).GetBase().GetTimestamp()
	if b, ok := body.(interface{ GetCollectionID() int64 }); ok {
		m.Collection = b.GetCollectionID()
	}
	if b, ok := body.(named); ok {
		m.Partition = b.GetPartitionID()
	}
	vchannel := ""
	switch b := body.(type) {
	case *msgpb.InsertRequest:
		vchannel, m.TimeTick = b.GetShardName(), smallest(b.GetTimestamps())
		m.Segment, m.Rows = b.GetSegmentID(), b.GetNumRows()
		m.BinarySize = uint64(m.PayloadSize) + uint64(m.Props.Size())
	case *msgpb.DeleteRequest:
		legacyKeys(b)
		vchannel, m.TimeTick = b.GetShardName(), smallest(b.GetTimestamps())
		m.Partition, m.Rows = 0, uint64(b.GetNumRows())
	case *msgpb.CreateCollectionRequest:
		vchannel, m.Partition = d.createdChannel(b), 0
	case *msgpb.DropCollectionRequest:
		m.Partition = 0
	case *msgpb.TimeTickMsg:
		return // for every vchannel
	}
	d.legacyVChannel(m, vchannel)
}

func (d *Decoder) legacyVChannel(m *Message, v string) {
	if v == "" {
		v, _ = m.Props.Get(LegacyKeyVChannel)
	}
	if v != "" && m.Type != TypeTimeTick {
		m.VChannel, m.Flags = d.intern(v), m.Flags|HasVChannel
	}
}

// createdChannel finds the vchannel a CreateCollection names for this pchannel.
func (d *Decoder) createdChannel(b *msgpb.CreateCollectionRequest) string {
	v := b.GetVirtualChannelNames()
	for i, p := range b.GetPhysicalChannelNames() {
		if i < len(v) && (p == d.PChannel || d.PChannel == "" && len(v) == 1) {
			return v[i]
		}
	}
	return ""
}

// legacyKeys brings deletes that only knew int64 keys into today's shape.
func legacyKeys(b *msgpb.DeleteRequest) {
	if b.GetPrimaryKeys() == nil {
		b.NumRows = int64(len(b.GetInt64PrimaryKeys()))
	}
}

func smallest(ts []uint64) uint64 {
	if len(ts) == 0 {
		return 0
	}
	return slices.Min(ts)
}

// legacyHeader is the header Milvus gives a version 0 message.
func (m *Message) legacyHeader() (proto.Message, error) {
	switch m.Type {
	case TypeTimeTick:
		return &messagespb.TimeTickMessageHeader{}, nil
	case TypeInsert:
		return &messagespb.InsertMessageHeader{CollectionId: m.Collection, Partitions: []*messagespb.PartitionSegmentAssignment{{
			PartitionId: m.Partition, Rows: m.Rows, BinarySize: m.BinarySize,
			SegmentAssignment: &messagespb.SegmentAssignment{SegmentId: m.Segment},
		}}}, nil
	case TypeDelete:
		return &messagespb.DeleteMessageHeader{CollectionId: m.Collection, Rows: m.Rows}, nil
	case TypeCreateCollection:
		b, err := BodyAs[*msgpb.CreateCollectionRequest](m)
		return &messagespb.CreateCollectionMessageHeader{CollectionId: m.Collection, PartitionIds: b.GetPartitionIDs()}, err
	case TypeDropCollection:
		return &messagespb.DropCollectionMessageHeader{CollectionId: m.Collection}, nil
	case TypeCreatePartition:
		return &messagespb.CreatePartitionMessageHeader{CollectionId: m.Collection, PartitionId: m.Partition}, nil
	case TypeDropPartition:
		return &messagespb.DropPartitionMessageHeader{CollectionId: m.Collection, PartitionId: m.Partition}, nil
	case TypeImport:
		return &messagespb.ImportMessageHeader{}, nil
	}
	return nil, fmt.Errorf("header of a message from before the streaming service: %w", ErrUnknownType)
}

// LegacyWindow is how many version 0 messages back their last confirmed id is
// taken (streaming.walScanner.oldVersionLastConfirmedWindowSize).
const LegacyWindow = 30

// Legacy gives version 0 messages what a scanner synthesises: a last confirmed
// id, and the vchannel of messages that only name a collection. One Legacy
// follows one scan, in log order. The zero value is ready. docs/rules.md#v0
type Legacy struct {
	window    [LegacyWindow]ID
	forms     [LegacyWindow]Form
	seen      int
	vchannels map[int64]string
}

// Learn tells the vchannel of a collection on this pchannel, as the metadata
// has it; messages adapted teach theirs by themselves.
func (l *Legacy) Learn(collection int64, vchannel string) {
	if l.vchannels == nil {
		l.vchannels = make(map[int64]string)
	}
	l.vchannels[collection] = vchannel
}

// Adapt returns the message as a scanner would deliver it. Messages of later
// versions come back as they are. false means that a scanner skips it in
// silence: nothing tells the vchannel of its collection.
func (l *Legacy) Adapt(m *Message) (*Message, bool) {
	if m.Version != 0 || m.Broken() != nil {
		return m, true
	}
	out := *m
	at := l.seen % LegacyWindow
	if l.seen < LegacyWindow {
		out.LastConfirmed, out.lcForm = l.window[0], l.forms[0]
		if l.seen == 0 {
			out.LastConfirmed, out.lcForm = m.ID, m.form
		}
	} else {
		out.LastConfirmed, out.lcForm = l.window[at], l.forms[at]
	}
	l.window[at], l.forms[at] = m.ID, m.form
	l.seen++
	out.Flags |= HasLastConfirmed
	switch {
	case m.Type == TypeTimeTick:
		return &out, true
	case m.Has(HasVChannel):
		if m.Collection != 0 {
			l.Learn(m.Collection, m.VChannel)
		}
		return &out, true
	}
	v, ok := l.vchannels[m.Collection]
	if ok {
		out.VChannel, out.Flags = v, out.Flags|HasVChannel
	}
	return &out, ok
}
