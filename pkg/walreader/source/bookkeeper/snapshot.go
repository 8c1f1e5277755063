package bookkeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/window"
)

// snapshot is what a place holds at one moment, found by reading its files once.
type snapshot struct {
	*listing
	place   string
	catalog *catalog
	check   *checker
	ledgers map[int64]*ledger
	damages []*damage
	logs    []*log
	refs    atomic.Int32
}

// ledger is what the files hold of one.
type ledger struct {
	id      int64
	entries []place // by number, each once
	peek    peek
}

// peek is what the first messages of a ledger say of whose it is.
type peek struct {
	looked   int
	milvus   bool
	pchannel string
	before   int64 // a ledger that a message names as holding what was confirmed; 0 = none
}

// How many entries are looked into: until a ledger is taken for another's, and until
// nobody is expected to name the pchannel.
const maxForeign, maxPeeks = 8, 1 << 14

// log is a pchannel's log as it lies at the place.
type log struct {
	name  string // the pchannel; "" = nothing tells it
	id    string
	aside bool
	parts []part
}

// part is a ledger of a log.
type part struct {
	*ledger
	last    int64 // number of the last entry that counts; −1 = none does, unknown = it is open
	deleted bool  // its owner has deleted it
	moved   bool  // its owner keeps it elsewhere
}

// unknown is the last entry of a ledger that was not closed.
const unknown = -2

func (s *snapshot) release() {
	if s.refs.Add(-1) == 0 {
		s.close()
	}
}

