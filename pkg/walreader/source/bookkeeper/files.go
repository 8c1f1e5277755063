package bookkeeper

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// maxEntry caps an entry, in bytes. Pulsar's largest message is 5 MB as it comes.
const maxEntry = 64 << 20

// file is an entry log or a journal, open. Its size is what it was when it was opened.
type file struct {
	name    string // below the place
	path    string
	index   int32
	number  uint64
	journal bool
	size    int64
	in      *os.File
}

// listing is what lies at a place at one moment, open.
type listing struct {
	files []*file
	metas []string // directories of RocksDB that may be a broker's metadata
	stamp string   // tells whether the place has changed
}

func (l *listing) close() {
	for _, f := range l.files {
		_ = f.in.Close() // only read
	}
}

// maxDepth is how far below a place its files may lie; maxFiles how many there may be.
const maxDepth, maxFiles = 6, 1 << 16

// places takes a list of paths apart. A path may have a comma in its name.
func places(place string) []string {
	var out []string
	open := "" // pieces that are no path yet
	for i, piece := range strings.Split(place, ",") {
		if i > 0 && open != "" {
			piece = open + "," + piece
		}
		if _, err := os.Stat(piece); err == nil {
			out, open = append(out, piece), ""
		} else {
			open = piece
		}
	}
	if open != "" {
		out = append(out, open) // it is not there, and said to be missing
	}
	return out
}

// find lists what counts below a place, open where that is asked.
func find(place string, open bool) (*listing, error) {
	l := &listing{}
	var stamp strings.Builder
	tops := places(place)
	for _, top := range tops {
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && path == top:
				return fmt.Errorf("%w: %s does not exist", source.ErrNotFound, top)
			case errors.Is(err, fs.ErrNotExist):
				return nil // removed meanwhile
			case err != nil:
				return fmt.Errorf("look at a bookie's directory: %w", err)
			case e.IsDir():
				return l.directory(top, path)
			}
			return l.add(top, path, e, open, len(tops) > 1, &stamp)
		})
		if err != nil {
			l.close()
			return nil, err
		}
	}
	slices.SortFunc(l.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	for i, f := range l.files {
		f.index = int32(i)
	}
	l.stamp = stamp.String()
	return l, nil
}

// directory looks into one, unless it is a bookie's index or lies too deep.
func (l *listing) directory(top, path string) error {
	name := filepath.Base(path)
	if path != top && (name == "ledgers" || name == "locations") {
		if _, err := os.Stat(filepath.Join(path, "CURRENT")); err == nil {
			return filepath.SkipDir
		}
	}
	rel, err := filepath.Rel(top, path)
	if err != nil || strings.Count(rel, string(filepath.Separator)) >= maxDepth {
		return filepath.SkipDir
	}
	return nil
}

func (l *listing) add(top, path string, e fs.DirEntry, open, several bool, stamp *strings.Builder) error {
	if !e.Type().IsRegular() && e.Type()&fs.ModeSymlink == 0 {
		return nil
	}
	name, dir := e.Name(), filepath.Dir(path)
	if _, ok := rocksNumber(name); ok && !slices.Contains(l.metas, dir) {
		l.metas = append(l.metas, dir)
	}
	number, journal, ok := bookieFile(name)
	if path == top && !ok {
		journal, ok = kindOf(path)
	}
	if !ok {
		return nil
	}
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil //nolint:nilerr // removed meanwhile, or no file
	}
	fmt.Fprintf(stamp, "%s %d %d\n", path, st.Size(), st.ModTime().UnixNano())
	if st.Size() == 0 || !open {
		return nil
	}
	if len(l.files) == maxFiles {
		return fmt.Errorf("more than %d files of bookies below %s", maxFiles, top)
	}
	f := &file{path: path, number: number, journal: journal, size: st.Size()}
	if f.name, err = filepath.Rel(top, path); err != nil || f.name == "." || several {
		f.name = path
	}
	if f.in, err = os.Open(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open a bookie's file: %w", err)
	}
	l.files = append(l.files, f)
	return nil
}

// bookieFile tells an entry log or journal by its name: a number in hexadecimal.
// RocksDB's log files have six digits or more.
func bookieFile(name string) (number uint64, journal, ok bool) {
	stem, ext, _ := strings.Cut(name, ".")
	if ext != "log" && ext != "txn" || ext == "log" && len(stem) >= 6 && stem[0] == '0' {
		return 0, false, false
	}
	number, err := strconv.ParseUint(stem, 16, 64)
	return number, ext == "txn", err == nil
}

// rocksNumber tells a log file or table of RocksDB by its name.
func rocksNumber(name string) (uint64, bool) {
	stem, ext, _ := strings.Cut(name, ".")
	if ext != "log" && ext != "sst" || len(stem) < 6 {
		return 0, false
	}
	n, err := strconv.ParseUint(stem, 10, 63)
	return n, err == nil
}

// sniff tells a bookie's directory by what its files begin with.
func sniff(l source.Look) source.Claim {
	if !l.Dir {
		return source.Claim{Sure: bytes.HasPrefix(l.Head, []byte(entryLogMagic)) || bytes.HasPrefix(l.Head, []byte(journalMagic))}
	}
	for _, pattern := range []string{"current/*.txn", "current/*.log", "*.txn", "*.log", "*/current/*.txn", "*/current/*.log", "*/*/current/*.txn", "*/*/current/*.log"} {
		hits, err := filepath.Glob(filepath.Join(l.Path, pattern))
		if err != nil {
			continue
		}
		for _, h := range hits[:min(len(hits), sniffFiles)] {
			if _, _, ok := bookieFile(filepath.Base(h)); ok && begins(h) {
				return source.Claim{Sure: true}
			}
		}
	}
	for _, mark := range []string{"lastMark", "current/lastMark"} {
		if _, err := os.Stat(filepath.Join(l.Path, mark)); err == nil {
			return source.Claim{Sure: true}
		}
	}
	return source.Claim{}
}

// sniffFiles is how many files of a pattern are looked into.
const sniffFiles = 16

func begins(path string) bool {
	_, ok := kindOf(path)
	return ok
}

// kindOf tells an entry log or journal by its first bytes.
func kindOf(path string) (journal, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return false, false
	}
	defer func() { _ = f.Close() }() // only read
	var b [4]byte
	if n, _ := f.ReadAt(b[:], 0); n < len(b) {
		return false, false
	}
	return string(b[:]) == journalMagic, string(b[:]) == entryLogMagic || string(b[:]) == journalMagic
}
