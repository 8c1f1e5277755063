package catalog

import (
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// FlushPosition is DataCoord's channel checkpoint of a vchannel: how far it is
// flushed, and where its flusher begins to read.
type FlushPosition struct {
	TimeTick uint64 // 0 where Dropped: the mark is no TimeTick
	Dropped  bool
	ID       message.ID
	HasID    bool   // false: none is stored, or Unread
	Unread   string // why the stored id cannot be read
}

// FlushPositionOf reads a channel checkpoint. have is the log's backend: one that
// names no WAL means that.
func FlushPositionOf(m *msgpb.MsgPosition, have message.Backend) FlushPosition {
	if ChannelDropped(m) {
		return FlushPosition{Dropped: true}
	}
	p := FlushPosition{TimeTick: m.GetTimestamp()}
	b := message.Backend(m.GetWALName())
	if b == message.BackendUnknown {
		b = have
	}
	if b == message.BackendUnknown {
		b = message.BackendPulsar
	}
	if len(m.GetMsgID()) == 0 && b != message.BackendWoodpecker {
		return p
	}
	id, _, err := message.ParseBytes(b, m.GetMsgID()) // Woodpecker's 0/0 is stored as no bytes
	p.ID, p.HasID = id, err == nil
	if err != nil {
		p.Unread = err.Error()
	}
	return p
}

// Standing judges where a flusher that starts at the position begins. log are the
// log's ends, nil where they are not known: then a position with an id is NotHeld.
func (p FlushPosition) Standing(log *source.Bounds) source.Standing {
	switch {
	case !p.HasID:
		return source.NoPosition
	case log == nil:
		return source.NotHeld
	}
	return log.Standing(p.ID)
}
