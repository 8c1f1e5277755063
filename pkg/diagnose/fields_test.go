package diagnose

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func schemaWith(ids ...int64) *schemapb.CollectionSchema {
	s := &schemapb.CollectionSchema{Name: "c"}
	for _, id := range ids {
		s.Fields = append(s.Fields, &schemapb.FieldSchema{FieldID: id, Name: fmt.Sprint("f", id)})
	}
	return s
}

// Where the log has no schema yet the catalog's is asked: the vchannel's own of that
// time, or RootCoord's, as long as the log does not change it afterwards.
func TestFieldWatchAsksTheCatalog(t *testing.T) {
	const v = "by-dev-rootcoord-dml_0_7v0"
	insert := func(tick uint64, ids ...int64) *message.Message {
		r := &msgpb.InsertRequest{}
		for _, id := range ids {
			r.FieldsData = append(r.FieldsData, &schemapb.FieldData{FieldId: id, FieldName: fmt.Sprint("f", id)})
		}
		b, err := proto.Marshal(r)
		require.NoError(t, err)
		return &message.Message{Type: message.TypeInsert, Version: 1, VChannel: v, TimeTick: tick, ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(tick)}, Rows: 1, Payload: b}
	}
	alter := func(tick uint64, ids ...int64) *message.Message {
		h, err := proto.Marshal(&messagespb.AlterCollectionMessageHeader{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schema"}}})
		require.NoError(t, err)
		b, err := proto.Marshal(&messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Schema: schemaWith(ids...)}})
		require.NoError(t, err)
		return &message.Message{Type: message.TypeAlterCollection, Version: 2, VChannel: v, TimeTick: tick, ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(tick)}, Payload: b,
			Props: message.Properties{{Key: message.KeyHeader, Value: base64.StdEncoding.EncodeToString(h)}}}
	}
	own := []catalog.KnownSchema{{TimeTick: 10, Schema: schemaWith(100, 101, 102)}, {TimeTick: 20, Schema: schemaWith(100, 101)}}
	newest := []catalog.KnownSchema{{Schema: schemaWith(100, 101)}}
	for name, c := range map[string]struct {
		known     []catalog.KnownSchema
		rootcoord bool
		log       []*message.Message
		want      string // what the only finding says
		unread    int64
		drops     bool // a definition may have dropped a field
	}{
		"no schema anywhere":            {log: []*message.Message{insert(15, 100)}, unread: 1},
		"in force at the time":          {known: own, log: []*message.Message{insert(15, 100, 101, 102)}},
		"dropped by then":               {known: own, log: []*message.Message{insert(25, 100, 101, 102)}, want: `field 102 "f102", which the vchannel's schema in the catalog does not have`},
		"before the first one kept":     {known: own, log: []*message.Message{insert(5, 100, 999)}, unread: 1},
		"RootCoord lacks it":            {known: newest, rootcoord: true, log: []*message.Message{insert(5, 102)}, want: `field 102 "f102", which RootCoord's schema does not have`},
		"the log drops it later":        {known: newest, rootcoord: true, log: []*message.Message{insert(5, 102), alter(6, 100, 101)}, unread: 1, drops: true},
		"the log comes before":          {known: own, log: []*message.Message{alter(30, 100, 101, 102), insert(31, 102)}},
		"the log drops what was kept":   {known: own[:1], log: []*message.Message{alter(30, 100, 101), insert(31, 102)}, want: `field 102 "f102", which the schema at 1/30/0 dropped`, drops: true},
		"no schema known before":        {log: []*message.Message{alter(30, 100, 101), insert(31, 101)}, drops: true},
		"the log adds to it":            {known: own[1:], log: []*message.Message{alter(30, 100, 101, 103), insert(31, 103)}},
		"the collection is dropped":     {known: own, log: []*message.Message{{Type: message.TypeDropCollection, VChannel: v}, insert(31, 102)}, unread: 1},
		"system and unknown ids of old": {known: own, log: []*message.Message{insert(25, 0, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewFieldWatch(func(string) ([]catalog.KnownSchema, bool) { return c.known, c.rootcoord })
			for _, m := range c.log {
				w.See(m)
			}
			var got string
			for _, f := range w.Findings(&VerifyOptions{}) {
				got += f.Evidence[0].Value
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.unread, w.unread)
			require.Equal(t, c.drops, w.MayDrop())
			definitions := NewFieldWatch(func(string) ([]catalog.KnownSchema, bool) { return c.known, c.rootcoord })
			for _, batch := range columnsOf(c.log).batches {
				definitions.Definitions(batch)
			}
			require.Equal(t, c.drops, definitions.MayDrop())
			require.Zero(t, definitions.unread+int64(len(definitions.odd)), "no insert is looked at")
		})
	}
}
