package rows_test

import (
	"encoding/json"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// FuzzDecode: whatever schema and payload say, decoding ends in an error or in
// rows that are JSON. It never panics.
func FuzzDecode(f *testing.F) {
	g := walgen.New(walgen.Config{Seed: 3, Messages: 400, Collections: 4, RowsPerInsert: 3})
	schemas := map[int64][]byte{}
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		switch m.Type {
		case message.TypeCreateCollection:
			if s, err := m.Schema(); err == nil {
				schemas[m.Collection], _ = proto.Marshal(s)
			}
		case message.TypeInsert:
			if s := schemas[m.Collection]; s != nil && len(m.Payload) < 4096 {
				f.Add(s, m.Payload, m.Rows)
			}
		}
	}
	f.Fuzz(func(t *testing.T, schema, payload []byte, n uint64) {
		s := &schemapb.CollectionSchema{}
		if proto.Unmarshal(schema, s) != nil {
			return
		}
		ready, err := rows.NewSchema(s)
		if err != nil {
			require.ErrorIs(t, err, rows.ErrSchema)
			return
		}
		b, err := rows.Decode(payload, ready, n)
		if err != nil {
			require.ErrorIs(t, err, rows.ErrPayload)
			return
		}
		for i := range b.N {
			line := b.AppendJSON(nil, i)
			if !json.Valid(line) {
				t.Fatalf("row %d is no JSON: %s", i, line)
			}
		}
	})
}
