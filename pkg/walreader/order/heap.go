package order

import (
	"cmp"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// buffered is one message waiting for its TimeTick; the key stands beside the
// pointer so that sifting touches no message.
type buffered struct {
	tick uint64
	m    *message.Message
}

// tickHeap is a binary min-heap by TimeTick alone. Milvus sifts with Go's
// container/heap, and messages of equal TimeTick come out as those sifts leave
// them, not in log order. So the sifts here make the same comparisons and swaps
// (a test holds them to container/heap, layout for layout); they only spare the
// interface calls.
type tickHeap []buffered

// An element that sifts is held in hand and written once, where it stops.
func (h *tickHeap) push(b buffered) {
	*h = append(*h, b)
	s := *h
	child := len(s) - 1
	for child > 0 {
		parent := (child - 1) / 2
		if b.tick >= s[parent].tick {
			break
		}
		s[child] = s[parent]
		child = parent
	}
	s[child] = b
}

func (h *tickHeap) pop() buffered {
	s := *h
	last := len(s) - 1
	top, b := s[0], s[last]
	s[last] = buffered{}
	s = s[:last]
	*h = s
	if last == 0 {
		return top
	}
	parent := 0
	for {
		child := 2*parent + 1
		if child >= last {
			break
		}
		if right := child + 1; right < last && s[right].tick < s[child].tick {
			child = right
		}
		if s[child].tick >= b.tick {
			break
		}
		s[parent] = s[child]
		parent = child
	}
	s[parent] = b
	return top
}

// queue is the reorder buffer. As long as nothing was popped since it was last
// empty it only gathers; the heap is built when a TimeTick does not empty it or
// when two messages share a TimeTick, the cases in which the heap's layout shows.
type queue struct {
	gathered []buffered // arrival order; used while heap is empty
	heap     tickHeap
	sorted   []buffered // being drained, from next on
	next     int
	highest  uint64 // of gathered

	ids     map[message.ID]struct{} // nil while ids only rose
	highID  message.ID
	anyID   bool
	waiting int
}

// has reports whether a message with the id waits. Ids rise in a log, so the set
// is built only once one does not.
func (q *queue) has(id message.ID) bool {
	if q.waiting == 0 {
		q.ids, q.anyID = nil, false
	}
	if !q.anyID || q.highID.Less(id) {
		return false
	}
	if q.ids == nil {
		q.ids = make(map[message.ID]struct{}, q.waiting)
		for _, list := range [3][]buffered{q.gathered, q.heap, q.sorted[q.next:]} {
			for i := range list {
				q.ids[list[i].m.ID] = struct{}{}
			}
		}
	}
	_, found := q.ids[id]
	return found
}

func (q *queue) push(m *message.Message) {
	b := buffered{m.TimeTick, m}
	if len(q.heap) > 0 {
		q.heap.push(b)
	} else {
		q.gathered = append(q.gathered, b)
		q.highest = max(q.highest, b.tick)
	}
	if q.ids != nil {
		q.ids[m.ID] = struct{}{}
	}
	if !q.anyID || q.highID.Less(m.ID) {
		q.highID, q.anyID = m.ID, true
	}
	q.waiting++
}

// release prepares for popping everything up to tick.
func (q *queue) release(tick uint64) {
	if len(q.gathered) == 0 {
		return
	}
	if q.highest <= tick && q.sort() {
		q.gathered = q.gathered[:0]
	} else {
		for _, b := range q.gathered {
			q.heap.push(b)
		}
		clear(q.gathered)
		q.gathered = q.gathered[:0]
	}
	q.highest = 0
}

// sort brings the gathered messages in order by insertion, which is linear for
// a log that is nearly sorted. It gives up, and reports false, where the order
// could differ from the heap's (equal keys) or it would take too long.
func (q *queue) sort() bool {
	s := append(q.sorted[:0], q.gathered...)
	q.sorted = s
	budget := 16 * len(s)
	for i := 1; i < len(s); i++ {
		b, j := s[i], i
		for j > 0 && s[j-1].tick > b.tick {
			s[j] = s[j-1]
			j--
		}
		s[j] = b
		if budget -= i - j; budget < 0 || j > 0 && s[j-1].tick == b.tick {
			q.sorted, q.next = s[:0], 0
			return false
		}
	}
	q.next = 0
	return true
}

// pop returns the next message up to tick, nil when there is none.
func (q *queue) pop(tick uint64) *message.Message {
	var m *message.Message
	switch {
	case q.next < len(q.sorted):
		m = q.sorted[q.next].m
		q.sorted[q.next].m = nil
		q.next++
		if q.next == len(q.sorted) {
			q.sorted, q.next = q.sorted[:0], 0
		}
	case len(q.heap) > 0 && q.heap[0].tick <= tick:
		m = q.heap.pop().m
	default:
		return nil
	}
	q.waiting--
	if q.ids != nil {
		delete(q.ids, m.ID)
	}
	return m
}

// list returns what waits.
func (q *queue) list() []*message.Message {
	out := make([]*message.Message, 0, q.waiting)
	for _, list := range [3][]buffered{q.gathered, q.heap, q.sorted[q.next:]} {
		for i := range list {
			out = append(out, list[i].m)
		}
	}
	return out
}

// inLog compares two messages by their place in the log.
func inLog(a, b *message.Message) int {
	return cmp.Or(cmp.Compare(a.Ordinal, b.Ordinal), a.ID.Compare(b.ID))
}
