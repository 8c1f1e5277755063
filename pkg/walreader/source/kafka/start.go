package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/english"
)

// Start implements source.StartSource: what a start of the broker would make of the
// files as they lie. docs/rules.md#kafka-start
func (s *Disk) Start(ctx context.Context) (source.Start, error) {
	segs, err := s.segments()
	if err != nil {
		return source.Start{}, err
	}
	l, err := look(ctx, segs)
	if err != nil {
		return source.Start{}, err
	}
	if l.first == nil {
		says := "the broker starts and gives out all of it"
		if l.torn != "" {
			says += fmt.Sprintf("; the batch that is cut at %s is dropped", l.torn)
		}
		return source.Start{Outcome: source.StartWhole, Says: says}, nil
	}
	if !l.first.stops || s.trusted(segs, l.seg) {
		return source.Start{Outcome: source.StartHangs, Says: fmt.Sprintf(
			"the broker starts and gives the bad bytes of %s out as they lie: a reader that checks them gets no further than offset %d", l.first.where(), l.first.after)}, nil
	}
	out := source.Start{Outcome: source.StartDeletes, Loses: l.behind}
	for _, seg := range segs[l.seg+1:] {
		out.Deletes = append(out.Deletes, seg.name)
	}
	out.Says = fmt.Sprintf("the broker was not stopped cleanly, so it starts with a check, cuts %s at byte %d", l.first.seg, l.first.from)
	if n := len(out.Deletes); n > 0 {
		out.Says += fmt.Sprintf(", deletes the %s after it", english.Number(int64(n), "segment"))
	}
	out.Says += fmt.Sprintf(" and says so only in its own log: %s after offset %d lost that can be read here, and the next messages get the same offsets",
		english.Number(l.behind, "message")+" "+english.Are(l.behind), l.first.after)
	return out, nil
}

// trusted reports whether the broker starts without checking a segment: after a clean
// stop any, otherwise those before the one its last flush reached.
func (s *Disk) trusted(segs []segment, seg int) bool {
	if !s.at.beside(propsFile) {
		return false
	}
	if s.at.beside(cleanFile) {
		return true
	}
	flushed := s.at.checkpoint(recoveryFile)
	return seg+1 < len(segs) && flushed >= segs[seg+1].base
}

// looked is what a pass over a partition's batches found.
type looked struct {
	first  *gap // where Kafka's own check gets no further, else what it does not notice; nil = nothing
	seg    int  // its segment
	behind int64
	torn   string
}

// look reads a partition as Kafka's check does, and counts what is intact behind the
// place where that ends.
func look(ctx context.Context, segs []segment) (looked, error) {
	w, l := newWalk(segs, 0), looked{}
	defer w.close()
	for {
		f, err := w.next(ctx)
		for i := range f.gaps {
			if g := &f.gaps[i]; !g.absent && (l.first == nil || g.stops && !l.first.stops) {
				l.first, l.behind = g, 0
				l.seg = slices.IndexFunc(segs, func(s segment) bool { return s.name == g.seg })
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			l.torn = w.torn
			return l, nil
		case err != nil:
			return l, err
		case f.batch != nil && l.first != nil && !f.batch.is(attrControl):
			l.behind += f.batch.count
		}
	}
}
