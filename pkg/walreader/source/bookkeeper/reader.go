package bookkeeper

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
	"github.com/walctl/walctl/pkg/walreader/source/internal/window"
)

// found is what stands at the next place of a log.
type found struct {
	bad      []*source.CorruptError // before the messages
	messages []*message.Message
	after    *source.CorruptError // what of the entry cannot be read
}

// walk goes through a log entry by entry.
type walk struct {
	s       *snapshot
	l       *log
	parts   []part
	deleted bool
	dec     decoder
	o       options
	windows map[int32]*window.Window

	part, index int
	gaps        []gap // of the part, not told yet
	opened      bool  // gaps is of the part
	one         bool  // every entry read so far held one message
	ended       bool
	torn        *damage
}

func newWalk(s *snapshot, l *log, deleted bool, r source.Range) *walk {
	w := &walk{s: s, l: l, parts: kept(l.parts, deleted), deleted: deleted, dec: decoder{check: s.check}, windows: make(map[int32]*window.Window), one: true}
	w.o = options{props: r.Props, wants: r.Payload.Wants}
	if r.From.Kind == source.AtID && r.From.Offset >= 0 {
		w.seek(r.From.ID)
	}
	return w
}

func (w *walk) close() { w.dec.un.close() }

// seek begins where an entry may stand, if the ledgers' numbers rise.
func (w *walk) seek(id message.ID) {
	for i, p := range w.parts {
		if i > 0 && p.id < w.parts[i-1].id {
			return
		}
	}
	for w.part < len(w.parts) && w.parts[w.part].id < id.A {
		w.part++
	}
	if w.part < len(w.parts) && w.parts[w.part].id == id.A {
		for _, e := range w.parts[w.part].entries {
			if e.entry >= id.B {
				break
			}
			w.index++
		}
	}
}

// counts reports whether an entry belongs to the log, or is read though it does not.
func (w *walk) counts(p part, e place) bool {
	return p.last == unknown || e.entry <= p.last || w.deleted
}

// next returns what stands at the next place, io.EOF with what follows the last.
func (w *walk) next(ctx context.Context) (found, error) {
	var f found
	for w.part < len(w.parts) {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		p := w.parts[w.part]
		if !w.opened {
			w.begin(p)
		}
		for len(w.gaps) > 0 && w.gaps[0].index <= w.index {
			f.bad = append(f.bad, w.s.missing(p, w.gaps[0], w.one))
			w.gaps = w.gaps[1:]
		}
		if w.index == len(p.entries) {
			w.part, w.index, w.opened = w.part+1, 0, false
			continue
		}
		e := p.entries[w.index]
		if w.index++; !w.counts(p, e) {
			continue
		}
		w.entry(&f, p, e)
		return f, nil
	}
	if !w.ended {
		w.ended = true
		var bad []*source.CorruptError
		bad, w.torn = w.s.tail(w.l)
		f.bad = append(f.bad, bad...)
	}
	return f, io.EOF
}

// begin finds what is missing of a ledger from where it is read.
func (w *walk) begin(p part) {
	w.opened, w.gaps = true, nil
	if p.deleted {
		p.last = unknown
	}
	for _, g := range p.gaps(p.last) {
		if g.index >= w.index {
			w.gaps = append(w.gaps, g)
		}
	}
}

// entry reads an entry again, and takes it apart.
func (w *walk) entry(f *found, p part, e place) {
	win, ok := w.windows[e.file]
	if !ok {
		in := w.s.files[e.file]
		win = &window.Window{In: in.in, Size: in.size}
		w.windows[e.file] = win
	}
	name := fmt.Sprintf("entry %d of ledger %d", e.entry, p.id)
	b, err := win.At(e.off, int64(e.size))
	if err != nil {
		f.after = &source.CorruptError{Source: w.s.place, Place: name, Lost: -1, Cause: fmt.Errorf("%s was changed while it was read: %w", w.s.files[e.file].name, err)}
		return
	}
	kind := w.s.check.check(b)
	if kind == digestUnknown {
		f.after = &source.CorruptError{Source: w.s.place, Place: name, Lost: -1, Cause: errDigest}
		return
	}
	f.messages, err = w.dec.messages(p.id, e.entry, b, kind, w.o)
	w.one = w.one && len(f.messages) == 1
	for _, m := range f.messages {
		if p.deleted || p.last != unknown && e.entry > p.last {
			m.Flags |= message.Deleted
		}
	}
	var lost *lostError
	if errors.As(err, &lost) {
		f.after = &source.CorruptError{Source: w.s.place, Place: name, Lost: lost.lost, Cause: lost.cause}
	}
}

// reader turns the entries of a log into messages.
type reader struct {
	selector.Steps
	s    *Source
	snap *snapshot
	walk *walk
}

// step hands what stands at the next place to the selector.
func (r *reader) step(ctx context.Context) error {
	f, err := r.walk.next(ctx)
	for _, c := range f.bad {
		r.Sel.Corrupt(c)
	}
	for _, m := range f.messages {
		r.Sel.Push(m)
	}
	if f.after != nil {
		r.Sel.Corrupt(f.after)
	}
	switch {
	case errors.Is(err, io.EOF):
		r.Sel.End()
		if r.End = io.EOF; r.walk.torn != nil {
			d := r.walk.torn
			r.End = fmt.Errorf("%s: %s ends in the middle of an entry (byte %d): %w", r.s.place, d.file.name, d.from, source.ErrTornTail)
		}
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.End = fmt.Errorf("read %s: %w", r.s.place, err)
	}
	return nil
}

// free gives back what the reader holds of the disks.
func (r *reader) free() {
	r.walk.close()
	r.snap.release()
}
