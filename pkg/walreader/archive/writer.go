package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Defaults of WriterOptions.
const (
	DefaultSegmentRows  = 4 << 20
	DefaultSegmentBytes = 256 << 20
)

// WriterOptions say what is written and how.
type WriterOptions struct {
	PChannel     string
	Backend      message.Backend
	Source       string // where it comes from, for people; no credentials
	SegmentRows  int64  // rows after which a segment is ended; 0 = DefaultSegmentRows
	SegmentBytes int64  // payload bytes after which a segment is ended; 0 = DefaultSegmentBytes
	FS           FS     // replaces the directory's own, in tests
}

// Writer appends to one pchannel's archive. A message it was given is safe once
// the segment it is in was ended: by size, by Cut or by Close. A Writer whose
// process dies loses at most the open segment; the next one begins after the
// last row that was named. It is not safe for concurrent use.
type Writer struct {
	fsys FS
	opt  WriterOptions
	m    *Manifest
	lock io.Closer
	seg  *segmentWriter
	gaps []Gap // behind rows of the open segment, or behind the last that is named
	err  error
}

// NewWriter opens the archive in dir for one pchannel, or begins it. ErrLocked
// where another writer has it; a manifest that is damaged in both its copies,
// or one of another backend, is refused: nothing of it is touched.
func NewWriter(dir string, opt WriterOptions) (*Writer, error) {
	w := &Writer{fsys: opt.FS, opt: opt}
	if w.fsys == nil {
		w.fsys = Dir(dir)
	}
	if w.opt.SegmentRows <= 0 {
		w.opt.SegmentRows = DefaultSegmentRows
	}
	if w.opt.SegmentBytes <= 0 {
		w.opt.SegmentBytes = DefaultSegmentBytes
	}
	for _, d := range []string{"manifest", indexDir(opt.PChannel), payloadDir(opt.PChannel), evidenceDir(opt.PChannel)} {
		if err := w.fsys.MkdirAll(d); err != nil {
			return nil, fmt.Errorf("making the archive %s: %w", dir, err)
		}
	}
	var err error
	if w.lock, err = w.fsys.Lock(lockPath(opt.PChannel)); err != nil {
		return nil, fmt.Errorf("archive %s, log %s: %w", dir, opt.PChannel, err)
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("archive %s, log %s: %w", dir, opt.PChannel, err), w.lock.Close())
	}
	return w, nil
}

func (w *Writer) open() error {
	m, _, err := loadManifest(w.fsys, w.opt.PChannel) // a damaged one is written anew
	switch {
	case err == nil:
		w.m = m
		if m.PChannel != w.opt.PChannel {
			return fmt.Errorf("the manifest is that of %q", m.PChannel)
		}
		if len(m.Segments) > 0 && m.Backend != w.opt.Backend {
			return fmt.Errorf("it holds a %s log, not one of %s: capture into another directory", m.Backend, w.opt.Backend)
		}
		m.Backend = w.opt.Backend
	case missing(err) && !errors.Is(err, ErrDamaged):
		if err := w.requireEmpty(); err != nil {
			return err
		}
		w.m = &Manifest{Version: ManifestVersion, PChannel: w.opt.PChannel, Backend: w.opt.Backend, Source: w.opt.Source, CreatedBy: createdBy}
	default:
		return fmt.Errorf("its manifest cannot be read, so what it holds is not known; move it away or restore it: %w", err)
	}
	if err := storeManifest(w.fsys, w.m); err != nil { // both copies, and before any segment
		return err
	}
	return w.clear()
}

// requireEmpty refuses segments that no manifest names: a manifest is written
// before the first of them, so theirs was lost and clearing would destroy them.
func (w *Writer) requireEmpty() error {
	names, err := (&lost{fsys: w.fsys, m: &Manifest{PChannel: w.opt.PChannel}}).names()
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: it holds %d segments, and the manifest that named them is gone: capture into another directory", ErrDamaged, len(names))
	}
	return err
}

// clear removes what an earlier writer left without naming it.
func (w *Writer) clear() error {
	named := map[string]bool{}
	for i := range w.m.Segments {
		named[w.m.Segments[i].Index.Path], named[w.m.Segments[i].Payload.Path] = true, true
	}
	for _, dir := range []string{indexDir(w.opt.PChannel), payloadDir(w.opt.PChannel)} {
		files, err := w.fsys.List(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if ext := path.Ext(f); named[dir+"/"+f] || ext != ".tmp" && ext != ".parquet" {
				continue
			}
			if err := w.fsys.Remove(dir + "/" + f); err != nil {
				return fmt.Errorf("clearing away an unfinished segment: %w", err)
			}
		}
	}
	return nil
}

// Last returns the last row that is named; false where there is none.
func (w *Writer) Last() (Position, bool) {
	if n := len(w.m.Segments); n > 0 {
		return w.m.Segments[n-1].Last, true
	}
	return Position{}, false
}

// Manifest returns what is named so far. It must not be changed.
func (w *Writer) Manifest() *Manifest { return w.m }

