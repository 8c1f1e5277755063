package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
)

// row is a topic's row as one file has it.
type row struct {
	id      int64
	seq     uint64
	deleted bool   // the row says so itself
	value   []byte // valid until the cursor's next call
}

// cursor walks what one file holds of a topic, in the order of the ids.
type cursor interface {
	// next returns io.EOF at the end. A gap stands before the row, or at the end.
	next(ctx context.Context) (row, *gap, error)
	close()
}

// checkEvery is how many records of other topics are passed over between two looks
// at the context.
const checkEvery = 256

// logCursor reads a log file whose ids rise.
type logCursor struct {
	topic string
	from  int64
	r     *rocksdb.LogReader
	queue []row
	at    int
}

func newLogCursor(topic string, sp *logSpan, from int64) *logCursor {
	i := sort.Search(len(sp.marks), func(i int) bool { return sp.marks[i].id > from })
	off := sp.marks[max(i-1, 0)].offset
	return &logCursor{topic: topic, from: from, r: rocksdb.NewLogReader(sp.file.name, sp.file.number, sp.file.in, sp.file.size, off)}
}

func (c *logCursor) close() {}

func (c *logCursor) next(ctx context.Context) (row, *gap, error) {
	for n := 1; ; n++ {
		if c.at < len(c.queue) {
			c.at++
			return c.queue[c.at-1], nil, nil
		}
		if n%checkEvery == 0 && ctx.Err() != nil {
			return row{}, nil, ctx.Err()
		}
		rec, _, err := c.r.Next()
		var d *rocksdb.Damage
		switch {
		case errors.As(err, &d): // known by the scan
			continue
		case errors.Is(err, rocksdb.ErrTorn):
			return row{}, nil, io.EOF
		case err != nil:
			return row{}, nil, err
		}
		c.queue, c.at = appendRows(c.queue[:0], rec, c.topic, c.from), 0
	}
}

// appendRows takes a topic's rows out of a batch; they share its memory.
func appendRows(rows []row, rec []byte, topic string, from int64) []row {
	b, err := rocksdb.ParseBatch(rec)
	if err != nil {
		return rows
	}
	_, _ = b.Each(func(e rocksdb.Entry) { // what stands after a broken entry is a hole of the scan's
		name, id, ok := splitKey(e.Key)
		if !ok || string(name) != topic || id < from || e.Kind == rocksdb.KindRangeDelete || e.Kind == rocksdb.KindMerge {
			return
		}
		rows = append(rows, row{id: id, seq: e.Seq, deleted: e.Kind != rocksdb.KindPut, value: e.Value})
	})
	return rows
}

// sortedCursor reads a log file whose ids do not rise: it gathers where the
// messages are and fetches each.
type sortedCursor struct {
	topic string
	f     *file
	at    []place64
	rows  []row
}

type place64 struct {
	id, offset int64
	seq        uint64
}

func newSortedCursor(ctx context.Context, topic string, sp *logSpan, from int64) (*sortedCursor, error) {
	c := &sortedCursor{topic: topic, f: sp.file}
	r := rocksdb.NewLogReader(sp.file.name, sp.file.number, sp.file.in, sp.file.size, sp.marks[0].offset)
	for n := 1; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		rec, off, err := r.Next()
		var d *rocksdb.Damage
		switch {
		case errors.As(err, &d):
			continue
		case errors.Is(err, io.EOF), errors.Is(err, rocksdb.ErrTorn):
			slices.SortStableFunc(c.at, func(a, b place64) int {
				if a.id != b.id {
					return int(min(max(a.id-b.id, -1), 1))
				}
				return int(min(max(int64(b.seq)-int64(a.seq), -1), 1))
			})
			return c, nil
		case err != nil:
			return nil, err
		}
		c.rows = appendRows(c.rows[:0], rec, topic, from)
		for _, m := range c.rows {
			c.at = append(c.at, place64{m.id, off, m.seq})
		}
	}
}

func (c *sortedCursor) close() {}

