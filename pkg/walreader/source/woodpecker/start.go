package woodpecker

import (
	"context"
	"fmt"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Start implements source.StartSource: what a start of Milvus would make of the files
// as they lie. docs/rules.md#woodpecker-start
func (s *Source) Start(ctx context.Context) (source.Start, error) {
	segs, err := s.list()
	if err != nil {
		return source.Start{}, err
	}
	skips := source.Start{Outcome: source.StartSkips}
	places := 0
	for i, seg := range segs {
		found, err := s.found(ctx, segs, i)
		if err != nil {
			return source.Start{}, err
		}
		if found.first < 0 || s.meta.truncated(s.at.id, seg.number, found.last) {
			continue // readers pass by what is truncated
		}
		if says, hangs := found.hangs(seg); hangs {
			return source.Start{Outcome: source.StartHangs, Says: says}, nil
		}
		if len(found.stops) == 0 {
			continue
		}
		if places++; places == 1 {
			skips.Says = fmt.Sprintf("Milvus starts without an error and reads segment %d only up to its block that begins with entry %d", seg.number, found.stops[0].first)
		}
		skips.Loses += found.from(found.stops[0].first)
	}
	switch places {
	case 0:
		return source.Start{Outcome: source.StartWhole, Says: "Milvus starts and reads all of it"}, nil
	case 1:
	default:
		skips.Says += fmt.Sprintf(", and so in %d more segments", places-1)
	}
	skips.Says += fmt.Sprintf(": %d intact messages are passed by without a word", skips.Loses)
	return skips, nil
}

// hangs says where a reader of Woodpecker waits for ever, as at the end of a log that is
// being written.
func (o *scanned) hangs(seg *segment) (string, bool) {
	switch {
	case !o.header && o.footer == nil:
		return fmt.Sprintf("Milvus starts and never comes to an end: the header of segment %d is damaged, so that nothing of it is read", seg.number), true
	case len(o.stops) > 0 && o.stops[0].short:
		return fmt.Sprintf("Milvus starts and never comes to an end: the block of segment %d that begins with entry %d is shorter than it says, and a reader waits for the rest", seg.number, o.stops[0].first), true
	}
	return "", false
}

// from counts the intact entries from one on.
func (o *scanned) from(first int64) (n int64) {
	for _, it := range o.items {
		if !it.hole {
			n += max(0, it.first+it.n-max(it.first+it.skip, first))
		}
	}
	return n
}
