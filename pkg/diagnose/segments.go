package diagnose

import "github.com/walctl/walctl/pkg/walreader/message"

// segmentState is one segment of the log.
type segmentState struct {
	id                    int64
	create, lastInsert    position
	createTT, sealTT      uint64 // sealTT 0 = growing
	seal                  position
	collection, partition int64
	vchannel              uint32
	sealedBy              message.Type
	truncatedTT           uint64
	inherited             bool // its CreateSegment lies before the log
}

type segments struct {
	slab       []segmentState
	byID       table
	flushAllTT uint64
	flushAll   position
	sweepAt    int
}

// minSweep is how many segments are remembered at least before sealed ones are
// forgotten.
const minSweep = 1 << 14

func (v *verifier) segment(e *entry) {
	switch e.typ {
	case message.TypeInsert:
		v.insert(e)
	case message.TypeDelete:
		if e.rows == 0 {
			v.tell(insertMalformed, v.at(e, "a delete without rows"))
		}
	case message.TypeCreateSegment:
		v.createSegment(e)
	default:
		v.sealing(e)
	}
}

// sealing takes what ends segments; a dropped partition or collection is lifecycle's.
func (v *verifier) sealing(e *entry) {
	switch e.typ.Seals() {
	case message.SealsOwn:
		v.seal(e, e.segment)
	case message.SealsListed:
		if e.full == nil || e.vchannel == 0 || v.vchannels[e.vchannel].kind != kindData {
			return
		}
		for _, id := range e.full.FlushedSegments() {
			v.seal(e, id)
		}
	case message.SealsAll:
		if e.bits&bitPChannel != 0 {
			v.segments.flushAllTT, v.segments.flushAll = e.tt, e.pos
		}
	}
}

func (v *verifier) createSegment(e *entry) {
	s := &v.segments
	if e.vchannel != 0 {
		v.knownPartition(e)
	}
	if k := s.byID.get(e.segment); k >= 0 {
		s.slab[k] = segmentState{id: e.segment, create: e.pos, createTT: e.tt, collection: e.collection, partition: e.partition, vchannel: e.vchannel}
		return
	}
	if len(s.slab) >= max(minSweep, s.sweepAt) {
		s.sweep()
	}
	s.byID.put(e.segment, int32(len(s.slab)))
	s.slab = append(s.slab, segmentState{id: e.segment, create: e.pos, createTT: e.tt, collection: e.collection, partition: e.partition, vchannel: e.vchannel})
}

// sweep forgets sealed segments, so that memory follows the growing ones.
func (s *segments) sweep() {
	keep := s.slab[:0]
	s.byID = table{}
	for i := range s.slab {
		if s.slab[i].sealTT == 0 && s.slab[i].createTT >= s.flushAllTT {
			s.byID.put(s.slab[i].id, int32(len(keep)))
			keep = append(keep, s.slab[i])
		}
	}
	s.slab = keep
	s.sweepAt = 2 * len(keep)
}

// malformed says what an insert lacks, and what recovery makes of it.
func malformed(e *entry) string {
	switch {
	case e.segment == 0:
		return "an insert without a segment: recovery passes over its rows"
	case e.flags&message.ManyPartitions != 0:
		return "an insert of several partitions"
	case e.rows == 0:
		return "an insert whose header counts no rows: what it carries is not counted"
	}
	return "an insert without a size: its rows count, its size does not"
}

// insert holds an insert against its segment. docs/rules.md#invariants 10.
func (v *verifier) insert(e *entry) {
	if e.rows == 0 || e.bytes == 0 || e.segment == 0 || e.flags&message.ManyPartitions != 0 {
		v.tell(insertMalformed, v.at(e, malformed(e)))
		return
	}
	s := &v.segments
	k := s.byID.get(e.segment)
	if k < 0 {
		if v.partial {
			k = int32(len(s.slab)) // born before the log: taken as it is met
			s.byID.put(e.segment, k)
			s.slab = append(s.slab, segmentState{id: e.segment, vchannel: e.vchannel, collection: e.collection, partition: e.partition, inherited: true})
		} else {
			v.tell(insertOutsideSegment, v.at(e, "an insert into a segment that was never created"))
			return
		}
	}
	g := &s.slab[k]
	if g.lastInsert.less(e.pos) {
		g.lastInsert = e.pos // the largest: what a Flush is compared with
	}
	var note string
	other, otherTT := g.create, g.createTT
	switch {
	case g.vchannel != e.vchannel || g.partition != e.partition || g.collection != e.collection:
		note = "an insert into a segment of another vchannel, collection or partition"
	case !g.inherited && !g.create.less(e.pos):
		note = "an insert stands before its segment's creation in the log"
	case g.sealTT != 0:
		note, other, otherTT = "an insert after the message that sealed its segment", g.seal, g.sealTT
	case s.flushAllTT > g.createTT && !g.inherited:
		note, other, otherTT = "an insert after the flush of every segment", s.flushAll, s.flushAllTT
	case g.truncatedTT != 0:
		v.tell(insertAfterTruncate, v.at(e, "an insert into a segment a truncate had named: recovery drops its rows"))
		return
	default:
		if v.vchannels[e.vchannel].partitionDrop > g.createTT {
			v.knownPartition(e)
		}
		return
	}
	o := v.at(e, note)
	o.other, o.otherTT, o.hasOther = other, otherTT, true
	v.tell(insertOutsideSegment, o)
}

// seal ends a segment: a Flush, or a message that lists it.
func (v *verifier) seal(e *entry, id int64) {
	s := &v.segments
	k := s.byID.get(id)
	if k < 0 {
		return // legal for segments older than the log
	}
	g := &s.slab[k]
	if e.typ == message.TypeTruncateCollection && e.bits&bitExclusive == 0 {
		g.truncatedTT = e.tt
		return
	}
	if e.pos.less(g.lastInsert) {
		o := v.at(e, "an insert of this segment stands after its sealing in the log")
		o.other, o.hasOther = g.lastInsert, true
		v.tell(insertOutsideSegment, o)
	}
	if g.sealTT == 0 {
		g.sealTT, g.seal, g.sealedBy = e.tt, e.pos, e.typ
	}
}

var insertMalformed = &Check{
	Code: "insert-malformed", Severity: SeverityError, Invariant: 10,
	Title:   "an insert or delete without rows, bytes or a segment",
	Meaning: "Without a segment recovery can't assign its rows: they are not counted and may never be flushed. Without a size its rows count, the size does not: the segment is taken for smaller than it is; Milvus before 2.6.0 panicked on it.",
	Cause:   "A foreign producer or damage.",
	Do:      "Look at the message with inspect --id.",
	Threads: []string{"milvus#41853"},
}

var insertOutsideSegment = &Check{
	Code: "insert-outside-segment", Severity: SeverityError, Invariant: 10,
	Title:   "an insert outside its segment's life",
	Meaning: "Recovery finds no growing segment and drops the rows.",
	Cause:   "The segment's creation was lost or dropped because it came too late, or the insert was written after its seal.",
	Do:      "Look for a stale-writer or ledger-hole before it.",
	Threads: []string{"milvus#41766"},
}

var insertAfterTruncate = &Check{
	Code: "insert-after-truncate", Severity: SeverityInfo, Invariant: 10,
	Title:   "an insert into a truncated segment",
	Meaning: "Recovery drops these rows; the truncate would have ended them all the same.",
	Cause:   "Before 3.0 a truncate takes no lock, so inserts can follow it. Legal.",
	Do:      "Nothing.",
}
