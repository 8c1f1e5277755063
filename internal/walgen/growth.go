package walgen

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Shape is a kind of log that is hostile to whoever reads it: much stays open, waits or
// is compared at once, so that work done twice for each of it shows.
type Shape string

// The shapes.
const (
	ShapeStagger    Shape = "stagger"    // open transactions, then a TimeTick at the end of each one's keepalive
	ShapeExclusive  Shape = "exclusive"  // open transactions, then exclusive messages of another vchannel
	ShapeWindow     Shape = "window"     // inserts far ahead in time that no TimeTick confirms, then inserts with a TimeTick each
	ShapeEqual      Shape = "equal"      // inserts of one TimeTick
	ShapePartitions Shape = "partitions" // partitions of one collection
	ShapeSegments   Shape = "segments"   // growing segments
	ShapeOneTxn     Shape = "onetxn"     // one transaction of inserts
	ShapeOpenTxn    Shape = "opentxn"    // transactions that never end
)

// Shapes lists every shape.
func Shapes() []Shape {
	return []Shape{ShapeStagger, ShapeExclusive, ShapeWindow, ShapeEqual, ShapePartitions, ShapeSegments, ShapeOneTxn, ShapeOpenTxn}
}

// Of a log of a shape.
const (
	infinite  = -1000 // a keepalive that never ends, as stored
	tickEvery = 1000  // appends, where the shape does not say
	collID    = 450_000_000_000_000_000
	partID    = collID + 1
	segmentID = collID + 1_000_000_000
	farAhead  = 1 << 60 // in TimeTicks, of ShapeWindow
)

// Grow emits a log of a shape: about records messages, each of them new memory. The same
// arguments give the same bytes.
func Grow(s Shape, records int, emit func(*message.Message) error) error {
	g := &grower{pchannel: "by-dev-rootcoord-dml_0", emit: emit}
	g.tick = uint64(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixMilli()) << 18
	g.timeTick()
	g.collection(0)
	switch s {
	case ShapeStagger:
		g.stagger(records / 2)
	case ShapeExclusive:
		g.collection(1)
		g.begin(records/2, infinite, 0)
		for i := range records / 2 {
			g.partition(1, partID+int64(i)+1)
		}
	case ShapeWindow:
		g.segment(segmentID)
		ahead := g.tick + farAhead
		for i := range records / 3 {
			g.insert(int64(i), ahead+uint64(i), "")
		}
		for i := range records / 3 {
			g.insert(int64(records+i), g.next(), "")
			g.timeTick()
		}
	case ShapeEqual:
		g.segment(segmentID)
		for i, tick := 0, g.next(); i < records; i++ {
			g.insert(int64(i), tick, "")
		}
	case ShapePartitions:
		g.ticking = tickEvery
		for i := range records {
			g.partition(0, partID+int64(i)+1)
		}
	case ShapeSegments:
		g.ticking = tickEvery
		for i := range records {
			g.segment(segmentID + int64(i))
		}
	case ShapeOneTxn:
		g.segment(segmentID)
		g.begin(1, infinite, 0)
		for i := range records {
			g.insert(int64(i), g.next(), txnHeader(1, infinite))
		}
		g.put(message.TypeCommitTxn, 2, 0, g.next(), nil, nil, txnHeader(1, infinite))
	case ShapeOpenTxn:
		g.ticking = tickEvery
		g.begin(records, infinite, 0)
	default:
		return fmt.Errorf("no shape %q", s)
	}
	g.timeTick()
	return g.err
}

// grower writes a log message by message. After an error of emit it does nothing more.
type grower struct {
	pchannel string
	emit     func(*message.Message) error
	err      error

	n, sinceTick int64
	ticking      int64 // a TimeTick after so many messages; 0 = none
	tick         uint64
	decoder      message.Decoder
}

func (g *grower) next() uint64 {
	g.tick++
	return g.tick
}

func (g *grower) stagger(n int) {
	const first = 1000 // ms
	g.begin(n, first, 1)
	from := g.tick
	for i := range n {
		g.tick = max(g.tick, from+uint64(first+i+1)<<18)
		g.timeTick()
	}
}

// begin opens transactions, each with a keepalive longer than the one before.
func (g *grower) begin(n int, keepalive, longer int64) {
	for i := range int64(n) {
		g.put(message.TypeBeginTxn, 2, 0, g.next(), nil, nil, txnHeader(i+1, keepalive+i*longer))
	}
}

func (g *grower) timeTick() {
	tick := g.next()
	base := appendVarint(appendVarint(nil, 1, 1200), 3, tick)
	g.sinceTick = math.MinInt64 / 2 // it is none to be ticked
	g.put(message.TypeTimeTick, 1, -1, tick, nil, appendBytes(nil, 1, base), "")
	g.sinceTick = 0
}

func (g *grower) vchannel(c int) string {
	return g.pchannel + "_" + strconv.Itoa(collID+c) + "v0"
}

