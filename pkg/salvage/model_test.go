package salvage_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
)

// The rows of a log, reckoned once more: a reader of record lines, a scanner and
// a model of deletes and drops that share nothing with the code under test.

type record struct {
	ID      string            `json:"id"`
	IDs     string            `json:"ids"`
	Props   map[string]string `json:"props"`
	Payload []byte            `json:"payload"`

	tt   uint64
	kind string
	txn  *messagespb.TxnContext
}

// modelRow is a row and what became of it.
type modelRow struct {
	collection, partition, segment int64
	vchannel, id                   string
	tt                             uint64
	key                            string
	fields                         string // canonical
	deleted                        bool
	dropped                        string
}

func (r modelRow) String() string {
	return fmt.Sprint(r.collection, " ", r.partition, " ", r.segment, " ", r.vchannel, " ", r.tt, " ", r.id, " ", r.fields)
}

type deliveredRecord struct {
	*record
	at uint64
}

func decodeHeader(t testing.TB, r *record, into proto.Message) {
	b, err := base64.StdEncoding.DecodeString(r.Props["_h"])
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(b, into))
}

func readRecords(t testing.TB, name string) []*record {
	var out []*record
	sc := bufio.NewScanner(bytes.NewReader(golden.Read(t, golden.WAL(t, name))))
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		r := &record{}
		require.NoError(t, json.Unmarshal(sc.Bytes(), r))
		tt, err := strconv.ParseUint(r.Props["_tt"], 36, 64)
		require.NoError(t, err)
		r.tt, r.kind = tt, r.Props["_t"]
		if v, ok := r.Props["_tx"]; ok {
			b, err := base64.StdEncoding.DecodeString(v)
			require.NoError(t, err)
			r.txn = &messagespb.TxnContext{}
			require.NoError(t, proto.Unmarshal(b, r.txn))
		}
		out = append(out, r)
	}
	require.NoError(t, sc.Err())
	return out
}

type openTxn struct {
	begin *record
	body  []*record
}

// modelScan is a scanner written from the rules: what is delivered with which
// TimeTick, and what is dropped for coming behind one.
func modelScan(t testing.TB, all []*record) (out []deliveredRecord, stale []*record) {
	var pending []*record
	last := uint64(0)
	open := map[int64]*openTxn{}
	for _, r := range all {
		if r.kind != "1" {
			if r.tt < last {
				stale = append(stale, r)
			} else {
				pending = append(pending, r)
			}
			continue
		}
		last = r.tt
		sort.SliceStable(pending, func(i, j int) bool { return pending[i].tt < pending[j].tt })
		n := sort.Search(len(pending), func(i int) bool { return pending[i].tt > last })
		for _, m := range pending[:n] {
			if m.kind == "800" {
				h := &messagespb.AlterReplicateConfigMessageHeader{}
				decodeHeader(t, m, h)
				if h.ForcePromote && !h.Ignore {
					open = map[int64]*openTxn{}
				}
			}
			if m.txn == nil {
				out = append(out, deliveredRecord{m, m.tt})
				continue
			}
			x := open[m.txn.TxnId]
			switch {
			case m.kind == "900":
				open[m.txn.TxnId] = &openTxn{begin: m}
			case x == nil:
			case m.kind == "901":
				for _, p := range x.body {
					out = append(out, deliveredRecord{p, m.tt})
				}
				delete(open, m.txn.TxnId)
			case m.kind == "902":
				delete(open, m.txn.TxnId)
			default:
				x.body = append(x.body, m)
			}
		}
		pending = pending[n:]
		for id, x := range open {
			end := x.begin.tt
			if len(x.body) > 0 {
				end = x.body[len(x.body)-1].tt
			}
			if k := x.begin.txn.KeepaliveMilliseconds; k != -1000 && end+uint64(k)<<18 <= last {
				delete(open, id)
			}
		}
	}
	return out, stale
}

func rowsOf(t testing.TB, m *record, at uint64, newest map[int64]*schemapb.CollectionSchema) []modelRow {
	h := &messagespb.InsertMessageHeader{}
	decodeHeader(t, m, h)
	b := &msgpb.InsertRequest{}
	require.NoError(t, proto.Unmarshal(m.Payload, b))
	p := h.Partitions[0]
	var out []modelRow
	for i := range int(b.NumRows) {
		r := modelRow{collection: h.CollectionId, partition: p.PartitionId, segment: p.SegmentAssignment.SegmentId, vchannel: m.Props["_vc"], id: m.IDs, tt: at}
		values := map[string]string{}
		for _, f := range newest[h.CollectionId].Fields {
			if f.FieldID >= 100 {
				values[f.Name] = "null"
			}
		}
		for _, s := range newest[h.CollectionId].StructArrayFields {
			values[s.Name] = "null"
		}
		for _, f := range b.FieldsData {
			v := modelValue(f, i, int(b.NumRows))
			if values[f.FieldName] = v; f.FieldId == 100 {
				r.key = v
			}
		}
		names := []string{}
		for n, v := range values {
			names = append(names, n+"="+v)
		}
		sort.Strings(names)
		r.fields = strings.Join(names, " ")
		out = append(out, r)
	}
	return out
}

