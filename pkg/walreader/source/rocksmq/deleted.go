package rocksmq

import (
	"bytes"
	"container/heap"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
)

// cover answers which rows a range deletion hides: pieces of the key space that do
// not overlap, each with the newest deletion over it.
type cover struct {
	starts [][]byte // sorted; a piece reaches to the next one's start
	seqs   []uint64 // 0 = nothing is deleted there
}

// newCover cuts deletions where another begins or ends.
func newCover(deletions []rocksdb.Entry) cover {
	slices.SortFunc(deletions, func(a, b rocksdb.Entry) int { return bytes.Compare(a.Key, b.Key) })
	cuts := make([][]byte, 0, 2*len(deletions))
	for _, d := range deletions {
		cuts = append(cuts, d.Key, d.Value)
	}
	slices.SortFunc(cuts, bytes.Compare)
	cuts = slices.CompactFunc(cuts, bytes.Equal)
	c := cover{starts: cuts, seqs: make([]uint64, len(cuts))}
	var over newest
	next := 0
	for i, at := range cuts {
		for ; next < len(deletions) && bytes.Compare(deletions[next].Key, at) <= 0; next++ {
			heap.Push(&over, deletions[next])
		}
		for len(over) > 0 && bytes.Compare(over[0].Value, at) <= 0 {
			heap.Pop(&over)
		}
		if len(over) > 0 {
			c.seqs[i] = over[0].Seq
		}
	}
	return c
}

// hides reports whether the row of a key with a sequence number is deleted.
func (c cover) hides(key []byte, seq uint64) bool {
	if len(c.starts) == 0 {
		return false
	}
	i, exact := slices.BinarySearchFunc(c.starts, key, bytes.Compare)
	if !exact {
		i--
	}
	return i >= 0 && seq < c.seqs[i]
}

// newest is a heap of deletions, the one with the largest sequence first.
type newest []rocksdb.Entry

func (h newest) Len() int           { return len(h) }
func (h newest) Less(i, j int) bool { return h[i].Seq > h[j].Seq }
func (h newest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *newest) Push(x any)        { *h = append(*h, x.(rocksdb.Entry)) }
func (h *newest) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
