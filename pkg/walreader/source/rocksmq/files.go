package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// dataDir is what Milvus calls the directory of the messages.
const dataDir = "rdb_data"

// file is one log file or table, open. Its size is what it was when it was opened.
type file struct {
	name   string
	number uint64
	log    bool
	size   int64
	fresh  bool // it changed a moment ago
	in     *os.File
	topics map[string]span // of a table
	frame  error           // of a table: what of its frame cannot be read
	count  sync.Once
	lost   lostRows // of a table; counted when first asked for
}

// span is what a table holds of a topic; first may be too small, last too large.
type span struct{ first, last int64 }

// lostRows is how many rows of a table cannot be read, −1 = not known, in how
// many blocks.
type lostRows struct {
	rows   int64
	blocks int
}

// counted reads a table once to count what of it cannot be read.
func (f *file) counted() {
	f.count.Do(func() {
		f.lost.rows = -1
		t, err := rocksdb.OpenTable(f.name, f.in, f.size) // of its own: rows being read stay valid
		if err != nil {
			return
		}
		defer t.Close()
		n, bad := t.Rows()
		entries, ok := t.Number("rocksdb.num.entries")
		ranges, _ := t.Number("rocksdb.num.range-deletions")
		if f.lost.blocks = bad; ok && entries >= ranges+n {
			f.lost.rows = int64(entries - ranges - n)
		}
	})
}

// listing is a directory's files at one moment, open.
type listing struct {
	dir      string
	files    []*file // by number
	current  string  // what CURRENT names; "" = it is missing or says nothing
	manifest rocksdb.Manifest
	bad      []error // why the manifest is not to be relied on; nil = it is
	missing  []rocksdb.LiveFile
	fresh    bool // some file changed a moment ago: its owner may be running
}

func (l *listing) close() {
	for _, f := range l.files {
		_ = f.in.Close() // only read
	}
}

// trusted reports whether the manifest tells which files count.
func (l *listing) trusted() bool { return len(l.bad) == 0 }

// place finds the directory that is meant: itself, or the rdb_data in it.
func place(dir string) (string, error) {
	ok, err := holdsFiles(dir)
	if err != nil || ok {
		return dir, err
	}
	inner := filepath.Join(dir, dataDir)
	if ok, err := holdsFiles(inner); err == nil && ok {
		return inner, nil
	}
	return "", fmt.Errorf("%w: %s holds no RocksDB files: name the directory rdb_data, or the one it lies in", source.ErrNotFound, dir)
}

// holdsFiles reports whether a directory holds a log file or table by its name.
func holdsFiles(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%w: %s does not exist", source.ErrNotFound, dir)
	}
	if err != nil {
		return false, fmt.Errorf("look at a RocksMQ directory: %w", err)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, _, ok := numbered(e.Name())
		return ok
	}), nil
}

// numbered tells a log file's or table's number by its name.
func numbered(name string) (number uint64, log, ok bool) {
	stem, ext, _ := strings.Cut(name, ".")
	if ext != "log" && ext != "sst" && ext != "ldb" || len(stem) < 6 {
		return 0, false, false
	}
	number, err := strconv.ParseUint(stem, 10, 63)
	return number, ext == "log", err == nil
}

// Between two looks at a directory whose files do not fit each other: its owner may
// have just replaced some.
const (
	looks    = 4
	lookWait = 30 * time.Millisecond
	// freshness is how long after its last change a file may be in the middle of one.
	freshness = 10 * time.Second
)

// list opens a directory's files. Where a table that counts is missing it looks
// again, since a running owner replaces tables.
func list(ctx context.Context, dir string) (*listing, error) {
	for n := 1; ; n++ {
		l, err := look(dir)
		gone := errors.Is(err, fs.ErrNotExist)
		switch {
		case err != nil && (!gone || n == looks):
			return nil, fmt.Errorf("read a RocksMQ directory: %w", err)
		case err == nil && (l.settled() || n == looks):
			return l, nil
		case err == nil:
			l.close()
		}
		t := time.NewTimer(lookWait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// settled reports whether another look could not find anything else: CURRENT is
// never missing for a moment, since it is replaced by renaming.
func (l *listing) settled() bool {
	return len(l.missing) == 0 && (l.trusted() || errors.Is(l.bad[0], errNoCurrent)) || !l.fresh
}

func look(dir string) (*listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	l := &listing{dir: dir}
	for _, e := range entries {
		number, log, ok := numbered(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		f := &file{name: e.Name(), number: number, log: log}
		if f.in, err = os.Open(filepath.Join(dir, e.Name())); err != nil {
			l.close()
			return nil, err
		}
		l.files = append(l.files, f)
		st, err := f.in.Stat()
		if err != nil {
			l.close()
			return nil, err
		}
		f.size, f.fresh = st.Size(), time.Since(st.ModTime()) < freshness
		l.fresh = l.fresh || f.fresh
	}
	slices.SortFunc(l.files, func(a, b *file) int {
		return strings.Compare(fmt.Sprintf("%020d%v", a.number, a.log), fmt.Sprintf("%020d%v", b.number, b.log))
	})
	l.readManifest()
	return l, nil
}

var errNoCurrent = errors.New("CURRENT is missing")

// readManifest finds which tables count, by what CURRENT names. Behind it lie the
// files opened already, so that a table it names was there a moment ago.
func (l *listing) readManifest() {
	b, err := os.ReadFile(filepath.Join(l.dir, "CURRENT"))
	name, ok := rocksdb.CurrentName(b)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.bad = append(l.bad, errNoCurrent)
		return
	case err != nil:
		l.bad = append(l.bad, fmt.Errorf("CURRENT cannot be read: %w", err))
		return
	case !ok:
		l.bad = append(l.bad, errors.New("CURRENT names no manifest"))
		return
	}
	l.current = name
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		l.bad = append(l.bad, fmt.Errorf("%s, which CURRENT names, is missing", name))
		return
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil {
		l.bad = append(l.bad, fmt.Errorf("%s cannot be read: %w", name, err))
		return
	}
	l.manifest = rocksdb.ReadManifest(name, f, st.Size())
	if l.bad = l.manifest.Damage; l.bad != nil {
		return
	}
	for _, live := range l.manifest.Files {
		if !slices.ContainsFunc(l.files, func(f *file) bool { return !f.log && f.number == live.Number }) {
			l.missing = append(l.missing, live)
		}
	}
	slices.SortFunc(l.missing, func(a, b rocksdb.LiveFile) int { return strings.Compare(string(a.Smallest), string(b.Smallest)) })
}
