package salvage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// A log written by hand: "I5 1,2" is an Insert with TimeTick 5 of the keys 1 and 2.
//
//	C create collection  I insert  D delete  T TimeTick  B begin  E commit  R rollback
//	X drop collection    P drop the partition  U truncate  @n in transaction n
const (
	caseVChannel   = "by-dev-rootcoord-dml_0_9v0"
	caseCollection = 9
	casePartition  = 90
)

func caseLog(t testing.TB, script string) source.Source {
	var ms []*message.Message
	d := &message.Decoder{}
	for i, word := range strings.FieldsFunc(script, func(r rune) bool { return r == ';' }) {
		word = strings.TrimSpace(word)
		var tt uint64
		var rest string
		_, _ = fmt.Sscanf(word[1:], "%d", &tt)
		if at := strings.IndexByte(word, ' '); at > 0 {
			rest = word[at+1:]
		}
		txn := int64(0)
		if head, id, ok := strings.Cut(rest, "@"); ok {
			rest = head
			_, _ = fmt.Sscanf(id, "%d", &txn)
		}
		ms = append(ms, caseMessage(t, d, int64(i), word[0], tt, keysOf(rest), txn))
	}
	return walgen.SliceSource("by-dev-rootcoord-dml_0", ms)
}

func keysOf(s string) (out []int64) {
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		k := int64(0)
		_, _ = fmt.Sscanf(f, "%d", &k)
		out = append(out, k)
	}
	return out
}

var caseTypes = map[byte]message.Type{'C': message.TypeCreateCollection, 'I': message.TypeInsert, 'D': message.TypeDelete, 'T': message.TypeTimeTick,
	'B': message.TypeBeginTxn, 'E': message.TypeCommitTxn, 'R': message.TypeRollbackTxn, 'X': message.TypeDropCollection,
	'P': message.TypeDropPartition, 'U': message.TypeTruncateCollection}

func caseMessage(t testing.TB, d *message.Decoder, at int64, kind byte, tt uint64, keys []int64, txn int64) *message.Message {
	header, body := caseBody(kind, keys)
	enc := func(m proto.Message) string { s, err := walgenEncode(m); require.NoError(t, err); return s }
	m := &message.Message{Ordinal: at}
	m.SetID(message.ID{Backend: message.BackendTest, A: at + 1}, message.Form{})
	version := "1"
	if kind == 'B' || kind == 'E' || kind == 'R' || kind == 'U' {
		version = "2"
	}
	m.Props = message.Properties{{Key: message.KeyVersion, Value: version}, {Key: message.KeyType, Value: fmt.Sprint(int(caseTypes[kind]))},
		{Key: message.KeyTimeTick, Value: base36(tt)}, {Key: message.KeyLastConfirmedSelf}, {Key: message.KeyHeader, Value: enc(header)}, {Key: message.KeyTerm, Value: "1"}}
	if kind != 'T' {
		m.Props = append(m.Props, message.Property{Key: message.KeyVChannel, Value: caseVChannel})
	}
	if txn > 0 {
		m.Props = append(m.Props, message.Property{Key: message.KeyTxn, Value: enc(&messagespb.TxnContext{TxnId: txn, KeepaliveMilliseconds: 1})})
	}
	m.Props.Sort()
	var err error
	m.Payload, err = proto.Marshal(body)
	require.NoError(t, err)
	d.Decode(m)
	require.NoError(t, m.Broken())
	return m
}

func caseSchema() *schemapb.CollectionSchema {
	return &schemapb.CollectionSchema{Name: "case", Fields: []*schemapb.FieldSchema{{FieldID: 100, Name: "pk", DataType: schemapb.DataType_Int64, IsPrimaryKey: true}}}
}

