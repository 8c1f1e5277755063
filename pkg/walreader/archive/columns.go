package archive

import (
	"context"
	"slices"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// OpenColumns implements source.ColumnSource. Only the fields of r.Columns are
// decoded: a question over a few columns touches no others' bytes. With a payload
// asked for, the messages of Columns.Full bring the bodies of definitions.
func (s *Source) OpenColumns(ctx context.Context, r source.Range) (source.ColumnReader, error) {
	start, end, err := s.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	set := r.Columns
	if set == 0 {
		set = message.AllColumns
	}
	payload, err := s.kept(r.Payload)
	if err != nil {
		return nil, err
	}
	n := newNames()
	first := newBlock(s.m.Backend, n)
	return &columnReader{c: s.cursorFrom(start, end, r), b: first, blocks: []*block{first}, names: n, set: set, bodies: payload != source.PayloadNone}, nil
}

type columnReader struct {
	mu     sync.Mutex // Close may come from another goroutine
	c      *cursor
	b      *block   // the one read last
	blocks []*block // taken in turn, so that older ones stay valid
	turn   int
	names  *names
	set    message.ColumnSet
	slab   []message.Message // for Full
	bodies bool              // Full brings the payloads that replay reads
	pay    payloads
	closed bool
}

// Keep implements source.LastingColumns.
func (r *columnReader) Keep(n int) {
	for len(r.blocks) <= n {
		r.blocks = append(r.blocks, newBlock(r.b.backend, r.names))
	}
}

// NextColumns implements source.ColumnReader.
func (r *columnReader) NextColumns(ctx context.Context) (*message.Columns, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	p, err := r.c.next(ctx)
	if err != nil {
		return nil, err
	}
	r.b, r.turn = r.blocks[r.turn], (r.turn+1)%len(r.blocks)
	if err := r.b.load(p, r.set); err != nil {
		return nil, r.c.fault(p, err)
	}
	if err := r.full(p); err != nil {
		return nil, r.c.fault(p, err)
	}
	r.b.out = r.b.Columns
	if p.lo > 0 || p.hi < p.b.Rows {
		cut(&r.b.out, p.lo, p.hi)
	}
	return &r.b.out, nil
}

// full builds the messages of Columns.Full that were asked for.
func (r *columnReader) full(p part) error {
	needs := r.b.inFull
	switch {
	case r.set&message.ColumnFull != 0:
	case r.set&message.ColumnDefects != 0:
		needs = r.b.hasDefect
	default:
		return nil
	}
	r.pay.enter(r.c, p)
	for i := p.lo; i < p.hi; i++ {
		if !needs(i) {
			continue
		}
		if err := r.b.loadRest(); err != nil {
			return err
		}
		if len(r.slab) == 0 {
			r.slab = make([]message.Message, slabSize/4)
		}
		m := &r.slab[0]
		r.slab = r.slab[1:]
		r.b.fill(m, i)
		if err := r.b.join(m, i); err != nil {
			return err
		}
		if err := r.body(m, i); err != nil {
			return err
		}
		if r.b.Full == nil {
			r.b.Full = make(map[int]*message.Message)
		}
		r.b.Full[i-p.lo] = m
	}
	return nil
}

// body brings a message's payload, where that was asked for. One that is damaged is
// left out: VerifyBytes tells its place, and the columns are sound.
func (r *columnReader) body(m *message.Message, i int) error {
	if !r.bodies || !m.Type.PayloadRead() || r.b.private(i) {
		return nil
	}
	payload, _, err := r.pay.get(i, payDDL)
	if machine(err) {
		return err
	}
	if err == nil {
		m.Payload = payload
	}
	return nil
}

// cut narrows every column that was loaded to the rows lo … hi−1.
func cut(c *message.Columns, lo, hi int) {
	narrow(&c.A, lo, hi)
	narrow(&c.B, lo, hi)
	narrow(&c.Batch, lo, hi)
	narrow(&c.BatchSize, lo, hi)
	narrow(&c.Version, lo, hi)
	narrow(&c.Type, lo, hi)
	narrow(&c.Flags, lo, hi)
	narrow(&c.TimeTick, lo, hi)
	narrow(&c.Barrier, lo, hi)
	narrow(&c.Term, lo, hi)
	narrow(&c.VChannel, lo, hi)
	narrow(&c.Collection, lo, hi)
	narrow(&c.Partition, lo, hi)
	narrow(&c.Segment, lo, hi)
	narrow(&c.Rows, lo, hi)
	narrow(&c.BinarySize, lo, hi)
	narrow(&c.LCA, lo, hi)
	narrow(&c.LCB, lo, hi)
	narrow(&c.LCBatch, lo, hi)
	narrow(&c.TxnID, lo, hi)
	narrow(&c.Keepalive, lo, hi)
	narrow(&c.BroadcastID, lo, hi)
	narrow(&c.PayloadSize, lo, hi)
	narrow(&c.PublishTime, lo, hi)
	narrow(&c.Checksum, lo, hi)
}

func narrow[T any](s *[]T, lo, hi int) {
	if len(*s) >= hi {
		*s = slices.Clip((*s)[lo:hi])
	}
}

// Close implements source.ColumnReader.
func (r *columnReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.pay.close()
		r.c.close()
	}
	return nil
}
