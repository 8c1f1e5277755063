package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// lost puts together what a log's manifest said from its segments alone: their
// names tell the ids, their footers everything that a reader needs, and the
// ordinals whether one of them is missing.
type lost struct {
	fsys     FS
	dir      string // for errors
	m        *Manifest
	found    []*source.CorruptError
	ordinals bool // every segment's are known
}

// isLost reports whether a manifest that could not be read was destroyed, so
// that its segments may speak for it.
func isLost(err error) bool { return errors.Is(err, ErrDamaged) || missing(err) }

// rebuild reads what a destroyed manifest said of a log from its segments. cause
// is the first of the damages it returns. It never writes.
func rebuild(ctx context.Context, fsys FS, dir, pchannel string, cause error) (*Manifest, []*source.CorruptError, error) {
	l := &lost{fsys: fsys, dir: dir, ordinals: true, m: &Manifest{Version: ManifestVersion, PChannel: pchannel}}
	l.add("manifest", -1, fmt.Errorf("%w; the log is read from its segments alone: gaps the capture met are not known", cause))
	names, err := l.names()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		l.segment(name)
	}
	slices.SortStableFunc(l.m.Segments, func(a, b Segment) int {
		if l.ordinals {
			return cmp.Compare(a.First.Ordinal, b.First.Ordinal)
		}
		return comparePlace(a.First, b.First)
	})
	l.between()
	return l.m, l.found, l.evidence()
}

func (l *lost) add(place string, rows int64, cause error) {
	l.found = append(l.found, &source.CorruptError{Source: l.dir, Place: place, Lost: rows, Cause: cause})
}

