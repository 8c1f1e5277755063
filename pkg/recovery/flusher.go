package recovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// FlusherStart is the smallest flush position of the vchannels given, from which the
// node's flusher reads; zero where none stands before id, the checkpoint's.
// docs/rules.md#flusher-start
func FlusherStart(flushed map[string]*msgpb.MsgPosition, live func(vchannel string) bool, id message.ID) message.ID {
	var least message.ID
	for v, pos := range flushed {
		if !live(v) || catalog.ChannelDropped(pos) || len(pos.GetMsgID()) == 0 {
			continue
		}
		b := message.Backend(pos.GetWALName())
		if b == message.BackendUnknown {
			b = id.Backend
		}
		at, _, err := message.ParseBytes(b, pos.GetMsgID())
		if err == nil && at.SameWAL(id) && at.Less(id) && (least.IsZero() || at.Less(least)) {
			least = at
		}
	}
	return least
}

// flusherStop tells what of a message stops the flusher that gets it: the lines, and
// the code.
func flusherStop(m *message.Message) (Line, Code) {
	switch {
	case m.Type.Flusher() == message.Panics26:
		return Line26, CodeNewerType
	case !m.Type.Known():
		return AllLines, CodeUnknownType
	}
	return 0, ""
}

// errPast ends a reading after which recovery itself looks.
var errPast = errors.New("past the checkpoint")

// flusher looks at what recovery passes over, up to the checkpoint's TimeTick, and
// the flusher of a live vchannel does not: what lies after the vchannel's flush
// position.
func (p *replay) flusher(ctx context.Context, src source.Source) error {
	if p.opts.FromStart || p.start.IsZero() || p.cover.Records == 0 || p.cover.First != p.start {
		return nil
	}
	live := func(name string) bool { v := p.state.vchannels[name]; return v != nil && !dropped(v) }
	from := FlusherStart(p.opts.Flushed, live, p.start)
	if from.IsZero() {
		return nil
	}
	rd, err := guarded(ctx, src, source.Range{From: source.Bound{Kind: source.AtID, ID: from}})
	if errors.Is(err, source.ErrConsumed) {
		p.res.Unchecked = append(p.res.Unchecked, WentBy("what stops a flusher before the checkpoint"))
		return nil
	}
	if err != nil {
		return fmt.Errorf("read from the smallest flush position: %w", err)
	}
	defer func() { _ = rd.Close() }() // only read
	var found Issues
	sight := p.lookOut(src, from)
	err = source.Each(ctx, rd, func(m *message.Message) error {
		if m.Type == message.TypeTimeTick && m.TimeTick > p.startTick {
			return errPast
		}
		sight.Record(m.ID)
		pos := p.opts.Flushed[m.VChannel]
		stops, code := flusherStop(m)
		if stops != 0 && m.TimeTick <= p.startTick && live(m.VChannel) && !catalog.ChannelDropped(pos) && m.TimeTick > pos.GetTimestamp() {
			i := about(code, m)
			i.Stops, i.Detail = stops, "before the checkpoint, but after its vchannel's flush position, where the flusher begins"
			found.add(i)
		}
		return nil
	}, func(*source.CorruptError) error { sight.Unread(); return nil })
	p.holes = sight.Holes()
	if err != nil && !errors.Is(err, source.ErrTornTail) && !errors.Is(err, errPast) {
		return fmt.Errorf("read from the smallest flush position: %w", err)
	}
	found.append(&p.state.issues)
	p.state.issues = found
	return nil
}
