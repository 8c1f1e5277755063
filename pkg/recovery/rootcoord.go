package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// noCheckpoint begins a WAL that was never opened, as the catalog has it: with
// RootCoord's collections, at the opening that is to come. What the log holds by
// then is passed over.
func (p *replay) noCheckpoint(md catalog.Metadata) Issue {
	i := Issue{Code: CodeNoCheckpoint, Key: catalog.CheckpointKey(md.PChannel), Detail: "the collections the root coordinator would name are not known here"}
	if len(p.opts.Collections) > 0 {
		n := 0
		for _, c := range p.opts.Collections {
			for _, name := range catalog.Served(map[int64]*catalog.Collection{c.Info.GetID(): c}, md.PChannel) {
				if v := c.VChannel(name); v != nil && p.state.vchannels[name] == nil {
					p.state.vchannels[name] = &vchannel{meta: v, dirty: true}
					n++
				}
			}
		}
		i.Detail = fmt.Sprintf("vchannels taken from root-coord: %d", n)
	}
	return i
}

// missing names the vchannels that RootCoord lists on the pchannel and that neither
// catalog nor log brings. A registration may lie in what was not read, a collection
// that the log drops is no longer served: docs/rules.md#vchannel-missing.
func (p *replay) missing(ctx context.Context, src source.Source, md catalog.Metadata) error {
	if _, stands := md.KV[catalog.CheckpointKey(md.PChannel)]; !stands || p.opts.Until.Kind != 0 || p.opts.FromStart {
		return nil
	}
	absent := p.absent(ctx, src, md)
	if len(absent) == 0 {
		return nil
	}
	if p.opts.Pending != nil {
		pending, err := p.opts.Pending(ctx)
		if err != nil {
			return fmt.Errorf("read the broadcasts under way: %w", err)
		}
		absent = slices.DeleteFunc(absent, func(i Issue) bool { return pending[i.VChannel] })
	}
	gone, err := p.droppedInLog(ctx, src, absent)
	if err != nil {
		return fmt.Errorf("look for a DropCollection in the log: %w", err)
	}
	for _, i := range absent {
		if !gone[i.VChannel] {
			p.stays(i)
		}
	}
	return nil
}

// absent are the vchannels that RootCoord lists and that nothing read brings.
func (p *replay) absent(ctx context.Context, src source.Source, md catalog.Metadata) (out []Issue) {
	known, tick := p.reached().vchannels, p.reached().tick
	extent, err := source.ExtentOf(ctx, src)
	blind := p.cover.unread > 0 || err == nil && !extent.Whole
	created := map[string]bool{}
	for _, m := range p.scan.Waiting() { // not confirmed yet: the next opening does
		created[m.VChannel] = created[m.VChannel] || m.Type == message.TypeCreateCollection
	}
	for _, id := range slices.Sorted(maps.Keys(p.opts.Collections)) {
		c := p.opts.Collections[id]
		if c.Info.GetCreateTime() > tick || blind && !c.CreatedBy(p.startTick) {
			continue
		}
		for _, name := range catalog.Served(map[int64]*catalog.Collection{id: c}, md.PChannel) {
			if known[name] == nil && !created[name] {
				out = append(out, Issue{Code: CodeVChannelMissing, VChannel: name, Collection: c.Info.GetID(), Detail: name})
			}
		}
	}
	return out
}

// droppedInLog tells which of the vchannels the log drops anywhere, before the checkpoint
// too, which a replay passes over. Of a stream that went by nothing is known.
func (p *replay) droppedInLog(ctx context.Context, src source.Source, absent []Issue) (map[string]bool, error) {
	out := map[string]bool{}
	if len(absent) == 0 {
		return out, nil
	}
	rd, err := guarded(ctx, src, source.Range{})
	if errors.Is(err, source.ErrConsumed) {
		p.res.Unchecked = append(p.res.Unchecked, WentBy("which vchannels the log drops before the checkpoint"))
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = rd.Close() }() // only read
	err = source.Each(ctx, rd, func(m *message.Message) error {
		out[m.VChannel] = out[m.VChannel] || m.Type == message.TypeDropCollection
		return nil
	}, func(*source.CorruptError) error { return nil })
	if errors.Is(err, source.ErrTornTail) {
		err = nil
	}
	return out, err
}

// copy notes a broadcast's copy and how far the log was read.
func (p *replay) copy(m *message.Message) {
	if p.copies != nil && m.Has(message.HasBroadcast) {
		p.copies.See(m, m.VChannel, p.lastTick != 0)
	}
	if m.Type == message.TypeTimeTick {
		p.lastTick = max(p.lastTick, m.TimeTick)
	}
}

// copyMissing names the copies of broadcasts that never came. Damage may have taken
// them.
func (p *replay) copyMissing() {
	if p.cover.unread > 0 {
		return
	}
	for _, m := range p.copies.Missing(p.lastTick) {
		p.stays(Issue{Code: CodeCopyMissing, ID: m.At.String(), TimeTick: m.TimeTick, Type: m.Type, VChannel: m.VChannel,
			Detail: fmt.Sprintf("broadcast %d has no copy on %s", m.Broadcast, m.VChannel)})
	}
}
