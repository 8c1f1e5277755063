package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Kind is what Description.Kind says of an archive.
const Kind = "archive"

// Options say which log of an archive to open.
type Options struct {
	// PChannel chooses the log; "" where the archive holds one.
	PChannel string
	// FS replaces the directory's own, in tests.
	FS FS
}

// Log is one pchannel of an archive, for lists.
type Log struct {
	PChannel    string
	Backend     message.Backend
	First, Last message.ID
	Records     int64
	Bytes       int64 // of all its files
	Segments    int
	Gaps        int
	MinTimeTick uint64
	MaxTimeTick uint64
	Damage      error // its manifest cannot be read; the rest is what its segments say
}

// SeveralError says that an archive holds several logs and none was chosen.
type SeveralError struct {
	Dir  string
	Logs []string
}

// Error implements error.
func (e *SeveralError) Error() string {
	return fmt.Sprintf("%s holds %d logs: choose one with --log: %s", e.Dir, len(e.Logs), strings.Join(e.Logs, ", "))
}

// Detect reports whether a directory is an archive, by what lies in it.
func Detect(dir string) bool {
	names, err := pchannels(Dir(dir))
	return err == nil && len(names) > 0
}

// pchannels lists the logs that have a manifest, a copy of one, or segments
// whose manifest is gone.
func pchannels(fsys FS) ([]string, error) {
	files, err := fsys.List("manifest")
	if err != nil {
		return nil, err
	}
	var out []string
	add := func(safe string) {
		name, err := url.PathUnescape(safe)
		if safe == "%" {
			name, err = "", nil
		}
		if err == nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, f := range files {
		if base, ok := strings.CutSuffix(f, ".json"); ok {
			add(strings.TrimSuffix(base, ".copy"))
		}
	}
	dirs, err := fsys.Dirs("index")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		safe, ok := strings.CutPrefix(d, "pchannel=")
		files, err := fsys.List("index/" + d)
		if err != nil {
			return nil, err
		}
		if ok && slices.ContainsFunc(files, func(f string) bool { return path.Ext(f) == ".parquet" }) {
			add(safe)
		}
	}
	slices.Sort(out)
	return out, nil
}

// List returns the logs of an archive by name. One whose manifest is damaged is
// listed with its Damage.
func List(dir string) ([]Log, error) {
	fsys := Dir(dir)
	names, err := pchannels(fsys)
	if err != nil {
		return nil, fmt.Errorf("listing the archive %s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w: no archive there", dir, source.ErrNotFound)
	}
	out := make([]Log, 0, len(names))
	for _, name := range names {
		l := Log{PChannel: name}
		m, damage, err := manifestOf(context.Background(), fsys, dir, name)
		switch {
		case err != nil:
			l.Damage = err
		case len(damage) > 0 && damage[0].Lost != 0: // not only one of the two copies
			l.Damage = damage[0]
		}
		if m != nil {
			l.fill(m)
		}
		out = append(out, l)
	}
	return out, nil
}

func (l *Log) fill(m *Manifest) {
	l.Backend, l.Records, l.Segments, l.Gaps = m.Backend, m.Records(), len(m.Segments), len(m.Gaps)
	for i := range m.Segments {
		s := &m.Segments[i]
		if i == 0 {
			l.First, l.MinTimeTick = s.First.ID(m.Backend), s.MinTimeTick
		}
		l.Last = s.Last.ID(m.Backend)
		l.MinTimeTick, l.MaxTimeTick = min(l.MinTimeTick, s.MinTimeTick), max(l.MaxTimeTick, s.MaxTimeTick)
		l.Bytes += s.Index.Bytes + s.Payload.Bytes
	}
}

// Source reads one pchannel's archive.
type Source struct {
	dir     string
	fsys    FS
	m       *Manifest
	damage  []*source.CorruptError // of the manifest, told by every reader first
	passage source.Passage
}

var (
	_ source.FollowSource = (*Source)(nil)
	_ source.ColumnSource = (*Source)(nil)
	_ source.ExtentSource = (*Source)(nil)

	_ source.EvidenceSource = (*Source)(nil)
	_ source.PayloadSource  = (*Source)(nil)
	_ source.ByteVerifier   = (*Source)(nil)
	_ source.ProgressSource = (*Source)(nil)
)

// Open opens a log of the archive in dir. It reads the manifest only. Several
// logs and none chosen is a *SeveralError, none source.ErrNotFound. Where the
// manifest and its copy are damaged or gone, the log is read from its segments
// alone, and every reader begins with a *source.CorruptError.
func Open(ctx context.Context, dir string, opt Options) (*Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fsys := opt.FS
	if fsys == nil {
		fsys = Dir(dir)
	}
	names, err := pchannels(fsys)
	if err != nil {
		return nil, fmt.Errorf("opening the archive %s: %w", dir, err)
	}
	name := opt.PChannel
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("%s: %w: no archive there", dir, source.ErrNotFound)
	case name == "" && len(names) > 1:
		return nil, &SeveralError{Dir: dir, Logs: names}
	case name == "":
		name = names[0]
	case !slices.Contains(names, name):
		return nil, fmt.Errorf("%s: %w: %s; it holds %s", dir, source.ErrNotFound, name, strings.Join(names, ", "))
	}
	m, damage, err := manifestOf(ctx, fsys, dir, name)
	if err != nil {
		return nil, err
	}
	return &Source{dir: dir, fsys: fsys, m: m, damage: damage}, nil
}

// Describe implements source.Source.
func (s *Source) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.dir, PChannel: s.m.PChannel, Backend: s.m.Backend}
}

// Bounds implements source.Source.
func (s *Source) Bounds(context.Context) (source.Bounds, error) {
	b := source.Bounds{Records: s.m.Records(), Lacks: s.m.lacks()}
	if b.Records == 0 {
		b.Empty = true
		return b, nil
	}
	b.First, b.Last = s.m.Segments[0].First.ID(s.m.Backend), s.m.Segments[len(s.m.Segments)-1].Last.ID(s.m.Backend)
	return b, nil
}

// Manifest returns what the archive says of itself. It must not be changed.
func (s *Source) Manifest() *Manifest { return s.m }

// Passed implements source.ProgressSource.
func (s *Source) Passed() (read, total int64) { return s.passage.Passed() }

// Close implements source.Source. Readers hold their own files.
func (s *Source) Close() error { return nil }

// Catalog returns the path of the catalog captured with a log, in the kvjson
// form; false where there is none.
func Catalog(dir, pchannel string) (string, bool) {
	m, _, err := manifestOf(context.Background(), Dir(dir), dir, pchannel)
	if err != nil {
		return "", false
	}
	for _, e := range m.Evidence {
		if e.Name == source.EvidenceCatalog {
			p := filepath.Join(dir, filepath.FromSlash(e.Path))
			_, err := os.Stat(p)
			return p, err == nil
		}
	}
	return "", false
}

// missing reports whether a file is not there at all.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
