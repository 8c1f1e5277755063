package salvage

import (
	"context"
	"math"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// lost keeps what a reader would drop although its writer committed it.
// docs/salvage.md#lost-rows
type lost struct {
	r       *run
	list    []*lostMessage
	waiting map[int64][]*lostMessage // parts whose commit was not seen, by transaction
	commits map[int64]uint64         // those that a reader drops
	graves  map[string]*graves       // of the deletes among them
	byTick  map[uint64]*copies       // of the TimeTick
	known   map[*message.Message]*lostMessage
	keys    map[string]*lostKeys // of the rows among them, by vchannel
	ids     map[message.ID]bool
}

// lostMessage is an Insert or Delete that readers never get.
type lostMessage struct {
	m    *message.Message
	why  order.Reason
	tick uint64 // with which it would be delivered; 0 = never committed

	batch *rows.Batch
	mark  Mark
	twice bool
}

// lostKey is what is known of the rows of one key: whether one of them was
// inserted again later, or replaces one that lives.
type lostKey struct {
	newest uint64 // TimeTick of the newest row, lost or delivered
	oldest uint64 // of the oldest delivered row that lives; MaxUint64 = none
}

type lostKeys struct {
	ints  map[int64]*lostKey
	texts map[string]*lostKey
}

func newLost(r *run) *lost {
	return &lost{r: r, waiting: map[int64][]*lostMessage{}, commits: map[int64]uint64{}, graves: map[string]*graves{},
		byTick: map[uint64]*copies{}, known: map[*message.Message]*lostMessage{}, keys: map[string]*lostKeys{}, ids: map[message.ID]bool{}}
}

// A dropped message is held with its rows decoded and listed by key. This is
// what it takes beside twice its payload, and for each row.
const (
	heldByMessage = 1 << 10
	heldByRow     = 128
)

// dropped takes what the scanner drops. What its writer took back, or wrote
// again, is not lost; what is not whole cannot be brought out.
func (l *lost) dropped(m *message.Message, why order.Reason) error {
	switch why {
	case order.RolledBack, order.Superseded, order.ForcePromoted, order.DuplicateID, order.Undecodable, order.NoVChannel,
		order.ChunkAgain, order.ChunksUnfinished, order.ChunksMissing, order.ChunksBroken:
		return nil
	}
	if u := l.r.opts.UntilTimeTick; u > 0 && m.TimeTick > u {
		return nil
	}
	if take := lostOf(m.Type); take != nil {
		return take(l, m, why)
	}
	return nil
}

// lostOf returns what is made of a type that the scanner drops, nil for types that
// neither carry rows nor end a transaction.
func lostOf(t message.Type) func(*lost, *message.Message, order.Reason) error {
	switch t {
	case message.TypeInsert, message.TypeDelete:
		return (*lost).add
	case message.TypeCommitTxn:
		return func(l *lost, m *message.Message, _ order.Reason) error {
			l.commits[m.TxnID] = m.TimeTick
			l.committed(m.TxnID, m.TimeTick)
			return nil
		}
	case message.TypeRollbackTxn:
		return func(l *lost, m *message.Message, _ order.Reason) error {
			delete(l.waiting, m.TxnID)
			return nil
		}
	}
	return nil
}

func (l *lost) add(m *message.Message, why order.Reason) error {
	x := &lostMessage{m: m, why: why, tick: m.TimeTick}
	l.list = append(l.list, x)
	if m.Type == message.TypeInsert {
		l.ids[m.ID] = true
	}
	if m.Has(message.HasTxn) {
		x.tick = 0
		if tick := l.commits[m.TxnID]; tick > m.TimeTick {
			x.tick = tick
		} else {
			l.waiting[m.TxnID] = append(l.waiting[m.TxnID], x)
		}
	}
	return l.r.hold(heldByMessage + 2*m.PayloadSize + int64(m.Props.Size()) + heldByRow*int64(min(m.Rows, rows.MaxPayload)))
}

// committed is told of a transaction's commit, delivered or dropped.
func (l *lost) committed(txn int64, tick uint64) {
	for _, x := range l.waiting[txn] {
		if tick > x.m.TimeTick {
			x.tick = tick
		}
	}
	delete(l.waiting, txn)
}

// open takes transactions that readers see without an end, but whose commit they
// drop.
func (l *lost) open(txns []*order.Txn) error {
	for _, t := range txns {
		if _, ok := l.commits[t.ID]; !ok {
			continue
		}
		for _, m := range t.Body {
			if m.Type != message.TypeInsert && m.Type != message.TypeDelete {
				continue
			}
			if err := l.add(m, order.CommitWithoutBegin); err != nil {
				return err
			}
		}
	}
	return nil
}

// has reports whether the rows of an Insert are decided on here.
func (l *lost) has(m *message.Message) bool { return l.ids[m.ID] }

// prepare makes the indexes the second pass asks, once the first is over.
func (l *lost) prepare() {
	for _, x := range l.list {
		if x.tick == 0 || l.isTwice(x) {
			continue
		}
		if l.byTick[x.m.TimeTick] == nil {
			l.byTick[x.m.TimeTick] = &copies{}
		}
		l.byTick[x.m.TimeTick].add(x.m)
		l.known[x.m] = x
		if x.m.Type == message.TypeDelete {
			g := l.graves[x.m.VChannel]
			if g == nil {
				g = &graves{}
				l.graves[x.m.VChannel] = g
			}
			_ = l.r.deleteKeys(x.m, x.tick, g, false) // its memory is held already, as a message
			continue
		}
		x.batch = l.r.decide(x.m, x.tick, l.r.tally, &x.mark)
		if x.batch == nil {
			continue
		}
		l.index(x)
	}
}

// isTwice marks the second and later copies of one append.
func (l *lost) isTwice(x *lostMessage) bool {
	x.twice = l.byTick[x.m.TimeTick] != nil && l.byTick[x.m.TimeTick].has(x.m)
	return x.twice
}

// index lists the keys. Of two lost rows of a key the newer one counts.
func (l *lost) index(x *lostMessage) {
	k := l.keys[x.m.VChannel]
	if k == nil {
		k = &lostKeys{ints: map[int64]*lostKey{}, texts: map[string]*lostKey{}}
		l.keys[x.m.VChannel] = k
	}
	pk := x.batch.Primary()
	for i := range x.batch.N {
		key := k.of(pk, i)
		if key == nil {
			key = &lostKey{oldest: math.MaxUint64}
			k.add(pk, i, key)
		}
		key.newest = max(key.newest, x.tick)
	}
}

// of returns what is known of a row's key, nil where no lost row has it.
func (k *lostKeys) of(pk *rows.Column, row int) *lostKey {
	switch {
	case pk.Null(row):
		return nil
	case pk.Shape == rows.ShapeText:
		return k.texts[pk.Text(row)]
	}
	return k.ints[pk.Long(row)]
}

func (k *lostKeys) add(pk *rows.Column, row int, x *lostKey) {
	switch {
	case pk.Null(row):
	case pk.Shape == rows.ShapeText:
		k.texts[pk.Text(row)] = x
	default:
		k.ints[pk.Long(row)] = x
	}
}

// delivered holds what readers get against what they do not: the same append
// under another id, and other rows of the same keys.
func (l *lost) delivered(m *message.Message, tick uint64) {
	if c := l.byTick[m.TimeTick]; c != nil {
		for _, o := range c.find(m) {
			l.known[o].twice = true
		}
	}
	k := l.keys[m.VChannel]
	if k == nil {
		return
	}
	b, _, err := l.r.decode(m)
	if err != nil {
		return // told where rows are brought out
	}
	pk, g := b.Primary(), l.r.graves[m.VChannel]
	lives := g.end(m.Partition, tick) == ""
	deleted := g.deletedIn(m.Partition, tick)
	for i := range b.N {
		key := k.of(pk, i)
		if key == nil {
			continue
		}
		key.newest = max(key.newest, tick)
		if lives && !deleted.deleted(pk, i) {
			key.oldest = min(key.oldest, tick)
		}
	}
}

// emit brings the rows out that are missing, in log order.
func (l *lost) emit(ctx context.Context, e *emitter) error {
	for _, x := range l.list {
		if x.m.Type == message.TypeInsert {
			if err := l.bring(ctx, e, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lost) bring(ctx context.Context, e *emitter, x *lostMessage) error {
	m, t := x.m, l.r.tally
	switch {
	case x.twice:
		t.not(m.Collection, DuplicateAppend, m.Rows)
		return nil
	case x.tick == 0:
		t.not(m.Collection, dropped(x.why), m.Rows)
		return nil
	case x.batch == nil:
		return nil // counted when it was decoded
	}
	t.bytes += m.PayloadSize
	pk := x.batch.Primary()
	live := l.r.graves[m.VChannel].deletedIn(m.Partition, x.tick)
	own := l.graves[m.VChannel].deletedIn(m.Partition, x.tick)
	keep := map[Mark][]int32{}
	for i := range x.batch.N {
		mark := x.mark
		key := l.keys[m.VChannel].of(pk, i)
		mark.Lost, mark.Replaces = x.why, key != nil && key.oldest <= x.tick
		mark.Deleted = live.deleted(pk, i) || own.deleted(pk, i)
		switch {
		case key != nil && x.tick < key.newest:
			t.not(m.Collection, InsertedAgain, 1)
		case mark.Deleted && !l.r.opts.IncludeDeleted:
			t.not(m.Collection, Deleted, 1)
		default:
			keep[mark] = append(keep[mark], int32(i))
		}
	}
	j := &job{m: m, tick: x.tick, done: make(chan struct{}), tally: newTally()}
	for _, mark := range marksOf(keep) {
		l.r.bring(j, x.batch, keep[mark], mark)
	}
	close(j.done)
	return e.enqueue(ctx, j)
}

// marksOf orders marks by their first row.
func marksOf(keep map[Mark][]int32) []Mark {
	var out []Mark
	for m := range keep {
		at := len(out)
		for at > 0 && keep[out[at-1]][0] > keep[m][0] {
			at--
		}
		out = append(out[:at], append([]Mark{m}, out[at:]...)...)
	}
	return out
}
