package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/window"
)

// gap is a place of a partition where something is missing, or not as it was written.
type gap struct {
	seg           string
	from, to      int64 // bytes of the segment's file; both 0 = all of it
	after, before int64 // the offsets around it; −1 = not known
	lost          int64 // −1 = not known
	cause         string
	stops         bool // Kafka's own recovery gets no further than here
	absent        bool // what is missing leaves no bad byte
}

// where names a gap's place in the files.
func (g *gap) where() string {
	switch {
	case g.from == 0 && g.to == 0:
		return g.seg
	case g.to <= g.from+1:
		return fmt.Sprintf("%s, byte %d", g.seg, g.from)
	}
	return fmt.Sprintf("%s, bytes %d to %d", g.seg, g.from, g.to-1)
}

// between says in offsets what is missing.
func (g *gap) between() string {
	switch {
	case g.lost == 0 && g.after < 0:
		return "the log's first batch"
	case g.lost == 0:
		return fmt.Sprintf("the batch after offset %d", g.after)
	case g.lost == 1 && g.before == g.after+2:
		return fmt.Sprintf("offset %d", g.after+1)
	case g.before > g.after+1:
		return fmt.Sprintf("the log from offset %d to %d", g.after+1, g.before-1)
	}
	return fmt.Sprintf("the log after offset %d", g.after)
}

// err is what a reader says of it.
func (g *gap) err(place string) *source.CorruptError {
	return &source.CorruptError{Source: place, Place: g.between(), Lost: g.lost, Cause: errors.New(g.where() + ": " + g.cause)}
}

// batch is a batch whose bytes are those that were written.
type batch struct {
	header
	seg   int
	moved bool // its offset, length or version is not what was written
}

// found is what stands at the next place of a partition: gaps, then perhaps a batch.
type found struct {
	gaps  []gap
	batch *batch
}

// walk goes through a partition's segments batch by batch.
type walk struct {
	segs []segment
	seg  int
	file *os.File
	w    window.Window
	off  int64
	last int64 // the last offset that is taken; −1 = none yet
	pend *gap  // before the next batch; what it lost is told by that
	torn string
}

// newWalk begins at a segment.
func newWalk(segs []segment, first int) *walk {
	return &walk{segs: segs, seg: first - 1, last: -1}
}

func (w *walk) close() {
	if w.file != nil {
		_ = w.file.Close() // only read
		w.file = nil
	}
}

// next returns what stands at the next place, io.EOF with what follows the last.
func (w *walk) next(ctx context.Context) (found, error) {
	var f found
	for {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		if w.file == nil || w.off >= w.w.Size {
			if err := w.turn(&f); err != nil {
				return f, err
			}
			continue
		}
		h, ok := headerAt(&w.w, w.off)
		if ok && h.whole(&w.w) {
			w.off = h.end
			if w.place(&f, h, false) {
				return f, nil
			}
			continue
		}
		if w.w.Zeros(w.off) { // room kept, or a write that never came
			w.off = w.w.Size
			continue
		}
		if err := w.bad(ctx, &f, h, ok); err != nil {
			return f, err
		}
		if f.batch != nil {
			return f, nil
		}
	}
}

// turn goes to the next segment; io.EOF at the end of the last.
func (w *walk) turn(f *found) error {
	if w.seg+1 < len(w.segs) {
		w.join(&w.segs[w.seg+1])
		w.settle(f, w.segs[w.seg+1].base)
	} else {
		w.settle(f, -1)
	}
	w.close()
	w.off, w.w = 0, window.Window{}
	if w.seg+1 >= len(w.segs) {
		return io.EOF
	}
	w.seg++
	s := &w.segs[w.seg]
	if s.named {
		w.last = max(w.last, s.base-1)
	}
	file, cause := s.open()
	if cause != "" {
		w.pend = &gap{seg: s.name, lost: -1, cause: cause, stops: true}
		return nil
	}
	w.file, w.w = file, window.Window{In: file, Size: s.size}
	return nil
}

// join holds a segment's end against the next one's name: a broker gives it the offset
// that follows, so a segment that ends earlier was cut between two batches, or one is gone.
func (w *walk) join(next *segment) {
	if w.pend != nil || w.seg < 0 || !next.named || next.base <= w.last+1 {
		return
	}
	s := &w.segs[w.seg]
	w.pend = &gap{seg: s.name, from: s.size, to: s.size, absent: true, cause: fmt.Sprintf("it ends there, and the next segment begins with offset %d", next.base)}
}

// settle tells what a gap that is open has lost by the offset that follows it.
func (w *walk) settle(f *found, next int64) {
	if w.pend == nil {
		return
	}
	g := *w.pend
	w.pend = nil
	g.after, g.before = w.last, next
	if next >= 0 {
		g.lost = max(next-w.last-1, 0)
	}
	f.gaps = append(f.gaps, g)
}

// gap adds a gap that is of the batch at hand alone.
func (w *walk) gap(f *found, h *header, lost, before int64, cause string) {
	f.gaps = append(f.gaps, gap{seg: w.segs[w.seg].name, from: h.off, to: w.off, after: w.last, before: before, lost: lost, cause: cause})
}

// follows is the first offset of what stands behind a batch; −1 = nothing tells.
func (w *walk) follows() int64 {
	if w.off < w.w.Size {
		return baseAt(&w.w, w.off)
	}
	if w.seg+1 < len(w.segs) {
		return w.segs[w.seg+1].base
	}
	return -1
}

