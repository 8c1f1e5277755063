package woodpecker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// metadataFile is a copy of Woodpecker's keys in etcd beside its files.
const metadataFile = "etcd.json"

// maxMetadata caps it.
const maxMetadata = 64 << 20

// The states of a segment in etcd (wire format).
const (
	stateActive    = 0
	stateTruncated = 4
)

// metadata is what Woodpecker's keys in etcd say, as far as a copy of them lies beside
// the files; nil where there is none.
type metadata struct {
	file string
	logs map[string]*logMeta // by number
}

// logMeta is what is said of a log.
type logMeta struct {
	name     string
	cutSeg   int64 // truncated up to and with this entry; −1 = not at all
	cutEntry int64
	segments map[int64]segmentMeta
}

// segmentMeta is what is said of a segment.
type segmentMeta struct {
	state int64
	last  int64 // the last entry; −1 = not told
}

// nameOf is a log's name; "" where nothing tells.
func (m *metadata) nameOf(id string) string {
	if l := m.log(id); l != nil {
		return l.name
	}
	return ""
}

func (m *metadata) log(id string) *logMeta {
	if m == nil {
		return nil
	}
	return m.logs[id]
}

// truncated reports whether Woodpecker has given an entry up.
func (m *metadata) truncated(id string, segment, entry int64) bool {
	l := m.log(id)
	if l == nil {
		return false
	}
	return l.segments[segment].state == stateTruncated || segment < l.cutSeg || segment == l.cutSeg && entry <= l.cutEntry
}

// readMetadata reads the copy that lies in a directory or in the one it lies in, where
// there is one.
func readMetadata(path string) (*metadata, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil //nolint:nilerr // a path without a place has nothing beside it
	}
	for _, dir := range []string{abs, filepath.Dir(abs)} {
		file := filepath.Join(dir, metadataFile)
		kv, err := readKeys(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory):
			continue
		case err != nil:
			return nil, fmt.Errorf("read Woodpecker's metadata beside its files: %s: %w; move it away if it is something else", file, err)
		}
		return parseMetadata(file, kv), nil
	}
	return nil, nil
}

var errNotDirectory = errors.New("beside a file")

// readKeys reads keys and values: an object of base64 by key, or what etcdctl writes.
func readKeys(file string) (map[string][]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), "not a directory") {
			return nil, errNotDirectory
		}
		return nil, err
	}
	if st.Size() > maxMetadata {
		return nil, errors.New("it is too large for a copy of such keys")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxMetadata))
	if err != nil {
		return nil, err
	}
	var dump struct {
		KVs []struct{ Key, Value []byte } `json:"kvs"`
	}
	out := map[string][]byte{}
	if json.Unmarshal(b, &dump) == nil && dump.KVs != nil {
		for _, kv := range dump.KVs {
			out[string(kv.Key)] = kv.Value
		}
		return out, nil
	}
	var flat map[string]string
	if err := json.Unmarshal(b, &flat); err != nil {
		return nil, errors.New("it holds no keys and values")
	}
	for k, v := range flat {
		if out[k], err = base64.StdEncoding.DecodeString(v); err != nil {
			return nil, fmt.Errorf("the value of %s is not base64", k)
		}
	}
	return out, nil
}

// parseMetadata finds the logs and segments among keys, whatever stands before "logs/".
func parseMetadata(file string, kv map[string][]byte) *metadata {
	m := &metadata{file: file, logs: map[string]*logMeta{}}
	byName := map[string]*logMeta{}
	at := func(name string) *logMeta {
		if byName[name] == nil {
			byName[name] = &logMeta{name: name, cutSeg: -1, cutEntry: -1, segments: map[int64]segmentMeta{}}
		}
		return byName[name]
	}
	for key, value := range kv {
		_, rest, ok := strings.Cut("/"+key, "/logs/")
		if !ok {
			continue
		}
		name, segment, isSegment := strings.Cut(rest, "/segments/")
		if strings.Contains(name, "/") {
			continue
		}
		if !isSegment {
			fields := varints(value)
			l := at(name)
			l.cutSeg, l.cutEntry = fields[8], fields[9]
			if _, ok := fields[9]; !ok && l.cutSeg == 0 {
				l.cutEntry = -1
			}
			m.logs[strconv.FormatInt(fields[1], 10)] = l
			continue
		}
		if n, ok := segmentNumber(segment); ok {
			fields := varints(value)
			last, told := fields[6]
			if !told && fields[4] == stateActive {
				last = -1
			}
			at(name).segments[n] = segmentMeta{state: fields[4], last: last}
		}
	}
	return m
}

// varints reads a protobuf message's numbers.
func varints(b []byte) map[protowire.Number]int64 {
	out := map[protowire.Number]int64{}
	message.Fields(b, func(n protowire.Number, v uint64) { out[n] = int64(v) }, nil)
	return out
}
