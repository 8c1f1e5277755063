package message

// Broadcasts remembers the broadcasts met on one vchannel, in TimeTick order, and
// tells which of those behind its DropCollection are repeats. The zero value is
// ready. docs/rules.md#invariants 11.
type Broadcasts struct {
	seen  map[uint64]struct{}
	whole bool   // the vchannel's life is known from its CreateCollection on
	drop  uint64 // the broadcast that dropped it; 0 = none met, or not a broadcast
}

// maxBroadcasts bounds what is remembered of one vchannel.
const maxBroadcasts = 1 << 16

// Repeats takes a broadcast's next copy and reports whether one of the same
// broadcast was met before. Where the vchannel's beginning was not seen, one that
// is no newer than the DropCollection may repeat what lies before, and counts so.
func (b *Broadcasts) Repeats(id uint64, t Type) bool {
	if _, ok := b.seen[id]; ok || id == 0 {
		return true
	}
	if b.seen == nil {
		b.seen = make(map[uint64]struct{}, 2)
		b.whole = t == TypeCreateCollection
	}
	if len(b.seen) < maxBroadcasts {
		b.seen[id] = struct{}{}
	} else {
		b.whole = false
	}
	unknown := !b.whole && (b.drop == 0 || id <= b.drop)
	if t == TypeDropCollection && b.drop == 0 {
		b.drop = id
	}
	return unknown
}

// Clone returns an independent copy.
func (b *Broadcasts) Clone() *Broadcasts {
	c := *b
	if b.seen != nil {
		c.seen = make(map[uint64]struct{}, len(b.seen))
		for id := range b.seen {
			c.seen[id] = struct{}{}
		}
	}
	return &c
}
