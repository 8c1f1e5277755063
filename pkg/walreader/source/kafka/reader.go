package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/layout"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// reader turns the batches of a partition into messages.
type reader struct {
	selector.Steps
	s     *Disk
	rng   source.Range
	walk  *walk
	start int64 // what lies before it is deleted
	txns  *txns
	un    unpacker
	dec   layout.Decoder

	batch *batch // whose records are being read; nil = none
	n     int64  // how many of them were read
	delta int64  // of the last
	flags message.Flags
}

// step hands what comes next to the selector.
func (r *reader) step(ctx context.Context) error {
	if r.batch != nil {
		r.record()
		return nil
	}
	f, err := r.walk.next(ctx)
	for i := range f.gaps {
		r.Sel.Corrupt(f.gaps[i].err(r.s.path))
	}
	switch {
	case errors.Is(err, io.EOF):
		r.Sel.End()
		if r.End = io.EOF; r.walk.torn != "" && !r.s.moves(ctx, r.walk.segs) {
			r.End = fmt.Errorf("%s: %s: %w", r.s.path, r.walk.torn, source.ErrTornTail)
		}
		return nil
	case err != nil:
		return err
	case f.batch == nil:
		return nil
	}
	return r.enter(ctx, f.batch)
}

// enter begins with the records of a batch, if they are the log's.
func (r *reader) enter(ctx context.Context, b *batch) error {
	if b.is(attrControl) || b.count == 0 {
		return nil
	}
	r.flags = 0
	if b.moved {
		r.flags |= message.InBadBlock
	}
	if r.s.at.gone {
		r.flags |= message.Deleted
	}
	if b.is(attrTransactional) {
		if r.txns == nil {
			var err error
			if r.txns, err = readTxns(ctx, r.walk.segs); err != nil {
				return err
			}
		}
		switch {
		case r.txns.pending(b):
			r.flags |= message.Unacknowledged
		case r.txns.undone(b) && !r.s.o.IncludeDeleted:
			return nil
		case r.txns.undone(b):
			r.flags |= message.Deleted
		}
	}
	body, err := r.walk.body(b)
	if err == nil {
		err = r.un.open(b.attrs&attrCodec, body)
	}
	if r.batch, r.n, r.delta = b, 0, -1; err != nil {
		r.spoilt(err)
	}
	return nil
}

// record reads one record of the batch.
func (r *reader) record() {
	b := r.batch
	rec, err := r.un.next()
	if err == nil && (rec.delta <= r.delta || rec.delta > b.delta) {
		err = errRecord
	}
	if err != nil {
		r.spoilt(err)
		return
	}
	offset := b.base + rec.delta
	r.n, r.delta = r.n+1, rec.delta
	if r.n == b.count {
		r.batch = nil
	}
	flags := r.flags
	if offset < r.start {
		if !r.s.o.IncludeDeleted {
			return
		}
		flags |= message.Deleted
	}
	m, err := rec.message(&r.dec, offset, r.rng.Props, r.rng.Payload.Wants)
	if err != nil {
		r.Sel.Corrupt(&source.CorruptError{Source: r.s.path, Place: fmt.Sprintf("offset %d", offset), Lost: 1, Cause: err})
		return
	}
	m.Flags |= flags
	r.Sel.Push(m)
}

// spoilt says that what is left of a batch cannot be read, though its checksum is right.
func (r *reader) spoilt(err error) {
	b := r.batch
	r.batch = nil
	r.Sel.Corrupt(&source.CorruptError{Source: r.s.path, Place: fmt.Sprintf("the batch from offset %d to %d", b.base, b.last()), Lost: b.count - r.n,
		Cause: fmt.Errorf("%s, byte %d: %w, though the batch's checksum is right", r.walk.segs[b.seg].name, b.off, err)})
}

// free closes what is open.
func (r *reader) free() {
	r.walk.close()
	r.un.close()
}
