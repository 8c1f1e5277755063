package message

import (
	"cmp"
	"slices"
)

// BroadcastCopy is one copy of a broadcast.
type BroadcastCopy struct {
	Broadcast uint64
	VChannel  string
}

// CopyWatch holds the copies of each broadcast that a log has against the list of
// vchannels every copy carries. docs/rules.md#catalog-cross
type CopyWatch struct {
	pchannel string
	by       map[uint64]*watchedCopies
}

type watchedCopies struct {
	MissingCopy
	waits map[string]bool
}

// MissingCopy is a copy of a broadcast that a log of its pchannel does not have,
// though another one's list names it.
type MissingCopy struct {
	BroadcastCopy
	Type     Type
	At       ID     // the first copy that came
	TimeTick uint64 // of that
}

// maxWatched bounds the broadcasts that are remembered.
const maxWatched = 1 << 20

// settles is how long, in milliseconds of the log's own time, a broadcast's copies may
// lie apart: they are written together, and a later TimeTick may come between.
const settles = 10_000

// NewCopyWatch watches one pchannel's log.
func NewCopyWatch(pchannel string) *CopyWatch {
	return &CopyWatch{pchannel: pchannel, by: map[uint64]*watchedCopies{}}
}

// See takes a message of a broadcast, in log order, and the vchannel it stands on.
// begun says that the log holds a TimeTick before it: of what stands in front of the
// first one, other copies may have been trimmed.
func (w *CopyWatch) See(m *Message, vchannel string, begun bool) {
	h, err := m.BroadcastHeader()
	if err != nil {
		return // told as a broken envelope
	}
	b, known := w.by[h.GetBroadcastId()]
	if !known && len(w.by) < maxWatched {
		b = &watchedCopies{MissingCopy: MissingCopy{BroadcastCopy: BroadcastCopy{Broadcast: h.GetBroadcastId()}, Type: m.Type, At: m.ID, TimeTick: m.TimeTick}}
		for _, v := range h.GetVchannels() {
			// A copy for the pchannel itself may carry the control channel's name.
			if begun && v != vchannel && PChannelOf(v) == w.pchannel && v != w.pchannel && !IsControlChannel(v) {
				if b.waits == nil {
					b.waits = map[string]bool{}
				}
				b.waits[v] = true
			}
		}
		if b.waits == nil {
			b = nil // complete; a copy sent twice begins nothing anew
		}
		w.by[h.GetBroadcastId()] = b
	}
	if b != nil {
		delete(b.waits, vchannel)
	}
}

// Missing lists what never came, of broadcasts that lie well before the log's last
// TimeTick, in log order.
func (w *CopyWatch) Missing(lastTick uint64) []MissingCopy {
	var out []MissingCopy
	for _, b := range w.by {
		if b == nil || !Settled(b.TimeTick, lastTick) {
			continue
		}
		for v := range b.waits {
			m := b.MissingCopy
			m.VChannel = v
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b MissingCopy) int {
		return cmp.Or(cmp.Compare(a.TimeTick, b.TimeTick), cmp.Compare(a.Broadcast, b.Broadcast), cmp.Compare(a.VChannel, b.VChannel))
	})
	return out
}

// Settled reports whether the log has gone on long enough for every copy to be there.
func Settled(tick, lastTick uint64) bool {
	return lastTick > tick && PhysicalMillis(lastTick)-PhysicalMillis(tick) >= settles
}
