package scanner

import (
	"fmt"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// entry is one message a buffer holds.
type entry struct {
	tick  uint64
	bytes int64
	given int64 // virtual milliseconds
}

// buffer is Milvus's write-ahead buffer: persisted messages in TimeTick order, the oldest
// evicted first, and the newest TimeTick beside them. docs/rules.md#write-ahead-buffer
type buffer struct {
	policy    Policy
	capacity  int64
	keepalive int64 // milliseconds

	entries []entry // from head on
	head    int
	bytes   int64
	given   int64  // entries ever given
	newest  int64  // of those, how many came with the last TimeTick
	last    uint64 // TimeTick of the last entry, also of one evicted
	latest  uint64 // the newest TimeTick, also one that is in memory only
}

// newBuffer is a buffer as an opening leaves it.
func newBuffer(o *Options, opening entry) *buffer {
	b := &buffer{policy: o.Policy, capacity: o.Capacity, keepalive: o.Keepalive.Milliseconds(), latest: opening.tick}
	b.enter(opening)
	return b
}

func (b *buffer) enter(e entry) {
	b.entries = append(b.entries, e)
	b.bytes += e.bytes
	b.given++
	b.last = e.tick
}

// give hands the buffer what a TimeTick confirms, in TimeTick order, and then the
// TimeTick itself; persisted says that it stands in the log.
func (b *buffer) give(now int64, messages []entry, tick entry, persisted bool) {
	before := b.given
	for _, m := range messages {
		m.given = now
		b.enter(m)
	}
	if persisted && (b.policy >= Policy41470 || len(messages) > 0) {
		tick.given = now
		b.enter(tick)
	}
	b.latest, b.newest = tick.tick, b.given-before
	b.evict(now)
}

// idle lets time pass in which a node makes TimeTicks that it does not write.
func (b *buffer) idle(from, millis int64) {
	if ticks := millis / tickEvery; ticks > 0 {
		now := from + ticks*tickEvery
		b.give(now, nil, entry{tick: max(b.latest+1, message.ComposeTSO(now, 0))}, false)
	}
}

// evict takes from the head what is too old, and what is over capacity.
func (b *buffer) evict(now int64) {
	keep := 1
	if b.policy < Policy41109 {
		keep = 0
	}
	for b.len() > keep && (now-b.entries[b.head].given > b.keepalive || b.bytes > b.capacity) {
		b.bytes -= b.entries[b.head].bytes
		b.head++
	}
	if 2*b.head > len(b.entries) {
		b.entries = b.entries[:copy(b.entries, b.entries[b.head:])]
		b.head = 0
	}
}

func (b *buffer) len() int { return len(b.entries) - b.head }

// first is the place, of all entries ever given, of the oldest one held.
func (b *buffer) first() int64 { return b.given - int64(b.len()) }

// earliest is the TimeTick of the oldest entry; of an empty buffer, of the last it had.
func (b *buffer) earliest() uint64 {
	if b.len() == 0 {
		return b.last
	}
	return b.entries[b.head].tick
}

// Answer is what a buffer says to a scanner that offers a TimeTick it has read.
type Answer uint8

// The answers. NoAnswer: it was not asked. Evicted: it is older than the buffer, read on. Snapshot: what comes after
// it is here. AtEnd: nothing came after it. Wait: it is newer than anything here, a newer
// TimeTick is waited for.
const (
	NoAnswer Answer = iota
	Evicted
	Snapshot
	AtEnd
	Wait
)

// String returns the answer's word.
func (a Answer) String() string {
	return [...]string{"", "evicted", "snapshot", "at-end", "wait"}[min(a, Wait)]
}

// MarshalText implements encoding.TextMarshaler.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// offer answers a TimeTick read from the log.
func (b *buffer) offer(tick uint64) Answer {
	switch {
	case tick < b.earliest():
		return Evicted
	case tick < b.last:
		return Snapshot
	case tick == b.last, tick < b.latest, tick == b.latest && b.policy < Policy41201:
		return AtEnd
	}
	return Wait
}

// maxHeld bounds what a simulation holds: entries, and messages that wait for their
// TimeTick. Milvus's own capacity holds about a million of the smallest.
const maxHeld = 1 << 22

// checkHeld refuses to grow without bound.
func checkHeld(n int, what string) error {
	if n > maxHeld {
		return fmt.Errorf("more than %d %s: walctl holds no more at a time; give a smaller capacity or keepalive, or less of the log", maxHeld, what)
	}
	return nil
}

// messageBytes is the size a buffer counts for a message: keys and values of all properties,
// and the payload, of an encrypted one as it was before.
func messageBytes(m *message.Message) int64 {
	payload := m.PayloadSize
	if m.Has(message.HasCipher) {
		if h, err := m.CipherHeader(); err == nil {
			payload = h.GetPayloadBytes()
		}
	}
	return int64(m.Props.Size()) + payload
}