func modelValue(f *schemapb.FieldData, i, n int) string {
	if len(f.ValidData) > 0 && !f.ValidData[i] {
		return "null"
	}
	switch {
	case f.GetVectors() != nil:
		d := f.GetVectors().GetFloatVector().Data
		dim := len(d) / n
		return fmt.Sprint(d[i*dim : (i+1)*dim])
	case f.GetScalars().GetLongData() != nil:
		return fmt.Sprint(f.GetScalars().GetLongData().Data[i])
	case f.GetScalars().GetDoubleData() != nil:
		return fmt.Sprint(f.GetScalars().GetDoubleData().Data[i])
	}
	return strconv.Quote(f.GetScalars().GetStringData().Data[i])
}

type scopeKey struct {
	vchannel  string
	partition int64
	key       string
}

// model reckons what became of every row that is delivered.
type model struct {
	rows                 []modelRow
	stale                []*record
	alias                map[string]string // id of an append's second copy → of its first
	newest               map[int64]*schemapb.CollectionSchema
	deletes              map[scopeKey]uint64 // partition 0: all
	collections, emptied map[string]uint64
	partitions           map[scopeKey]uint64
}

func (m *model) note(t testing.TB, r deliveredRecord) {
	vchannel := r.Props["_vc"]
	control := strings.HasSuffix(vchannel, "vcchan")
	switch r.kind {
	case "3":
		b := &msgpb.DeleteRequest{}
		require.NoError(t, proto.Unmarshal(r.Payload, b))
		var ks []string
		for _, k := range b.GetPrimaryKeys().GetIntId().GetData() {
			ks = append(ks, fmt.Sprint(k))
		}
		for _, k := range b.GetPrimaryKeys().GetStrId().GetData() {
			ks = append(ks, strconv.Quote(k))
		}
		for _, k := range ks {
			at := scopeKey{vchannel, max(b.PartitionID, 0), k}
			m.deletes[at] = max(m.deletes[at], r.at)
		}
	case "5":
		b := &msgpb.CreateCollectionRequest{}
		require.NoError(t, proto.Unmarshal(r.Payload, b))
		s := b.CollectionSchema
		if s == nil {
			s = &schemapb.CollectionSchema{}
			require.NoError(t, proto.Unmarshal(b.Schema, s))
		}
		m.newest[b.CollectionID] = s
	case "12":
		h, b := &messagespb.SchemaChangeMessageHeader{}, &messagespb.SchemaChangeMessageBody{}
		decodeHeader(t, r.record, h)
		require.NoError(t, proto.Unmarshal(r.Payload, b))
		m.newest[h.CollectionId] = b.Schema
	case "13":
		h, b := &messagespb.AlterCollectionMessageHeader{}, &messagespb.AlterCollectionMessageBody{}
		decodeHeader(t, r.record, h)
		require.NoError(t, proto.Unmarshal(r.Payload, b))
		if s := b.GetUpdates().GetSchema(); s != nil && strings.Contains(strings.Join(h.UpdateMask.Paths, " "), "schema") {
			m.newest[h.CollectionId] = s
		}
	case "6":
		if !control {
			m.collections[vchannel] = max(m.collections[vchannel], r.at)
		}
	case "38":
		if !control {
			m.emptied[vchannel] = max(m.emptied[vchannel], r.at)
		}
	case "8":
		h := &messagespb.DropPartitionMessageHeader{}
		decodeHeader(t, r.record, h)
		if at := (scopeKey{vchannel, h.PartitionId, ""}); !control {
			m.partitions[at] = max(m.partitions[at], r.at)
		}
	}
}

func newModel(t testing.TB, name string) *model {
	m := &model{newest: map[int64]*schemapb.CollectionSchema{}, deletes: map[scopeKey]uint64{}, collections: map[string]uint64{},
		alias: map[string]string{}, emptied: map[string]uint64{}, partitions: map[scopeKey]uint64{}}
	delivered, stale := modelScan(t, readRecords(t, name))
	m.stale = stale
	for _, r := range stale { // schemas readers never see still tell how rows are read
		if r.kind == "5" {
			m.note(t, deliveredRecord{r, r.tt})
		}
	}
	for _, r := range delivered {
		m.note(t, r)
	}
	seen := map[string]string{}
	for _, r := range delivered {
		if r.kind != "2" {
			continue
		}
		props, err := json.Marshal(r.Props)
		require.NoError(t, err)
		once := string(props) + string(r.Payload)
		if first := seen[once]; first != "" {
			m.alias[r.IDs] = first // either may be named
			continue
		}
		seen[once] = r.IDs
		for _, row := range rowsOf(t, r.record, r.at, m.newest) {
			m.judge(&row)
			m.rows = append(m.rows, row)
		}
	}
	return m
}

func (m *model) judge(r *modelRow) {
	r.deleted = r.tt < m.deletes[scopeKey{r.vchannel, 0, r.key}] || r.tt < m.deletes[scopeKey{r.vchannel, r.partition, r.key}]
	switch {
	case r.tt < m.collections[r.vchannel]:
		r.dropped = "collection dropped"
	case r.tt < m.partitions[scopeKey{r.vchannel, r.partition, ""}]:
		r.dropped = "partition dropped"
	case r.tt < m.emptied[r.vchannel]:
		r.dropped = "truncated"
	}
}
