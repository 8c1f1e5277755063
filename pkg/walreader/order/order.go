// Package order puts a log's messages in the order a Milvus scanner would
// deliver them, by TimeTick with transactions assembled, and tells an Observer
// of everything the scanner would drop.
//
//	reader ──► chunks ──► reorder heap (by TimeTick) ──► transaction buffer ──► Delivery
//	              │ not whole  │ stale, duplicate              │ no begin, expired, rolled back
//	              └────────────┴──────────► Observer ◄─────────┘
//
// The rules are docs/rules.md#scanner.
package order

import (
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Delivery is one thing a scanner hands on: a message, or a whole transaction.
type Delivery struct {
	// Message is the message delivered; of a transaction, its Commit.
	Message *message.Message
	// TimeTick is the TimeTick it is delivered with: the message's own, or the
	// commit's for every part of a transaction.
	TimeTick uint64
	// Begin and Body are set for a committed transaction only.
	Begin *message.Message
	Body  []*message.Message
}

// Reason says why a scanner would drop a message.
type Reason uint8

// The reasons, each with the rule behind it in docs/rules.md#scanner.
const (
	// Stale: its TimeTick lies behind a TimeTick that was already delivered.
	Stale Reason = iota + 1
	// DuplicateID: a message with this id is already buffered.
	DuplicateID
	// BodyWithoutBegin: a transaction's part whose Begin was not seen.
	BodyWithoutBegin
	// CommitWithoutBegin: a commit or rollback whose Begin was not seen.
	CommitWithoutBegin
	// RolledBack: part of a transaction that was rolled back.
	RolledBack
	// Expired: part of a transaction whose keepalive ran out.
	Expired
	// Superseded: part of a transaction whose Begin came again.
	Superseded
	// ForcePromoted: part of a transaction discarded by a force promote.
	ForcePromoted
	// Undecodable: it cannot be ordered; its envelope has a fatal defect.
	Undecodable
	// NoVChannel: from before streaming, of a collection nothing tells the
	// vchannel of.
	NoVChannel
	// ChunkAgain: a record of a split message that a retry wrote once more.
	ChunkAgain
	// ChunksUnfinished: the first records of a split message whose others were never
	// written: no writer was told that it is there.
	ChunksUnfinished
	// ChunksMissing: records of a split message are gone: later ones are there.
	ChunksMissing
	// ChunksBroken: records of a split message that contradict each other, or are
	// larger together than any message.
	ChunksBroken
)

// Observer is told of every message a scanner drops. tick is the TimeTick that
// decided it (0 where none did; math.MaxUint64 where it was Flush). Of a split
// message that is dropped it is told once, with the first of its records.
type Observer interface {
	Dropped(m *message.Message, why Reason, tick uint64)
}

// String returns the reason in words, as reports print it.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

var reasonNames = [...]string{
	Stale: "stale", DuplicateID: "duplicate id", BodyWithoutBegin: "body without begin",
	CommitWithoutBegin: "end without begin", RolledBack: "rolled back", Expired: "expired",
	Superseded: "superseded", ForcePromoted: "force promoted", Undecodable: "undecodable",
	NoVChannel: "no vchannel", ChunkAgain: "chunk written again", ChunksUnfinished: "chunks never finished",
	ChunksMissing: "chunks missing", ChunksBroken: "chunks contradictory",
}

// Reasons lists every reason, in order.
func Reasons() []Reason {
	out := make([]Reason, 0, len(reasonNames)-1)
	for r := Stale; int(r) < len(reasonNames); r++ {
		out = append(out, r)
	}
	return out
}
