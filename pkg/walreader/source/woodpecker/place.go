package woodpecker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// The names of a segment's files (wire format).
const (
	dataLog   = "data.log"
	footerBlk = "footer.blk"
	merged    = "m_"
)

// part is one file of a segment, with its size when it was looked at.
type part struct {
	name    string
	size    int64
	changed time.Time
	number  int64 // of a block file; −1 = data.log and the footer's
	merged  bool
	tail    bool // it holds index and footer alone
}

// blk is the name of a block file of the same set.
func (p *part) blk(n int64) string {
	name := strconv.FormatInt(n, 10) + ".blk"
	if p.merged {
		name = merged + name
	}
	return name
}

// segment is a segment's directory.
type segment struct {
	number    int64
	dir       string
	parts     []part
	elsewhere bool // its file was moved into object storage
}

// print tells whether a segment's files have changed.
func (s *segment) print() string {
	var b strings.Builder
	for _, p := range s.parts {
		fmt.Fprintf(&b, "%s %d %d\n", p.name, p.size, p.changed.UnixNano())
	}
	return b.String()
}

// place is where a log lies.
type place struct {
	id   string // the log's number; "" = its directory does not tell
	dir  string // of the log, or of its one segment
	file string // the one file that is meant, in dir
	one  bool   // dir is a segment's
}

// maxDepth is how far below a directory its logs are looked for.
const maxDepth = 7

// find lists the logs that lie in a directory or below, or the one a file is of.
func find(ctx context.Context, path string) ([]place, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist", source.ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("look at Woodpecker's files: %w", err)
	}
	if !st.IsDir() {
		dir := filepath.Dir(path)
		return []place{{id: logOf(dir), dir: dir, file: filepath.Base(path), one: true}}, nil
	}
	if ok, err := isSegment(path); err != nil || ok {
		return []place{{id: logOf(path), dir: path, one: true}}, err
	}
	return below(ctx, path)
}

// below looks for directories of segments, level by level.
func below(ctx context.Context, top string) ([]place, error) {
	var out []place
	err := dirs.Below(ctx, top, maxDepth, func(dir string) []string {
		subs, log := children(dir)
		if !log {
			return subs
		}
		out = append(out, place{id: numberOf(dir), dir: dir})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, &otherError{"holds no segment of Woodpecker: name the directory of a log (its segments are directories called 0, 1, …), one above it, or a data.log"}
	}
	slices.SortFunc(out, func(a, b place) int {
		x, _ := strconv.ParseInt(a.id, 10, 64)
		y, _ := strconv.ParseInt(b.id, 10, 64)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.dir, b.dir))
	})
	for i := range out { // a log of several nodes, each with its copy
		twin := func(p place) bool { return p.id == out[i].id && p.dir != out[i].dir }
		if out[i].id == "" || slices.ContainsFunc(out, twin) {
			if rel, err := filepath.Rel(top, out[i].dir); err == nil {
				out[i].id = rel
			}
		}
	}
	return out, nil
}

// children lists the directories in one, and tells whether one of them is a segment.
func children(dir string) (subs []string, log bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false // what may not be read holds nothing for us
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if _, numbered := segmentNumber(e.Name()); numbered && !log {
			log, _ = isSegment(sub)
		}
		subs = append(subs, sub)
	}
	return subs, log
}

// isSegment reports whether a directory holds a file of a segment, by its name.
func isSegment(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("look at Woodpecker's files: %w", err)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, ok := partOf(e.Name())
		return ok && !e.IsDir()
	}), nil
}

// segmentNumber reads a directory's name.
func segmentNumber(name string) (int64, bool) {
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == name
}

// numberOf is a directory's name where it is a number.
func numberOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if _, ok := segmentNumber(filepath.Base(abs)); !ok {
		return ""
	}
	return filepath.Base(abs)
}

// logOf is the number of the log that a segment's directory belongs to.
func logOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil || numberOf(dir) == "" {
		return ""
	}
	return numberOf(filepath.Dir(abs))
}

// partOf tells what a file of a segment is by its name.
func partOf(name string) (part, bool) {
	p := part{name: name, number: -1}
	switch name {
	case dataLog:
		return p, true
	case footerBlk:
		p.tail = true
		return p, true
	}
	stem, ok := strings.CutSuffix(name, ".blk")
	if !ok {
		return p, false
	}
	stem, p.merged = strings.CutPrefix(stem, merged)
	p.number, ok = segmentNumber(stem)
	return p, ok
}

// segments lists a log's segments, in order.
func (p place) segments() ([]*segment, error) {
	if p.one {
		n, _ := segmentNumber(numberOf(p.dir))
		s := &segment{number: n, dir: p.dir}
		if p.file != "" {
			st, err := os.Stat(filepath.Join(p.dir, p.file))
			if err != nil {
				return nil, err
			}
			only, _ := partOf(p.file)
			only.name, only.number, only.size, only.changed = p.file, -1, st.Size(), st.ModTime()
			s.parts = []part{only}
			return []*segment{s}, nil
		}
		return []*segment{s}, s.look()
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var out []*segment
	for _, e := range entries {
		n, ok := segmentNumber(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		s := &segment{number: n, dir: filepath.Join(p.dir, e.Name())}
		if err := s.look(); errors.Is(err, fs.ErrNotExist) {
			continue // cleaned up meanwhile
		} else if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return out, nil
}

// look lists a segment's files, those that count in the order of the log.
func (s *segment) look() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var blocks, mergedBlocks, tail, whole []part
	for _, e := range entries {
		s.elsewhere = s.elsewhere || e.Name() == "data.compacted"
		p, ok := partOf(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		st, err := os.Stat(filepath.Join(s.dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.size, p.changed = st.Size(), st.ModTime()
		switch {
		case p.tail:
			tail = append(tail, p)
		case p.merged:
			mergedBlocks = append(mergedBlocks, p)
		case p.number >= 0:
			blocks = append(blocks, p)
		default:
			whole = append(whole, p)
		}
	}
	if len(whole) > 0 {
		s.parts = whole
		return nil
	}
	byNumber := func(a, b part) int { return cmp.Compare(a.number, b.number) }
	slices.SortFunc(blocks, byNumber)
	slices.SortFunc(mergedBlocks, byNumber)
	for len(blocks) > 0 && s.fence(blocks[len(blocks)-1]) {
		blocks = blocks[:len(blocks)-1]
	}
	if len(mergedBlocks) > 0 && (len(blocks) == 0 || len(tail) > 0 && s.compacted(tail[0])) {
		blocks = mergedBlocks
	}
	s.parts = append(blocks, tail...)
	return nil
}

// fence reports whether a block file is the one byte that keeps a writer out.
func (s *segment) fence(p part) bool { return p.size == 1 }

// compacted reports whether a footer says that the merged blocks count.
func (s *segment) compacted(p part) bool {
	if p.size > maxFooterFile {
		return false
	}
	f, err := os.Open(filepath.Join(s.dir, p.name))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	w := window{in: f, size: p.size}
	for _, n := range []int64{footerSize + lacSize, footerSize} {
		if r, ok := w.record(p.size - frameSize - n); ok && r.kind == kindFooter && r.end() == p.size {
			foot, ok := parseFooter(w.payload(r))
			return ok && foot.compacted
		}
	}
	return false
}

// maxFooterFile caps a footer file that is looked into for its footer alone.
const maxFooterFile = 1 << 30
