package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Kind is what Describe calls such a source.
const Kind = "rocksmq"

// ErrOther means that a directory is RocksDB's, but holds no messages of RocksMQ.
var ErrOther = errors.New("not a RocksMQ log")

// otherError says what such a directory looks like.
type otherError struct{ reason string }

func (e *otherError) Error() string { return e.reason }

// Is makes it ErrOther, and source.ErrNoLogs for the door.
func (e *otherError) Is(target error) bool { return target == ErrOther || target == source.ErrNoLogs }

// Options say how a directory is read.
type Options struct {
	// IncludeDeleted also returns the messages that retention has deleted and
	// whose bytes still stand there; they carry message.Deleted.
	IncludeDeleted bool
}

// Source is one log of a RocksMQ directory.
type Source struct {
	dir   string // as given
	data  string // where the files lie
	topic string
	name  string // the pchannel
	o     Options

	mu    sync.Mutex
	snap  *snapshot
	print string // what snap was made of
}

// Topics lists the logs of a directory, which may be rdb_data or the one it lies in.
func Topics(ctx context.Context, dir string) ([]string, error) {
	data, err := place(dir)
	if err != nil {
		return nil, err
	}
	s, err := scan(ctx, data)
	if err != nil {
		return nil, err
	}
	defer s.release()
	if err := s.usable(dir); err != nil {
		return nil, err
	}
	return s.names(), nil
}

// usable says why a directory holds no log, or nil.
func (s *snapshot) usable(dir string) error {
	switch {
	case len(s.topics) > 0:
		return nil
	case s.foreign > 0:
		return &otherError{fmt.Sprintf("is a RocksDB directory of something else: its keys look like %.40q, RocksMQ's are TOPIC/ID", s.strange)}
	case len(s.wrecks) > 0:
		return fmt.Errorf("%w in %s that can be read: %s: %w", source.ErrNotFound, dir, s.wrecks[0].name, s.wrecks[0].cause)
	case len(s.holes) > 0:
		return fmt.Errorf("%w in %s that can be read: %s, byte %d: %w", source.ErrNotFound, dir, s.holes[0].file.name, s.holes[0].from, s.holes[0].cause)
	}
	return fmt.Errorf("%w: %s holds no message", source.ErrNotFound, dir)
}

// Open opens one log of a directory by its whole name.
func Open(ctx context.Context, dir, topic string, o Options) (*Source, error) {
	data, err := place(dir)
	if err != nil {
		return nil, err
	}
	s := &Source{dir: dir, data: data, topic: topic, name: topic, o: o}
	snap, _, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	snap.release()
	return s, nil
}

// call takes another name for the log than its topic where the messages in it bear
// that name: a log that was published again under another topic.
func (s *Source) call(ctx context.Context, pchannel string) error {
	if pchannel == "" || pchannel == s.topic {
		return nil
	}
	name, err := source.NamedIn(ctx, s, func(name string) bool { return name == pchannel })
	if name != "" {
		s.name = name
	}
	return err
}

// acquire returns the directory as it is now. The caller releases the snapshot.
func (s *Source) acquire(ctx context.Context) (*snapshot, *topic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := fingerprint(s.data)
	if s.snap == nil || s.print != now {
		snap, err := scan(ctx, s.data)
		if err != nil {
			return nil, nil, err
		}
		if s.snap != nil {
			s.snap.release()
		}
		s.snap, s.print = snap, now
	}
	if err := s.snap.usable(s.dir); err != nil {
		return nil, nil, err
	}
	t, ok := s.snap.topics[s.topic]
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s holds no log %s; there are %s", source.ErrNotFound, s.dir, s.topic, strings.Join(s.snap.names(), ", "))
	}
	if !s.snap.acquire() {
		return nil, nil, fmt.Errorf("read %s: %w", s.dir, os.ErrClosed)
	}
	return s.snap, t, nil
}

// fingerprint tells whether a directory has changed.
func fingerprint(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		if _, _, ok := numbered(e.Name()); !ok && e.Name() != "CURRENT" && !strings.HasPrefix(e.Name(), "MANIFEST-") {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", e.Name(), st.Size(), st.ModTime().UnixNano())
		}
	}
	return b.String()
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.dir, PChannel: s.name, Backend: message.BackendRocksMQ}
}

// Bounds implements source.Source. Deleted messages count where they are read.
func (s *Source) Bounds(ctx context.Context) (source.Bounds, error) {
	snap, t, err := s.acquire(ctx)
	if err != nil {
		return source.Bounds{}, err
	}
	defer snap.release()
	b := source.Bounds{Records: -1}
	first, _, lacks, err := s.ends(ctx, snap, t, 0, true)
	if err != nil {
		return source.Bounds{}, err
	}
	b.Lacks.Start = lacks.Start
	if first < 0 {
		b.Empty, b.Lacks.End = true, lacks.End
		return b, nil
	}
	top := first
	for _, p := range snap.pieces(t) {
		top = max(top, p.last)
	}
	_, last, lacks, err := s.ends(ctx, snap, t, top, false)
	if err == nil && last < 0 { // what stands last is deleted, or lies in a bad block
		_, last, lacks, err = s.ends(ctx, snap, t, 0, false)
	}
	b.Lacks.End = lacks.End
	b.First, b.Last = message.ID{Backend: message.BackendRocksMQ, A: first}, message.ID{Backend: message.BackendRocksMQ, A: last}
	return b, err
}

// ends reads from an id to the first message, or to the end; −1 = there is none.
func (s *Source) ends(ctx context.Context, snap *snapshot, t *topic, from int64, toFirst bool) (first, last int64, lacks source.Lacks, err error) {
	m := newMerge(snap, t, from)
	defer m.close()
	first, last = -1, -1
	for {
		if err := ctx.Err(); err != nil {
			return first, last, lacks, err
		}
		f, err := m.next(ctx)
		lacks.Start = lacks.Start || first < 0 && len(f.gaps) > 0
		if errors.Is(err, io.EOF) {
			lacks.End = len(f.gaps) > 0
			return first, last, lacks, nil
		}
		if err != nil {
			return first, last, lacks, err
		}
		if f.deleted && !s.o.IncludeDeleted {
			continue
		}
		if last = f.id; first < 0 {
			first = f.id
		}
		if toFirst {
			return first, last, lacks, nil
		}
	}
}

// Open implements source.Source. The end is that of the files as they are now.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	if err := sel.Adapt(message.BackendRocksMQ); err != nil {
		return nil, err
	}
	snap, t, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	from := int64(0)
	if r.From.Kind == source.AtID && r.From.Offset >= 0 {
		from = max(r.From.ID.A, 0)
	}
	rd := &reader{s: s, snap: snap, rng: r, m: newMerge(snap, t, from)}
	rd.Begin(sel, rd.step, rd.free)
	rd.dec.Dec.PChannel = s.name
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
