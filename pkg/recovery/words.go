package recovery

import (
	"encoding/base64"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Position returns what a field says of a place in a log: the ids before and after,
// each zero where it is not set; ok is false for a field that holds no id, or one
// that cannot be read.
func (d *Difference) Position(f FieldDifference) (old, now message.ID, ok bool) {
	if !strings.HasSuffix(f.Path, ".id") && !strings.HasSuffix(f.Path, "msgID") {
		return old, now, false
	}
	old, fine := positionIn(d.Key, d.Old, f.Path, f.Old)
	if !fine {
		return old, now, false
	}
	now, fine = positionIn(d.Key, d.New, f.Path, f.New)
	return old, now, fine
}

// positionIn reads an id by the WAL that its value names beside it.
func positionIn(key string, value []byte, path, text string) (message.ID, bool) {
	if text == "" {
		return message.ID{}, true
	}
	dir := path[:strings.LastIndexByte(path, '.')+1]
	backend := message.Backend(commonpb.WALName_value[flatten(ValueJSON(key, value))[dir+"WAL_name"]])
	if backend == message.BackendUnknown {
		backend = message.BackendPulsar
	}
	if strings.HasSuffix(path, "msgID") { // bytes, which JSON has as base64
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return message.ID{}, false
		}
		id, _, err := message.ParseBytes(backend, raw)
		return id, err == nil
	}
	id, _, err := message.ParseRaw(backend, text)
	return id, err == nil
}

// IsTick reports whether a field of the value holds a TimeTick.
func (d *Difference) IsTick(f FieldDifference) bool {
	return strings.HasSuffix(f.Path, "time_tick") ||
		f.Path == "timestamp" && catalog.ParseKey(d.Key).Kind == catalog.KeyChannelCheckpoint
}
