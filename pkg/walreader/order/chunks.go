package order

import (
	"maps"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

const (
	// maxJoined caps what the records of one message may sum up to, twice what the
	// largest request to Milvus may be.
	maxJoined = 512 << 20
	// rememberJoined is how many messages are known once a TimeTick has passed them:
	// an append that was given up can still land then.
	rememberJoined = 256
)

// Chunks puts messages together that their writer split over several records, as a
// scanner of a Milvus newer than 3.0 does before it does anything else. It takes a
// log's messages in log order. Set Drop; the rest of the zero value is ready.
// docs/rules.md#chunks
type Chunks struct {
	// Drop is told of what is never put together.
	Drop func(m *message.Message, why Reason, tick uint64)

	runs  map[runKey]*split
	ticks tickHeap // one of each run, so that a TimeTick costs what it ends
	bytes int64

	joined [rememberJoined]runKey // the last ones, next is the oldest
	next   int
	known  map[runKey]struct{} // those
}

// runKey is what the records of one message share. The TimeTick alone tells messages
// apart in a sound log.
type runKey struct {
	tick     uint64
	vchannel string
	typ      message.Type
}

// split is what is known of one split message until a TimeTick passes it.
type split struct {
	total   int
	records map[int]*message.Message // by index; sparse, as the total is the log's word; nil = joined or given up
	size    int64
}

// Take takes the next message. part is false for one that is whole as it is; whole
// is a message's records joined, once the last of them was taken.
func (c *Chunks) Take(m *message.Message) (whole *message.Message, part bool) {
	index, total, ok := m.Chunk()
	if !ok {
		return nil, false
	}
	k := runKey{m.TimeTick, m.VChannel, m.Type}
	r := c.runs[k]
	if _, again := c.known[k]; again {
		c.Drop(m, ChunkAgain, 0)
		return nil, true
	}
	if r == nil {
		if c.runs == nil {
			c.runs = make(map[runKey]*split)
		}
		r = &split{total: total, records: map[int]*message.Message{}}
		c.runs[k] = r
		c.ticks.push(buffered{m.TimeTick, m})
	}
	if r.records == nil {
		return nil, true // told with the first of them
	}
	old := r.records[index]
	if total != r.total || old != nil && !message.SameChunk(old, m) || r.size+m.PayloadSize > maxJoined {
		c.over(r, m, ChunksBroken, 0)
		return nil, true
	}
	if old != nil {
		c.bytes -= held(old)
		r.size -= old.PayloadSize
		c.Drop(old, ChunkAgain, 0)
	}
	r.records[index] = m // the later one: its append is the one that was acknowledged
	c.bytes += held(m)
	r.size += m.PayloadSize
	if len(r.records) < r.total {
		return nil, true
	}
	list := r.list()
	c.forget(r)
	c.remember(k)
	return message.JoinChunks(list), true
}

// Expire gives up what a TimeTick ends: no record follows it in the log that belongs
// to a message before it.
func (c *Chunks) Expire(tick uint64) {
	for len(c.ticks) > 0 && c.ticks[0].tick <= tick {
		m := c.ticks.pop().m
		k := runKey{m.TimeTick, m.VChannel, m.Type}
		r := c.runs[k]
		delete(c.runs, k)
		if r.records == nil {
			continue
		}
		why := ChunksMissing
		if r.contiguous() {
			why = ChunksUnfinished
		}
		c.over(r, nil, why, tick)
	}
}

// Bytes estimates what is held, in bytes of memory.
func (c *Chunks) Bytes() int64 { return c.bytes }

// remember notes a message that was joined.
func (c *Chunks) remember(k runKey) {
	if c.known == nil {
		c.known = make(map[runKey]struct{})
	}
	delete(c.known, c.joined[c.next])
	c.joined[c.next], c.known[k] = k, struct{}{}
	c.next = (c.next + 1) % rememberJoined
}

// over gives a run up, and the record that showed it where there is one.
func (c *Chunks) over(r *split, last *message.Message, why Reason, tick uint64) {
	first := last
	if list := r.list(); len(list) > 0 {
		first = list[0]
	}
	c.forget(r)
	c.Drop(first, why, tick)
}

// forget lets go of a run's records.
func (c *Chunks) forget(r *split) {
	for _, m := range r.records {
		c.bytes -= held(m)
	}
	r.records = nil
}

// list returns the records by index.
func (r *split) list() []*message.Message {
	out := make([]*message.Message, 0, len(r.records))
	for _, i := range slices.Sorted(maps.Keys(r.records)) {
		out = append(out, r.records[i])
	}
	return out
}

// contiguous reports whether the run has its first records and no hole.
func (r *split) contiguous() bool {
	for i := range len(r.records) {
		if r.records[i] == nil {
			return false
		}
	}
	return true
}

// waiting returns the records that wait for others.
func (c *Chunks) waiting() (out []*message.Message) {
	for _, r := range c.runs {
		for _, m := range r.records {
			out = append(out, m)
		}
	}
	return out
}
