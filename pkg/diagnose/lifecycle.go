package diagnose

import "github.com/walctl/walctl/pkg/walreader/message"

type vchannelKind uint8

const (
	kindData vchannelKind = iota
	kindControl
	kindPChannel
)

// vchannelState is what a vchannel came to so far.
type vchannelState struct {
	kind          vchannelKind
	foreign       bool // of another pchannel than the log's
	plain         bool // holds rows, and is the log's own
	seen, born    bool
	partitionDrop uint64 // the newest DropPartition
	droppedTT     uint64
	dropped       position
	collection    int64 // by its name; 0 = the name tells none
	partitions    map[int64]partitionState
	broadcasts    message.Broadcasts
}

type partitionState struct {
	droppedTT uint64
	dropped   position
}

// newVChannel reads what a vchannel's name tells. docs/rules.md#names
func (v *verifier) newVChannel(name string) vchannelState {
	s := vchannelState{kind: kindPChannel}
	if name == "" {
		return s
	}
	pchannel := name
	if coll := message.CollectionIDOf(name); message.IsControlChannel(name) {
		s.kind, pchannel = kindControl, message.PChannelOf(name)
	} else if p := message.PChannelOf(name); coll >= 0 && p != name {
		s.kind, s.collection, pchannel = kindData, coll, p
	}
	if v.opts.PChannel == "" && s.kind != kindPChannel {
		v.opts.PChannel = pchannel
	}
	s.foreign = v.opts.PChannel != "" && pchannel != v.opts.PChannel
	s.plain = s.kind == kindData && !s.foreign
	return s
}

// lifecycle holds a message against its vchannel's life.
// docs/rules.md#invariants 11.
func (v *verifier) lifecycle(e *entry) {
	s := &v.vchannels[e.vchannel]
	if s.kind != kindData || e.flags&message.PChannelLevel != 0 {
		return
	}
	if !s.seen {
		s.seen = true
		if e.typ != message.TypeCreateCollection && !v.partial {
			v.tell(vchannelUnborn, v.at(e, "a vchannel's first message is not its CreateCollection"))
		}
	}
	if e.collection != 0 && s.collection != 0 && e.collection != s.collection {
		v.tell(vchannelUnborn, v.at(e, "a message of another collection than its vchannel's"))
	}
	v.afterDrop(s, e)
	switch e.typ {
	case message.TypeCreateCollection:
		v.bear(s, e)
	case message.TypeDropCollection:
		if s.droppedTT == 0 {
			s.droppedTT, s.dropped = e.tt, e.pos
		}
	case message.TypeCreatePartition:
		if s.partitions != nil {
			s.partitions[e.partition] = partitionState{}
		}
	case message.TypeDropPartition:
		if s.partitions != nil {
			s.partitions[e.partition] = partitionState{e.tt, e.pos}
			s.partitionDrop = e.tt
		}
	}
}

// afterDrop judges what may stand after a DropCollection: a transaction's bounds,
// and what was broadcast before and is sent again.
func (v *verifier) afterDrop(s *vchannelState, e *entry) {
	note := "a message after its vchannel's DropCollection"
	if e.flags&message.HasBroadcast != 0 && e.full != nil {
		note = "a broadcast after its vchannel's DropCollection that repeats none before it"
		h, err := e.full.BroadcastHeader()
		if err != nil || s.broadcasts.Repeats(h.GetBroadcastId(), e.typ) {
			return // undecodable is told as such
		}
	}
	if s.droppedTT == 0 || e.bits&bitTxn != 0 {
		return
	}
	o := v.at(e, note)
	o.other, o.otherTT, o.hasOther = s.dropped, s.droppedTT, true
	v.tell(vchannelAfterDrop, o)
}

// bear notes the partitions a collection starts with.
func (v *verifier) bear(s *vchannelState, e *entry) {
	if s.born {
		return
	}
	s.born = true
	if e.full == nil {
		return
	}
	s.partitions = make(map[int64]partitionState, 2)
	if b, ok := e.full.PropertyBytes(message.KeyHeader); ok {
		message.Numbers(b, 2, func(x uint64) { s.partitions[int64(x)] = partitionState{} })
	}
}

// knownPartition holds an insert or a new segment against the partitions of a
// vchannel whose creation the log shows.
func (v *verifier) knownPartition(e *entry) {
	s := &v.vchannels[e.vchannel]
	if s.partitions == nil {
		return
	}
	p, ok := s.partitions[e.partition]
	if ok && p.droppedTT == 0 {
		return
	}
	o := v.at(e, "a partition that was never created")
	if ok {
		o.note, o.other, o.otherTT, o.hasOther = "a partition that was dropped before", p.dropped, p.droppedTT, true
	}
	v.tell(unknownPartition, o)
}

var unknownPartition = &Check{
	Code: "unknown-partition", Severity: SeverityError, Invariant: 11,
	Title:   "a partition that is not there",
	Meaning: "Rows or segments of a partition that was never created or is dropped are left out of the recovered state.",
	Cause:   "A lost CreatePartition, or definition changes that raced.",
	Do:      "Compare with inspect --type CreatePartition,DropPartition.",
	Threads: []string{"milvus#41615"},
}

var vchannelUnborn = &Check{
	Code: "vchannel-unborn", Severity: SeverityError, Invariant: 11,
	Title:   "a vchannel without its CreateCollection",
	Meaning: "Recovery does not know the vchannel: everything on it is passed over until the catalog names it.",
	Cause:   "The CreateCollection was lost, trimmed, or dropped because it came too late.",
	Do:      "Look for a stale-writer or ledger-hole; the schema can still lie in the catalog.",
	Threads: []string{"birdwatcher#524", "milvus#46214"},
}

var vchannelAfterDrop = &Check{
	Code: "vchannel-after-drop", Severity: SeverityError, Invariant: 11,
	Title:   "messages on a dropped vchannel",
	Meaning: "Recovery passes over them, or applies them to a vchannel that is about to be removed: what they carry is not kept.",
	Cause:   "A writer or a coordinator that did not see the drop, a vchannel's name used again, or an altered log. What was broadcast before the drop and is sent again is no fault.",
	Do:      "Look at the messages with inspect --vchannel. Where a collection was made again on the vchannel, recover says what of it a restart leaves out.",
	Threads: []string{"milvus#47802", "milvus#47886"},
}
