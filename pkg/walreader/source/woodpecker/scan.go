package woodpecker

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// item is a stretch of a segment in which every entry's id is told, or a hole.
type item struct {
	part     int   // which file
	from, to int64 // bytes of it
	hole     bool

	first int64 // of a piece: the first entry's id; −1 while it is not known
	n     int64 // of a piece: how many entries; of a hole: those in it that are intact, though their ids are not told
	skip  int64 // of a piece: entries at its beginning that stood before already

	after, before int64 // of a hole: the entries around it; −1 = none, not known
	lost          int64 // of a hole: −1 = not known
	cause         string
	short         bool   // of a hole: the segment ends in it
	name          string // of a hole that is a missing file
}

// span is a range of entry ids, both included.
type span struct{ first, last int64 }

// scanned is what a segment holds, found by reading it once.
type scanned struct {
	items   []item
	bad     []span  // entries of blocks that are not whole
	stops   []stop  // where Woodpecker's own reader gets no further
	footer  *footer // nil = the segment is not closed
	header  bool    // its own header stands where it should
	version uint16
	entries int64
	first   int64 // −1 = none
	last    int64
	blocks  int
	unacked int64 // entries from here on follow a missing file of a segment that is not closed; −1 = none
	torn    bool  // not closed, and the end is in the middle of something
}

// stop is a block that is not whole.
type stop struct {
	first int64 // its first entry
	short bool  // it reaches beyond the end of its file
}

// inBad reports whether an entry lies in a block that is not whole.
func (o *scanned) inBad(id int64) bool {
	for _, b := range o.bad {
		if id >= b.first && id <= b.last {
			return true
		}
	}
	return false
}

// scanner walks through a segment's files.
type scanner struct {
	ctx  context.Context
	seg  *segment
	out  *scanned
	w    window
	part int

	next     int64 // the id of the next entry; −1 = not known
	pend     int   // index of the item from which on ids are not known; −1 = they are
	pendNext int64 // next, when they were still known
	promised int64 // the last entry that a block header or index names

	in      bool // within a block
	block   blockHeader
	begin   int64 // of the block's entries
	end     int64
	crc     uint32
	spoilt  bool
	counted int64

	headless bool // entries are read whose block header is lost
	closing  bool // index or footer was met
}

// scan reads a segment's files. The error is the context's, or that of opening a file.
func scan(ctx context.Context, seg *segment) (*scanned, error) {
	s := &scanner{ctx: ctx, seg: seg, out: &scanned{first: -1, last: -1, unacked: -1}, pend: -1, promised: -1}
	blk := int64(-1)
	for i := range seg.parts {
		p := &seg.parts[i]
		if p.number >= 0 && p.number != blk+1 && !p.tail {
			s.missing(i, p, blk+1)
		}
		if !p.tail {
			blk = p.number
		}
		if err := s.file(i); err != nil {
			return nil, err
		}
	}
	s.finish()
	return s.out, nil
}

// missing notes files of a segment that are not there.
func (s *scanner) missing(i int, p *part, want int64) {
	name := p.blk(want)
	if p.number > want+1 {
		name += " to " + p.blk(p.number-1)
	}
	s.hole(item{part: i, hole: true, lost: -1, name: name, cause: "the file is missing, or the files are"})
	s.out.unacked = -2 // from the next entry on
}

