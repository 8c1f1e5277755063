package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Copied says what the last capture into an archive was meant to reach and how
// it ended. It is written before the first record as "interrupted", so that a
// capture that is killed leaves just that.
type Copied struct {
	Ended source.Ending `json:"ended"`
	Start *Position     `json:"start,omitempty"` // where it was told to begin, behind the origin's first record; nil = there
	End   *Position     `json:"end,omitempty"`   // the origin's last id when it was begun; nil = none, or not known
	Empty bool          `json:"empty,omitempty"` // the origin held no record then
	Limit int64         `json:"limit,omitempty"` // the records it was limited to; 0 = by a range
	Torn  bool          `json:"torn,omitempty"`  // the origin ends in the middle of a record
	// Unread: the origin could not be read at its end, so records may lie beyond End.
	Unread bool `json:"end_unread,omitempty"`
}

func (c *Copied) check() error {
	if c == nil {
		return nil
	}
	known := []source.Ending{source.EndedComplete, source.EndedLimited, source.EndedInterrupted,
		source.EndedDiskFull, source.EndedSourceLost, source.EndedFollowing}
	if !slices.Contains(known, c.Ended) {
		return fmt.Errorf("%w: manifest: a capture that ended %q", ErrDamaged, c.Ended)
	}
	return nil
}

// Begin notes what a copy is meant to reach. Until Finish says how it ended, it
// counts as interrupted.
func (w *Writer) Begin(c Copied) error {
	if w.err != nil {
		return w.err
	}
	c.Ended = source.EndedInterrupted
	next := *w.m
	next.Copied = &c
	return w.store(&next)
}

// Finish notes how the copy that was begun ended. It works after an error of the
// writer too: what is named by then is whole.
func (w *Writer) Finish(e source.Ending, torn bool) error {
	if w.lock == nil || w.m.Copied == nil {
		return w.err
	}
	c := *w.m.Copied
	c.Ended, c.Torn = e, torn
	next := *w.m
	next.Copied = &c
	return w.store(&next)
}

// reached reports whether the last row held is the origin's last, or behind it.
func (m *Manifest) reached() bool {
	c := m.Copied
	if c.Empty {
		return true
	}
	n := len(m.Segments)
	return n > 0 && c.End != nil && comparePlace(m.Segments[n-1].Last, *c.End) >= 0
}

// Extent implements source.ExtentSource. An archive is whole where its capture
// reached the end that its origin named when it was begun. One that does not tell
// is not: nothing proves that it is.
func (s *Source) Extent(context.Context) (source.Extent, error) {
	return s.m.extent(s.dir, s.m.Source), nil
}

func (m *Manifest) extent(dir, origin string) source.Extent {
	var e source.Extent
	if n := len(m.Segments); n > 0 {
		e.Last = m.Segments[n-1].Last.ID(m.Backend)
	}
	if origin != "" {
		e.Resume = "walctl capture " + source.ShellWord(origin) + " --dir " + source.ShellWord(dir)
	}
	c := m.Copied
	if c == nil {
		e.Detail = "the archive does not tell how its capture ended"
		return e
	}
	e.Ended = c.Ended
	if c.Start != nil {
		e.Start = c.Start.ID(m.Backend)
	}
	if c.End != nil {
		e.End = c.End.ID(m.Backend)
	}
	e.Whole = c.Ended == source.EndedComplete || c.Ended == source.EndedFollowing && m.reached()
	if !e.Whole {
		e.Detail = c.words(e.Last, e.End)
		return e
	}
	e.Resume = ""
	return e
}

// words say how far a capture came and why no further.
func (c *Copied) words(last, end message.ID) string {
	to := "captured to " + last.String()
	if last.IsZero() {
		to = "nothing is captured"
	}
	switch {
	case !end.IsZero():
		to += " of " + end.String()
	case !c.Empty:
		to += ", the log's end is not known"
	}
	return to + ": " + c.why()
}

func (c *Copied) why() string {
	switch c.Ended {
	case source.EndedLimited:
		if c.Limit > 0 {
			return fmt.Sprintf("it was limited to %d records", c.Limit)
		}
		return "it was limited by a range"
	case source.EndedDiskFull:
		return "the disk was full"
	case source.EndedSourceLost:
		return "the log could not be read on"
	case source.EndedFollowing:
		return "it followed the log and was stopped before it reached that"
	default:
		return "it was interrupted, or still runs"
	}
}

