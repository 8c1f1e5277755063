package walgen

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// scope is a vchannel with its lock: what an exclusive append waits for and holds.
type scope struct {
	name     string
	coll     *collection // nil for the control channel
	inflight int
	locked   bool
	ready    bool // its CreateCollection is written
	dropped  bool
	txns     []*txn
}

type collection struct {
	id         int64
	name       string
	kind       SchemaKind
	schema     *schemapb.CollectionSchema
	scope      *scope
	partitions []*partition
	nextPart   int
	nextPK     int64
	busy       bool // a broadcast DDL holds its resource key
	vchannels  []string
	pchannels  []string
	fields     []*schemapb.FieldSchema // user fields in schema order
}

type partition struct {
	id      int64
	name    string
	growing *segment
	closing bool
	dropped bool
}

type segmentState uint8

const (
	segmentCreating segmentState = iota
	segmentGrowing
	segmentSealing // no new rows; its Flush waits for the last ones
	segmentSealed
)

type segment struct {
	id       int64
	coll     *collection
	part     *partition
	state    segmentState
	rows     uint64
	bytes    uint64
	limit    uint64
	inflight int
	txns     int // open transactions with rows in it
}

type txnFate uint8

const (
	fateCommit txnFate = iota
	fateRollback
	fateAbandon
)

// txn is a transaction as its client and the node see it.
type txn struct {
	id        int64
	scope     *scope
	keepalive int64 // milliseconds; −1000 = infinite
	header    string
	lastTT    uint64
	inflight  int
	begun     bool
	done      bool // ended, failed or forgotten
	left      int  // parts still to come
	fate      txnFate
	partial   bool    // a partial update: it carries the proof of what it read
	upsert    []int64 // keys deleted by an upsert, to be inserted again
	upsertP   *partition
	segs      []*segment
	beginLC   message.ID
}

// over reports whether nothing of the transaction can come above tt.
func (t *txn) over(tt uint64) bool {
	return t.done || (t.keepalive >= 0 && t.lastTT+uint64(t.keepalive)<<18 <= tt)
}

// finish releases what a transaction holds; its session takes no more parts.
func (g *Generator) finish(t *txn) {
	if t.done {
		return
	}
	t.done = true
	for _, s := range t.segs {
		s.txns--
	}
	t.segs = nil
	g.open = remove(g.open, t)
	t.scope.txns = remove(t.scope.txns, t)
}

// unlock ends an exclusive append: open transactions of its scope fail, and no
// rollback is written for them.
func (g *Generator) unlock(op *appendOp) {
	op.scope.locked = false
	if op.pcl {
		g.walLocked = false
		for len(g.open) > 0 {
			g.finish(g.open[0])
		}
		return
	}
	for len(op.scope.txns) > 0 {
		g.finish(op.scope.txns[0])
	}
}

func remove[T comparable](s []T, v T) []T {
	for i := range s {
		if s[i] == v {
			return append(s[:i], s[i+1:]...)
		}
	}
	return s
}

func (c *collection) vchannel(pchannel string, shard int) string {
	return pchannel + "_" + strconv.FormatInt(c.id, 10) + "v" + strconv.Itoa(shard)
}

// part picks a live partition, or nil.
func (g *Generator) part(c *collection) *partition {
	for range c.partitions {
		p := c.partitions[g.rng.IntN(len(c.partitions))]
		if !p.dropped && !p.closing {
			return p
		}
	}
	return nil
}
