package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// cursor walks the blocks of a range of rows. Rows are numbered through the
// whole archive from 0.
type cursor struct {
	s          *Source
	m          *Manifest
	start, end int64
	begin      int64 // where start began
	seg        int   // of the open segment
	segStart   int64 // its first row
	file       *columnfile.File
	in         ReadFile
	block      int // next in file
	damage     []*source.CorruptError
	gaps       []Gap      // of the source, still to be told
	fresh      bool       // no row was given yet
	torn       bool       // the log ends in the middle of a record
	from       message.ID // what the range begins with, where it is named by its id
}

// cursorFrom is the cursor of a range that was resolved to rows.
func (s *Source) cursorFrom(start, end int64, r source.Range) *cursor {
	c := s.cursor(start, end)
	if r.From.Kind == source.AtID && r.From.Offset == 0 {
		c.from = r.From.ID
	}
	return c
}

func (s *Source) cursor(start, end int64) *cursor {
	c := &cursor{s: s, m: s.m, start: start, begin: start, end: end, damage: s.damage, gaps: s.m.gapsInOrder(), fresh: start > 0}
	s.passage.Begin(end - start)
	c.torn = end == s.m.Records() && s.m.Copied != nil && s.m.Copied.Torn
	return c
}

// plain is a cursor over rows alone: nothing that was lost is told.
func (s *Source) plain(start, end int64) *cursor {
	c := s.cursor(start, end)
	c.damage, c.gaps, c.torn = nil, nil, false
	return c
}

// part is the rows lo … hi−1 of a block.
type part struct {
	f      *columnfile.File
	b      columnfile.Block
	seg    *Segment
	row    int64 // of the block's first row, in the archive
	lo, hi int
}

// next returns the next block with rows in range, or io.EOF. A segment that
// cannot be opened is a *source.CorruptError; the one after it comes next.
func (c *cursor) next(ctx context.Context) (part, error) {
	if err := ctx.Err(); err != nil {
		return part{}, err
	}
	if len(c.damage) > 0 {
		err := c.damage[0]
		c.damage = c.damage[1:]
		return part{}, err
	}
	for c.start < c.end {
		if err := c.openSegment(); err != nil {
			return part{}, err
		}
		if c.file == nil {
			return part{}, c.atEnd()
		}
		blocks := c.file.Blocks()
		for ; c.block < len(blocks); c.block++ {
			b := blocks[c.block]
			first := c.segStart + b.FirstRow
			if first+int64(b.Rows) <= c.start {
				continue
			}
			if first >= c.end {
				return part{}, c.atEnd()
			}
			p := part{f: c.file, b: b, seg: &c.m.Segments[c.seg], row: first,
				lo: int(max(0, c.start-first)), hi: int(min(int64(b.Rows), c.end-first))}
			if err := c.beforeGap(ctx, &p); err != nil {
				return part{}, err
			}
			if c.start = first + int64(p.hi); p.hi == b.Rows {
				c.block++
			}
			c.s.passage.Reach(c.start - c.begin)
			return p, nil
		}
		c.closeSegment()
	}
	return part{}, c.atEnd()
}

// openSegment opens the segment that holds row c.start; none is no error.
func (c *cursor) openSegment() error {
	if c.file != nil {
		return nil
	}
	for ; c.seg < len(c.m.Segments); c.seg++ {
		seg := &c.m.Segments[c.seg]
		if c.segStart+seg.Rows <= c.start {
			c.segStart += seg.Rows
			continue
		}
		f, in, err := openColumns(c.s.fsys, seg.Index, seg.Rows, indexColumns[:])
		if err == nil {
			if err = c.m.sameLog(f); err != nil {
				f.Close()
				_ = in.Close() // only read
			}
		}
		if machine(err) {
			return fmt.Errorf("%s: %s: %w", c.s.dir, seg.Index.Path, err)
		}
		if err != nil {
			lost := min(c.end, c.segStart+seg.Rows) - c.start
			c.start = c.segStart + seg.Rows
			c.segStart += seg.Rows
			c.seg++
			return c.s.segmentError(seg, seg.Index.Path, lost, err)
		}
		c.file, c.in, c.block = f, in, 0
		return nil
	}
	return nil
}