// lacks says what a copy does not hold of its origin, for Bounds. A place that the
// origin could not give at an end leaves that end unknown too.
func (m *Manifest) lacks() source.Lacks {
	e := m.extent("", "")
	l := source.Lacks{Start: !e.Start.IsZero(), End: !e.Whole, Of: e.End}
	if m.Copied != nil && m.Copied.Unread {
		l.Of = message.ID{}
	}
	for _, g := range m.Gaps {
		l.Start = l.Start || g.AtStart
		if n := len(m.Segments); !l.End && (n == 0 || !g.AtStart && g.After == m.Segments[n-1].Last) {
			l.End, l.Of = true, message.ID{}
		}
	}
	return l
}

// begin asks the source for its end, before anything is read of it.
func (c *capture) begin(ctx context.Context) error {
	e, err := source.ExtentOf(ctx, c.src)
	if err != nil {
		return fmt.Errorf("finding the log's end: %w", err)
	}
	c.origin = e
	d := Copied{Limit: c.opt.Limit, Empty: e.End.IsZero() && e.Last.IsZero() && e.Whole}
	if old := c.w.Manifest().Copied; old != nil {
		d.Start = old.Start // what was left out then is left out still
	}
	if !e.End.IsZero() {
		d.End = place(e.End)
	}
	if b, err := c.src.Bounds(ctx); err == nil {
		d.Unread = b.Lacks.End && b.Lacks.Of.IsZero()
	}
	return c.w.Begin(d)
}

func place(id message.ID) *Position { return &Position{A: id.A, B: id.B, Batch: id.Batch} }

// begunLater notes that the first record taken is not the origin's first.
func (c *capture) begunLater(ctx context.Context, m *message.Message) error {
	start := c.origin.Start
	if c.opt.From.Kind != source.Unbounded {
		b, err := c.src.Bounds(ctx)
		if err != nil {
			return fmt.Errorf("finding the log's beginning: %w", err)
		}
		if !b.Empty && b.First != m.ID {
			start = m.ID
		}
	}
	if start.IsZero() {
		return nil
	}
	d := *c.w.Manifest().Copied
	d.Start = place(start)
	return c.w.Begin(d)
}

// finish says how the capture ended. What ended it is err; nil is its own end.
func (c *capture) finish(ctx context.Context, err error) error {
	if c.w.Manifest().Copied == nil {
		return nil // it came no further than opening
	}
	how := c.ending(ctx, err)
	if how == source.EndedDiskFull {
		c.w.giveUp() // the manifest needs a little room
	}
	c.done.Ended = how
	ferr := c.w.Finish(how, c.done.TornTail)
	c.done.Extent = c.w.Manifest().extent(c.dir, c.w.Manifest().Source)
	if err != nil {
		return nil //nolint:nilerr // told by the caller; until the archive can be written again it says "interrupted"
	}
	return ferr
}

func (c *capture) ending(ctx context.Context, err error) source.Ending {
	switch {
	case err == nil && c.opt.Follow, ctx.Err() != nil && c.opt.Follow:
		return source.EndedFollowing
	case err != nil && noSpace(err):
		return source.EndedDiskFull
	case ctx.Err() != nil:
		return source.EndedInterrupted
	case err != nil && c.lostSource:
		return source.EndedSourceLost
	case err != nil:
		return source.EndedInterrupted
	case c.w.Manifest().reached() && c.origin.Whole:
		return source.EndedComplete
	case c.opt.Limit > 0 && c.taken >= c.opt.Limit, c.opt.To.Kind != source.Unbounded, c.opt.From.Kind != source.Unbounded && c.w.Manifest().Records() == 0:
		return source.EndedLimited
	case !c.origin.Whole:
		return cmpEnding(c.origin.Ended)
	case c.unreadEnd, c.w.Manifest().Copied.End == nil:
		return source.EndedComplete // its end stands among the gaps, or only the reader knew it
	}
	return source.EndedSourceLost
}

// cmpEnding is the ending of a copy's copy: that of a copy that does not tell is
// not known either.
func cmpEnding(e source.Ending) source.Ending {
	if e == "" || e == source.EndedComplete {
		return source.EndedInterrupted
	}
	return e
}

// noSpace reports whether an error says that a disk or a quota is full.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
