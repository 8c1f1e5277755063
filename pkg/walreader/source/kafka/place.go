package kafka

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/dirs"
)

// The names of Kafka's files.
const (
	logSuffix     = ".log"
	deletedSuffix = ".deleted"
	cleanFile     = ".kafka_cleanshutdown"
	propsFile     = "meta.properties"
	startFile     = "log-start-offset-checkpoint"
	recoveryFile  = "recovery-point-offset-checkpoint"

	nameDigits = 20
)

// segment is one file of a partition.
type segment struct {
	dir, name string
	base      int64 // the offset it is named after
	named     bool
	size      int64
	changed   time.Time
}

// place is where a partition lies.
type place struct {
	id    string // the directory, as it tells it from the others
	topic string // "" = the directory does not tell
	part  int
	dir   string
	file  string // the one file that is meant, in dir
	gone  bool   // Kafka has given it up
	twin  bool   // another of the same name lies there too
}

// otherError says what a place looks like that holds no segment.
type otherError struct{ reason string }

func (e *otherError) Error() string { return e.reason }

// Is makes it source.ErrNoLogs for the door.
func (e *otherError) Is(target error) bool { return target == source.ErrNoLogs }

// maxDepth is how far partitions are looked for, the directory that is named included.
const maxDepth = 3

// find lists the partitions that lie in a directory or up to two levels below, or the one
// a file is of.
func find(ctx context.Context, path string) ([]place, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist", source.ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("look at Kafka's files: %w", err)
	}
	if !st.IsDir() {
		p := partition(filepath.Dir(path))
		p.file = filepath.Base(path)
		return []place{p}, nil
	}
	if holdsSegment(path) {
		return []place{partition(path)}, nil
	}
	var out []place
	err = dirs.Below(ctx, path, maxDepth, func(dir string) (next []string) {
		for _, sub := range children(dir) {
			if !holdsSegment(sub) {
				next = append(next, sub)
			} else if p := partition(sub); !strings.HasPrefix(p.topic, "__") {
				out = append(out, p)
			}
		}
		return next
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, &otherError{"holds no segment of a Kafka topic: name a partition's directory (TOPIC-0, with 00000000000000000000.log in it) or the broker's log.dirs"}
	}
	distinguish(path, out)
	return out, nil
}

// distinguish orders partitions and tells those of one name apart.
func distinguish(top string, all []place) {
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.part, b.part), cmp.Compare(a.dir, b.dir))
	})
	for i := range all {
		twin := func(p place) bool { return filepath.Base(p.dir) == filepath.Base(all[i].dir) && p.dir != all[i].dir }
		if all[i].twin = slices.ContainsFunc(all, twin); all[i].twin {
			if rel, err := filepath.Rel(top, all[i].dir); err == nil {
				all[i].id = rel
			}
		}
	}
}

func children(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // what may not be read holds nothing for us
	}
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// holdsSegment reports whether a directory is a partition's, by the names in it.
func holdsSegment(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, ok := segmentBase(e.Name())
		return ok && e.Type().IsRegular()
	})
}

// segmentBase reads a segment's name.
func segmentBase(name string) (int64, bool) {
	stem, ok := strings.CutSuffix(name, logSuffix)
	if !ok || len(stem) != nameDigits {
		return 0, false
	}
	n, err := strconv.ParseInt(stem, 10, 64)
	return n, err == nil && n >= 0
}

// partition reads a partition's name from its directory: TOPIC-N, and what Kafka appends
// when it gives one up or moves it.
func partition(dir string) place {
	p := place{dir: dir}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return p
	}
	name := filepath.Base(abs)
	p.id = name
	for _, mark := range []string{"-delete", "-stray", "-future"} {
		if stem, ok := strings.CutSuffix(name, mark); ok {
			if i := strings.LastIndexByte(stem, '.'); i > 0 {
				name, p.gone = stem[:i], true
			}
		}
	}
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		if n, err := strconv.Atoi(name[i+1:]); err == nil && n >= 0 && strconv.Itoa(n) == name[i+1:] {
			p.topic, p.part = name[:i], n
		}
	}
	return p
}

// aside reports whether a partition is no pchannel's: Milvus writes into partition 0 alone.
func (p place) aside() bool { return p.gone || p.part > 0 }

// word is the partition as the place lists it.
func (p place) word() source.Log {
	if p.aside() || p.twin || p.topic == "" {
		return source.Log{ID: p.id, Aside: p.aside()}
	}
	return source.Log{Name: p.topic, ID: p.id}
}

// segments lists a partition's segments as they are now, in order.
func (p place) segments() ([]segment, error) {
	names := []string{p.file}
	if p.file == "" {
		entries, err := os.ReadDir(p.dir)
		if err != nil {
			return nil, err
		}
		names = names[:0]
		for _, e := range entries {
			if _, ok := segmentBase(e.Name()); ok && e.Type().IsRegular() {
				names = append(names, e.Name())
			}
		}
	}
	var out []segment
	for _, name := range names {
		st, err := os.Stat(filepath.Join(p.dir, name))
		if errors.Is(err, fs.ErrNotExist) && p.file == "" {
			continue // cleaned up meanwhile
		}
		if err != nil {
			return nil, err
		}
		base, named := segmentBase(strings.TrimSuffix(name, deletedSuffix))
		out = append(out, segment{dir: p.dir, name: name, base: base, named: named, size: st.Size(), changed: st.ModTime()})
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
	return out, nil
}

// maxCheckpoint caps a checkpoint file of the broker's that is read.
const maxCheckpoint = 16 << 20

// checkpoint reads what a file of the broker's beside the partition says of it; −1 = nothing.
func (p place) checkpoint(file string) int64 {
	f, err := os.Open(filepath.Join(filepath.Dir(p.dir), file))
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }() // only read
	lines := bufio.NewScanner(io.LimitReader(f, maxCheckpoint))
	for lines.Scan() {
		w := bytes.Fields(lines.Bytes())
		if len(w) != 3 || string(w[0]) != p.topic || string(w[1]) != strconv.Itoa(p.part) {
			continue
		}
		if n, err := strconv.ParseInt(string(w[2]), 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// beside reports whether a file of the broker's lies beside the partition.
func (p place) beside(file string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(p.dir), file))
	return err == nil
}
