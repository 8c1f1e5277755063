package recovery

import (
	"fmt"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// noCheckpoint begins a WAL that was never opened, as the catalog has it: with
// RootCoord's collections, at the opening that is to come. What the log holds by
// then is passed over.
func (p *replay) noCheckpoint(md catalog.Metadata) {
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
	p.state.issues.add(i)
}

// missing names the vchannels that RootCoord lists on the pchannel and that neither
// catalog nor log brings. Where only part of the log was replayed, or a collection
// is younger than what was read, its CreateCollection may lie behind it.
func (p *replay) missing(md catalog.Metadata) {
	if _, stands := md.KV[catalog.CheckpointKey(md.PChannel)]; !stands || p.opts.Until.Kind != 0 || p.opts.FromStart {
		return
	}
	known, tick := p.reached().vchannels, p.reached().tick
	for _, c := range p.opts.Collections {
		if c.Info.GetCreateTime() > tick {
			continue
		}
		for _, name := range catalog.Served(map[int64]*catalog.Collection{c.Info.GetID(): c}, md.PChannel) {
			if known[name] != nil {
				continue
			}
			p.stays(Issue{Code: CodeVChannelMissing, VChannel: name, Collection: c.Info.GetID(), Detail: name})
		}
	}
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
