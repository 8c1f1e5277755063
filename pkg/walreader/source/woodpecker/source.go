package woodpecker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Kind is what Describe calls such a source.
const Kind = "woodpecker"

// otherError says what a place looks like that holds no segment.
type otherError struct{ reason string }

func (e *otherError) Error() string { return e.reason }

// Is makes it source.ErrNoLogs for the door.
func (e *otherError) Is(target error) bool { return target == source.ErrNoLogs }

// Source is one log of Woodpecker's.
type Source struct {
	path   string // as given
	at     place
	name   string // the pchannel; "" = nothing tells
	called bool   // name is what the caller says
	meta   *metadata

	mu    sync.Mutex
	known map[int64]known
}

// known is what was found in a segment as its files were.
type known struct {
	print string
	*scanned
}

// Log is one log that a place holds.
type Log struct{ Name, ID string }

// Logs lists the logs of a place: a directory of one log, of several, of one segment, or
// one file of a segment.
func Logs(ctx context.Context, path string) ([]Log, error) {
	all, err := find(ctx, path)
	if err != nil {
		return nil, err
	}
	meta, err := readMetadata(path)
	if err != nil {
		return nil, err
	}
	out := make([]Log, len(all))
	for i, at := range all {
		s := &Source{path: path, at: at, meta: meta, known: map[int64]known{}}
		if err := s.identify(ctx, ""); err != nil {
			return nil, err
		}
		out[i] = Log{Name: s.name, ID: at.id}
	}
	for i := range out { // a name that several bear chooses none
		n := 0
		for _, l := range out {
			if l.Name == out[i].Name {
				n++
			}
		}
		if n > 1 && out[i].ID != "" {
			out[i].Name = ""
		}
	}
	return out, nil
}

// Open opens one log of a place; pchannel is its name for the caller, where nothing at
// the place tells it.
func Open(ctx context.Context, path string, log Log, pchannel string) (*Source, error) {
	all, err := find(ctx, path)
	if err != nil {
		return nil, err
	}
	at := all[0]
	if len(all) > 1 {
		i := slices.IndexFunc(all, func(p place) bool { return p.id == log.ID })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s holds no log %s", source.ErrNotFound, path, log.ID)
		}
		at = all[i]
	}
	meta, err := readMetadata(path)
	if err != nil {
		return nil, err
	}
	s := &Source{path: path, at: at, meta: meta, known: map[int64]known{}}
	return s, s.identify(ctx, pchannel)
}

// identify finds the log's name: in Woodpecker's metadata, else in what the messages say.
func (s *Source) identify(ctx context.Context, pchannel string) (err error) {
	if s.name = s.meta.nameOf(s.at.id); s.name != "" {
		return nil
	}
	s.name, err = source.NamedIn(ctx, s, func(string) bool { return true })
	if s.name == "" && pchannel != "" {
		s.name, s.called = pchannel, true
	}
	return err
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.path, PChannel: s.name, Called: s.called, Backend: message.BackendWoodpecker}
}

// A file that ends in the middle of something and changed a moment ago is looked at
// again: somebody may be writing it.
const (
	looks     = 4
	lookWait  = 30 * time.Millisecond
	freshness = 10 * time.Second
)

// scan returns what a segment holds.
func (s *Source) scan(ctx context.Context, seg *segment) (*scanned, error) {
	s.mu.Lock()
	k, ok := s.known[seg.number]
	s.mu.Unlock()
	if print := seg.print(); ok && k.print == print {
		return k.scanned, nil
	}
	found, err := scan(ctx, seg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.known[seg.number] = known{seg.print(), found}
	s.mu.Unlock()
	return found, nil
}

// settled scans the last segment: while its end moves it is read again, and an end that
// moves is no damage.
func (s *Source) settled(ctx context.Context, seg *segment) (*scanned, error) {
	moved := false
	for n := 1; ; n++ {
		found, err := s.scan(ctx, seg)
		if err != nil || !found.torn {
			return found, err
		}
		if n == looks || time.Since(seg.parts[len(seg.parts)-1].changed) > freshness {
			if moved {
				found = found.calm()
			}
			return found, nil
		}
		t := time.NewTimer(lookWait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		again := &segment{number: seg.number, dir: seg.dir}
		if len(seg.parts) == 1 && s.at.file != "" {
			list, err := s.at.segments()
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", s.path, err)
			}
			again = list[0]
		} else if err := again.look(); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		moved = moved || again.print() != seg.print()
		*seg = *again
	}
}

// calm is a segment without the hole at its moving end.
func (o *scanned) calm() *scanned {
	c := *o
	c.items = c.items[:len(c.items)-1]
	c.torn, c.bad, c.stops = false, nil, nil
	return &c
}

// list lists the log's segments as they are now.
func (s *Source) list() ([]*segment, error) {
	out, err := s.at.segments()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	return out, nil
}

// Bounds implements source.Source.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	segs, err := s.list()
	if err != nil {
		return source.Bounds{}, err
	}
	b := source.Bounds{Empty: true, Records: -1}
	for i := range segs {
		found, err := s.found(ctx, segs, i)
		if err != nil {
			return source.Bounds{}, err
		}
		b.Lacks.Start = b.Lacks.Start || found.gapAtStart()
		if found.first >= 0 {
			b.Empty, b.First = false, id(segs[i].number, found.first)
			break
		}
	}
	for i := len(segs) - 1; i >= 0; i-- {
		found, err := s.found(ctx, segs, i)
		if err != nil {
			return source.Bounds{}, err
		}
		b.Lacks.End = b.Lacks.End || found.gapAtEnd()
		if found.first >= 0 {
			b.Last = id(segs[i].number, found.last)
			break
		}
	}
	return b, nil
}

// gapAtStart and gapAtEnd report whether entries are missing at an end of a segment.
func (o *scanned) gapAtStart() bool {
	return len(o.items) > 0 && o.items[0].hole && o.items[0].lost != 0
}

func (o *scanned) gapAtEnd() bool {
	return len(o.items) > 0 && o.items[len(o.items)-1].hole && o.items[len(o.items)-1].lost != 0
}

// found scans a segment of a list; the last may be growing.
func (s *Source) found(ctx context.Context, segs []*segment, i int) (*scanned, error) {
	if i == len(segs)-1 {
		return s.settled(ctx, segs[i])
	}
	return s.scan(ctx, segs[i])
}

// id is the id of an entry.
func id(segment, entry int64) message.ID {
	return message.ID{Backend: message.BackendWoodpecker, A: segment, B: entry}
}

// Open implements source.Source. The end is that of the files as they are now.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	if err := sel.Adapt(message.BackendWoodpecker); err != nil {
		return nil, err
	}
	segs, err := s.list()
	if err != nil {
		return nil, err
	}
	if len(segs) > 0 { // its end is that of now
		if _, err := s.found(ctx, segs, len(segs)-1); err != nil {
			return nil, err
		}
	}
	rd := &reader{s: s, rng: r, segs: segs}
	rd.Begin(sel, rd.step, rd.free)
	rd.dec.Dec.PChannel = s.name
	if r.From.Kind == source.AtID && r.From.Offset >= 0 && r.From.ID.A >= 0 {
		rd.skipTo(r.From.ID.A, r.From.ID.B)
	}
	return rd, nil
}

// Close implements source.Source. Readers that are open read on.
func (s *Source) Close() error { return nil }