// place holds a batch's offset, which its checksum does not cover, against the offsets
// around it; false where the batch is not read. A jump alone is none: offsets may leave
// numbers out.
func (w *walk) place(f *found, h header, moved bool) bool {
	next, before := w.follows(), w.last
	room := next - w.last - 1 // between what stands before and behind
	fits := next >= 0 && room >= h.delta+1
	low, high := h.base <= w.last, next >= 0 && h.last() >= next
	seg := &w.segs[w.seg]
	switch {
	case !low && !(high && fits) && (!seg.named || h.base-seg.base <= maxSpan):
		moved = moved || next < 0 && seg.named && w.pend == nil && w.seg == len(w.segs)-1 && h.base != w.last+1
	case w.pend == nil && next >= 0 && room == h.delta+1:
		w.gap(f, &h, 0, next, fmt.Sprintf("it says that it begins with offset %d, and there is room for it from offset %d on only", h.base, w.last+1))
		h.base, moved = w.last+1, true
	case low && next >= 0 && !fits:
		w.settle(f, w.last+1)
		w.gap(f, &h, 0, -1, fmt.Sprintf("offsets from %d on stand here again", h.base))
		return false
	default:
		w.settle(f, -1)
		w.gap(f, &h, h.count, next, fmt.Sprintf("its records are intact, but it says that it begins with offset %d, which cannot be, and nothing else tells their offsets", h.base))
		if fits {
			w.last = next - 1
		}
		return false
	}
	w.settle(f, h.base)
	w.last = h.last()
	for i := range f.gaps {
		if f.gaps[i].after == before && f.gaps[i].before < 0 {
			f.gaps[i].before = h.base
		}
	}
	f.batch = &batch{header: h, seg: w.seg, moved: moved}
	return true
}

// maxSpan is how many offsets a segment holds at most: Kafka counts them in 31 bits.
const maxSpan = 1<<31 - 1

// bad deals with what is no whole batch.
func (w *walk) bad(ctx context.Context, f *found, h header, room bool) error {
	to, err := w.resync(ctx, h, room)
	if err != nil {
		return err
	}
	if end, ok := w.mended(h, room, to); ok {
		length := h.end
		w.off, h.end = end, end
		w.gap(f, &h, 0, -1, "its records are intact, but its length or its version is not what was written")
		f.gaps[len(f.gaps)-1].stops = end != length || h.version < version
		if !w.place(f, h, true) {
			f.batch = nil
		}
		return nil
	}
	g := gap{seg: w.segs[w.seg].name, from: w.off, to: to, lost: -1, cause: "the checksum of its bytes does not match", stops: true}
	whole := room && h.version == version && h.sane(h.end-h.off)
	if w.w.Failed != nil {
		g.cause = "the disk does not give it: " + w.w.Failed.Error()
		w.w.Failed = nil
	} else if to == w.w.Size && (!room || h.end > w.w.Size) {
		g.cause = "the file ends in the middle of a batch"
		if w.seg == len(w.segs)-1 && (!room || whole) {
			w.torn, w.off = fmt.Sprintf("%s, byte %d", g.seg, w.off), w.w.Size
			return nil
		}
	}
	if whole && h.end == to && h.count == h.delta+1 {
		g.lost = h.count
	}
	w.pend, w.off = &g, to
	return nil
}

// mended finds the end of a batch whose bytes are right, though its length or version,
// which its checksum does not cover, is not.
func (w *walk) mended(h header, room bool, to int64) (int64, bool) {
	if !room {
		return 0, false
	}
	for _, end := range []int64{h.end, to, w.w.Size} {
		if end > h.off && h.sound(&w.w, end) {
			return end, true
		}
	}
	return 0, false
}

// resync finds the next whole batch behind a bad one, or the end of the file.
func (w *walk) resync(ctx context.Context, bad header, room bool) (int64, error) {
	if room && bad.end > bad.off && bad.end <= w.w.Size {
		if h, ok := headerAt(&w.w, bad.end); bad.end == w.w.Size || ok && h.whole(&w.w) {
			return bad.end, nil
		}
	}
	// A long batch that is claimed costs a checksum over all of it: so many bytes are
	// spent on such claims, so that rubbish does not take for ever.
	spend := int64(16<<20) + 16*(w.w.Size-w.off)
	for off := w.off + 1; off+headerSize <= w.w.Size; off++ {
		if off%4096 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		h, ok := headerAt(&w.w, off)
		if !ok || h.version != version || h.attrs > attrKnown {
			continue
		}
		if n := h.end - off; !h.sane(n) || h.end > w.w.Size || h.base < 0 || n > spend || !h.whole(&w.w) {
			if h.sane(n) && h.end <= w.w.Size {
				spend -= n
			}
			continue
		}
		return off, nil
	}
	return w.w.Size, nil
}

// open opens a segment's file, also when Kafka has given it up meanwhile; or says why not.
func (s *segment) open() (file *os.File, cause string) {
	file, err := os.Open(filepath.Join(s.dir, s.name))
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.Open(filepath.Join(s.dir, s.name+deletedSuffix))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "it was removed while the log was read"
	case err != nil:
		return nil, "it cannot be opened: " + err.Error()
	}
	return file, ""
}
