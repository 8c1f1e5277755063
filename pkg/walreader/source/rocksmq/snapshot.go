package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
)

// snapshot is what a directory holds, found by reading its log files once and the
// frames of its tables.
type snapshot struct {
	*listing
	topics    map[string]*topic
	deletions []rocksdb.Entry
	cover     cover
	holes     []*hole
	wrecks    []wreck
	foreign   int    // rows that are no messages, of those looked at
	strange   []byte // the key of one
	torn      *file  // the newest log stops in the middle of a record
	refs      atomic.Int32
}

// topic is one log of the directory.
type topic struct {
	name string
	logs []*logSpan
	gaps []gap
}

// logSpan is what a log file holds of a topic.
type logSpan struct {
	file        *file
	first, last int64
	unordered   bool   // its ids do not rise
	marks       []mark // where to begin
}

// mark is a place in a log file: a record that holds a topic's message.
type mark struct{ id, offset int64 }

// markEvery is how many bytes lie between two marks.
const markEvery = 256 << 10

// wreck is a table that is not there, or of which nothing can be read, or not its end.
type wreck struct {
	name     string
	from, to []byte // keys, to included; nil = not known
	open     bool   // from itself is not missing
	cause    error
}

// release closes the files once nobody reads them.
func (s *snapshot) release() {
	if s.refs.Add(-1) == 0 {
		s.close()
	}
}

// acquire keeps the files open; false where they are closed already.
func (s *snapshot) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// scan looks at a directory. The caller holds the only reference.
func scan(ctx context.Context, dir string) (*snapshot, error) {
	l, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	s := &snapshot{listing: l, topics: make(map[string]*topic)}
	s.refs.Store(1)
	logs := logScan{s: s, last: make(map[string]int64), filled: make(map[string]int)}
	for _, f := range l.files {
		if f.log {
			err = logs.file(ctx, f)
		} else {
			err = s.table(ctx, f)
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	for _, live := range l.missing {
		s.wrecks = append(s.wrecks, wreck{name: fmt.Sprintf("%06d.sst", live.Number), from: live.Smallest, to: live.Largest,
			cause: errors.New("the table is missing, though the manifest names it")})
	}
	for _, w := range s.wrecks {
		for _, key := range [][]byte{w.from, w.to} { // a topic may have been nowhere else
			if name, _, ok := splitKey(key); ok {
				s.topic(name)
			}
		}
	}
	logs.finish()
	s.cover = newCover(s.deletions)
	s.attribute()
	return s, nil
}

// topic returns a topic's place, made where there is none yet.
func (s *snapshot) topic(name []byte) *topic {
	t, ok := s.topics[string(name)]
	if !ok {
		t = &topic{name: string(name)}
		s.topics[t.name] = t
	}
	return t
}

// names lists the topics, sorted.
func (s *snapshot) names() []string { return slices.Sorted(maps.Keys(s.topics)) }

// maxForeign is how many rows of something else are looked at before the directory
// is taken for another's.
const maxForeign = 4096

// table finds which topics a table holds.
func (s *snapshot) table(ctx context.Context, f *file) error {
	t, err := rocksdb.OpenTable(f.name, f.in, f.size)
	if err != nil {
		w := wreck{name: f.name, cause: err}
		if live, ok := s.manifest.Files[f.number]; ok {
			w.from, w.to = live.Smallest, live.Largest
		}
		f.frame = err
		s.wrecks = append(s.wrecks, w)
		return nil
	}
	defer t.Close()
	f.topics = make(map[string]span)
	if d := t.Damage(); len(d) > 0 {
		f.frame = d[0]
	}
	if family := t.Family(); family != "" && family != "default" {
		return nil
	}
	s.deletions = append(s.deletions, t.Deletions()...)
	if t.Cut() {
		w := wreck{name: f.name, cause: f.frame, open: true}
		if last, ok := t.LastBefore(nil); ok {
			w.from, w.to = last.Key, s.manifest.Files[f.number].Largest
		}
		s.wrecks = append(s.wrecks, w)
	}
	it := t.Iter(nil)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := it.Next()
		var d *rocksdb.Damage
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &d):
			if name, id, ok := splitKey(it.Bound()); ok {
				s.spans(f, name, span{first: 0, last: id})
			}
			continue
		case err != nil:
			return err
		}
		name, id, ok := splitKey(e.Key)
		if !ok {
			if s.other(e.Key); s.foreign > maxForeign {
				return nil
			}
			continue
		}
		sp := span{first: id, last: id}
		if last, ok := t.LastBefore(endOf(string(name))); ok {
			if _, id, ok := splitKey(last.Key); ok {
				sp.last = id
			}
		}
		s.spans(f, name, sp)
		it = t.Iter(endOf(string(name)))
	}
}

func (s *snapshot) other(key []byte) {
	if s.foreign++; s.strange == nil {
		s.strange = slices.Clone(key)
	}
}

func (s *snapshot) spans(f *file, name []byte, sp span) {
	s.topic(name)
	if old, ok := f.topics[string(name)]; ok {
		sp = span{first: min(old.first, sp.first), last: max(old.last, sp.last)}
	}
	f.topics[string(name)] = sp
}

// end is an id after every other.
const end = math.MaxInt64
