package cmd

import (
	"math/bits"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// count is what is known of a group of messages.
type count struct {
	Messages int64  `json:"count"`
	Bytes    int64  `json:"bytes"` // payload bytes as stored
	Rows     uint64 `json:"rows,omitempty"`
	LastTick uint64 `json:"last_time_tick,string"`
}

func (c *count) add(bytes int64, rows, tick uint64) {
	c.Messages++
	c.Bytes += bytes
	c.Rows += rows
	c.LastTick = max(c.LastTick, tick)
}

// tally counts one pass over a log.
type tally struct {
	filter *cli.Filter

	all         count
	first, last message.ID
	firstTick   uint64 // smallest TimeTick seen
	types       map[message.Type]*count
	vchannels   []count // indexed like Columns.VChannels
	names       []string
	passes      []bool // by vchannel: the filter lets it through
	sizes       [64]count
	terms       map[int64]*count

	openings                    int64
	begun, committed, rolled    int64
	open                        map[int64]struct{}
	lastPersisted               uint64 // TimeTick of the last TimeTick message
	behind                      []uint64
	timeTicks, behindTimeTick   int64
	messagesWithDefects         int64
	lastPersistedID, lastOpened message.ID
}

func newTally(filter *cli.Filter) *tally {
	return &tally{filter: filter, types: map[message.Type]*count{}, terms: map[int64]*count{}, open: map[int64]struct{}{}}
}

// maxOpen bounds what a hostile log of Begins can make the tally hold.
const maxOpen = 1 << 20

func (t *tally) add(c *message.Columns) {
	for len(t.vchannels) < len(c.VChannels) {
		name := c.VChannels[len(t.vchannels)]
		t.vchannels = append(t.vchannels, count{})
		t.passes = append(t.passes, t.filter.MatchesVChannel(name))
	}
	t.names = c.VChannels
	all := t.filter.Empty()
	for i := range c.N {
		if all || t.passes[c.VChannel[i]] && t.filter.Match(c.Type[i], c.VChannels[c.VChannel[i]], c.Collection[i]) {
			t.row(c, i)
		}
	}
}

func (t *tally) row(c *message.Columns, i int) {
	typ, tick, bytes, rows := c.Type[i], c.TimeTick[i], c.PayloadSize[i], c.Rows[i]
	if t.all.Messages == 0 {
		t.first = c.ID(i)
	}
	t.last = c.ID(i)
	if tick > 0 && (t.firstTick == 0 || tick < t.firstTick) {
		t.firstTick = tick
	}
	t.all.add(bytes, rows, tick)
	group(t.types, typ).add(bytes, rows, tick)
	t.vchannels[c.VChannel[i]].add(bytes, rows, tick)
	t.sizes[bits.Len64(uint64(max(bytes, 0)))%64].add(bytes, rows, tick)
	if c.Flags[i]&message.HasTerm != 0 {
		group(t.terms, c.Term[i]).add(bytes, rows, tick)
	}
	if m := c.Full[i]; m != nil && len(m.Defects) > 0 {
		t.messagesWithDefects++
	}
	t.progress(c, i, typ, tick)
}

// progress follows TimeTicks and transactions.
func (t *tally) progress(c *message.Columns, i int, typ message.Type, tick uint64) {
	switch typ {
	case message.TypeTimeTick:
		t.timeTicks++
		if c.Flags[i]&message.HasTerm == 0 && c.Version[i] > 0 {
			t.openings++
			t.lastOpened = c.ID(i)
		}
		t.lastPersisted, t.lastPersistedID = max(t.lastPersisted, tick), c.ID(i)
		kept := t.behind[:0]
		for _, b := range t.behind {
			if b > t.lastPersisted {
				kept = append(kept, b)
			}
		}
		t.behind = kept
		return
	case message.TypeBeginTxn:
		t.begun++
		if len(t.open) < maxOpen {
			t.open[c.TxnID[i]] = struct{}{}
		}
	case message.TypeCommitTxn:
		t.committed++
		delete(t.open, c.TxnID[i])
	case message.TypeRollbackTxn:
		t.rolled++
		delete(t.open, c.TxnID[i])
	}
	if tick < t.lastPersisted {
		t.behindTimeTick++
	} else if tick > t.lastPersisted && len(t.behind) < maxOpen {
		t.behind = append(t.behind, tick)
	}
}

func group[K comparable](m map[K]*count, k K) *count {
	c := m[k]
	if c == nil {
		c = &count{}
		m[k] = c
	}
	return c
}
