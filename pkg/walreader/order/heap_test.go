package order

import (
	"container/heap"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// stdHeap is what Milvus's reorder buffer sifts with.
type stdHeap []*message.Message

func (h stdHeap) Len() int           { return len(h) }
func (h stdHeap) Less(i, j int) bool { return h[i].TimeTick < h[j].TimeTick }
func (h stdHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *stdHeap) Push(x any)        { *h = append(*h, x.(*message.Message)) }
func (h *stdHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	*h = old[:len(old)-1]
	return m
}

func at(i int64, tick uint64) *message.Message {
	return &message.Message{Ordinal: i, ID: message.ID{Backend: message.BackendPulsar, A: 1, B: i}, Type: message.TypeInsert,
		Version: 1, Flags: message.HasTimeTick, TimeTick: tick}
}

// The queue must give messages back in container/heap's order, equal TimeTicks
// included, whatever is pushed and released when.
func TestQueuePopsInContainerHeapOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spread := rapid.Uint64Range(1, 40).Draw(t, "spread") // small: many equal keys
		var q queue
		var std stdHeap
		base, id := uint64(0), int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for _, d := range rapid.SliceOfN(rapid.Uint64Range(0, spread), 0, 40).Draw(t, "ticks") {
				m := at(id, base+d)
				id++
				q.push(m)
				heap.Push(&std, m)
			}
			base += rapid.Uint64Range(0, spread).Draw(t, "release")
			q.release(base)
			for std.Len() > 0 && std[0].TimeTick <= base {
				want := heap.Pop(&std).(*message.Message)
				got := q.pop(base)
				if got != want {
					t.Fatalf("popped %v, container/heap pops %v", got, want)
				}
			}
			if m := q.pop(base); m != nil {
				t.Fatalf("popped %v, container/heap has nothing up to %d", m, base)
			}
			if q.waiting != std.Len() || len(q.list()) != std.Len() {
				t.Fatalf("%d wait, want %d", q.waiting, std.Len())
			}
		}
	})
}

func TestQueueKnowsBufferedIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		waiting := map[int64]bool{}
		for i := range rapid.IntRange(1, 60).Draw(t, "n") {
			id := rapid.Int64Range(0, 20).Draw(t, "id")
			m := at(id, uint64(i)+rapid.Uint64Range(0, 3).Draw(t, "late"))
			if got := q.has(m.ID); got != waiting[id] {
				t.Fatalf("has(%d) = %v", id, got)
			}
			if !waiting[id] {
				q.push(m)
				waiting[id] = true
			}
			if rapid.IntRange(0, 3).Draw(t, "release") == 0 {
				q.release(uint64(i))
				for m := q.pop(uint64(i)); m != nil; m = q.pop(uint64(i)) {
					delete(waiting, m.ID.B)
				}
			}
		}
	})
}

func TestQueueSortGivesUpOnDisorder(t *testing.T) {
	var q queue
	r := rand.New(rand.NewPCG(1, 2))
	for i, p := range r.Perm(5000) {
		q.push(at(int64(i), uint64(p)))
	}
	q.release(1 << 40)
	require.Empty(t, q.sorted, "shuffled messages go through the heap")
	for want := range uint64(5000) {
		require.Equal(t, want, q.pop(1<<40).TimeTick)
	}
}
