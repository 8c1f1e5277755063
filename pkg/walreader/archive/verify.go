package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// VerifyBytes implements source.ByteVerifier: it reads every byte of every file the manifest names, both manifest
// copies included, and returns each place that is damaged. An archive whose
// payload directory was left behind (a copy without rows' data) is not damaged
// by that. The error is the context's, or that of a progress that cannot go on.
func (s *Source) VerifyBytes(ctx context.Context, progress source.Progress) ([]*source.Damage, error) {
	v := verifier{s: s, progress: progress, total: s.bytes()}
	for _, name := range []string{manifestPath(s.m.PChannel), copyPath(s.m.PChannel)} {
		if _, err := readManifest(s.fsys, name); err != nil {
			v.add(&source.Damage{Path: name, Place: "manifest", Cause: err})
		}
	}
	for _, d := range s.damage[min(1, len(s.damage)):] { // the first is the manifest's
		v.add(&source.Damage{Path: d.Place, Place: "without its manifest", Rows: max(0, d.Lost), Cause: d.Cause})
	}
	withPayload, err := s.HasPayload()
	if err != nil {
		return nil, err
	}
	for i := range s.m.Segments {
		seg := &s.m.Segments[i]
		if err := v.file(ctx, seg, seg.Index, indexColumns[:]); err != nil {
			return v.found, err
		}
		if withPayload {
			if err := v.file(ctx, seg, seg.Payload, payloadColumns[:]); err != nil {
				return v.found, err
			}
		}
		v.records += seg.Rows
	}
	for _, e := range s.m.Evidence {
		if got, err := hashFile(ctx, s.fsys, e.Path, e.Bytes); err != nil || got != e.Hash {
			v.add(&source.Damage{Path: e.Path, Place: "evidence", Cause: orChecksum(err)})
		}
	}
	return v.found, ctx.Err()
}

func (s *Source) bytes() int64 {
	n := int64(0)
	for i := range s.m.Segments {
		n += s.m.Segments[i].Index.Bytes + s.m.Segments[i].Payload.Bytes
	}
	return n
}

// HasPayload implements source.PayloadSource: it reports whether the log's payload
// files came along. A copy without rows' data lacks their directory; a file that is
// missing in it is damage.
func (s *Source) HasPayload() (bool, error) {
	parent, dir := path.Split(payloadDir(s.m.PChannel))
	dirs, err := s.fsys.Dirs(path.Clean(parent))
	if err != nil {
		return false, fmt.Errorf("listing %s: %w", parent, err)
	}
	return slices.Contains(dirs, dir), nil
}

func orChecksum(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: checksum differs", ErrDamaged)
}

type verifier struct {
	s                     *Source
	progress              source.Progress
	records, bytes, total int64
	found                 []*source.Damage
}

func (v *verifier) add(d *source.Damage) { v.found = append(v.found, d) }

// file checks one file: its hash first, and where that differs, what it was.
func (v *verifier) file(ctx context.Context, seg *Segment, e FileEntry, cols []columnfile.Column) error {
	got, err := hashFile(ctx, v.s.fsys, e.Path, e.Bytes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v.bytes += e.Bytes
	if v.progress != nil {
		v.progress(v.records, v.bytes, v.total)
	}
	if err == nil && got == e.Hash {
		return nil
	}
	if err == nil && e.Hash == "" { // lost with the manifest: the pages have their own
		v.pages(seg, e, cols)
		return nil
	}
	v.locate(seg, e, cols, orChecksum(err))
	return nil
}

func (v *verifier) locate(seg *Segment, e FileEntry, cols []columnfile.Column, cause error) {
	if v.pages(seg, e, cols) { // outside every page: no row is touched
		v.add(&source.Damage{Path: e.Path, Place: "bytes outside every page", First: seg.First.ID(v.s.m.Backend), Last: seg.Last.ID(v.s.m.Backend), Cause: cause})
	}
}

// pages checks every page of a file and reports whether all are sound.
func (v *verifier) pages(seg *Segment, e FileEntry, cols []columnfile.Column) bool {
	f, in, err := openColumns(v.s.fsys, e, seg.Rows, cols)
	if err != nil {
		backend := v.s.m.Backend
		whole := &source.Damage{Path: e.Path, Place: "file", First: seg.First.ID(backend), Last: seg.Last.ID(backend), Rows: seg.Rows, Cause: err}
		if missing(err) {
			whole.Place = "missing"
		}
		v.add(whole)
		return false
	}
	defer func() { f.Close(); _ = in.Close() }() // only read
	before := len(v.found)
	_ = f.CheckPages(func(p *columnfile.PageError) error { // never stops: fn returns nil
		d := &source.Damage{Path: e.Path, Place: pagePlace(p), Rows: p.Rows, Cause: p.Cause}
		d.First, d.Last = v.ids(f, seg, p)
		v.add(d)
		return nil
	})
	return len(v.found) == before
}

func pagePlace(p *columnfile.PageError) string {
	if p.Dictionary {
		return fmt.Sprintf("row group %d, column %s, dictionary at byte %d", p.RowGroup, p.Column, p.Offset)
	}
	return fmt.Sprintf("row group %d, column %s, page %d at byte %d", p.RowGroup, p.Column, p.Page, p.Offset)
}

// ids returns the ids of the rows a damaged page holds, as near as they can
// still be told.
func (v *verifier) ids(f *columnfile.File, seg *Segment, p *columnfile.PageError) (first, last message.ID) {
	backend := v.s.m.Backend
	first, last = seg.First.ID(backend), seg.Last.ID(backend)
	if slices.ContainsFunc(payloadColumns[:], func(c columnfile.Column) bool { return c.Name == p.Column && c.Name != "ordinal" }) {
		index, in, err := openColumns(v.s.fsys, seg.Index, seg.Rows, indexColumns[:])
		if err != nil {
			return first, last
		}
		defer func() { index.Close(); _ = in.Close() }() // only read
		f = index
	} else if f.Width() != indexWidth {
		return first, last
	}
	if id, ok := v.idAt(f, p.FirstRow); ok {
		first = id
	}
	if id, ok := v.idAt(f, p.FirstRow+p.Rows-1); ok {
		last = id
	}
	return first, last
}

func (v *verifier) idAt(f *columnfile.File, row int64) (message.ID, bool) {
	blocks := f.Blocks()
	k := slices.IndexFunc(blocks, func(b columnfile.Block) bool { return row >= b.FirstRow && row < b.FirstRow+int64(b.Rows) })
	if k < 0 {
		return message.ID{}, false
	}
	i := row - blocks[k].FirstRow
	a, err1 := columnfile.Ints[int64](f, blocks[k], colA, nil)
	b, err2 := columnfile.Ints[int64](f, blocks[k], colB, nil)
	n, err3 := columnfile.Ints[int32](f, blocks[k], colBatch, nil)
	if errors.Join(err1, err2, err3) != nil {
		return message.ID{}, false
	}
	return message.ID{Backend: v.s.m.Backend, A: a[i], B: b[i], Batch: n[i]}, true
}
