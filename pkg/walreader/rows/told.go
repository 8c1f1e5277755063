package rows

import (
	"encoding/json"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
)

// Told returns the rows of an Insert's payload as JSON objects, by the names that the
// payload itself gives its fields: no schema is asked. rows is what the message's
// header counts, 0 where it says nothing. Errors wrap ErrPayload: row-based payloads
// of old writers name no fields.
func Told(payload []byte, rows uint64) ([]json.RawMessage, error) {
	b, err := Decode(payload, &Schema{}, rows)
	if err != nil {
		return nil, err
	}
	out := make([]json.RawMessage, b.N)
	for i := range out {
		out[i] = b.AppendJSON(nil, i)
	}
	return out, nil
}

// DeletedKeys returns the primary keys that a Delete names, of integers or of text.
// It names none where it deletes by an expression.
func DeletedKeys(b *msgpb.DeleteRequest) (ints []int64, texts []string) {
	keys := b.GetPrimaryKeys()
	return slices.Concat(b.GetInt64PrimaryKeys(), keys.GetIntId().GetData()), keys.GetStrId().GetData()
}
