package recovery

import (
	"context"
	"fmt"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// stand judges where the checkpoint's position stands, once the log was read from
// it. The log's ends are asked for only where what was read leaves a doubt: to
// find them can mean to read the log once more.
func (p *replay) stand(ctx context.Context, src source.Source) error {
	c := &p.cover
	if p.start.IsZero() || !p.stored || c.Records > 0 && c.First == p.start {
		return nil
	}
	b, err := src.Bounds(ctx)
	p.bounds = b
	switch {
	case err != nil && c.Records > 0: // a stream whose end nobody knows: what was read of it tells
		if p.bounds.First.IsZero() {
			p.bounds.First = c.First
		}
		p.bounds.Last = c.Last
	case err != nil:
		return fmt.Errorf("find the log's ends: %w", err)
	}
	p.standing = p.bounds.Standing(p.start)
	if p.standing == source.Within && c.Records > 0 && !p.start.Backend.Offsets() && c.firstCause() == nil {
		p.standing = source.Hole
	}
	switch lost := p.standing != source.Within; {
	case c.Records == 0 && lost && len(c.Gaps) == 0:
		c.From = p.start
		c.Gaps = append(c.Gaps, Gap{After: p.start})
		fallthrough
	case p.standing == source.NotHeld && len(c.Gaps) > 0 && c.Gaps[0].After == p.start && c.Gaps[0].Cause == nil:
		if p.standing == source.NotHeld {
			c.Gaps[0].Cause = &NotHeldError{}
		}
	}
	return nil
}

// firstCause is what kept the checkpoint's own record from being read, nil where
// nothing did.
func (c *coverage) firstCause() error {
	if len(c.Gaps) > 0 && c.Gaps[0].After == c.From {
		return c.Gaps[0].Cause
	}
	return nil
}

// goneIssue tells of a checkpoint that cannot be read from.
func (p *replay) goneIssue() Issue {
	i := GoneIssue(p.standing, p.bounds, p.start)
	if p.standing == source.Hole {
		i.Detail = fmt.Sprintf("it %s; the next one is %s", p.standing, p.cover.First)
	}
	return i
}

// GoneIssue tells of a stored position that cannot be read from.
func GoneIssue(s source.Standing, b source.Bounds, id message.ID) Issue {
	i := Issue{Code: CodePositionGone}
	if !id.IsZero() {
		i.ID = id.String()
	}
	i.Detail = "it " + s.String()
	switch s {
	case source.BeforeFirst:
		i.Detail += ", " + b.First.String()
	case source.BehindEnd:
		i.Detail += ", " + b.Last.String()
	case source.OtherWAL:
		i.Detail = fmt.Sprintf("it is a position of %s, the log is %s's", id.Backend, b.First.Backend)
	}
	return i
}

// CheckpointIssue judges a catalog's checkpoint against a log's ends without
// reading between them: nil where a replay can begin there, or where there is no
// checkpoint. Replay judges by what it read, which is more.
func CheckpointIssue(md catalog.Metadata, b source.Bounds) *Issue {
	if md.Checkpoint == nil {
		return nil
	}
	id, err := CheckpointID(md, b.First.Backend)
	i := Issue{Code: CodeCheckpointBroken, Stops: AllLines}
	switch s := b.Standing(id); {
	case err != nil && md.Checkpoint.GetMessageId().GetId() == "":
		i = GoneIssue(source.NoPosition, b, id)
		i.Stops = AllLines
	case err != nil:
		i.Detail = err.Error()
	case !s.Gone():
		return nil
	default:
		i = GoneIssue(s, b, id)
		if s == source.OtherWAL {
			i.Stops = AllLines
		}
	}
	i.Key = catalog.CheckpointKey(md.PChannel)
	return &i
}

// CheckpointID is the position of the checkpoint, which md has, in a log whose ids
// are of the backend have (unknown where the log does not tell).
func CheckpointID(md catalog.Metadata, have message.Backend) (message.ID, error) {
	named := message.Backend(md.Checkpoint.GetMessageId().GetWALName())
	if named == message.BackendUnknown {
		named = have // before AlterWAL, the WAL configured was meant
	}
	if named == message.BackendUnknown {
		named = message.BackendPulsar
	}
	id, _, err := message.ParseRaw(named, md.Checkpoint.GetMessageId().GetId())
	if err != nil {
		return message.ID{}, err
	}
	if have == message.BackendOffset && named.Offsets() {
		id.Backend = have
	}
	return id, nil
}

// noPosition notes a checkpoint without an id: a node cannot parse it.
func (p *replay) noPosition(md catalog.Metadata) {
	p.state.issues.add(Issue{Code: CodePositionGone, Stops: AllLines, Key: catalog.CheckpointKey(md.PChannel),
		Detail: "it " + source.NoPosition.String()})
}
