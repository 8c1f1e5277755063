package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// gapsInOrder returns the places that the origin could not give, in the log's order.
func (m *Manifest) gapsInOrder() []Gap {
	return slices.SortedStableFunc(slices.Values(m.Gaps), func(a, b Gap) int { return cmp.Compare(a.behind(), b.behind()) })
}

// behind is the ordinal of the last row before the gap.
func (g *Gap) behind() int64 {
	if g.AtStart {
		return -1
	}
	return g.After.Ordinal
}

// corrupt is a gap as a reader of the archive tells it: as the reader of the log
// did that was captured.
func (g *Gap) corrupt(dir string) *source.CorruptError {
	e := &source.CorruptError{Source: dir, Place: g.Place, Lost: g.Lost, Cause: errors.New(g.Cause)}
	if g.Places > 1 {
		e.Place = fmt.Sprintf("%s … %s, %d places", g.Place, g.Until, g.Places)
	}
	if g.Source != "" {
		e.Place += " of " + g.Source
	}
	return e
}

// beforeGap cuts a part off at the next gap, or tells that gap where the part
// lies after it. Gaps before the first row of a range are not in the range, but for
// those right before it where what the range begins with is not there: a gap took it.
func (c *cursor) beforeGap(ctx context.Context, p *part) error {
	if len(c.gaps) == 0 {
		return nil
	}
	ordinals, err := columnfile.Ints[int64](p.f, p.b, colOrdinal, nil)
	if err != nil {
		return nil //nolint:nilerr // whoever loads the block is told
	}
	if c.fresh {
		from := ordinals[p.lo]
		if !c.begins(p) {
			from = c.ordinalBefore(ctx, p, ordinals)
		}
		for len(c.gaps) > 0 && c.gaps[0].behind() < from {
			c.gaps = c.gaps[1:]
		}
		c.fresh = false
	}
	if len(c.gaps) == 0 {
		return nil
	}
	at := p.lo + sort.Search(p.hi-p.lo, func(i int) bool { return ordinals[p.lo+i] > c.gaps[0].behind() })
	if at == p.lo {
		return c.tellGap()
	}
	p.hi = at
	return nil
}

// begins reports whether the first row of a range is the one it was asked to begin
// with, or it was not asked for one by its id.
func (c *cursor) begins(p *part) bool {
	b := newBlock(c.m.Backend, newNames())
	return c.from.IsZero() || b.load(*p, message.ColumnID) != nil || b.ID(p.lo).Compare(c.from) == 0
}

// ordinalBefore is the ordinal of the row before a part; the part's first where it
// cannot be told.
func (c *cursor) ordinalBefore(ctx context.Context, p *part, ordinals []int64) int64 {
	if p.lo > 0 {
		return ordinals[p.lo-1]
	}
	before := c.s.plain(p.row-1, p.row)
	defer before.close()
	q, err := before.next(ctx)
	if err == nil {
		var own []int64
		if own, err = columnfile.Ints[int64](q.f, q.b, colOrdinal, nil); err == nil {
			return own[q.lo]
		}
	}
	return ordinals[p.lo]
}

func (c *cursor) tellGap() error {
	g := c.gaps[0]
	c.gaps = c.gaps[1:]
	return g.corrupt(c.s.dir)
}

// atEnd tells what stands after the last row, then how the log ends.
func (c *cursor) atEnd() error {
	switch {
	case len(c.gaps) > 0 && c.end == c.m.Records():
		return c.tellGap()
	case c.torn:
		return fmt.Errorf("%s: the log it was captured from ends there in the middle of a record: %w", c.s.dir, source.ErrTornTail)
	}
	return io.EOF
}