// names lists the segments that have an index or a payload file.
func (l *lost) names() ([]string, error) {
	var out []string
	for _, dir := range []string{indexDir(l.m.PChannel), payloadDir(l.m.PChannel)} {
		files, err := l.fsys.List(dir)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", dir, err)
		}
		for _, f := range files {
			if path.Ext(f) == ".parquet" && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// segment adds one segment, as far as its files tell.
func (l *lost) segment(name string) {
	index, rows, meta, err := l.probe(indexDir(l.m.PChannel) + "/" + name)
	payload, payRows, payMeta, payErr := l.probe(payloadDir(l.m.PChannel) + "/" + name)
	first, last, named := parseIDNames(name)
	seg := Segment{Rows: rows, Index: index, Payload: payload, MaxTimeTick: math.MaxUint64,
		First: Position{A: first.A, B: first.B, Batch: first.Batch}, Last: Position{A: last.A, B: last.B, Batch: last.Batch}}
	switch {
	case err != nil && payErr != nil: // not even how many rows there were
		l.add(index.Path, -1, err)
		return
	case err != nil: // opening the index says so again, with its place
		seg.Rows, meta, l.ordinals = payRows, payMeta, false
	default:
		l.ends(&seg, named)
	}
	if n, err := strconv.ParseUint(meta[metaBackend], 10, 16); err == nil {
		l.m.Backend = message.Backend(n)
	}
	l.m.Segments = append(l.m.Segments, seg)
}

// probe finds out of a file what its manifest entry said.
func (l *lost) probe(name string) (e FileEntry, rows int64, meta map[string]string, err error) {
	e.Path = name
	in, err := l.fsys.Open(name)
	if err != nil {
		return e, 0, nil, err
	}
	defer func() { _ = in.Close() }() // only read
	if e.Bytes, err = in.Size(); err != nil {
		return e, 0, nil, err
	}
	s, meta, err := columnfile.Probe(in, e.Bytes)
	if err == nil && (s.Rows <= 0 || s.Rows > 1<<40) {
		err = fmt.Errorf("%w: footer: %d rows", ErrDamaged, s.Rows)
	}
	if err != nil {
		return e, 0, nil, err
	}
	e.Tail, e.TailSum = s.Tail, s.TailSum
	return e, s.Rows, meta, nil
}

// ends reads a segment's first and last row, and holds the ids against its name.
func (l *lost) ends(seg *Segment, named bool) {
	f, in, err := openColumns(l.fsys, seg.Index, seg.Rows, indexColumns[:])
	if err != nil { // whoever reads it is told
		l.ordinals = false
		return
	}
	defer func() { f.Close(); _ = in.Close() }() // only read
	if lo, hi, err := f.Bounds(colTimeTick); err == nil {
		seg.MinTimeTick, seg.MaxTimeTick = uint64(slices.Min(lo)), uint64(slices.Max(hi))
	}
	blocks := f.Blocks()
	first, err1 := positionIn(f, blocks[0], false)
	last, err2 := positionIn(f, blocks[len(blocks)-1], true)
	if errors.Join(err1, err2) != nil {
		l.ordinals = false
		return
	}
	if named && (comparePlace(first, seg.First) != 0 || comparePlace(last, seg.Last) != 0) {
		b := l.m.Backend
		l.add(seg.Index.Path, 0, fmt.Errorf("%w: it holds ids %s … %s, which is not its name", ErrDamaged, first.ID(b), last.ID(b)))
	}
	seg.First, seg.Last = first, last
}

// positionIn reads the first or last row of a block.
func positionIn(f *columnfile.File, b columnfile.Block, last bool) (p Position, err error) {
	at := 0
	if last {
		at = b.Rows - 1
	}
	one := func(col int) int64 {
		v, e := columnfile.Ints[int64](f, b, col, nil)
		if e != nil {
			err = errors.Join(err, e)
			return 0
		}
		return v[at]
	}
	return Position{A: one(colA), B: one(colB), Batch: int32(one(colBatch)), Ordinal: one(colOrdinal)}, err
}

// between reports segments that are not there at all.
func (l *lost) between() {
	if !l.ordinals {
		return
	}
	for i := 1; i < len(l.m.Segments); i++ {
		a, b := l.m.Segments[i-1].Last, l.m.Segments[i].First
		if n := b.Ordinal - a.Ordinal - 1; n > 0 {
			l.add(fmt.Sprintf("ids %s … %s", a.ID(l.m.Backend), b.ID(l.m.Backend)), n,
				fmt.Errorf("%w: %d records between two segments are in no file, or the source never gave them", ErrDamaged, n))
		}
	}
}

// evidence lists the files beside the log. One that replaced another carries its
// checksum in its name; the others' are lost.
func (l *lost) evidence() error {
	dir := evidenceDir(l.m.PChannel)
	files, err := l.fsys.List(dir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	for _, f := range files {
		if path.Ext(f) == ".tmp" {
			continue
		}
		e := Evidence{Name: f, Path: dir + "/" + f}
		b, err := l.fsys.ReadFile(e.Path)
		if err != nil {
			l.add(e.Path, 0, err)
			continue
		}
		e.Bytes, e.Hash = int64(len(b)), hashText(xxhash.Sum64(b))
		if sum, rest, ok := strings.Cut(f, "-"); ok && sum == e.Hash {
			e.Name = rest
		}
		l.m.Evidence = slices.DeleteFunc(l.m.Evidence, func(o Evidence) bool { return o.Name == e.Name && e.Name != f })
		if !slices.ContainsFunc(l.m.Evidence, func(o Evidence) bool { return o.Name == e.Name }) {
			l.m.Evidence = append(l.m.Evidence, e)
		}
	}
	return nil
}

// manifestOf reads a log's manifest; where it is destroyed, what the segments
// say, and what is damaged.
func manifestOf(ctx context.Context, fsys FS, dir, pchannel string) (*Manifest, []*source.CorruptError, error) {
	m, damage, err := loadManifest(fsys, pchannel)
	switch {
	case err != nil && isLost(err):
		return rebuild(ctx, fsys, dir, pchannel, err)
	case machine(err):
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	case err != nil:
		return nil, nil, &source.CorruptError{Source: dir, Place: "manifest", Lost: -1, Cause: err}
	case damage != nil:
		return m, []*source.CorruptError{{Source: dir, Place: "manifest", Cause: damage}}, nil
	}
	return m, nil, nil
}
