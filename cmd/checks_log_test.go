package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/etcdpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

const (
	fixP = "by-dev-rootcoord-dml_0"
	fixV = fixP + "_100v0"
)

// fixture is a small sound log with the catalog a node leaves at its end. A check's
// row in fixtures breaks one of the two.
type fixture struct {
	t    *testing.T
	recs []*fixRec
	tt   uint64
	term string
	// kv is the catalog, made of the log as it was before the row broke it.
	kv map[string][]byte
	// text changes the log's lines, logs is a Milvus log, metrics what nodes report.
	text          func([]byte) []byte
	logs, metrics string
	withoutData   bool
	// disk is a golden RocksMQ directory, laid out as disk/rdb_data.
	disk string

	create, segment, insert, begin, part, commit, deletes *fixRec
}

type fixRec struct {
	id      message.ID
	props   map[string]string
	payload []byte
}

const fixStep = 10 << 18 // 10 ms

func pb(t *testing.T, m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return b
}

func (x *fixture) pb64(m proto.Message) string { return base64.StdEncoding.EncodeToString(pb(x.t, m)) }

func rawID(id message.ID) string { return id.Raw(message.Form{BatchSize: 1}) }

func (r *fixRec) tick() uint64 {
	n, _ := strconv.ParseUint(r.props["_tt"], 36, 64)
	return n
}

func (r *fixRec) at(tt uint64) *fixRec {
	r.props["_tt"] = strconv.FormatUint(tt, 36)
	return r
}

// set takes pairs; a value of "-" takes the property away.
func (r *fixRec) set(pairs ...string) *fixRec {
	for i := 0; i+1 < len(pairs); i += 2 {
		if r.props[pairs[i]] = pairs[i+1]; pairs[i+1] == "-" {
			delete(r.props, pairs[i])
		}
	}
	return r
}

// add appends a record: with the next id, TimeTick, and what every message of the
// newest term has. Its last confirmed id is the newest TimeTick's.
func (x *fixture) add(typ message.Type, version string, header, body proto.Message, pairs ...string) *fixRec {
	x.tt += fixStep
	r := &fixRec{id: message.ID{Backend: message.BackendPulsar, A: 1}, props: map[string]string{"_t": strconv.Itoa(int(typ)), "_v": version, "_h": ""}}
	if n := len(x.recs); n > 0 {
		r.id.B = x.recs[n-1].id.B + 1
	}
	if header != nil {
		r.props["_h"] = x.pb64(header)
	}
	if body != nil {
		r.payload = pb(x.t, body)
	}
	for _, o := range slices.Backward(x.recs) {
		if o.props["_t"] == "1" {
			r.props["_lc"] = rawID(o.id)
			break
		}
	}
	if typ != message.TypeTimeTick {
		r.props["_vc"] = fixV
	}
	r.props["_wt"] = x.term
	r.at(x.tt).set(pairs...)
	x.recs = append(x.recs, r)
	return r
}

func (x *fixture) timeTick() *fixRec { return x.add(message.TypeTimeTick, "1", nil, nil) }

// open appends the TimeTick that opens the next term.
func (x *fixture) open() *fixRec {
	n, _ := strconv.Atoi(x.term)
	x.term = strconv.Itoa(n + 1)
	return x.add(message.TypeTimeTick, "1", nil, nil, "_wt", "-", "_lc", "-", "_lcs", "")
}

func insertOf(partition, segment int64, rows uint64) *messagespb.InsertMessageHeader {
	return &messagespb.InsertMessageHeader{CollectionId: 100, Partitions: []*messagespb.PartitionSegmentAssignment{
		{PartitionId: partition, Rows: rows, BinarySize: 64, SegmentAssignment: &messagespb.SegmentAssignment{SegmentId: segment}}}}
}

// rows appends an insert into the fixture's segment.
func (x *fixture) rows(pairs ...string) *fixRec {
	return x.add(message.TypeInsert, "1", insertOf(1, 7, 3), fieldsBody(100), pairs...)
}