func (g *grower) collection(c int) {
	id, name, v := int64(collID+c), "c"+strconv.Itoa(c), g.vchannel(c)
	schema, _ := newSchema(name, SchemaBasic, 4, Version26)
	schema.Fields, schema.EnableDynamicField = schema.Fields[:3], false // the key is the only field
	g.put(message.TypeCreateCollection, 1, c, g.next(), marshal(&messagespb.CreateCollectionMessageHeader{CollectionId: id, DbId: 1, PartitionIds: []int64{partID + int64(c)}}),
		marshal(&msgpb.CreateCollectionRequest{Base: base(commonpb.MsgType_CreateCollection), DbName: "default", CollectionName: name, DbID: 1,
			CollectionID: id, PartitionIDs: []int64{partID + int64(c)}, PartitionNames: []string{"_default"},
			VirtualChannelNames: []string{v}, PhysicalChannelNames: []string{g.pchannel}, CollectionSchema: schema}), "")
}

func (g *grower) partition(c int, id int64) {
	g.put(message.TypeCreatePartition, 1, c, g.next(), marshal(&messagespb.CreatePartitionMessageHeader{CollectionId: int64(collID + c), PartitionId: id}),
		marshal(&msgpb.CreatePartitionRequest{Base: base(commonpb.MsgType_CreatePartition), DbName: "default", CollectionName: "c" + strconv.Itoa(c),
			PartitionName: "p" + strconv.FormatInt(id, 10), DbID: 1, CollectionID: int64(collID + c), PartitionID: id}), "")
}

func (g *grower) segment(id int64) {
	g.put(message.TypeCreateSegment, 2, 0, g.next(), marshal(&messagespb.CreateSegmentMessageHeader{
		CollectionId: collID, PartitionId: partID, SegmentId: id, StorageVersion: 2, MaxSegmentSize: 1 << 30, MaxRows: 1 << 20, Level: 2}), nil, "")
}

// insert is one row.
func (g *grower) insert(key int64, tick uint64, txn string) {
	header := appendVarint(appendVarint(nil, 1, partID), 2, 1)
	header = appendBytes(appendVarint(header, 3, 8), 4, appendVarint(nil, 1, segmentID))
	body := &msgpb.InsertRequest{Base: base(commonpb.MsgType_Insert), ShardName: g.vchannel(0), DbName: "default", CollectionName: "c0", DbID: 1,
		CollectionID: collID, PartitionID: partID, Timestamps: make([]uint64, 1), RowIDs: []int64{key + 1}, NumRows: 1, Version: msgpb.InsertDataVersion_ColumnBased,
		FieldsData: []*schemapb.FieldData{{Type: schemapb.DataType_Int64, FieldName: "pk", FieldId: 100,
			Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: []int64{key}}}}}}}}
	g.put(message.TypeInsert, 1, 0, tick, appendBytes(appendVarint(nil, 1, collID), 2, header), marshal(body), txn)
}

// put writes a message; collection -1 is the whole pchannel's.
func (g *grower) put(typ message.Type, version int8, collection int, tick uint64, header, payload []byte, txn string) {
	if g.err != nil {
		return
	}
	form := message.Form{BatchSize: 1}
	at := func(n int64) message.ID { return message.ID{Backend: message.BackendPulsar, A: 1001, B: n} }
	m := &message.Message{Ordinal: g.n, Payload: payload, PublishTime: int64(tick >> 18)}
	m.SetID(at(g.n), form)
	m.Props = message.Properties{{Key: message.KeyHeader, Value: base64.StdEncoding.EncodeToString(header)}}
	if g.n == 0 {
		m.Props = append(m.Props, message.Property{Key: message.KeyLastConfirmedSelf})
	} else {
		m.Props = append(m.Props, message.Property{Key: message.KeyLastConfirmed, Value: at(0).Raw(form)})
	}
	m.Props = append(m.Props, message.Property{Key: message.KeyType, Value: typeNumber(typ)},
		message.Property{Key: message.KeyTimeTick, Value: strconv.FormatUint(tick, 36)})
	if txn != "" {
		m.Props = append(m.Props, message.Property{Key: message.KeyTxn, Value: txn})
	}
	m.Props = append(m.Props, message.Property{Key: message.KeyVersion, Value: typeNumber(message.Type(version))})
	if collection >= 0 {
		m.Props = append(m.Props, message.Property{Key: message.KeyVChannel, Value: g.vchannel(collection)})
	}
	if g.n > 0 {
		m.Props = append(m.Props, message.Property{Key: message.KeyTerm, Value: "1"})
	}
	g.decoder.Decode(m)
	g.n++
	g.err = g.emit(m)
	if g.sinceTick++; g.ticking > 0 && g.sinceTick >= g.ticking {
		g.timeTick()
	}
}

// GrowthCatalog is the catalog from whose checkpoint a log of Grow is replayed whole.
func GrowthCatalog() map[string][]byte {
	g := New(Config{})
	first := message.ID{Backend: message.BackendPulsar, A: 1001}
	g.first = storedCheckpoint{id: first, tt: uint64(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixMilli()) << 18}
	return g.CatalogBefore()
}
