package recovery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
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
	for key, old := range before {
		now, still := after[key]
		switch {
		case !still:
			out = append(out, Difference{Key: key, Change: Removed, Old: old})
		case !bytes.Equal(old, now):
			out = append(out, changed(key, old, now))
		}
	}
	for key, now := range after {
		if _, had := before[key]; !had {
			out = append(out, Difference{Key: key, Change: Added, New: now})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// DifferenceOf is what happened to one key; nil = there is none.
func DifferenceOf(key string, before, after []byte) Difference {
	switch {
	case after == nil:
		return Difference{Key: key, Change: Removed, Old: before}
	case before == nil:
		return Difference{Key: key, Change: Added, New: after}
	}
	return changed(key, before, after)
}

func changed(key string, old, now []byte) Difference {
	return Difference{Key: key, Change: Changed, Old: old, New: now, Fields: diffFields(key, old, now)}
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

// ValueJSON renders a key's value in proto3 JSON with proto field names,
// credentials hidden; bytes of no known type, or that do not decode, as base64 text.
func ValueJSON(key string, value []byte) json.RawMessage {
	if catalog.HoldsCredentials(key) {
		return json.RawMessage(strconv.Quote(message.Hidden))
	}
	if m := valueOf(key); m != nil && len(value) <= catalog.MaxValueSize && proto.Unmarshal(value, m) == nil {
		if b, err := message.RedactedJSON(shown(m)); err == nil {
			return b
		}
	}
	b, _ := json.Marshal(base64.StdEncoding.EncodeToString(value))
	return b
}

// WithoutCredentials is a key's value as it may lie in an archive's evidence or be
// printed byte by byte: spelled anew without credentials where it holds one, and
// the bytes themselves where not. nil means that the value is one.
func WithoutCredentials(key string, value []byte) []byte {
	if catalog.HoldsCredentials(key) {
		return nil
	}
	m := valueOf(key)
	if m == nil || len(value) > catalog.MaxValueSize || proto.Unmarshal(value, m) != nil {
		return value
	}
	before := proto.Clone(m)
	m = shown(m)
	message.Redact(m)
	if proto.Equal(before, m) {
		return value
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil
	}
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
	if len(out) == 0 { // they differ in what is not shown, or in their encoding alone
		out = append(out, FieldDifference{Path: "credentials or encoding", Old: message.Hidden, New: message.Hidden})
	}
	return out
}

// shown is a value without what is never shown: a broadcast's message carries a
// header and a body of its own, which may hold users and their passwords.
func shown(m proto.Message) proto.Message {
	task, ok := m.(*streamingpb.BroadcastTask)
	if !ok || task.Message == nil {
		return m
	}
	kind, _ := strconv.ParseUint(task.Message.Properties[message.KeyType], 10, 16)
	of := &message.Message{Type: message.Type(kind)}
	if header, has := task.Message.Properties[message.KeyHeader]; has {
		task.Message.Properties[message.KeyHeader] = of.ShownHeader(header)
	}
	task.Message.Payload = of.ShownBody(task.Message.Payload)
	return task
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