func fieldsBody(field int64) proto.Message {
	return &msgpb.InsertRequest{CollectionID: 100, NumRows: 3, FieldsData: []*schemapb.FieldData{{FieldId: field, FieldName: "f", Type: schemapb.DataType_Int64}}}
}

func (x *fixture) remove(rows uint64) *fixRec {
	return x.add(message.TypeDelete, "1", &messagespb.DeleteMessageHeader{CollectionId: 100, Rows: rows}, nil)
}

func (x *fixture) txn(id, keepalive int64) string {
	return x.pb64(&messagespb.TxnContext{TxnId: id, KeepaliveMilliseconds: keepalive})
}

func (x *fixture) beginTxn(id, keepalive int64) *fixRec {
	return x.add(message.TypeBeginTxn, "2", &messagespb.BeginTxnMessageHeader{KeepaliveMilliseconds: keepalive}, nil, "_tx", x.txn(id, keepalive))
}

func (x *fixture) commitTxn(id, keepalive int64) *fixRec {
	return x.add(message.TypeCommitTxn, "2", &messagespb.CommitTxnMessageHeader{}, nil, "_tx", x.txn(id, keepalive))
}

func fixSchema() *schemapb.CollectionSchema {
	return &schemapb.CollectionSchema{Name: "c", Fields: []*schemapb.FieldSchema{{FieldID: 100, Name: "f", IsPrimaryKey: true, DataType: schemapb.DataType_Int64}}}
}

func newFixture(t *testing.T) *fixture {
	x := &fixture{t: t, tt: 1_763_000_000_000 << 18, term: "0"}
	x.open()
	x.create = x.add(message.TypeCreateCollection, "1", &messagespb.CreateCollectionMessageHeader{CollectionId: 100, PartitionIds: []int64{1}},
		&msgpb.CreateCollectionRequest{CollectionID: 100, CollectionName: "c", PartitionIDs: []int64{1}, VirtualChannelNames: []string{fixV}, PhysicalChannelNames: []string{fixP}, CollectionSchema: fixSchema()})
	x.timeTick()
	x.segment = x.add(message.TypeCreateSegment, "2", &messagespb.CreateSegmentMessageHeader{CollectionId: 100, PartitionId: 1, SegmentId: 7, MaxRows: 1000}, nil)
	x.insert = x.rows()
	x.timeTick()
	x.begin = x.beginTxn(50, 10_000)
	x.part = x.rows("_tx", x.txn(50, 10_000))
	x.commit = x.commitTxn(50, 10_000)
	x.deletes = x.remove(1)
	x.timeTick()
	x.kv = x.catalogAt(len(x.recs) - 1)
	return x
}

func (x *fixture) messages() []*message.Message {
	var d message.Decoder
	out := make([]*message.Message, len(x.recs))
	for i, r := range x.recs {
		m := &message.Message{Ordinal: int64(i), Payload: r.payload, PayloadSize: int64(len(r.payload))}
		m.SetID(r.id, message.Form{BatchSize: 1})
		for k, v := range r.props {
			m.Props = append(m.Props, message.Property{Key: k, Value: v})
		}
		m.Props.Sort()
		d.Decode(m)
		m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
		out[i] = m
	}
	return out
}

// checkpoint is a consume checkpoint at a record.
func checkpointAt(r *fixRec) *streamingpb.WALCheckpoint {
	return &streamingpb.WALCheckpoint{MessageId: &commonpb.MessageID{Id: rawID(r.id), WALName: commonpb.WALName_Pulsar}, TimeTick: r.tick(), RecoveryMagic: 1}
}

func (x *fixture) position(r *fixRec) *msgpb.MsgPosition {
	id, err := base64.StdEncoding.DecodeString(rawID(r.id))
	require.NoError(x.t, err)
	return &msgpb.MsgPosition{ChannelName: fixV, MsgID: id, Timestamp: r.tick(), WALName: commonpb.WALName_Pulsar}
}

func (x *fixture) put(key string, m proto.Message) { x.kv[key] = pb(x.t, m) }