func (c *sortedCursor) next(context.Context) (row, *gap, error) {
	for len(c.at) > 0 {
		p := c.at[0]
		c.at = c.at[1:]
		rec, _, err := rocksdb.NewLogReader(c.f.name, c.f.number, c.f.in, c.f.size, p.offset).Next()
		if err != nil {
			return row{}, nil, fmt.Errorf("read %s again at byte %d: %w", c.f.name, p.offset, err)
		}
		c.rows = appendRows(c.rows[:0], rec, c.topic, p.id)
		for _, m := range c.rows {
			if m.id == p.id && m.seq == p.seq {
				return m, nil, nil
			}
		}
	}
	return row{}, nil, io.EOF
}

// tableCursor reads a table.
type tableCursor struct {
	topic string
	f     *file
	t     *rocksdb.Table
	it    *rocksdb.Iter
	limit []byte
	prev  int64 // the last id, or the one before where it began
	seen  bool  // prev is a row's
	gap   *gap  // behind prev, not told yet
	bad   int   // blocks of it that could not be read
	pure  bool  // they hold nothing but the topic's rows
}

func newTableCursor(topic string, f *file, from int64) (*tableCursor, error) {
	t, err := rocksdb.OpenTable(f.name, f.in, f.size)
	if err != nil {
		return nil, err
	}
	start := startOf(topic)
	if from > 0 {
		start = keyOf(topic, from)
	}
	return &tableCursor{topic: topic, f: f, t: t, it: t.Iter(start), limit: endOf(topic), prev: max(from, 0) - 1}, nil
}

func (c *tableCursor) close() { c.t.Close() }

func (c *tableCursor) next(ctx context.Context) (row, *gap, error) {
	for n := 1; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return row{}, nil, ctx.Err()
		}
		e, err := c.it.Next()
		var d *rocksdb.Damage
		switch {
		case errors.As(err, &d):
			if below := c.it.Before(); below != nil && string(below) >= string(c.limit) {
				return row{}, c.told(end, false), io.EOF
			}
			c.broken(d)
			continue
		case errors.Is(err, io.EOF):
			return row{}, c.told(end, len(c.f.topics) == 1), io.EOF
		case err != nil:
			return row{}, nil, err
		}
		name, id, ok := splitKey(e.Key)
		switch {
		case string(e.Key) >= string(c.limit):
			return row{}, c.told(end, false), io.EOF
		case !ok || string(name) != c.topic || e.Kind == rocksdb.KindMerge:
			continue
		}
		g := c.told(id, true)
		c.prev, c.seen = id, true
		return row{id: id, seq: e.Seq, deleted: e.Kind != rocksdb.KindPut, value: e.Value}, g, nil
	}
}

// broken begins a gap with a block that cannot be read, or goes on with one.
func (c *tableCursor) broken(d *rocksdb.Damage) {
	bound, below, g := c.it.Bound(), c.it.Before(), c.gap
	if g == nil {
		g = &gap{after: c.prev, before: end, lost: -1, cause: d.Cause}
		c.bad, c.pure = 0, c.seen || below != nil && string(below) >= string(startOf(c.topic)) || len(c.f.topics) == 1
		g.place = fmt.Sprintf("%s, bytes %d to %d", d.File, d.From, d.To)
	}
	c.bad++
	if name, id, ok := splitKey(bound); ok && string(name) == c.topic {
		g.before = padded(id) + 1
	} else {
		g.before = end
	}
	c.gap = g
}

// told closes a gap before the row with an id, or at the end of what the table
// holds of the topic; inside says that nothing else lies before it.
func (c *tableCursor) told(id int64, inside bool) *gap {
	g := c.gap
	if c.gap = nil; g == nil {
		return nil
	}
	inside = inside || g.before != end
	if id != end {
		g.before = id
	}
	if c.pure && inside {
		g.lost = c.lost()
	}
	return g
}

// idDigits is how long an id is: the keys between blocks are cut short.
const idDigits = 18

// padded is the id that a key cut short stands before.
func padded(id int64) int64 {
	for n := len(strconv.FormatInt(id, 10)); n < idDigits; n++ {
		id *= 10
	}
	return id
}

// lost is how many rows the bad blocks took, where that can be told.
func (c *tableCursor) lost() int64 {
	c.f.counted()
	if c.f.lost.blocks == c.bad {
		return c.f.lost.rows
	}
	return -1
}