func (c *cursor) closeSegment() {
	if c.file == nil {
		return
	}
	c.file.Close()
	_ = c.in.Close() // only read
	c.file, c.in = nil, nil
	c.segStart += c.m.Segments[c.seg].Rows
	c.seg++
}

// skipGroup moves behind the row group of p and returns the rows skipped.
func (c *cursor) skipGroup(p part) int64 {
	n := int64(0)
	for blocks := p.f.Blocks(); c.block < len(blocks) && blocks[c.block].Group == p.b.Group; c.block++ {
		b := blocks[c.block]
		to := min(c.end, c.segStart+b.FirstRow+int64(b.Rows))
		n += max(0, to-c.start)
		c.start = max(c.start, to)
	}
	return n
}

// fault turns a failed read of p into the error a reader returns, and moves on
// behind what cannot be read.
func (c *cursor) fault(p part, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if machine(err) {
		return fmt.Errorf("%s: %s: %w", c.s.dir, p.seg.Index.Path, err)
	}
	lost := int64(p.hi - p.lo)
	var page *columnfile.PageError
	if errors.As(err, &page) && page.Dictionary {
		lost += c.skipGroup(p)
	}
	first, last := blockIDs(p, c.m.Backend)
	return &source.CorruptError{Source: c.s.dir, Lost: lost, Cause: err,
		Place: fmt.Sprintf("%s, ids %s … %s", p.seg.Index.Path, first, last)}
}

func (s *Source) segmentError(seg *Segment, path string, lost int64, err error) error {
	return &source.CorruptError{Source: s.dir, Lost: lost, Cause: err,
		Place: fmt.Sprintf("%s, ids %s … %s", path, seg.First.ID(s.m.Backend), seg.Last.ID(s.m.Backend))}
}

// blockIDs returns a block's first and last id, or the segment's where the id
// columns cannot be read.
func blockIDs(p part, backend message.Backend) (first, last message.ID) {
	a, err1 := columnfile.Ints[int64](p.f, p.b, colA, nil)
	b, err2 := columnfile.Ints[int64](p.f, p.b, colB, nil)
	n, err3 := columnfile.Ints[int32](p.f, p.b, colBatch, nil)
	if errors.Join(err1, err2, err3) != nil {
		return p.seg.First.ID(backend), p.seg.Last.ID(backend)
	}
	at := func(i int) message.ID { return message.ID{Backend: backend, A: a[i], B: b[i], Batch: n[i]} }
	return at(p.lo), at(p.hi - 1)
}

// openColumns opens a file the manifest names.
func openColumns(fsys FS, e FileEntry, rows int64, cols []columnfile.Column) (*columnfile.File, ReadFile, error) {
	in, err := fsys.Open(e.Path)
	if err != nil {
		return nil, nil, err
	}
	size, err := in.Size()
	if err == nil && size != e.Bytes {
		err = fmt.Errorf("%w: %d bytes, the manifest says %d", ErrDamaged, size, e.Bytes)
		if size > e.Bytes { // nothing in it has moved
			err = nil
		}
	}
	var f *columnfile.File
	if err == nil {
		f, err = columnfile.Open(in, e.summary(rows), cols)
	}
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return f, in, nil
}

func (c *cursor) close() {
	if c.file != nil {
		c.closeSegment()
	}
	c.start = c.end
}

// sameLog holds what a file says of its log against the manifest that names it.
func (m *Manifest) sameLog(f *columnfile.File) error {
	backend, ok := f.Meta(metaBackend)
	if ok && backend != strconv.Itoa(int(m.Backend)) {
		n, _ := strconv.ParseUint(backend, 10, 16)
		return fmt.Errorf("%w: it holds ids of a %s log, the manifest says %s", ErrDamaged, message.Backend(n), m.Backend)
	}
	return nil
}

// machine reports whether an error says nothing about a file's bytes: the machine
// does not give them. Whatever is read next would fail alike.
func machine(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
