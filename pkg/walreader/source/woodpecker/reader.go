package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/layout"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// reader reads a log's segments one after the other.
type reader struct {
	selector.Steps
	s    *Source
	rng  source.Range
	segs []*segment
	dec  layout.Decoder

	seg  int // the segment being read
	from int64
	now  *scanned // nil = not begun
	item int
	open int // the item that is being read; −1 = none
	file *os.File
	w    window
	off  int64
	id   int64 // of the next entry
}

// skipTo leaves out what lies before an id.
func (r *reader) skipTo(segment, entry int64) {
	for r.seg < len(r.segs) && r.segs[r.seg].number < segment {
		r.seg++
	}
	if r.seg < len(r.segs) && r.segs[r.seg].number == segment {
		r.from = entry
	}
}

// step hands what comes next to the selector. An error may be met again.
func (r *reader) step(ctx context.Context) error {
	switch {
	case r.seg >= len(r.segs):
		r.finish(io.EOF)
		return nil
	case r.now == nil:
		return r.begin(ctx)
	case r.item >= len(r.now.items):
		r.seg, r.now, r.from = r.seg+1, nil, 0
		return nil
	}
	it := &r.now.items[r.item]
	switch {
	case it.hole:
		r.item++
		r.hole(it)
		return nil
	case r.open != r.item:
		return r.enter(it)
	}
	return r.entry(it)
}

// begin goes to a segment and says what is missing before it.
func (r *reader) begin(ctx context.Context) error {
	seg := r.segs[r.seg]
	now, err := r.s.found(ctx, r.segs, r.seg)
	if errors.Is(err, fs.ErrNotExist) {
		r.corrupt(fmt.Sprintf("segment %d", seg.number), -1, errors.New("it was removed while the log was read"))
		r.seg++
		return nil
	}
	if err != nil {
		return err
	}
	if r.seg > 0 {
		if prev := r.segs[r.seg-1].number; seg.number > prev+1 {
			r.absent(prev+1, seg.number-1)
		}
	}
	if len(seg.parts) == 0 && r.seg < len(r.segs)-1 {
		what := "its directory holds no file of it"
		if seg.elsewhere {
			what = "its file was moved into the bucket: copy the segment's directory from there"
		}
		r.corrupt(fmt.Sprintf("segment %d", seg.number), -1, errors.New(what))
	}
	r.now, r.item, r.open = now, 0, -1
	for r.item < len(now.items) && now.ends(r.item) < r.from {
		r.item++
	}
	return nil
}

// ends is the last entry an item speaks of.
func (o *scanned) ends(i int) int64 {
	it := &o.items[i]
	switch {
	case !it.hole:
		return it.first + it.n - 1
	case it.before >= 0:
		return it.before
	}
	return 1<<63 - 1
}

// absent says that segments are missing.
func (r *reader) absent(first, last int64) {
	place := fmt.Sprintf("segment %d", first)
	if last > first {
		place = fmt.Sprintf("segments %d to %d", first, last)
	}
	r.corrupt(place, -1, errors.New("the directory is missing"))
}

func (r *reader) corrupt(place string, lost int64, cause error) {
	r.Sel.Corrupt(&source.CorruptError{Source: r.s.path, Place: place, Lost: lost, Cause: cause})
}

// hole says what is missing, where.
func (r *reader) hole(it *item) {
	seg := r.segs[r.seg]
	c := &source.CorruptError{Source: r.s.path, Place: it.between(seg.number), Lost: it.lost, Cause: errors.New(it.where(seg) + ": " + it.cause)}
	last := r.seg == len(r.segs)-1 && r.item == len(r.now.items)
	if last && r.now.torn && it.lost <= 0 {
		r.finish(fmt.Errorf("%s: %s: %w", r.s.path, it.where(seg), source.ErrTornTail))
		return
	}
	r.Sel.Corrupt(c)
}

