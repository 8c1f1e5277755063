package bookkeeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Kind is what Describe calls such a source.
const Kind = "bookkeeper"

// Options say how a place is read.
type Options struct {
	// IncludeDeleted also returns the messages of ledgers that the broker has deleted,
	// and of entries that it left out of a ledger when it closed it; they carry
	// message.Deleted.
	IncludeDeleted bool
}

// Source is one log of a place.
type Source struct {
	place string
	log   source.Log
	name  string
	o     Options

	mu   sync.Mutex
	snap *snapshot
}

// usable says why a place holds no log, or nil.
func (s *snapshot) usable() error {
	switch {
	case len(s.logs) > 0:
		return nil
	case len(s.files) == 0:
		return fmt.Errorf("%w: %s holds no entry log and no journal of BookKeeper", source.ErrNotFound, s.place)
	case len(s.ledgers) > 0:
		return fmt.Errorf("%w: the %d ledgers in %s hold no message of Milvus", source.ErrNoLogs, len(s.ledgers), s.place)
	case len(s.damages) > 0:
		d := s.damages[0]
		return fmt.Errorf("%w in %s that can be read: %s: %w", source.ErrNotFound, s.place, d, d.cause)
	}
	return fmt.Errorf("%w: the files in %s hold no entry", source.ErrNotFound, s.place)
}

// Open opens one log of a place, a directory or several separated by commas.
func Open(ctx context.Context, place string, which source.Log, o Options) (*Source, error) {
	s := &Source{place: place, log: which, o: o}
	snap, l, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s.name = l.name
	if s.name == "" && l.id != "" && !strings.HasPrefix(l.id, "ledger-") {
		s.name = l.id[strings.LastIndexByte(l.id, '/')+1:]
	}
	snap.release()
	return s, nil
}

// acquire returns the place as it is now. The caller releases the snapshot.
func (s *Source) acquire(ctx context.Context) (*snapshot, *log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := find(s.place, false)
	if err != nil {
		return nil, nil, err
	}
	if s.snap == nil || s.snap.stamp != now.stamp {
		snap, err := scan(ctx, s.place)
		if err != nil {
			return nil, nil, err
		}
		if s.snap != nil {
			s.snap.release()
		}
		s.snap = snap
	}
	if err := s.snap.usable(); err != nil {
		return nil, nil, err
	}
	for _, l := range s.snap.logs {
		if l.name == s.log.Name && l.id == s.log.ID || s.log == (source.Log{}) && len(s.snap.logs) == 1 {
			s.snap.refs.Add(1)
			return s.snap, l, nil
		}
	}
	var words []string
	for _, l := range s.snap.logs {
		words = append(words, l.word().String())
	}
	return nil, nil, fmt.Errorf("%w: %s holds no log %s; there are %s", source.ErrNotFound, s.place, s.log, strings.Join(words, ", "))
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.place, PChannel: s.name, Backend: message.BackendPulsar}
}

// LedgerIDs implements source.LayoutSource.
func (s *Source) LedgerIDs(ctx context.Context) ([]string, error) {
	snap, l, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.release()
	var out []string
	for _, p := range l.parts {
		if !p.deleted || s.o.IncludeDeleted {
			out = append(out, strconv.FormatInt(p.id, 10))
		}
	}
	return out, nil
}

// Bounds implements source.Source. Deleted messages count where they are read.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	snap, l, err := s.acquire(ctx)
	if err != nil {
		return source.Bounds{}, err
	}
	defer snap.release()
	w := newWalk(snap, l, s.o.IncludeDeleted, source.Range{})
	defer w.close()
	b := source.Bounds{Records: -1, Empty: true}
	for b.Empty {
		f, err := w.next(ctx)
		b.Lacks.Start = b.Lacks.Start || len(f.bad) > 0
		if errors.Is(err, io.EOF) {
			b.Lacks.End = len(f.bad) > 0
			return b, nil
		}
		if err != nil {
			return source.Bounds{}, err
		}
		if len(f.messages) > 0 {
			b.First, b.Empty = f.messages[0].ID, false
		}
	}
	b.Last, b.Lacks.End, err = s.last(ctx, snap, l, b.First)
	return b, err
}

// last finds the last message that can be read, and whether there was one after it.
func (s *Source) last(ctx context.Context, snap *snapshot, l *log, first message.ID) (last message.ID, lacks bool, err error) {
	last = first
	w := newWalk(snap, l, s.o.IncludeDeleted, source.Range{})
	defer w.close()
	for i := len(w.parts) - 1; i >= 0; i-- {
		for n := len(w.parts[i].entries) - 1; n >= 0; n-- {
			w.part, w.index = i, n
			if !w.counts(w.parts[i], w.parts[i].entries[n]) {
				continue
			}
			for tail := false; ; {
				f, err := w.next(ctx)
				lacks = tail && len(f.bad) > 0 || lacks
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return last, lacks, err
				}
				if len(f.messages) > 0 {
					last, tail, lacks = f.messages[len(f.messages)-1].ID, true, false
				}
			}
			if last != first || n == 0 && i == 0 {
				return last, lacks, nil
			}
			if ctx.Err() != nil {
				return last, lacks, ctx.Err()
			}
		}
	}
	return last, lacks, nil
}

// Open implements source.Source. The end is that of the files as they are now.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	if err := sel.Adapt(message.BackendPulsar); err != nil {
		return nil, err
	}
	snap, l, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	rd := &reader{s: s, snap: snap, walk: newWalk(snap, l, s.o.IncludeDeleted, r)}
	rd.Begin(sel, rd.step, rd.free)
	rd.walk.dec.dec.PChannel = s.name
	return rd, nil
}

// Close implements source.Source. Readers that are open read on.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snap != nil {
		s.snap.release()
		s.snap = nil
	}
	return nil
}

// kept are the parts that are read.
func kept(parts []part, deleted bool) []part {
	return slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.deleted && !deleted })
}
