package bookkeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Keys of a broker's metadata, and what its values begin with (wire format).
const (
	topicsKey      = "/managed-ledgers/"
	ledgersKey     = "/ledgers/"
	valueHeader    = 41
	magicPacked    = 0x4778
	ledgerMetadata = "BookieMetadataFormatVersion\t3\n"
)

// topicInfo is what metadata says of a topic.
type topicInfo struct {
	tenant, namespace, name string
	ledgers                 []ledgerInfo
	ever                    []int64 // ledgers that were its own at any time still known
}

// full is the name that no other topic has.
func (t *topicInfo) full() string { return t.tenant + "/" + t.namespace + "/" + t.name }

// ledgerInfo is what a topic's metadata says of one of its ledgers.
type ledgerInfo struct {
	id        int64
	entries   int64 // 0 = it is the open one, or empty
	offloaded bool  // moved away, and deleted here
}

// catalog is a broker's metadata.
type catalog struct {
	known  bool // there is some
	topics []*topicInfo
	closed map[int64]int64 // ledger → its last entry, of those that were closed
	words  [][]byte        // passwords of ledgers
	dir    string
	bad    []error
}

// value is what a key holds, of all changes the newest.
type value struct {
	seq     uint64
	deleted bool
	data    []byte
}

// readCatalog reads the metadata that lies in some of the directories.
func readCatalog(ctx context.Context, dirs []string) (*catalog, error) {
	c := &catalog{closed: make(map[int64]int64)}
	for _, dir := range dirs {
		s := store{values: make(map[string]value), ever: make(map[string][]int64)}
		if err := s.read(ctx, dir); err != nil {
			return nil, err
		}
		if len(s.values) == 0 {
			continue
		}
		c.known, c.dir = true, dir
		c.bad = append(c.bad, s.bad...)
		for key, v := range s.values {
			c.take(key, v, s.ever[key])
		}
	}
	slices.SortFunc(c.topics, func(a, b *topicInfo) int { return strings.Compare(a.full(), b.full()) })
	return c, nil
}

func (c *catalog) take(key string, v value, ever []int64) {
	if id, ok := ledgerOfKey(key); ok && !v.deleted {
		if last, word, closed := readLedgerMetadata(v.data); closed {
			c.closed[id] = last
			c.password(word)
		} else {
			c.password(word)
		}
		return
	}
	t, ok := topicOfKey(key)
	if !ok {
		return
	}
	if !v.deleted {
		ledgers, err := readTopic(v.data)
		if err != nil {
			c.bad = append(c.bad, fmt.Errorf("what the metadata says of %s: %w", t.full(), err))
			return
		}
		t.ledgers = ledgers
	}
	t.ever = ever
	c.topics = append(c.topics, &t)
}

// maxWords is how many passwords are tried.
const maxWords = 8

func (c *catalog) password(word []byte) {
	if len(word) > 0 && len(c.words) < maxWords && !slices.ContainsFunc(c.words, func(w []byte) bool { return string(w) == string(word) }) {
		c.words = append(c.words, slices.Clone(word))
	}
}

// store is a RocksDB directory's keys that are asked for.
type store struct {
	values map[string]value
	ever   map[string][]int64
	bad    []error
}

func (s *store) read(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read a broker's metadata: %w", err)
	}
	for _, e := range entries {
		if _, ok := rocksNumber(e.Name()); !ok || !e.Type().IsRegular() {
			continue
		}
		if err := s.file(ctx, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) file(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read a broker's metadata: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read a broker's metadata: %w", err)
	}
	if strings.HasSuffix(path, ".sst") {
		return s.table(ctx, path, f, st.Size())
	}
	return s.log(ctx, path, f, st.Size())
}

func (s *store) log(ctx context.Context, path string, in io.ReaderAt, size int64) error {
	number, _ := rocksNumber(filepath.Base(path))
	r := rocksdb.NewLogReader(path, number, in, size, 0)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, _, err := r.Next()
		var d *rocksdb.Damage
		switch {
		case errors.As(err, &d):
			s.bad = append(s.bad, err)
			continue
		case errors.Is(err, io.EOF), errors.Is(err, rocksdb.ErrTorn):
			return nil
		case err != nil:
			return fmt.Errorf("read a broker's metadata: %w", err)
		}
		b, err := rocksdb.ParseBatch(rec)
		if err == nil {
			_, err = b.Each(s.entry)
		}
		if err != nil {
			s.bad = append(s.bad, fmt.Errorf("%s: %w", path, err))
		}
	}
}