// scan reads a place. The caller holds the only reference.
func scan(ctx context.Context, where string) (*snapshot, error) {
	l, err := find(where, true)
	if err != nil {
		return nil, err
	}
	s := &snapshot{listing: l, place: where, ledgers: make(map[int64]*ledger)}
	s.refs.Store(1)
	if err := s.fill(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *snapshot) fill(ctx context.Context) (err error) {
	if s.catalog, err = readCatalog(ctx, s.metas); err != nil {
		return err
	}
	s.check = newChecker(s.catalog.words)
	dec := decoder{check: s.check}
	defer dec.un.close()
	for _, f := range s.files {
		sc := scanner{ctx: ctx, f: f, check: s.check, w: window.Window{In: f.in, Size: f.size}}
		sc.found = func(p place, e []byte, d digest) { s.found(&dec, p, e, d) }
		sc.damage = func(d damage) { s.damages = append(s.damages, &d) }
		if err := sc.run(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("read %s: %w", f.path, err)
		}
	}
	for _, l := range s.ledgers {
		slices.SortStableFunc(l.entries, func(a, b place) int { return cmp.Compare(a.entry, b.entry) })
		l.entries = slices.CompactFunc(l.entries, func(a, b place) bool { return a.entry == b.entry })
	}
	s.explain()
	s.assemble()
	return nil
}

// found takes an entry whose digest is right.
func (s *snapshot) found(dec *decoder, p place, e []byte, d digest) {
	id := readHead(e).ledger
	l, ok := s.ledgers[id]
	if !ok {
		l = &ledger{id: id}
		s.ledgers[id] = l
	}
	l.entries = append(l.entries, p)
	if k := &l.peek; k.pchannel == "" && k.looked < maxPeeks && (k.milvus || k.looked < maxForeign) {
		k.looked++
		all := func(message.Type) bool { return true }
		messages, _ := dec.messages(id, p.entry, e, d, options{props: true, wants: all}) // what cannot be read says nothing
		for _, m := range messages {
			k.see(id, m)
		}
	}
}

// see learns from a message whose ledger it stands in.
func (k *peek) see(ledger int64, m *message.Message) {
	if m.Version == 0 && m.Broken() != nil {
		return // not Milvus's
	}
	k.milvus = true
	if m.VChannel != "" && k.pchannel == "" {
		k.pchannel = message.PChannelOf(m.VChannel)
	}
	if m.Has(message.HasLastConfirmed) && m.LastConfirmed.A != ledger && m.LastConfirmed.A > 0 {
		k.before = m.LastConfirmed.A
	}
}

// assemble puts the logs together.
func (s *snapshot) assemble() {
	s.chain()
	owned := make(map[int64]bool)
	byName := make(map[string][]*log)
	for _, t := range s.catalog.topics {
		l := s.ofTopic(t, owned)
		if l == nil {
			continue
		}
		s.logs = append(s.logs, l)
		byName[l.name] = append(byName[l.name], l)
	}
	for _, id := range slices.Sorted(maps.Keys(s.ledgers)) {
		l := s.ledgers[id]
		if !l.peek.milvus || owned[id] {
			continue
		}
		s.stray(l, byName)
	}
	for _, l := range s.logs {
		l.sort()
		if len(byName[l.name]) > 1 && l.id != "" {
			l.name = "" // two topics of one name: only the whole name chooses
		}
	}
	named := slices.ContainsFunc(s.logs, func(l *log) bool { return !l.aside })
	for _, l := range s.logs {
		l.aside = l.aside && named
	}
}

// chain gives a ledger that names no pchannel the one of a ledger its messages name,
// or of one whose messages name it.
func (s *snapshot) chain() {
	for changed := true; changed; {
		changed = false
		for _, l := range s.ledgers {
			o := s.ledgers[l.peek.before]
			switch {
			case o == nil || l.peek.pchannel == o.peek.pchannel:
			case l.peek.pchannel == "":
				l.peek.pchannel, changed = o.peek.pchannel, true
			case o.peek.pchannel == "" && o.peek.milvus:
				o.peek.pchannel, changed = l.peek.pchannel, true
			}
		}
	}
}

// ofTopic makes the log of a topic that metadata tells of; nil where nothing at the
// place says that it is Milvus's.
func (s *snapshot) ofTopic(t *topicInfo, owned map[int64]bool) *log {
	l := &log{name: t.name, id: t.full(), aside: strings.HasSuffix(t.name, "-replicate-msg")}
	milvus := false
	for _, id := range t.ever {
		if have := s.ledgers[id]; have != nil {
			milvus = milvus || have.peek.milvus
		}
	}
	if !milvus {
		return nil
	}
	for i, info := range t.ledgers {
		owned[info.id] = true
		p := part{ledger: s.ledgers[info.id], last: unknown, moved: info.offloaded}
		if p.ledger == nil {
			p.ledger = &ledger{id: info.id}
		}
		if last, closed := s.catalog.closed[info.id]; closed {
			p.last = last
		}
		if info.entries > 0 {
			p.last = info.entries - 1
		}
		if info.entries == 0 && i < len(t.ledgers)-1 && p.last == unknown && len(p.entries) == 0 {
			p.last = -1
		}
		l.parts = append(l.parts, p)
	}
	for _, id := range t.ever {
		if have := s.ledgers[id]; have != nil && !owned[id] {
			owned[id] = true
			l.parts = append(l.parts, part{ledger: have, last: unknown, deleted: true})
		}
	}
	return l
}

// stray gives a ledger that no topic owns to the log its messages say it is of. Where
// there is metadata, it was deleted.
func (s *snapshot) stray(l *ledger, byName map[string][]*log) {
	p := part{ledger: l, last: unknown, deleted: s.catalog.known && len(s.catalog.bad) == 0}
	if last, closed := s.catalog.closed[l.id]; closed {
		p.last = last
	}
	name := l.peek.pchannel
	if logs := byName[name]; name != "" && len(logs) == 1 {
		logs[0].parts = append(logs[0].parts, p)
		return
	}
	n := &log{name: name, aside: p.deleted || name == ""}
	if name == "" || len(byName[name]) > 0 {
		n.name, n.id = "", fmt.Sprintf("ledger-%d", l.id)
	} else {
		byName[name] = append(byName[name], n)
	}
	n.parts = append(n.parts, p)
	s.logs = append(s.logs, n)
}

// sort puts deleted ledgers where their numbers say; those that count keep the order
// of the metadata.
func (l *log) sort() {
	var out, gone []part
	for _, p := range l.parts {
		if p.deleted {
			gone = append(gone, p)
		} else {
			out = append(out, p)
		}
	}
	slices.SortFunc(gone, func(a, b part) int { return cmp.Compare(a.id, b.id) })
	for _, p := range gone {
		at := slices.IndexFunc(out, func(o part) bool { return o.id > p.id })
		if at < 0 {
			at = len(out)
		}
		out = slices.Insert(out, at, p)
	}
	l.parts = out
}

// word is what chooses the log.
func (l *log) word() source.Log { return source.Log{Name: l.name, ID: l.id, Aside: l.aside} }

// explain marks the damage that is told already, or costs nothing: that of an entry
// which stands elsewhere too, or that lies where a ledger lacks entries.
func (s *snapshot) explain() {
	for _, d := range s.damages {
		if !d.claimed {
			continue
		}
		l := s.ledgers[d.ledger]
		if l == nil {
			d.claimed, d.ledger = false, -1
			continue
		}
		if l.has(d.entry) {
			d.told = true
		}
	}
	for _, l := range s.ledgers {
		for _, g := range l.gaps(unknown) {
			if d := s.because(l, g); d != nil {
				d.told = true
			}
		}
	}
}

// has reports whether an entry was found.
func (l *ledger) has(entry int64) bool {
	_, ok := slices.BinarySearchFunc(l.entries, entry, func(p place, e int64) int { return cmp.Compare(p.entry, e) })
	return ok
}

// gap is a stretch of entries of a ledger that were not found; it stands before the
// entry at index.
type gap struct {
	from, to int64 // both are missing
	index    int
}

// gaps lists what is missing up to a last entry, where that is known.
func (l *ledger) gaps(last int64) []gap {
	var out []gap
	next := int64(0)
	for i, p := range l.entries {
		if p.entry > next && (last == unknown || next <= last) {
			to := p.entry - 1
			if last != unknown {
				to = min(to, last)
			}
			out = append(out, gap{next, to, i})
		}
		next = p.entry + 1
	}
	if last != unknown && next <= last {
		out = append(out, gap{next, last, len(l.entries)})
	}
	return out
}

// because finds the damage that a gap of a ledger comes from; nil = none is known.
func (s *snapshot) because(l *ledger, g gap) *damage {
	for _, d := range s.damages {
		if d.claimed && d.ledger == l.id && g.from <= d.entry && d.entry <= g.to {
			return d
		}
	}
	for _, d := range s.damages {
		elsewhere := d.claimed && s.ledgers[d.ledger].has(d.entry)
		if !elsewhere && d.within(l, g) {
			return d
		}
	}
	return nil
}

// within reports whether damage lies where a gap's entries ought to: in the file of the
// entry before or after it, between the two.
func (d *damage) within(l *ledger, g gap) bool {
	near := false
	if g.index > 0 {
		if p := l.entries[g.index-1]; p.file == d.file.index {
			if near = true; p.off > d.from {
				return false
			}
		}
	}
	if g.index < len(l.entries) {
		if p := l.entries[g.index]; p.file == d.file.index {
			return d.from < p.off
		}
	}
	return near
}

// missing is what a reader says of a gap.
func (s *snapshot) missing(p part, g gap, one bool) *source.CorruptError {
	n := g.to - g.from + 1
	e := &source.CorruptError{Source: s.place, Place: fmt.Sprintf("entry %d of ledger %d", g.from, p.id), Lost: -1}
	if n > 1 {
		e.Place = fmt.Sprintf("entries %d to %d of ledger %d", g.from, g.to, p.id)
	}
	if one {
		e.Lost = n
	}
	switch d := s.because(p.ledger, g); {
	case d != nil:
		e.Cause = fmt.Errorf("%s: %w", d, d.cause)
	case p.moved:
		e.Cause = errors.New("the broker moved this ledger to its long-term storage and deleted it here")
	default:
		e.Cause = errors.New("no file here holds it; another bookie of the ledger may: name the directories of all of them, separated by commas")
	}
	return e
}

// tail is what follows a log's last entry and cannot be read: damage that no gap tells
// of, and whether the files end in the middle of an entry.
func (s *snapshot) tail(l *log) (bad []*source.CorruptError, torn *damage) {
	files := make(map[int32]bool)
	mine := make(map[int64]part)
	for _, p := range l.parts {
		mine[p.id] = p
		for _, e := range p.entries {
			files[e.file] = true
		}
	}
	for _, d := range s.damages {
		p, own := mine[d.ledger]
		if d.told || d.claimed && (!own || p.last != unknown) || !d.claimed && !files[d.file.index] {
			continue
		}
		if d.torn {
			torn = d
			continue
		}
		e := &source.CorruptError{Source: s.place, Place: d.String(), Lost: -1, Cause: d.cause}
		if d.claimed {
			e.Place = fmt.Sprintf("entry %d of ledger %d", d.entry, d.ledger)
			e.Cause = fmt.Errorf("%s: %w", d, d.cause)
		} else {
			e.Cause = fmt.Errorf("%w; what is lost may be of this log or of another in the file", d.cause)
		}
		bad = append(bad, e)
	}
	return bad, torn
}
