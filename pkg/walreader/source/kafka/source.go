package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Kind is what Describe calls a log read off a broker's disk.
const Kind = "kafka"

// Options say how a directory is read.
type Options struct {
	// IncludeDeleted also returns the messages before the log's first offset, and those
	// of transactions that were taken back; they carry message.Deleted.
	IncludeDeleted bool
}

// Disk is one log in a broker's log directory.
type Disk struct {
	path   string // as given
	at     place
	name   string // the pchannel; "" = nothing tells
	called bool   // name is what the caller says
	o      Options
}

// Open opens one log of a place: a partition's directory, one that holds several, or one
// segment. pchannel is its name for the caller, where nothing at the place tells it, or
// where its messages bear it rather than its topic.
func Open(ctx context.Context, path string, log source.Log, pchannel string, o Options) (*Disk, error) {
	all, err := find(ctx, path)
	if err != nil {
		return nil, err
	}
	i, err := chosen(path, all, log)
	if err != nil {
		return nil, err
	}
	s := &Disk{path: path, at: all[i], name: all[i].topic, o: o}
	if s.name != "" && (pchannel == "" || pchannel == s.name) {
		return s, nil
	}
	name, err := source.NamedIn(ctx, s, func(name string) bool { return s.name == "" || name == pchannel })
	switch {
	case err != nil:
		return nil, err
	case name != "":
		s.name = name
	case s.name == "" && pchannel != "":
		s.name, s.called = pchannel, true
	}
	return s, nil
}

// chosen finds the partition that is meant; of several that of a pchannel, where none is named.
func chosen(path string, all []place, log source.Log) (int, error) {
	words := make([]string, len(all))
	for i, p := range all {
		if p.id == log.ID || len(all) == 1 {
			return i, nil
		}
		words[i] = p.word().String()
	}
	return 0, fmt.Errorf("%w: %s holds no log %s of Milvus; there are %s", source.ErrNotFound, path, log, strings.Join(words, ", "))
}

// Describe implements source.Source.
func (s *Disk) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.path, PChannel: s.name, Called: s.called, Backend: message.BackendKafka}
}

// segments lists the log's segments as they are now.
func (s *Disk) segments() ([]segment, error) {
	out, err := s.at.segments()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	return out, nil
}

// Bounds implements source.Source. Deleted messages count where they are read.
func (s *Disk) Bounds(ctx context.Context) (source.Bounds, error) {
	segs, err := s.segments()
	if err != nil {
		return source.Bounds{}, err
	}
	b := source.Bounds{Empty: true, Records: -1}
	b.First, b.Lacks.Start, err = s.end(ctx, segs, 0, true)
	if b.Empty = b.First.IsZero(); err != nil || b.Empty {
		b.Lacks.End = b.Lacks.Start
		return b, err
	}
	for i := len(segs) - 1; i >= 0; i-- {
		last, lacks, err := s.end(ctx, segs, i, false)
		if b.Lacks.End = lacks; err != nil || !last.IsZero() {
			b.Last = last
			return b, err
		}
	}
	b.Last = b.First
	return b, nil
}

// end reads from a segment on for its first message, or for the last; lacks is whether
// something is missing before the first, or after the last.
func (s *Disk) end(ctx context.Context, segs []segment, from int, first bool) (at message.ID, lacks bool, err error) {
	r := s.reader(segs, source.Range{}, from)
	defer func() { _ = r.Close() }() // only read
	for {
		m, err := r.Next(ctx)
		var gap *source.CorruptError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, source.ErrTornTail):
			return at, lacks, nil
		case errors.As(err, &gap):
			lacks = lacks || gap.Lost != 0
		case err != nil:
			return at, lacks, err
		default:
			if at = m.ID; first {
				return at, lacks, nil
			}
			lacks = false
		}
	}
}

// reader returns a reader that begins with a segment.
func (s *Disk) reader(segs []segment, r source.Range, from int) *reader {
	rd := &reader{s: s, rng: r, walk: newWalk(segs, from), start: s.at.checkpoint(startFile)}
	rd.dec.Dec.PChannel = s.name
	rd.Begin(selector.Selector{}, rd.step, rd.free)
	return rd
}

// Open implements source.Source. The end is that of the files as they are now.
func (s *Disk) Open(_ context.Context, r source.Range) (source.Reader, error) {
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	if err := sel.Adapt(message.BackendKafka); err != nil {
		return nil, err
	}
	segs, err := s.segments()
	if err != nil {
		return nil, err
	}
	from := 0
	if r.From.Kind == source.AtID && r.From.Offset >= 0 {
		for from+1 < len(segs) && segs[from+1].base <= r.From.ID.A {
			from++
		}
	}
	rd := s.reader(segs, r, from)
	rd.Sel = sel
	return rd, nil
}

// A file that ends in the middle of a batch and changed a moment ago is looked at again:
// somebody may be writing it.
const (
	looks     = 4
	lookWait  = 30 * time.Millisecond
	freshness = 10 * time.Second
)

// moves reports whether the last segment grows.
func (s *Disk) moves(ctx context.Context, segs []segment) bool {
	if len(segs) == 0 || time.Since(segs[len(segs)-1].changed) > freshness {
		return false
	}
	for range looks {
		if now, err := s.segments(); err == nil && len(now) > 0 && now[len(now)-1] != segs[len(segs)-1] {
			return true
		}
		t := time.NewTimer(lookWait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
	return false
}

// Close implements source.Source. Readers that are open read on.
func (s *Disk) Close() error { return nil }