// move puts the consume checkpoint where change leaves it.
func (x *fixture) move(change func(*streamingpb.WALCheckpoint)) {
	var cp streamingpb.WALCheckpoint
	require.NoError(x.t, proto.Unmarshal(x.kv[catalog.CheckpointKey(fixP)], &cp))
	change(&cp)
	x.put(catalog.CheckpointKey(fixP), &cp)
}

// catalogAt is what a node leaves that replayed up to a TimeTick, and what the
// coordinators hold beside it.
func (x *fixture) catalogAt(i int) map[string][]byte {
	before := map[string][]byte{catalog.CheckpointKey(fixP): pb(x.t, checkpointAt(x.recs[0]))}
	md, _ := catalog.Decode(fixP, before)
	keep := x.recs
	x.recs = x.recs[:i+1]
	r, err := recovery.Replay(context.Background(), walgen.SliceSource(fixP, x.messages()), md, recovery.ReplayOptions{})
	x.recs = keep
	require.NoError(x.t, err)
	kv, err := r.State.Persist()
	require.NoError(x.t, err)
	x.kv = map[string][]byte{}
	maps.Copy(x.kv, before)
	maps.Copy(x.kv, kv)
	x.put(catalog.PChannelKey(fixP), &streamingpb.PChannelMeta{Channel: &streamingpb.PChannelInfo{Name: fixP, Term: 1},
		Node: &streamingpb.StreamingNodeInfo{ServerId: 1, Address: "streamingnode-1:22222"}, State: streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNED})
	x.put("root-coord/database/db-info/1", &etcdpb.DatabaseInfo{Name: "default", Id: 1, State: etcdpb.DatabaseState_DatabaseCreated})
	x.collection(100, fixV)
	x.put(catalog.ChannelCheckpointKey(fixV), x.position(x.recs[i]))
	return x.kv
}

// collection writes a collection as RootCoord stores it.
func (x *fixture) collection(id int64, vchannels ...string) {
	var ps []string
	for _, v := range vchannels {
		ps = append(ps, message.PChannelOf(v))
	}
	schema := fixSchema()
	fields := schema.Fields
	schema.Fields = nil
	c := strconv.FormatInt(id, 10)
	x.put("root-coord/database/collection-info/1/"+c, &etcdpb.CollectionInfo{ID: id, Schema: schema, DbId: 1, ShardsNum: int32(len(vchannels)),
		VirtualChannelNames: vchannels, PhysicalChannelNames: ps, State: etcdpb.CollectionState_CollectionCreated})
	for _, f := range fields {
		x.put("root-coord/fields/"+c+"/"+strconv.FormatInt(f.FieldID, 10), f)
	}
	x.put("root-coord/partitions/"+c+"/1", &etcdpb.PartitionInfo{PartitionID: 1, PartitionName: "_default", CollectionId: id, State: etcdpb.PartitionState_PartitionCreated})
}

// forget takes out of the catalog every key that one of the parts is in.
func (x *fixture) forget(parts ...string) {
	for k := range x.kv {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(k, p) }) {
			delete(x.kv, k)
		}
	}
}

// write leaves wal.jsonl, kv.json and what else the row gave in a directory.
func (x *fixture) write(dir string) {
	var out bytes.Buffer
	w := jsonl.NewWriter(&out, jsonl.Options{Data: !x.withoutData})
	for _, m := range x.messages() {
		require.NoError(x.t, w.Write(m))
	}
	require.NoError(x.t, w.Flush())
	text := out.Bytes()
	if x.text != nil {
		text = x.text(text)
	}
	kv, err := json.Marshal(x.kv)
	require.NoError(x.t, err)
	for name, b := range map[string][]byte{"wal.jsonl": text, "kv.json": kv, "node.log": []byte(x.logs)} {
		require.NoError(x.t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	if x.disk != "" {
		layOut(must{x.t}, filepath.Join(golden.Dir(), x.disk), filepath.Join(dir, "disk"))
	}
}
