package rocksmq

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"
	"slices"
	"sort"
)

// piece is what one file holds of a topic, not opened yet.
type piece struct {
	first, last int64
	file        *file
	log         *logSpan // nil: a table
}

// pieces lists where a topic lies, by its first id.
func (s *snapshot) pieces(t *topic) []piece {
	var out []piece
	for _, sp := range t.logs {
		out = append(out, piece{sp.first, sp.last, sp.file, sp})
	}
	for _, f := range s.files {
		if sp, ok := f.topics[t.name]; ok {
			out = append(out, piece{first: sp.first, last: sp.last, file: f})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].first < out[j].first })
	return out
}

// merge walks a topic over all files: of each id its newest row.
type merge struct {
	s    *snapshot
	t    *topic
	from int64
	rest []piece // not begun yet
	open heads
	gaps []gap // not passed yet, by after
	key  []byte

	busy   bool // cur is being put together
	cur    found
	newest row // of cur; its value may be gone
	value  []byte
}

func newMerge(s *snapshot, t *topic, from int64) *merge {
	m := &merge{s: s, t: t, from: from, gaps: slices.Clone(t.gaps), key: append([]byte(t.name), '/')}
	for _, p := range s.pieces(t) {
		if p.log == nil || p.last >= from { // what a table holds at its end may not be readable
			m.rest = append(m.rest, p)
		}
	}
	m.gaps = slices.DeleteFunc(m.gaps, func(g gap) bool { return g.before <= from && g.before != end })
	return m
}

func (m *merge) close() {
	for _, h := range m.open {
		h.c.close()
	}
	m.open, m.rest = nil, nil
}

// begin opens the pieces that may hold the next row.
func (m *merge) begin(ctx context.Context) error {
	for len(m.rest) > 0 && (len(m.open) == 0 || m.rest[0].first <= m.open[0].r.id) {
		p := m.rest[0]
		c, err := m.cursor(ctx, p)
		if err != nil {
			return err
		}
		m.rest = m.rest[1:]
		h := &head{c: c}
		if err := m.advance(ctx, h); err != nil {
			c.close()
			m.rest = append([]piece{p}, m.rest...)
			return err
		}
		if h.c != nil {
			heap.Push(&m.open, h)
		}
	}
	return nil
}

func (m *merge) cursor(ctx context.Context, p piece) (cursor, error) {
	switch {
	case p.log == nil:
		return newTableCursor(m.t.name, p.file, m.from)
	case p.log.unordered:
		return newSortedCursor(ctx, m.t.name, p.log, m.from)
	}
	return newLogCursor(m.t.name, p.log, m.from), nil
}

// advance moves a head to its next row; at its end it has no cursor any more.
func (m *merge) advance(ctx context.Context, h *head) error {
	r, g, err := h.c.next(ctx)
	if g != nil {
		m.add(*g)
	}
	if errors.Is(err, io.EOF) {
		h.c.close()
		h.c = nil
		return nil
	}
	h.r = r
	return err
}

func (m *merge) add(g gap) {
	at, _ := slices.BinarySearchFunc(m.gaps, g.after, func(o gap, after int64) int { return int(min(max(o.after-after, -1), 1)) })
	m.gaps = slices.Insert(m.gaps, at, g)
}

// found is what stands at an id.
type found struct {
	id      int64
	value   []byte // valid until the next call
	deleted bool
	older   bool  // another message had the id before
	gaps    []gap // before it
}

// next returns what stands at the next id, or io.EOF with the gaps at the end. A
// call that failed can be made again.
func (m *merge) next(ctx context.Context) (found, error) {
	for {
		if err := m.begin(ctx); err != nil {
			return found{}, err
		}
		if len(m.open) == 0 && !m.busy {
			return found{id: end, gaps: m.passed(end)}, io.EOF
		}
		for !m.busy || len(m.open) > 0 && m.open[0].r.id == m.cur.id {
			h := m.open[0]
			m.take(h.r)
			if err := m.advance(ctx, h); err != nil {
				return found{}, err
			}
			if h.c == nil {
				heap.Pop(&m.open)
			} else {
				heap.Fix(&m.open, 0)
			}
		}
		m.busy = false
		if m.newest.deleted && !m.cur.deleted {
			continue // the deletion alone
		}
		m.cur.value, m.cur.gaps = m.value, m.passed(m.cur.id)
		return m.cur, nil
	}
}

// take adds a row to what stands at its id. The same row may come again.
func (m *merge) take(r row) {
	switch {
	case !m.busy:
		m.busy, m.newest = true, r
		m.cur = found{id: r.id, deleted: !r.deleted && m.s.cover.hides(m.keyOf(r.id), r.seq)}
		m.value = append(m.value[:0], r.value...)
	case r.deleted && r.seq > m.newest.seq: // the same file deletes it later
		m.newest, m.cur.deleted = r, true
	case r.deleted:
	case m.newest.deleted && !m.cur.deleted: // what the deletion of one key hides
		m.value, m.cur.deleted = append(m.value[:0], r.value...), true
	case bytes.Equal(r.value, m.value):
	case r.seq > m.newest.seq:
		m.newest, m.cur.older = r, true
		m.value, m.cur.deleted = append(m.value[:0], r.value...), m.s.cover.hides(m.keyOf(r.id), r.seq)
	default:
		m.cur.older = true
	}
}

func (m *merge) keyOf(id int64) []byte {
	return append(m.key[:len(m.t.name)+1], keyOf("", id)[1:]...)
}

// passed takes the gaps that lie before an id, those filled excepted, and counts
// the id into those it lies in.
func (m *merge) passed(id int64) []gap {
	var out []gap
	kept := m.gaps[:0]
	for i, g := range m.gaps {
		if g.after >= id && id != end {
			kept = append(kept, m.gaps[i:]...)
			break
		}
		if id < g.before {
			g.found++
			kept = append(kept, g)
			continue
		}
		if !g.filled() {
			out = append(out, g)
		}
	}
	m.gaps = kept
	return out
}

// head is a cursor and the row it stands at.
type head struct {
	c cursor
	r row
}

// heads is a heap: the smallest id first, of one id the newest row.
type heads []*head

func (h heads) Len() int { return len(h) }
func (h heads) Less(i, j int) bool {
	if h[i].r.id != h[j].r.id {
		return h[i].r.id < h[j].r.id
	}
	return h[i].r.seq > h[j].r.seq
}
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)   { *h = append(*h, x.(*head)) }
func (h *heads) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
