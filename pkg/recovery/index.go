package recovery

import (
	"slices"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
)

// places finds a partition in a vchannel's list without walking it. A list names
// a partition twice only where a catalog or a header does.
type places struct {
	of   map[int64]int
	more map[int64][]int // places of a partition beside its first
	gone int             // places left empty by dropped partitions, until settle
}

func (p *places) add(id int64, at int) {
	if p.of == nil {
		p.of = make(map[int64]int)
	}
	if _, twice := p.of[id]; !twice {
		p.of[id] = at
		return
	}
	if p.more == nil {
		p.more = make(map[int64][]int)
	}
	p.more[id] = append(p.more[id], at)
}

// take forgets the first place of a partition and returns it.
func (p *places) take(id int64) int {
	at := p.of[id]
	if more := p.more[id]; len(more) > 0 {
		p.of[id], p.more[id] = more[0], more[1:]
	} else {
		delete(p.of, id)
	}
	p.gone++
	return at
}

// partition returns a partition's place in the metadata, −1 where it has none.
func (v *vchannel) partition(id int64) int {
	if v.places.of == nil {
		for i, p := range v.meta.CollectionInfo.Partitions {
			v.places.add(p.GetPartitionId(), i)
		}
	}
	if at, ok := v.places.of[id]; ok {
		return at
	}
	return -1
}

func (v *vchannel) addPartition(id int64) {
	list := &v.meta.CollectionInfo.Partitions
	v.places.add(id, len(*list))
	*list = append(*list, &streamingpb.PartitionInfoOfVChannel{PartitionId: id})
}

// removePartition takes a partition out that is there. Its place is closed once
// half of all are empty, so that a drop costs what it drops.
func (v *vchannel) removePartition(id int64) {
	list := v.meta.CollectionInfo.Partitions
	list[v.places.take(id)] = nil
	if 2*v.places.gone > len(list) {
		v.settle()
	}
}

// settle closes the places that dropped partitions left: whoever reads the
// metadata calls it before.
func (v *vchannel) settle() {
	if v.places.gone > 0 {
		list := &v.meta.CollectionInfo.Partitions
		*list = slices.DeleteFunc(*list, func(p *streamingpb.PartitionInfoOfVChannel) bool { return p == nil })
		v.places = places{}
	}
}

func (s *State) settle() {
	for _, v := range s.vchannels {
		v.settle()
	}
}

// growingBy finds the growing segments of a partition or a collection. Flushed
// and replaced ones stay listed until the list is walked.
type growingBy map[int64][]*segment

// flushPartition seals the segments of one partition.
func (s *State) flushPartition(id int64, tick uint64) {
	s.ownSegments()
	s.listed()
	s.flushIn(s.byPartition, id, tick)
}

// flushCollection seals the segments of one collection.
func (s *State) flushCollection(id int64, tick uint64) {
	s.ownSegments()
	s.listed()
	s.flushIn(s.byCollection, id, tick)
}

func (s *State) flushIn(by growingBy, id int64, tick uint64) {
	left := by[id][:0]
	for _, g := range by[id] {
		if s.growing[g.id] != g {
			continue
		}
		if s.flush(g, tick); !flushed(g) {
			left = append(left, g) // its metadata has seen a later TimeTick
		}
	}
	if len(left) == 0 {
		delete(by, id)
		return
	}
	by[id] = left
}