func caseBody(kind byte, keys []int64) (header, body proto.Message) {
	switch kind {
	case 'C':
		return &messagespb.CreateCollectionMessageHeader{CollectionId: caseCollection, PartitionIds: []int64{casePartition}},
			&msgpb.CreateCollectionRequest{CollectionID: caseCollection, CollectionSchema: caseSchema()}
	case 'I':
		return &messagespb.InsertMessageHeader{CollectionId: caseCollection, Partitions: []*messagespb.PartitionSegmentAssignment{{PartitionId: casePartition, Rows: uint64(len(keys)), SegmentAssignment: &messagespb.SegmentAssignment{SegmentId: 7}}}},
			&msgpb.InsertRequest{CollectionID: caseCollection, PartitionID: casePartition, NumRows: uint64(len(keys)), Version: msgpb.InsertDataVersion_ColumnBased, FieldsData: []*schemapb.FieldData{{FieldId: 100, FieldName: "pk", Type: schemapb.DataType_Int64,
				Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: keys}}}}}}}
	case 'D':
		return &messagespb.DeleteMessageHeader{CollectionId: caseCollection, Rows: uint64(len(keys))},
			&msgpb.DeleteRequest{CollectionID: caseCollection, PartitionID: -1, NumRows: int64(len(keys)), PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}}}
	case 'X':
		return &messagespb.DropCollectionMessageHeader{CollectionId: caseCollection}, &msgpb.DropCollectionRequest{CollectionID: caseCollection}
	case 'P':
		return &messagespb.DropPartitionMessageHeader{CollectionId: caseCollection, PartitionId: casePartition}, &msgpb.DropPartitionRequest{CollectionID: caseCollection, PartitionID: casePartition}
	case 'U':
		return &messagespb.TruncateCollectionMessageHeader{CollectionId: caseCollection}, &messagespb.TruncateCollectionMessageBody{}
	case 'B':
		return &messagespb.BeginTxnMessageHeader{}, &messagespb.BeginTxnMessageBody{}
	case 'E':
		return &messagespb.CommitTxnMessageHeader{}, &messagespb.CommitTxnMessageBody{}
	case 'R':
		return &messagespb.RollbackTxnMessageHeader{}, &messagespb.RollbackTxnMessageBody{}
	}
	return &messagespb.TimeTickMessageHeader{}, &msgpb.TimeTickMsg{Base: &commonpb.MsgBase{}}
}

