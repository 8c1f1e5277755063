package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// flushPositions judges where the flushers of the vchannels that a restart brings
// up would begin: at positions nobody can read on from, at the mark of a dropped
// channel. docs/rules.md#flusher-start
func (p *replay) flushPositions(ctx context.Context, src source.Source, md catalog.Metadata) error {
	if p.opts.FromStart || len(p.opts.Flushed) == 0 {
		return nil
	}
	served := map[string]bool{}
	for _, name := range catalog.Served(p.opts.Collections, md.PChannel) {
		served[name] = true
	}
	var judged []string
	at := map[string]catalog.FlushPosition{}
	for _, name := range sortedKeys(p.opts.Flushed) {
		v := p.reached().vchannels[name]
		if v == nil && !served[name] || v != nil && dropped(v) {
			continue // no flusher starts there
		}
		f := catalog.FlushPositionOf(p.opts.Flushed[name], src.Describe().Backend)
		if !f.Dropped {
			judged, at[name] = append(judged, name), f
		} else if v != nil && (served[name] || len(p.opts.Collections) == 0) {
			p.stays(Issue{Code: CodeChannelDropped, VChannel: name, Key: catalog.ChannelCheckpointKey(name), Detail: "the flush position is the mark of a dropped channel"})
		}
	}
	log, err := p.ends(ctx, src, at)
	if err != nil {
		return err
	}
	for _, name := range judged {
		f := at[name]
		s := f.Standing(log)
		if !s.Gone() {
			continue
		}
		var b source.Bounds
		if log != nil {
			b = *log
		}
		i := GoneIssue(s, b, f.ID)
		i.VChannel, i.Key, i.TimeTick = name, catalog.ChannelCheckpointKey(name), f.TimeTick
		if f.Unread != "" {
			i.Detail = "its id cannot be read: " + f.Unread
		}
		p.stays(i)
	}
	return nil
}

// lookOut looks out for the records the flush positions name, in what is read from
// an id on; zero = from the log's first record.
func (p *replay) lookOut(src source.Source, from message.ID) source.Sight {
	var ids []message.ID
	for _, m := range p.opts.Flushed {
		ids = append(ids, catalog.FlushPositionOf(m, src.Describe().Backend).ID)
	}
	s := source.NewSight(ids...)
	s.From(from)
	return s
}

// reached is the state after everything that was read.
func (p *replay) reached() *State {
	if p.res.Tail != nil {
		return p.res.Tail.Next
	}
	return p.state
}

// stays adds an issue that is the catalog's or the whole log's, so of every state reached.
func (p *replay) stays(i Issue) {
	p.state.issues.add(i)
	if p.res.Tail != nil {
		p.res.Tail.Next.issues.add(i)
	}
}

// ends are the log's ends as far as the positions need them; nil where they are not
// known. What was read tells them where all lie within.
func (p *replay) ends(ctx context.Context, src source.Source, at map[string]catalog.FlushPosition) (*source.Bounds, error) {
	holes := slices.Concat(p.holes, p.sight.Holes())
	seen := source.Bounds{First: p.cover.First, Last: p.cover.Last, Empty: p.cover.Records == 0, Holes: holes}
	within := !seen.Empty
	for _, f := range at {
		within = within && (!f.HasID || seen.Standing(f.ID).Inside())
	}
	if within || len(at) == 0 {
		return &seen, nil
	}
	if !p.bounds.First.IsZero() || p.bounds.Empty {
		p.bounds.Holes = holes
		return &p.bounds, nil
	}
	b, err := src.Bounds(ctx)
	b.Holes = holes
	switch {
	case errors.Is(err, source.ErrConsumed):
		return nil, nil //nolint:nilnil // a stream of which only a part was read: not known
	case err != nil:
		return nil, fmt.Errorf("find the log's ends: %w", err)
	}
	return &b, nil
}
