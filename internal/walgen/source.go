package walgen

import (
	"context"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Source is a log in memory, or one written anew each time it is opened: a
// benchmark reads ten million records without holding them.
type Source struct {
	pchannel string
	backend  message.Backend
	records  int64
	first    message.ID
	last     message.ID
	open     func() func() (*message.Message, bool)
}

// NewSource returns the log of cfg as a source. Nothing of it is kept: each
// reader writes it again.
func NewSource(cfg Config) *Source {
	cfg.setDefaults()
	return &Source{pchannel: cfg.PChannel, backend: cfg.Backend, records: -1, open: func() func() (*message.Message, bool) {
		return New(cfg).Next
	}}
}

// SliceSource returns messages as a source, in the order given.
func SliceSource(pchannel string, ms []*message.Message) *Source {
	s := &Source{pchannel: pchannel, records: int64(len(ms))}
	if len(ms) > 0 {
		s.backend, s.first, s.last = ms[0].ID.Backend, ms[0].ID, ms[len(ms)-1].ID
	}
	s.open = func() func() (*message.Message, bool) {
		i := 0
		return func() (*message.Message, bool) {
			if i >= len(ms) {
				return nil, false
			}
			i++
			return ms[i-1], true
		}
	}
	return s
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: "walgen", Location: "memory", PChannel: s.pchannel, Backend: s.backend}
}

// Bounds implements source.Source. Of a log that is written while it is read it
// writes the whole once.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	if s.records < 0 {
		next, n := s.open(), int64(0)
		for m, ok := next(); ok; m, ok = next() {
			if n == 0 {
				s.first = m.ID
			}
			s.last = m.ID
			if n++; n&0xfff == 0 && ctx.Err() != nil {
				return source.Bounds{}, ctx.Err()
			}
		}
		s.records = n
	}
	return source.Bounds{First: s.first, Last: s.last, Empty: s.records == 0, Records: s.records}, nil
}

// Open implements source.Source. Bounds by id, time and TimeTick are obeyed,
// offsets are not.
func (s *Source) Open(_ context.Context, r source.Range) (source.Reader, error) {
	return &reader{next: s.open(), r: r}, nil
}

// Close implements source.Source.
func (s *Source) Close() error { return nil }

type reader struct {
	next    func() (*message.Message, bool)
	r       source.Range
	n       int64
	started bool
	done    bool
}

// Close implements source.Reader.
func (r *reader) Close() error { return nil }

// Next implements source.Reader.
func (r *reader) Next(ctx context.Context) (*message.Message, error) {
	for !r.done {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, ok := r.next()
		if !ok {
			break
		}
		if !r.started && !reached(m, r.r.From, false) {
			continue
		}
		r.started = true
		if reached(m, r.r.To, true) || (r.r.Limit > 0 && r.n >= r.r.Limit) {
			break
		}
		r.n++
		return m, nil
	}
	r.done = true
	return nil, io.EOF
}

// reached reports whether a message stands at or after a bound; beyond asks
// whether it stands after it. Nothing is reached beyond no bound.
func reached(m *message.Message, b source.Bound, beyond bool) bool {
	switch b.Kind {
	case source.Unbounded:
		return !beyond
	case source.AtID:
		if beyond {
			return b.ID.Less(m.ID)
		}
		return !m.ID.Less(b.ID)
	}
	if beyond {
		return m.Type == message.TypeTimeTick && b.Exceeded(m.TimeTick)
	}
	return b.Reached(m.TimeTick)
}