func (s *store) table(ctx context.Context, path string, in io.ReaderAt, size int64) error {
	t, err := rocksdb.OpenTable(path, in, size)
	if err != nil {
		s.bad = append(s.bad, err)
		return nil
	}
	defer t.Close()
	it := t.Iter(nil)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := it.Next()
		var d *rocksdb.Damage
		switch {
		case errors.As(err, &d):
			s.bad = append(s.bad, err)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a broker's metadata: %w", err)
		default:
			s.entry(e)
		}
	}
}

// entry takes a change of a key that is asked for.
func (s *store) entry(e rocksdb.Entry) {
	key := string(e.Key)
	if !strings.HasPrefix(key, topicsKey) && !strings.HasPrefix(key, ledgersKey) || e.Kind == rocksdb.KindRangeDelete || e.Kind == rocksdb.KindMerge {
		return
	}
	v := value{seq: e.Seq, deleted: e.Kind != rocksdb.KindPut}
	if !v.deleted {
		if len(e.Value) < valueHeader {
			return
		}
		v.data = slices.Clone(e.Value[valueHeader:])
	}
	if _, topic := topicOfKey(key); topic && !v.deleted {
		if ledgers, err := readTopic(v.data); err == nil {
			for _, l := range ledgers {
				if !slices.Contains(s.ever[key], l.id) {
					s.ever[key] = append(s.ever[key], l.id)
				}
			}
		}
	}
	if old, ok := s.values[key]; !ok || old.seq <= v.seq {
		s.values[key] = v
	}
}

// topicOfKey tells a topic by its key.
func topicOfKey(key string) (topicInfo, bool) {
	rest, ok := strings.CutPrefix(key, topicsKey)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 || parts[2] != "persistent" {
		return topicInfo{}, false
	}
	name, err := url.QueryUnescape(parts[3])
	if err != nil {
		name = parts[3]
	}
	return topicInfo{tenant: parts[0], namespace: parts[1], name: name}, true
}

// ledgerOfKey tells a ledger by its key: /ledgers/00/0000/L0012, or with five levels.
func ledgerOfKey(key string) (int64, bool) {
	rest, ok := strings.CutPrefix(key, ledgersKey)
	head, tail, found := strings.Cut(rest, "/L")
	if !ok || !found {
		return 0, false
	}
	id, err := strconv.ParseInt(strings.ReplaceAll(head, "/", "")+tail, 10, 64)
	return id, err == nil
}

var errTopic = errors.New("not the metadata of a topic")

// readTopic reads a ManagedLedgerInfo, packed or not.
func readTopic(b []byte) ([]ledgerInfo, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b) == magicPacked {
		var err error
		if b, err = unpackInfo(b[2:]); err != nil {
			return nil, err
		}
	}
	var out []ledgerInfo
	ok := message.Fields(b, nil, func(n protowire.Number, v []byte) bool {
		if n != 1 {
			return true
		}
		l := ledgerInfo{id: -1}
		good := message.Fields(v, func(n protowire.Number, x uint64) {
			switch n {
			case 1:
				l.id = int64(x)
			case 2:
				l.entries = int64(x)
			}
		}, func(n protowire.Number, v []byte) bool {
			var complete, deleted bool
			if n == 5 {
				_ = message.Fields(v, func(n protowire.Number, x uint64) { // what is broken says nothing
					complete = complete || n == 3 && x != 0
					deleted = deleted || n == 4 && x != 0
				}, nil)
			}
			l.offloaded = l.offloaded || complete && deleted
			return true
		})
		out = append(out, l)
		return good && l.id >= 0
	})
	if !ok {
		return nil, errTopic
	}
	return out, nil
}

func unpackInfo(b []byte) ([]byte, error) {
	n := int64(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > int64(len(b)) {
		return nil, errTopic
	}
	var m metadata
	if !message.Fields(b[:n], func(n protowire.Number, x uint64) {
		switch n {
		case 1:
			m.compression = x
		case 2:
			m.uncompressed = x
		}
	}, nil) {
		return nil, errTopic
	}
	var un unpacker
	defer un.close()
	return un.body(m, b[n:])
}

// readLedgerMetadata tells whether a ledger is closed, its last entry and its password.
func readLedgerMetadata(b []byte) (last int64, word []byte, closed bool) {
	rest, ok := strings.CutPrefix(string(b), ledgerMetadata)
	if !ok {
		return 0, nil, false
	}
	n, k := protowire.ConsumeVarint([]byte(rest))
	if k < 0 || n > uint64(len(rest)-k) {
		return 0, nil, false
	}
	const stateClosed = 3
	last = -1
	if !message.Fields([]byte(rest[k:][:n]), func(n protowire.Number, x uint64) {
		switch n {
		case 4:
			last = int64(x)
		case 5:
			closed = x == stateClosed
		}
	}, func(n protowire.Number, v []byte) bool {
		if n == 8 {
			word = slices.Clone(v)
		}
		return true
	}) {
		return 0, nil, false
	}
	return last, word, closed
}
