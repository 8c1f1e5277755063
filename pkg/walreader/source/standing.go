package source

import (
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Standing says where a stored position (a checkpoint, a channel checkpoint, a
// last confirmed id) stands in a log that holds what Bounds says. It is judged in
// this one place, so that no two commands answer differently about one position.
type Standing uint8

// The standings. Only Within can be read from; every other one but NotHeld is gone
// for good, whatever command asks.
const (
	// Within: between the log's first and last id. Whether a record stands there
	// is known only by reading: see Hole.
	Within Standing = iota
	// BeforeFirst: retention or a truncation took it.
	BeforeFirst
	// BehindEnd: the log ends before it. The end is lost, or the log was made again.
	BehindEnd
	// EmptyLog: the log holds no record at all, so what the position names is gone.
	EmptyLog
	// OtherWAL: it is a position of another backend.
	OtherWAL
	// NoPosition: the stored value holds no id.
	NoPosition
	// Hole: within the bounds, but no record stands there, as who has read knows (Sight).
	Hole
	// NotHeld: in a part of the log that this copy of it does not hold. Nothing is
	// known of it; it is not gone by that.
	NotHeld
)

// String says it in words that follow "the position".
func (s Standing) String() string {
	return [...]string{
		"stands in the log", "lies before the log's first record", "lies beyond the log's end", "names a record of a log that holds none",
		"belongs to another WAL", "holds no id", "names a record that is not there",
		"lies in a part of the log that was not captured",
	}[min(s, NotHeld)]
}

// Gone reports whether a reader that starts at the position begins elsewhere.
func (s Standing) Gone() bool { return s != Within && s != NotHeld }

// Inside reports whether the position lies between the log's ends, a record there or none.
func (s Standing) Inside() bool { return s == Within || s == Hole }

// Standing judges a position against what the log holds. The sentinels for the
// log's start and end stand in every log.
func (b Bounds) Standing(id message.ID) Standing {
	switch {
	case id.IsZero():
		return NoPosition
	case id.IsEarliest() && (id.Backend == message.BackendPulsar || b.Empty || id.SameWAL(b.First)) || id == message.LatestID():
		return Within
	case b.Empty && b.Lacks.End:
		return NotHeld
	case b.Empty:
		return EmptyLog
	case !id.SameWAL(b.First):
		return OtherWAL
	case id.Compare(b.First) < 0 && b.Lacks.Start:
		return NotHeld
	case id.Compare(b.First) < 0:
		return BeforeFirst
	case id.Compare(b.Last) > 0 && b.Lacks.End && (b.Lacks.Of.IsZero() || id.Compare(b.Lacks.Of) <= 0):
		return NotHeld
	case id.Compare(b.Last) > 0:
		return BehindEnd
	case slices.Contains(b.Holes, id):
		return Hole
	}
	return Within
}

// StoredBackend reads the WAL name beside a stored position. Where it names none, the
// position is the log's own: written before the name was kept, it is Pulsar's.
func StoredBackend[N ~int32](name N, src Source) message.Backend {
	if b := message.Backend(name); b != message.BackendUnknown {
		return b
	}
	if b := src.Describe().Backend; b != message.BackendUnknown {
		return b
	}
	return message.BackendPulsar
}
