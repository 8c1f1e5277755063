package rocksmq

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// gap is a place in a topic where messages are missing: between two ids, neither
// of which is missing.
type gap struct {
	after, before int64 // −1, end = not known
	lost          int64 // −1 = not known
	place         string
	cause         error
	found         int64 // met in it while reading
}

// err is what a reader says of it.
func (g *gap) err(dir string) *source.CorruptError {
	lost := g.lost
	if lost >= 0 {
		lost = max(lost-g.found, 0)
	}
	return &source.CorruptError{Source: dir, Place: g.between(), Lost: lost, Cause: fmt.Errorf("%s: %w", g.place, g.cause)}
}

// between says in ids where it is.
func (g *gap) between() string {
	id := func(n int64) string { return message.ID{Backend: message.BackendRocksMQ, A: n}.String() }
	switch {
	case g.after < 0 && g.before == end:
		return "a place that is not known"
	case g.after < 0:
		return "the log before id " + id(g.before)
	case g.before == end:
		return "the log after id " + id(g.after)
	}
	return "the log between ids " + id(g.after) + " and " + id(g.before)
}

// filled reports whether everything missing was met in other files.
func (g *gap) filled() bool { return g.lost >= 0 && g.found >= g.lost }

// attribute says of each hole which topics it may have taken messages of.
func (s *snapshot) attribute() {
	for _, h := range s.holes {
		places := h.candidates(s)
		for i := range places {
			g := &places[i].gap
			g.lost, g.cause = h.lost, h.cause
			switch room := g.before - g.after - 1; {
			case len(places) > 1:
				g.lost, g.cause = -1, fmt.Errorf("%w; %s, of this log or of another in the directory", h.cause, upTo(h.lost))
			case room < h.lost && g.before != end:
				g.lost, g.cause = -1, fmt.Errorf("%w; %s", h.cause, upTo(room))
			}
			g.place = fmt.Sprintf("%s, bytes %d to %d", h.file.name, h.from, h.to)
			places[i].topic.gaps = append(places[i].topic.gaps, *g)
		}
	}
	for _, w := range s.wrecks {
		for _, t := range s.topics {
			if g, ok := w.gap(t.name); ok {
				t.gaps = append(t.gaps, g)
			}
		}
	}
	for _, t := range s.topics {
		slices.SortStableFunc(t.gaps, func(a, b gap) int { return int(min(max(a.after-b.after, -1), 1)) })
	}
}

func upTo(n int64) string {
	switch {
	case n < 0:
		return "an unknown number of messages"
	case n == 1:
		return "1 message"
	}
	return fmt.Sprintf("up to %d messages", n)
}

// candidate is a topic that a hole may have taken messages of, and where.
type candidate struct {
	topic *topic
	gap   gap
}

// candidates are the topics in whose ids there is room. A topic that the log files
// don't hold otherwise is one only where they hold none.
func (h *hole) candidates(s *snapshot) []candidate {
	var out []candidate
	for _, name := range s.names() {
		prev, before := h.prev[name]
		next, behind := h.next[name]
		g := gap{after: prev, before: end}
		if behind {
			g.before = next
		}
		if !before {
			g.after = s.lastInTables(name, g.before)
		}
		if g.after >= 0 && behind && next-g.after <= 1 || !before && !behind {
			continue
		}
		out = append(out, candidate{s.topics[name], g})
	}
	if len(out) > 0 || len(h.prev)+len(h.next) > 0 {
		return out
	}
	for _, name := range s.names() {
		g := gap{after: s.lastInTables(name, end), before: end}
		out = append(out, candidate{s.topics[name], g})
	}
	return out
}

// lastInTables is the last id of a topic in tables that lie wholly before an id, −1 =
// none, or a table reaches over it and so may fill what is missing there.
func (s *snapshot) lastInTables(name string, before int64) int64 {
	last := int64(-1)
	for _, f := range s.files {
		switch sp, ok := f.topics[name]; {
		case !ok:
		case sp.last < before:
			last = max(last, sp.last)
		case sp.first < before:
			return -1
		}
	}
	return last
}

// gap is what a wreck means for a topic; false where it held none of it.
func (w *wreck) gap(topic string) (gap, bool) {
	g := gap{after: -1, before: end, lost: -1, place: w.name, cause: w.cause}
	if w.from == nil {
		return g, true
	}
	if w.to != nil && bytes.Compare(w.to, startOf(topic)) < 0 || bytes.Compare(w.from, endOf(topic)) >= 0 {
		return g, false
	}
	if name, id, ok := splitKey(w.from); ok && string(name) == topic {
		if g.after = id - 1; w.open {
			g.after = id
		}
	}
	if name, id, ok := splitKey(w.to); ok && string(name) == topic {
		g.before = id + 1
	}
	return g, g.after < 0 || g.before-g.after > 1
}

// plainName reports whether a topic is a pchannel; RocksMQ keeps one that is not.
func plainName(topic string) bool { return !strings.HasSuffix(topic, "-replicate-msg") }
