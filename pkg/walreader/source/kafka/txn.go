package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// The kinds of control records (wire format).
const markerAbort = 0

// span is a range of offsets, both included.
type span struct{ first, last int64 }

// txns are the producers' transactions that were not committed. Milvus makes none.
type txns struct {
	aborted map[int64][]span // by producer
	open    map[int64]int64  // by producer: the first offset of one that nothing ends
}

// readTxns reads all batches of a partition for its transactions.
func readTxns(ctx context.Context, segs []segment) (*txns, error) {
	w, t := newWalk(segs, 0), &txns{aborted: map[int64][]span{}, open: map[int64]int64{}}
	var un unpacker
	defer w.close()
	defer un.close()
	for {
		f, err := w.next(ctx)
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		b := f.batch
		if b == nil || !b.is(attrTransactional) {
			continue
		}
		first, open := t.open[b.producer]
		switch {
		case !b.is(attrControl) && !open:
			t.open[b.producer] = b.base
		case b.is(attrControl) && open:
			body, err := w.body(b)
			if err == nil && un.open(b.attrs&attrCodec, body) == nil {
				if r, err := un.next(); err == nil && len(r.key) >= 4 && binary.BigEndian.Uint16(r.key[2:]) == markerAbort {
					t.aborted[b.producer] = append(t.aborted[b.producer], span{first, b.base})
				}
			}
			delete(t.open, b.producer)
		}
	}
}

// undone reports whether a batch is of a transaction that was taken back, pending whether
// it is of one that nothing ends.
func (t *txns) undone(b *batch) bool {
	for _, s := range t.aborted[b.producer] {
		if b.base >= s.first && b.base <= s.last {
			return true
		}
	}
	return false
}

func (t *txns) pending(b *batch) bool {
	first, ok := t.open[b.producer]
	return ok && b.base >= first
}

// body returns what stands behind a batch's header, valid until the walk goes on.
func (w *walk) body(b *batch) ([]byte, error) {
	return w.w.At(b.off+headerSize, b.end-b.off-headerSize)
}