func keysOut(t testing.TB, src source.Source, o salvage.Options) (string, *salvage.Report, error) {
	var out bytes.Buffer
	r, err := salvage.Run(context.Background(), src, salvage.NewNDJSON(&out), o)
	if err != nil {
		return "", r, err
	}
	balanced(t, r)
	var keys []string
	for raw := range strings.Lines(out.String()) {
		var l line
		require.NoError(t, json.Unmarshal([]byte(raw), &l))
		k := string(l.Row["pk"])
		if l.Replaces {
			k += " replaces"
		}
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return strings.Join(keys, " "), r, nil
}

// TestWhichRowsLive is the rules, one by one.
func TestWhichRowsLive(t *testing.T) {
	lost := salvage.Options{LostOnly: true}
	for _, c := range []struct {
		name, log string
		o         salvage.Options
		want      string
	}{
		{"a delete takes older rows only", "C1;I3 1,2;D5 1;I7 1;T9", salvage.Options{}, "1 2"},
		{"not those of its own TimeTick", "C1;I3 1;B4 @4;D5 1@4;I6 1@4;E7 @4;T9", salvage.Options{}, "1"},
		{"a transaction's rows are as old as its commit", "C1;B2 @2;I3 1@2;D5 1;E7 @2;T9", salvage.Options{}, "1"},
		{"and its deletes too", "C1;B2 @2;D3 1@2;I5 1;E7 @2;T9", salvage.Options{}, ""},
		{"rolled back", "C1;B2 @2;I3 1@2;R5 @2;I6 2;T9", salvage.Options{}, "2"},
		{"never ended", "C1;B2 @2;I3 1@2;I6 2;T9", salvage.Options{}, "2"},
		{"not confirmed", "C1;I3 1;T5;I7 2", salvage.Options{}, "1"},
		{"not confirmed, asked for", "C1;I3 1;T5;I7 2", salvage.Options{Tail: true}, "1 2"},
		{"dropped", "C1;I3 1;X5;I7 2;T9", salvage.Options{}, "2"},
		{"dropped, asked for", "C1;I3 1;X5;T9", salvage.Options{IncludeDropped: true}, "1"},
		{"partition dropped", "C1;I3 1;P5;T9", salvage.Options{}, ""},
		{"truncated", "C1;I3 1;U5;I7 2;T9", salvage.Options{}, "2"},
		{"a retried append is one row", "C1;I3 1;I3 1;T9", salvage.Options{}, "1"},
		{"across its TimeTick", "C1;I3 1;T3;I3 1;T9", salvage.Options{}, "1"},
		{"in a transaction", "C1;B2 @2;I3 1@2;I3 1@2;E5 @2;T9", salvage.Options{}, "1"},
		{"two rows of a key are two", "C1;I3 1;I4 1;T9", salvage.Options{}, "1 1"},
		{"until", "C1;I3 1;T4;D5 1;I6 2;T9", salvage.Options{UntilTimeTick: 4}, "1"},
		{"another collection", "C1;I3 1;T9", salvage.Options{Collections: []string{"8"}}, ""},
		{"by name", "C1;I3 1;T9", salvage.Options{Collections: []string{"case"}}, "1"},
		{"another segment", "C1;I3 1;T9", salvage.Options{Segments: []int64{8}}, ""},

		{"stale", "C1;I3 1;T9;I5 2;T11", lost, "2"},
		{"stale, deleted later", "C1;T9;I5 2;D10 2;T11", lost, ""},
		{"stale, its delete too", "C1;T9;I5 2,3;D6 2;T11", lost, "3"},
		{"stale, inserted again later", "C1;T9;I5 2;I10 2;T11", lost, ""},
		{"stale twice, the newer counts", "C1;T9;I5 2;I6 2;T11", lost, "2"},
		{"stale, but the retry of what was delivered", "C1;I5 2;T9;I5 2;T11", lost, ""},
		{"stale, an older row of the key lives", "C1;I3 2;T9;I5 2;T11", lost, "2 replaces"},
		{"stale, an older row of the key was deleted", "C1;I3 2;D4 2;T9;I5 2;T11", lost, "2"},
		{"stale part of a committed transaction", "C1;B2 @2;I3 1@2;T4;I3 7@2;E5 @2;T9", lost, "7"},
		{"stale transaction, committed", "C1;T9;B2 @2;I3 1@2;E5 @2;T11", lost, "1"},
		{"stale transaction, rolled back", "C1;T9;B2 @2;I3 1@2;R5 @2;T11", lost, ""},
		{"stale transaction, never ended", "C1;T9;B2 @2;I3 1@2;T11", lost, ""},
		{"only its commit is stale", "C1;B2 @2;I3 1@2;T9;E5 @2;T11", lost, "1"},
		{"only its begin is stale", "C1;T5;B2 @2;I6 1@2;E7 @2;T11", lost, "1"},
		{"stale, the collection dropped later", "C1;T9;I5 2;X10;T11", lost, ""},
		{"nothing lost", "C1;I3 1;T9", lost, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := keysOut(t, caseLog(t, c.log), c.o)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestLogsWithoutASchema(t *testing.T) {
	const log = "I3 1,2;D4 1;T9"
	got, r, err := keysOut(t, caseLog(t, log), salvage.Options{})
	require.NoError(t, err)
	require.Empty(t, got)
	require.EqualValues(t, 2, r.NotOut[salvage.NoSchema])
	require.Equal(t, "Insert", r.Failures[0].Type)
	require.True(t, r.Incomplete())
	require.False(t, r.Corrupt())

	got, _, err = keysOut(t, caseLog(t, log), salvage.Options{Schemas: []salvage.KnownSchema{{Collection: caseCollection, Schema: caseSchema()}}})
	require.NoError(t, err)
	require.Equal(t, "2", got)

	got, _, err = keysOut(t, caseLog(t, "T5;C1;"+log), salvage.Options{}) // the schema lies in a message readers drop
	require.NoError(t, err)
	require.Equal(t, "", got, "all stale")
	got, _, err = keysOut(t, caseLog(t, "T2;C1;"+log), salvage.Options{})
	require.NoError(t, err)
	require.Equal(t, "2", got)
}

func TestUnknownCollection(t *testing.T) {
	_, _, err := keysOut(t, caseLog(t, "C1;T9"), salvage.Options{Collections: []string{"orders"}})
	require.ErrorIs(t, err, salvage.ErrNoCollection)
	require.ErrorContains(t, err, `["case"]`)
}

func TestMemoryIsBounded(t *testing.T) {
	_, _, err := keysOut(t, caseLog(t, "C1;D3 1,2,3,4,5,6,7,8;T9"), salvage.Options{Memory: 100})
	require.ErrorIs(t, err, salvage.ErrMemory)
	_, _, err = keysOut(t, caseLog(t, "C1;T9;I3 1;T10"), salvage.Options{Memory: 100, LostOnly: true})
	require.ErrorIs(t, err, salvage.ErrMemory)
}

type failingSink struct{ after int }

var errDiskFull = errors.New("disk full")

func (f *failingSink) Prepare(*salvage.Rows) (salvage.Chunk, error) { return f, nil }
func (f *failingSink) Write() error {
	if f.after--; f.after < 0 {
		return errDiskFull
	}
	return nil
}

func TestSinkThatFails(t *testing.T) {
	src := walgen.NewSource(walgen.Config{Seed: 2, Messages: 3000})
	_, err := salvage.Run(t.Context(), src, &failingSink{after: 5}, salvage.Options{})
	require.ErrorIs(t, err, errDiskFull)
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	src := walgen.NewSource(walgen.Config{Seed: 2, Messages: 5_000_000, Cheap: true})
	_, err := salvage.Run(ctx, src, salvage.NewNDJSON(new(bytes.Buffer)), salvage.Options{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