// file reads one file.
func (s *scanner) file(i int) error {
	p := &s.seg.parts[i]
	f, err := os.Open(filepath.Join(s.seg.dir, p.name))
	if err != nil {
		return fmt.Errorf("read a Woodpecker segment: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	s.w, s.part = window{in: f, size: p.size, buf: s.w.buf[:0]}, i
	var off int64
	for n := 0; off < p.size; n++ {
		if n%256 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		r, ok := s.w.record(off)
		if ok && s.take(r) {
			off = r.end()
			continue
		}
		if s.w.zeros(off) {
			break // room kept, or a write that never came
		}
		if off, err = s.bad(off); err != nil {
			return err
		}
	}
	s.endBlock(off)
	if s.w.err != nil {
		s.out.items = append(s.out.items, item{part: i, from: off, to: p.size, hole: true, lost: -1, cause: s.w.err.Error()})
	}
	return nil
}

// take takes a good record; false for one that makes no sense.
func (s *scanner) take(r record) bool {
	switch r.kind {
	case kindData:
		s.data(r)
		return true
	case kindHeader:
		p := s.w.payload(r)
		if len(p) != headerSize || string(p[magicHeaderAt:]) != magicHeader {
			return false
		}
		s.out.version = binary.LittleEndian.Uint16(p)
		s.out.header = s.out.header || r.off == 0
	case kindBlock:
		h, ok := parseBlock(s.w.payload(r))
		if ok {
			s.endBlock(r.off)
			s.enter(h, r.end())
		}
		return ok
	case kindIndex:
		last, ok := parseIndex(s.w.payload(r))
		s.promised, s.closing = max(s.promised, last), true
		if !ok {
			return false
		}
	case kindFooter:
		f, ok := parseFooter(s.w.payload(r))
		if !ok {
			return false
		}
		s.out.footer, s.closing = &f, true
	}
	s.endBlock(r.off)
	s.headless = false
	return true
}

// enter begins a block: its header tells its entries' ids.
func (s *scanner) enter(h blockHeader, at int64) {
	switch {
	case s.pend >= 0:
		s.resolve(h.first)
	case s.next >= 0 && s.next < h.first && !s.lastIsHole():
		s.out.items = append(s.out.items, item{part: s.part, from: at - frameSize - blockSize, to: at - frameSize - blockSize, hole: true, lost: -1,
			cause: fmt.Sprintf("the block after it begins with entry %d", h.first)})
	}
	s.in, s.block, s.begin, s.end, s.crc, s.spoilt, s.counted = true, h, at, at+int64(h.length), 0, false, 0
	s.next, s.promised, s.headless = h.first, max(s.promised, h.last), false
	s.out.blocks++
}

func (s *scanner) lastIsHole() bool {
	n := len(s.out.items)
	return n > 0 && s.out.items[n-1].hole
}

// data takes an entry.
func (s *scanner) data(r record) {
	if s.in && r.off >= s.end {
		s.endBlock(r.off)
	}
	if s.in {
		crc, ok := s.w.crc(s.crc, r.off, frameSize+r.n)
		s.crc, s.spoilt = crc, s.spoilt || !ok
		s.counted++
	}
	if s.out.unacked == -2 && s.next >= 0 {
		s.out.unacked = s.next
	}
	if n := len(s.out.items); n > 0 {
		last := &s.out.items[n-1]
		follows := last.first < 0 && s.next < 0 || last.first >= 0 && s.next == last.first+last.n
		if !last.hole && last.part == s.part && follows {
			last.to = r.end()
			last.n++
			s.advance(1)
			return
		}
	}
	s.out.items = append(s.out.items, item{part: s.part, from: r.off, to: r.end(), first: s.next, n: 1})
	s.advance(1)
}

func (s *scanner) advance(n int64) {
	if s.next >= 0 {
		s.next += n
	}
}

// endBlock ends the block that is open, at the place where something else begins.
func (s *scanner) endBlock(at int64) {
	if !s.in {
		return
	}
	s.in = false
	whole := at == s.end
	if s.pend >= 0 && whole {
		s.resolve(s.block.last + 1)
	}
	if s.spoilt || !whole || s.crc != s.block.crc || s.counted != s.block.last-s.block.first+1 {
		s.out.bad = append(s.out.bad, span{s.block.first, s.block.last})
		s.out.stops = append(s.out.stops, stop{first: s.block.first, short: s.end > s.w.size})
	}
	if s.pend >= 0 {
		return
	}
	if s.next <= s.block.last && !s.lastIsHole() {
		s.out.items = append(s.out.items, item{part: s.part, from: at, to: at, hole: true, lost: -1, short: s.end > s.w.size && s.part == len(s.seg.parts)-1,
			cause: fmt.Sprintf("the block at byte %d should hold entries %d to %d", s.begin-frameSize-blockSize, s.block.first, s.block.last)})
	}
	s.next = max(s.next, s.block.last+1)
}

// bad deals with what is no good record and returns where to go on.
func (s *scanner) bad(at int64) (int64, error) {
	if s.in && at >= s.end {
		s.endBlock(at)
	}
	to, err := s.resync(at)
	if err != nil {
		return 0, err
	}
	h := item{part: s.part, from: at, to: to, hole: true, lost: s.swallowed(at, to), cause: "the checksum of its bytes does not match"}
	if s.w.err != nil {
		h.cause, s.w.err = "the disk does not give it: "+s.w.err.Error(), nil
	} else if to == s.w.size {
		if _, end := s.w.frame(at); end < 0 {
			h.cause, h.short = "the file ends in the middle of a record", s.part == len(s.seg.parts)-1
		}
	}
	within := s.in
	s.spoilt = true
	s.hole(h)
	if within && to >= s.end {
		if to == s.end {
			s.endBlock(to)
			return to, nil
		}
		s.out.bad = append(s.out.bad, span{s.block.first, s.block.last})
		s.out.stops = append(s.out.stops, stop{first: s.block.first, short: s.end > s.w.size})
		s.in = false
	}
	return to, nil
}

// hole notes a hole; where it does not tell how many entries it swallowed, ids are not
// known until something tells.
func (s *scanner) hole(h item) {
	switch {
	case h.lost >= 0:
		s.advance(h.lost)
	case s.pend < 0:
		s.pend, s.pendNext, s.next = len(s.out.items), s.next, -1
	}
	s.out.items = append(s.out.items, h)
}

// swallowed tells how many entries stood in a hole, where its length tells: one record,
// whose place says what it was. −1 = not known.
func (s *scanner) swallowed(from, to int64) int64 {
	kind, end := s.w.frame(from)
	n := to - from - frameSize
	switch {
	case s.in && from < s.end && to <= s.end && end == to:
		return 1
	case s.in:
		return -1
	case s.headless && kind == kindData && end == to && to < s.w.size:
		return 1
	case s.headless && !(kind == kindIndex && n == indexSize):
		return -1
	case from == 0 && n == headerSize && s.part == 0, n == indexSize, to == s.w.size && (n == footerSize || n == footerSize+lacSize):
		return 0
	case n == blockSize:
		s.headless = true
		return 0
	}
	return -1
}

// resync finds the next good record behind a bad one, or the end of the file.
func (s *scanner) resync(at int64) (int64, error) {
	if _, end := s.w.frame(at); end >= 0 {
		if _, ok := s.w.record(end); ok || end == s.w.size && (!s.in || end == s.end) {
			return end, nil
		}
	}
	limit := s.w.size
	if s.in && s.end < s.w.size {
		if _, ok := s.w.record(s.end); ok {
			limit = s.end
		}
	}
	// A long entry that is claimed costs a checksum over all of it: so many bytes are
	// spent on such claims, so that rubbish does not take for ever.
	spend := int64(16<<20) + 16*(limit-at)
	for off := at + 1; off+frameSize <= limit; {
		b := s.w.bytes(off, int(min(limit-off, windowSize/2)))
		if b == nil {
			break
		}
		base := off
		for ; off-base+frameSize <= int64(len(b)); off++ {
			head := b[off-base:]
			first := byte(1<<3 | 2)
			if len(head) > frameSize {
				first = head[frameSize]
			}
			n := binary.LittleEndian.Uint32(head[5:])
			if !plausible(head[4], n, first) || off+frameSize+int64(n) > s.w.size || int64(n) > spend {
				continue
			}
			if _, ok := s.w.record(off); ok {
				return off, nil
			}
			if spend -= int64(n); s.ctx.Err() != nil {
				return 0, s.ctx.Err()
			}
			b = s.w.bytes(base, len(b)) // the buffer was used for the record
			if b == nil {
				return limit, nil
			}
		}
		if s.ctx.Err() != nil {
			return 0, s.ctx.Err()
		}
	}
	return limit, nil
}

// resolve tells the ids of the entries behind a hole by the id that follows them.
func (s *scanner) resolve(next int64) {
	items := s.out.items
	end := next
	at := len(items)
	for at > s.pend { // back from what follows, up to a hole that does not tell its number
		it := &items[at-1]
		if it.hole && it.lost < 0 {
			break
		}
		if it.hole {
			end -= it.lost
		} else {
			end -= it.n
			it.first = end
		}
		at--
	}
	unknown, sum := int64(0), int64(0)
	for _, it := range items[s.pend:at] {
		switch {
		case !it.hole:
			sum += it.n
		case it.lost < 0:
			unknown++
		default:
			sum += it.lost
		}
	}
	room := end - max(s.pendNext, 0) - sum
	switch {
	case room < 0: // the numbers contradict each other: nothing behind the hole is told
		at = len(items)
		s.fold(at)
	case unknown > 1 && room == unknown && s.pendNext >= 0:
		id := s.pendNext
		for i := s.pend; i < at; i++ {
			it := &items[i]
			switch {
			case !it.hole:
				it.first = id
				id += it.n
			case it.lost < 0:
				it.lost = 1
				id++
			default:
				id += it.lost
			}
		}
	default:
		s.fold(at)
	}
	s.pend, s.next = -1, next
}

// fold makes one hole of the items whose ids cannot be told, up to an index.
func (s *scanner) fold(to int) {
	if to-s.pend < 2 {
		return
	}
	items := s.out.items
	h := items[s.pend]
	for _, it := range items[s.pend+1 : to] {
		h.n += it.n
		if it.part == h.part {
			h.to = it.to
		}
	}
	h.lost = -1
	if h.n > 0 {
		h.cause += fmt.Sprintf("; %d entries in it are intact, but which they are cannot be told", h.n)
	}
	s.out.items = append(append(items[:s.pend:s.pend], h), items[to:]...)
}

// finish counts what is missing in each hole.
func (s *scanner) finish() {
	o := s.out
	if s.pend >= 0 {
		s.resolveTail()
	}
	if !s.closing && len(o.items) > 0 {
		last := o.items[len(o.items)-1]
		o.torn = last.hole && last.short
	}
	if o.footer != nil && o.unacked >= 0 || o.unacked == -2 {
		o.unacked = -1 // closed: what is missing was acknowledged
	}
	o.number(s.promised)
}

// resolveTail folds what follows a hole up to the end, where nothing tells ids.
func (s *scanner) resolveTail() {
	s.fold(len(s.out.items))
	s.pend = -1
}

// number drops what stands twice and tells each hole's surroundings and loss.
func (o *scanned) number(promised int64) {
	last, from := int64(-1), 0
	kept := o.items[:0:0]
	for _, it := range o.items {
		if !it.hole && it.first <= last {
			it.skip = min(last-it.first+1, it.n)
			kept = append(kept, item{part: it.part, from: it.from, to: it.from, hole: true, after: last, lost: 0,
				cause: fmt.Sprintf("entries from %d on stand here again", it.first)})
		}
		if !it.hole && it.skip == it.n {
			continue
		}
		if !it.hole && it.first+it.skip > last+1 && (len(kept) == from || !kept[len(kept)-1].hole) {
			kept = append(kept, item{part: it.part, from: it.from, to: it.from, hole: true, lost: -1, cause: "the entries before it are not there"})
		}
		if it.hole {
			kept = append(kept, it)
			continue
		}
		share(kept[from:], last, it.first+it.skip)
		kept = append(kept, it)
		from = len(kept)
		if o.first < 0 {
			o.first = it.first + it.skip
		}
		last = it.first + it.n - 1
		o.entries += it.n - it.skip
	}
	if promised > last && len(kept) == from {
		kept = append(kept, item{hole: true, lost: -1, cause: fmt.Sprintf("the segment's index names entries up to %d", promised)})
		if from > 0 {
			kept[from].part, kept[from].from, kept[from].to = kept[from-1].part, kept[from-1].to, kept[from-1].to
		}
	}
	if promised > last {
		share(kept[from:], last, promised+1)
	} else {
		share(kept[from:], last, -1)
	}
	o.items, o.last = kept, last
}

// share tells holes that lie between two entries what each has lost; before is −1 where
// nothing tells what follows.
func share(holes []item, after, before int64) {
	rest := before - after - 1
	open := -1
	for i := range holes {
		holes[i].after, holes[i].before = after, before
		switch {
		case holes[i].lost >= 0:
			rest -= holes[i].lost
		case open < 0:
			open = i
		default:
			holes[i].lost = 0
		}
	}
	if before >= 0 && open >= 0 {
		holes[open].lost = max(rest, 0)
	}
}
