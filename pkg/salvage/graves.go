package salvage

import (
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// graves is what ended rows of one vchannel: for each key the TimeTick of its
// latest delete, for collection and partitions those of their latest end.
type graves struct {
	everywhere keys
	partitions map[int64]*keys

	dropped, truncated uint64
	partitionsDropped  map[int64]uint64
}

// keys is a TimeTick for each deleted key.
type keys struct {
	ints  map[int64]uint64
	texts map[string]uint64
}

// Bytes of memory one entry takes, measured over large maps.
const (
	intEntry  = 40
	textEntry = 64
)

func (k *keys) addInt(key int64, tick uint64) int64 {
	if k.ints == nil {
		k.ints = make(map[int64]uint64)
	}
	old, ok := k.ints[key]
	k.ints[key] = max(old, tick)
	if ok {
		return 0
	}
	return intEntry
}

func (k *keys) addText(key string, tick uint64) int64 {
	if k.texts == nil {
		k.texts = make(map[string]uint64)
	}
	old, ok := k.texts[key]
	k.texts[key] = max(old, tick)
	if ok {
		return 0
	}
	return textEntry + int64(len(key))
}

// of returns the keys deleted in a partition; −1 and 0 mean all partitions.
func (g *graves) of(partition int64) *keys {
	if partition <= 0 {
		return &g.everywhere
	}
	if g.partitions == nil {
		g.partitions = make(map[int64]*keys)
	}
	k := g.partitions[partition]
	if k == nil {
		k = &keys{}
		g.partitions[partition] = k
	}
	return k
}

// end says what ended every row of a partition that is older than it.
// docs/salvage.md#which-rows-live
func (g *graves) end(partition int64, tick uint64) Reason {
	switch {
	case g == nil:
	case tick < g.dropped:
		return CollectionDropped
	case tick < g.partitionsDropped[partition]:
		return PartitionDropped
	case tick < g.truncated:
		return Truncated
	}
	return ""
}

// deletedIn prepares the question which rows of a partition were deleted.
func (g *graves) deletedIn(partition int64, tick uint64) grave {
	if g == nil {
		return grave{}
	}
	return grave{all: &g.everywhere, own: g.partitions[partition], tick: tick}
}

// grave asks for the rows of one message: a delete takes those with a strictly
// smaller TimeTick, so that an upsert's new row survives its own delete.
type grave struct {
	all, own *keys
	tick     uint64
}

func (g grave) empty() bool { return g.all == nil || g.all.none() && g.own.none() }

func (k *keys) none() bool { return k == nil || len(k.ints) == 0 && len(k.texts) == 0 }

func (g grave) deleted(pk *rows.Column, row int) bool {
	if g.empty() || pk.Null(row) {
		return false
	}
	if pk.Shape == rows.ShapeText {
		return g.text(pk.Text(row))
	}
	return g.int(pk.Long(row))
}

func (g grave) int(key int64) bool {
	return g.all != nil && g.tick < g.all.ints[key] || g.own != nil && g.tick < g.own.ints[key]
}

func (g grave) text(key string) bool {
	return g.all != nil && g.tick < g.all.texts[key] || g.own != nil && g.tick < g.own.texts[key]
}
