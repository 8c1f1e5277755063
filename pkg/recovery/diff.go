package recovery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"sort"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// Change says what happened to a key.
type Change string

// The changes.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// Difference is one key that two catalogs do not agree on.
type Difference struct {
	Key    string            `json:"key"` // relative to the metadata root
	Change Change            `json:"change"`
	Fields []FieldDifference `json:"fields,omitempty"` // of a changed value that can be decoded
	Old    []byte            `json:"old,omitempty"`
	New    []byte            `json:"new,omitempty"`
}

// FieldDifference is one field of a value, by its path in proto field names.
type FieldDifference struct {
	Path string `json:"path"`
	Old  string `json:"old"` // "" = not set
	New  string `json:"new"`
}

// Diff compares two sets of catalog keys, in key order.
func Diff(before, after map[string][]byte) []Difference {
	out := []Difference{}
	for _, key := range sortedKeys(before) {
		now, still := after[key]
		switch old := before[key]; {
		case !still:
			out = append(out, Difference{Key: key, Change: Removed, Old: old})
		case !bytes.Equal(old, now):
			out = append(out, Difference{Key: key, Change: Changed, Old: old, New: now, Fields: diffFields(key, old, now)})
		}
	}
	for _, key := range sortedKeys(after) {
		if _, had := before[key]; !had {
			out = append(out, Difference{Key: key, Change: Added, New: after[key]})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// valueOf returns an empty value of the type a key holds, nil where walctl has none.
func valueOf(key string) proto.Message {
	switch catalog.ParseKey(key).Kind {
	case catalog.KeyCheckpoint:
		return &streamingpb.WALCheckpoint{}
	case catalog.KeySalvage:
		return &commonpb.ReplicateCheckpoint{}
	case catalog.KeyVChannel:
		return &streamingpb.VChannelMeta{}
	case catalog.KeySchema:
		return &streamingpb.CollectionSchemaOfVChannel{}
	case catalog.KeySegment:
		return &streamingpb.SegmentAssignmentMeta{}
	case catalog.KeyPChannel:
		return &streamingpb.PChannelMeta{}
	case catalog.KeyBroadcast:
		return &streamingpb.BroadcastTask{}
	case catalog.KeyReplicateConfiguration:
		return &streamingpb.ReplicateConfigurationMeta{}
	case catalog.KeyReplicatingPChannel:
		return &streamingpb.ReplicatePChannelMeta{}
	case catalog.KeyChannelCheckpoint:
		return &msgpb.MsgPosition{}
	}
	return nil
}

// ValueJSON renders a key's value in proto3 JSON with proto field names; bytes
// of no known type, or that do not decode, as base64 text.
func ValueJSON(key string, value []byte) json.RawMessage {
	if m := valueOf(key); m != nil && len(value) <= catalog.MaxValueSize && proto.Unmarshal(value, m) == nil {
		if b, err := protoJSON(m); err == nil {
			return b
		}
	}
	b, _ := json.Marshal(base64.StdEncoding.EncodeToString(value))
	return b
}

func diffFields(key string, old, now []byte) []FieldDifference {
	if valueOf(key) == nil {
		return nil
	}
	a, b := flatten(ValueJSON(key, old)), flatten(ValueJSON(key, now))
	paths := maps.Clone(a)
	maps.Copy(paths, b)
	var out []FieldDifference
	for _, p := range sortedKeys(paths) {
		if a[p] != b[p] {
			out = append(out, FieldDifference{Path: p, Old: a[p], New: b[p]})
		}
	}
	return out
}

// flatten maps each leaf of a JSON value by its path: stat.modified_rows,
// collection_info.partitions[2].partition_id.
func flatten(b json.RawMessage) map[string]string {
	out := make(map[string]string)
	var x any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&x) == nil {
		flattenInto(out, "", x)
	}
	return out
}

func flattenInto(out map[string]string, path string, x any) {
	switch x := x.(type) {
	case map[string]any:
		for k, v := range x {
			next := k
			if path != "" {
				next = path + "." + k
			}
			flattenInto(out, next, v)
		}
	case []any:
		for i, v := range x {
			flattenInto(out, path+"["+strconv.Itoa(i)+"]", v)
		}
	case string:
		out[path] = x
	case json.Number:
		out[path] = x.String()
	case bool:
		out[path] = strconv.FormatBool(x)
	}
}
