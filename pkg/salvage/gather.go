package salvage

import (
	"context"
	"errors"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// gatherer is the first pass: what ends rows, and what decodes them.
type gatherer struct {
	*run
	err  error // of memory, met where none can be returned
	tick uint64
}

func (r *run) gather(ctx context.Context, report *Report) (*tap, error) {
	for _, k := range r.opts.Schemas {
		c := r.collections.get(k.Collection)
		c.learn(k.Schema, k.TimeTick)
		for id, name := range k.Partitions {
			c.partitions[id] = name
		}
	}
	g := &gatherer{run: r}
	damage := int64(0)
	t, err := r.scan(ctx, g, -1, func(err error) (bool, error) {
		more, fatal := r.opts.ReadError.Of(err)
		if more {
			damage++
		}
		return more, fatal
	})
	if t != nil {
		asked := r.opts.Range
		report.Coverage = Coverage{First: t.first, Last: t.last, Records: t.records, TimeTick: g.tick, Damage: damage,
			Partial: damage > 0 || report.Missing != "" || asked.From.Kind != 0 || asked.From.Offset != 0 || asked.To.Kind != 0 || asked.Limit > 0}
	}
	if err == nil {
		err = g.err
	}
	if err != nil {
		return t, err
	}
	r.collections.ready()
	if r.wanted, err = r.collections.wanted(r.opts.Collections); err != nil {
		return t, err
	}
	if r.lost != nil {
		r.lost.prepare()
	}
	return t, nil
}

// read learns which fields rows carry, also those that no schema has any more.
func (g *gatherer) read(m *message.Message) {
	if _, _, part := m.Chunk(); !part { // those of a split message: once they are joined
		g.carries(m)
	}
}

func (g *gatherer) carries(m *message.Message) {
	if m.Type == message.TypeInsert && m.Payload != nil && !m.Has(message.HasCipher) && m.Broken() == nil {
		g.collections.get(m.Collection).carries(m.Payload)
	}
}

// Dropped implements order.Observer. A schema that readers never see still
// tells how its rows are to be read.
func (g *gatherer) Dropped(m *message.Message, why order.Reason, _ uint64) {
	g.collections.ddl(m, m.TimeTick)
	if g.lost != nil {
		g.fails(g.lost.dropped(m, why))
	}
}

func (g *gatherer) fails(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *gatherer) rest(_ []*message.Message, open []*order.Txn, cut bool) {
	if g.lost != nil && !cut {
		g.fails(g.lost.open(open))
	}
}

func (g *gatherer) deliver(_ context.Context, d order.Delivery) error {
	if d.TimeTick < g.tick && d.Message.Type == message.TypeTimeTick {
		if g.ceiling == 0 || d.TimeTick < g.floor {
			g.floor = d.TimeTick
		}
		g.ceiling = g.tick
	}
	g.tick = max(g.tick, d.TimeTick)
	if g.lost != nil && d.Begin != nil {
		g.lost.committed(d.Message.TxnID, d.TimeTick)
	}
	for _, m := range parts(d) {
		if err := g.message(m, d.TimeTick); err != nil {
			return err
		}
	}
	return g.err
}

func (r *run) gravesOf(vchannel string) *graves {
	v := r.graves[vchannel]
	if v == nil {
		v = &graves{}
		r.graves[vchannel] = v
	}
	return v
}

// message takes what a delivered message ends. docs/salvage.md#which-rows-live
func (g *gatherer) message(m *message.Message, tick uint64) error {
	switch m.Type {
	case message.TypeDelete:
		if g.opts.VChannel != nil && !g.opts.VChannel(m.VChannel) {
			return nil
		}
		return g.deleteKeys(m, tick, g.gravesOf(m.VChannel), true)
	case message.TypeInsert:
		if m.Has(message.Chunked) {
			g.carries(m)
		}
		return nil
	}
	g.collections.ddl(m, tick)
	end := endOf(m.Type)
	if end == nil || message.IsControlChannel(m.VChannel) && !m.Has(message.PChannelLevel) {
		return nil // of a control channel's copy the vchannel's own message counts
	}
	end(g, g.gravesOf(m.VChannel), m, tick)
	return nil
}

// endOf returns what a type ends of a vchannel's rows, nil for types that end none.
func endOf(t message.Type) func(*gatherer, *graves, *message.Message, uint64) {
	switch t {
	case message.TypeDropCollection:
		return func(g *gatherer, v *graves, m *message.Message, tick uint64) {
			v.dropped = max(v.dropped, tick)
			g.collections.get(m.Collection).dropped = true
		}
	case message.TypeTruncateCollection:
		return func(_ *gatherer, v *graves, _ *message.Message, tick uint64) { v.truncated = max(v.truncated, tick) }
	case message.TypeDropPartition:
		return func(_ *gatherer, v *graves, m *message.Message, tick uint64) {
			if v.partitionsDropped == nil {
				v.partitionsDropped = make(map[int64]uint64)
			}
			v.partitionsDropped[m.Partition] = max(v.partitionsDropped[m.Partition], tick)
		}
	}
	return nil
}

// deleteKeys notes the keys a Delete names. Those of lost deletes are not counted.
func (r *run) deleteKeys(m *message.Message, tick uint64, into *graves, count bool) error {
	d := &r.deletes
	if !count {
		d = &DeleteReport{}
	}
	d.Messages++
	if m.Has(message.HasCipher) {
		d.Encrypted++
		_, err := m.Body()
		r.tally.list(m, tick, Encrypted, err)
		return nil
	}
	b, err := message.BodyAs[*msgpb.DeleteRequest](m)
	if errors.Is(err, message.ErrNotRead) {
		d.NoPayload++
		r.tally.list(m, tick, NoPayload, errNoPayload)
		return nil
	}
	if err != nil {
		d.Undecodable++
		r.tally.list(m, tick, Undecodable, err)
		return nil
	}
	if b.GetPartitionID() == 0 {
		d.Unscoped++
	}
	k := into.of(b.GetPartitionID())
	ints, texts := rows.DeletedKeys(b)
	grown, n := int64(0), len(ints)+len(texts)
	for _, key := range ints {
		grown += k.addInt(key, tick)
	}
	for _, key := range texts {
		grown += k.addText(key, tick)
	}
	d.Keys += int64(n)
	if n == 0 && len(b.GetSerializedExprPlan()) > 0 {
		d.Predicates++
	}
	return r.hold(grown)
}