// where names a hole's place in the files.
func (it *item) where(seg *segment) string {
	name := it.name
	if name == "" && it.part < len(seg.parts) {
		name = seg.parts[it.part].name
	}
	name = fmt.Sprintf("%d/%s", seg.number, name)
	switch {
	case it.name != "":
		return name
	case it.to > it.from:
		return fmt.Sprintf("%s, bytes %d to %d", name, it.from, it.to-1)
	}
	return fmt.Sprintf("%s, byte %d", name, it.from)
}

// between says in ids what is missing.
func (it *item) between(segment int64) string {
	last := it.after + it.lost
	switch {
	case it.lost == 0 && it.after < 0:
		return fmt.Sprintf("segment %d before its first entry", segment)
	case it.lost == 0:
		return "a place after id " + id(segment, it.after).String()
	case it.lost == 1 && last+1 == it.before:
		return "id " + id(segment, last).String()
	case it.lost > 0 && last+1 == it.before:
		return "the log from id " + id(segment, it.after+1).String() + " to " + id(segment, last).String()
	case it.before >= 0:
		return "the log between ids " + id(segment, max(it.after, 0)).String() + " and " + id(segment, it.before).String()
	}
	return "the segment after id " + id(segment, max(it.after, 0)).String()
}

// enter goes to a piece.
func (r *reader) enter(it *item) error {
	seg := r.segs[r.seg]
	if r.file == nil || r.file.Name() != filepath.Join(seg.dir, seg.parts[it.part].name) {
		if r.file != nil {
			_ = r.file.Close() // only read
			r.file = nil
		}
		f, err := os.Open(filepath.Join(seg.dir, seg.parts[it.part].name))
		if err != nil {
			r.corrupt("entries from id "+id(seg.number, it.first).String()+" on", it.n-it.skip, fmt.Errorf("%s: %w", it.where(seg), err))
			r.item++
			return nil
		}
		r.file = f
	}
	r.w = window{in: r.file, size: it.to, buf: r.w.buf[:0]}
	r.off, r.id, r.open = it.from, it.first, r.item
	return nil
}

// entry reads one record of a piece.
func (r *reader) entry(it *item) error {
	seg := r.segs[r.seg]
	kind, end := r.w.frame(r.off)
	switch {
	case end < 0:
		r.corrupt("entries from id "+id(seg.number, r.id).String()+" on", it.first+it.n-r.id, fmt.Errorf("%s changed while it was read", it.where(seg)))
		r.item++
		return nil
	case kind != kindData:
		r.off = end
		return nil
	}
	rec := record{kind: kind, off: r.off, n: end - r.off - frameSize}
	here := r.id
	r.off, r.id = end, r.id+1
	if r.id == it.first+it.n {
		r.item++
	}
	if here < it.first+it.skip || here < r.from {
		return nil
	}
	payload, ok := r.dec.Split(r.w.payload(rec))
	if !ok {
		r.corrupt("id "+id(seg.number, here).String(), 1, errors.New("the entry is no message of Milvus"))
		return nil
	}
	m := r.dec.Message(id(seg.number, here), payload, r.rng.Props, r.rng.Payload.Wants)
	m.Flags |= r.flags(seg.number, here)
	r.Sel.Push(m)
	return nil
}

// flags says what is to be known of an entry beside its message.
func (r *reader) flags(segment, entry int64) (f message.Flags) {
	if r.now.inBad(entry) {
		f |= message.InBadBlock
	}
	if r.now.footer != nil && r.now.footer.lac >= 0 && entry > r.now.footer.lac || r.now.unacked >= 0 && entry >= r.now.unacked {
		f |= message.Unacknowledged
	}
	if r.s.meta.truncated(r.s.at.id, segment, entry) {
		f |= message.Deleted
	}
	return f
}

// finish ends the log.
func (r *reader) finish(err error) {
	r.Sel.End()
	r.End = err
}

// free closes what is open.
func (r *reader) free() {
	if r.file != nil {
		_ = r.file.Close() // only read
	}
}
