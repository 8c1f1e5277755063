package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// reader turns the rows of a topic into messages.
type reader struct {
	mu   sync.Mutex
	s    *Source
	snap *snapshot
	rng  source.Range
	sel  selector.Selector
	m    *merge
	dec  decoder
	stop stopper
	last int64
	n    int64
	end  error // what follows what the selector holds
}

// stopper is a call's context that also ends when the reader is closed.
type stopper struct {
	context.Context
	closed atomic.Bool
}

// Err implements context.Context.
func (s *stopper) Err() error {
	if s.closed.Load() {
		return os.ErrClosed
	}
	return s.Context.Err()
}

// Next implements source.Reader.
func (r *reader) Next(ctx context.Context) (*message.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop.Context = ctx
	for {
		if err := r.stop.Err(); err != nil {
			return nil, err
		}
		if it, ok := r.sel.Pop(); ok {
			if it.M != nil {
				it.M.Ordinal = r.n
				r.n++
			}
			return it.M, it.Err
		}
		if r.sel.Finished() {
			return nil, io.EOF
		}
		if r.end != nil {
			return nil, r.end
		}
		if err := r.step(); err != nil {
			return nil, err
		}
	}
}

// step hands what stands at the next id to the selector.
func (r *reader) step() error {
	f, err := r.m.next(&r.stop)
	for i := range f.gaps {
		r.sel.Corrupt(f.gaps[i].err(r.s.dir))
	}
	switch {
	case errors.Is(err, io.EOF):
		r.sel.End()
		if r.end = io.EOF; r.snap.torn != nil {
			r.end = fmt.Errorf("%s: %s ends in the middle of a record (byte %d): %w", r.s.dir, r.snap.torn.name, r.snap.torn.size, source.ErrTornTail)
		}
		return nil
	case err != nil && r.stop.Err() != nil:
		return r.stop.Err()
	case err != nil:
		r.end = fmt.Errorf("read %s: %w", r.s.dir, err)
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
	m, err := r.dec.message(f.id, f.value, r.rng.Props, r.wants)
	if err != nil {
		r.corrupt(f.id, err)
		return nil
	}
	if r.last = f.id; f.deleted {
		m.Flags |= message.Deleted
	}
	r.sel.Push(m)
	return nil
}

func (r *reader) corrupt(id int64, cause error) {
	r.sel.Corrupt(&source.CorruptError{Source: r.s.dir, Place: fmt.Sprintf("the message %d of %s", id, r.s.topic), Lost: 1, Cause: cause})
}

func (r *reader) wants(t message.Type) bool {
	switch r.rng.Payload {
	case source.PayloadAll:
		return true
	case source.PayloadDDL:
		return t != message.TypeInsert && t != message.TypeDelete && t != message.TypeTimeTick
	}
	return false
}

// Close implements source.Reader.
func (r *reader) Close() error {
	if r.stop.closed.Swap(true) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.close()
	r.snap.release()
	return nil
}
