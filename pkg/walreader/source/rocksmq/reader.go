package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// reader turns the rows of a topic into messages.
type reader struct {
	selector.Steps
	s    *Source
	snap *snapshot
	rng  source.Range
	m    *merge
	dec  decoder
	last int64
}

// step hands what stands at the next id to the selector.
func (r *reader) step(ctx context.Context) error {
	f, err := r.m.next(ctx)
	for i := range f.gaps {
		r.Sel.Corrupt(f.gaps[i].err(r.s.dir))
	}
	switch {
	case errors.Is(err, io.EOF):
		r.Sel.End()
		if r.End = io.EOF; r.snap.torn != nil {
			r.End = fmt.Errorf("%s: %s ends in the middle of a record (byte %d): %w", r.s.dir, r.snap.torn.name, r.snap.torn.size, source.ErrTornTail)
		}
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.End = fmt.Errorf("read %s: %w", r.s.dir, err)
		return nil
	case f.deleted && !r.s.o.IncludeDeleted:
		return nil
	}
	if f.older {
		r.corrupt(f.id, errors.New("an earlier message had this id, which was given out twice; its bytes stand in an older file"))
	}
	if f.id < r.last {
		r.corrupt(f.id, fmt.Errorf("an id of another length than that of the message before it, %d: keys and ids are not in one order", r.last))
		return nil
	}
	m, err := r.dec.message(f.id, f.value, r.rng.Props, r.rng.Payload.Wants)
	if err != nil {
		r.corrupt(f.id, err)
		return nil
	}
	if r.last = f.id; f.deleted {
		m.Flags |= message.Deleted
	}
	r.Sel.Push(m)
	return nil
}

func (r *reader) corrupt(id int64, cause error) {
	r.Sel.Corrupt(&source.CorruptError{Source: r.s.dir, Place: fmt.Sprintf("the message %d of %s", id, r.s.topic), Lost: 1, Cause: cause})
}

// free gives back what the reader holds of the directory.
func (r *reader) free() {
	r.m.close()
	r.snap.release()
}