// Add appends a message as row ordinal. It must carry its properties and
// payload. After an error the writer is finished.
func (w *Writer) Add(m *message.Message, ordinal int64) error {
	if w.err != nil {
		return w.err
	}
	if w.seg == nil {
		if w.seg, w.err = newSegmentWriter(w.fsys, w.m); w.err != nil {
			return w.err
		}
	}
	if err := w.seg.add(m, ordinal); err != nil {
		w.err = fmt.Errorf("message %s: %w", m.ID, err)
		return w.err
	}
	if w.seg.seg.Rows >= w.opt.SegmentRows || w.seg.stored >= w.opt.SegmentBytes {
		return w.Cut()
	}
	return nil
}

// Cut ends the open segment: completes and syncs its files, reads them back,
// and only then names them in the manifest, with the gaps met meanwhile.
func (w *Writer) Cut() error {
	if w.err != nil || w.seg == nil && len(w.gaps) == 0 {
		return w.err
	}
	next := *w.m
	if w.seg != nil {
		seg, err := w.seg.finish(w.m)
		w.seg = nil
		if err != nil {
			w.err = err
			return err
		}
		next.Segments = append(w.m.Segments[:len(w.m.Segments):len(w.m.Segments)], seg)
	}
	next.Gaps = w.m.Gaps[:len(w.m.Gaps):len(w.m.Gaps)]
	for _, g := range w.gaps {
		next.Gaps = addGap(next.Gaps, g)
	}
	w.gaps = nil
	w.err = w.store(&next)
	return w.err
}

func (w *Writer) store(next *Manifest) error {
	if err := storeManifest(w.fsys, next); err != nil {
		return err
	}
	w.m = next
	return nil
}

// Open returns the rows and payload bytes of the open segment.
func (w *Writer) Open() (rows, bytes int64) {
	if w.seg == nil {
		return 0, 0
	}
	return w.seg.seg.Rows, w.seg.stored
}

// maxGaps bounds a manifest's list of gaps: of a hopeless log the rest is counted.
const maxGaps = 10_000

// NoteGap records a place the source could not give: it stands in the manifest
// once the row before it does. Places with no row between them become one gap.
func (w *Writer) NoteGap(g Gap) error {
	if w.err != nil {
		return w.err
	}
	if w.seg != nil && w.seg.seg.Rows > 0 {
		g.After = w.seg.seg.Last
	} else if last, ok := w.Last(); ok {
		g.After = last
	} else {
		g.AtStart = true
	}
	if n := len(w.gaps); n > 0 && (w.gaps[n-1].sameRow(&g) || n >= maxGaps) {
		w.gaps[n-1].join(&g)
		return nil
	}
	w.gaps = append(w.gaps, g)
	return nil
}

func (g *Gap) sameRow(o *Gap) bool { return g.After == o.After && g.AtStart == o.AtStart }

// join makes g stand for o too, which lies after it.
func (g *Gap) join(o *Gap) {
	g.Places = max(g.Places, 1) + max(o.Places, 1)
	g.Until = cmp.Or(o.Until, o.Place)
	if g.Lost < 0 || o.Lost < 0 {
		g.Lost = -1
	} else {
		g.Lost += o.Lost
	}
}

// addGap adds a gap to a manifest's. A resumed capture meets the same place
// again: it is there already, or longer now.
func addGap(all []Gap, g Gap) []Gap {
	for i := range all {
		if all[i].sameRow(&g) && all[i].Place == g.Place {
			if g.Places > all[i].Places {
				all = slices.Clone(all)
				all[i] = g
			}
			return all
		}
	}
	if len(all) < maxGaps {
		return append(all, g)
	}
	all = slices.Clone(all)
	all[len(all)-1].join(&g)
	return all
}

// Close ends the open segment and gives the archive free. What was never begun as
// a copy (Begin) is complete by that: whoever wrote it says so.
func (w *Writer) Close() error {
	err := w.Cut()
	if err == nil && w.m.Copied == nil {
		next := *w.m
		next.Copied = &Copied{Ended: source.EndedComplete}
		if last, ok := w.Last(); ok {
			next.Copied.End = &last
		}
		err = w.store(&next)
	}
	return errors.Join(err, w.Abandon())
}

// giveUp removes the open segment's files: their room is needed.
func (w *Writer) giveUp() {
	if w.seg == nil {
		return
	}
	w.seg.abandon()
	for _, o := range []*openFile{w.seg.index, w.seg.payload} {
		if o != nil {
			_ = w.fsys.Remove(o.name) // the next capture clears away what stays
		}
	}
	w.seg = nil
}

// Abandon gives the archive free without naming the open segment.
func (w *Writer) Abandon() error {
	if w.seg != nil {
		w.seg.abandon()
		w.seg = nil
	}
	if w.err == nil {
		w.err = errors.New("the writer is closed")
	}
	if w.lock == nil {
		return nil
	}
	err := w.lock.Close()
	w.lock = nil
	return err
}
