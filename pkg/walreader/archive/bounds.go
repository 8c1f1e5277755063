package archive

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// resolve turns a range into rows start … end−1 of the archive.
func (s *Source) resolve(ctx context.Context, r source.Range) (start, end int64, err error) {
	total := s.m.Records()
	end = total
	if r.From.Kind != source.Unbounded {
		if start, err = s.seek(ctx, r.From, false); err != nil {
			return 0, 0, err
		}
	}
	if r.To.Kind != source.Unbounded {
		if end, err = s.seek(ctx, r.To, true); err != nil {
			return 0, 0, err
		}
	}
	start = min(max(0, start+r.From.Offset), total)
	end = min(max(start, end+r.To.Offset), total)
	if r.Limit > 0 {
		end = min(end, start+r.Limit)
	}
	return start, end, nil
}

// search is a question for the first row that matches.
type search struct {
	set   message.ColumnSet
	col   int
	least int64               // a match has at least this in it
	skip  func(*Segment) bool // no match in the segment
	match func(c *message.Columns, i int) bool
	stop  bool // a place that cannot be read counts as the match: nothing may be passed over
}

// seek returns the first row after (to) or at (from) the bound.
func (s *Source) seek(ctx context.Context, b source.Bound, to bool) (int64, error) {
	q := search{stop: !to}
	switch b.Kind {
	case source.AtID:
		id, least := b.ID, 0
		if to {
			least = 1
		}
		q.set, q.col, q.least = message.ColumnID, colA, id.A
		q.skip = func(g *Segment) bool {
			return g.Sorted && comparePlace(g.Last, Position{A: id.A, B: id.B, Batch: id.Batch}) < least
		}
		q.match = func(c *message.Columns, i int) bool {
			return comparePlace(Position{A: c.A[i], B: c.B[i], Batch: c.Batch[i]}, Position{A: id.A, B: id.B, Batch: id.Batch}) >= least
		}
	default:
		least, ok := leastTimeTick(b, to)
		if !ok {
			return s.m.Records(), nil
		}
		q.set, q.col, q.least = message.ColumnTimeTick|message.ColumnFlags|message.ColumnType, colTimeTick, int64(min(least, math.MaxInt64))
		q.skip = func(g *Segment) bool { return g.MaxTimeTick < least }
		q.match = func(c *message.Columns, i int) bool {
			return c.TimeTick[i] >= least && c.Flags[i]&message.HasTimeTick != 0 && (!to || c.Type[i] == message.TypeTimeTick)
		}
	}
	return s.first(ctx, q)
}

// leastTimeTick is the smallest TimeTick at a From bound or behind a To bound;
// false where there is none.
func leastTimeTick(b source.Bound, to bool) (uint64, bool) {
	if !to {
		return b.Least(), true
	}
	last := b.TimeTick
	if b.Kind == source.AtTime {
		last = message.LastTSOAt(b.Time)
	}
	return last + 1, last != math.MaxUint64
}

// first returns the first row that matches, or the number of rows.
func (s *Source) first(ctx context.Context, q search) (int64, error) {
	base := int64(0)
	for i := range s.m.Segments {
		seg := &s.m.Segments[i]
		if !q.skip(seg) {
			row, err := s.firstIn(ctx, q, base, seg)
			if err != nil || row >= 0 {
				return row, err
			}
		}
		base += seg.Rows
	}
	return base, nil
}

// firstIn searches one segment; −1 where nothing matches.
func (s *Source) firstIn(ctx context.Context, q search, base int64, seg *Segment) (int64, error) {
	c := s.plain(base, base+seg.Rows)
	defer c.close()
	b := newBlock(s.m.Backend, newNames())
	var hi []int64
	for {
		p, err := c.next(ctx)
		var corrupt *source.CorruptError
		switch {
		case errors.Is(err, io.EOF):
			return -1, nil
		case errors.As(err, &corrupt):
			if q.stop {
				return base, nil
			}
			return -1, nil
		case err != nil:
			return 0, err
		}
		if hi == nil {
			if _, hi, err = p.f.Bounds(q.col); err != nil {
				hi = make([]int64, len(p.f.Blocks()))
				for k := range hi {
					hi[k] = math.MaxInt64
				}
			}
		}
		if hi[c.block-1] < q.least {
			continue
		}
		if err := b.load(p, q.set); err != nil {
			if q.stop {
				return p.row, nil
			}
			var page *columnfile.PageError
			if errors.As(err, &page) {
				continue
			}
			return 0, err
		}
		for i := 0; i < p.b.Rows; i++ {
			if q.match(&b.Columns, i) {
				return p.row + int64(i), nil
			}
		}
	}
}
