package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// memSource is a log in memory that can grow and have bad places.
type memSource struct {
	mu   sync.Mutex
	all  []*message.Message
	bad  map[int]error // met before message i
	grew chan struct{}
}

func newMemSource(all []*message.Message) *memSource {
	return &memSource{all: all, bad: map[int]error{}, grew: make(chan struct{}, 1)}
}

func (s *memSource) Describe() source.Description {
	return source.Description{Kind: "memory", Location: "memory", PChannel: "p", Backend: message.BackendPulsar}
}

func (s *memSource) Bounds(context.Context) (source.Bounds, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return source.Bounds{Empty: true}, nil
	}
	return source.Bounds{First: s.all[0].ID, Last: s.all[len(s.all)-1].ID, Records: -1}, nil
}
func (s *memSource) Close() error { return nil }

func (s *memSource) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	return s.open(r, false), nil
}

func (s *memSource) Follow(ctx context.Context, r source.Range) (source.Reader, error) {
	return s.open(r, true), nil
}

func (s *memSource) open(r source.Range, follow bool) *memReader {
	at := 0
	if r.From.Kind == source.AtID {
		for at < len(s.all) && s.all[at].ID.Less(r.From.ID) {
			at++
		}
	}
	left := r.Limit
	if left == 0 {
		left = int64(len(s.all)) + 1<<20
	}
	return &memReader{s: s, at: at, left: left, follow: follow, reported: -1}
}

func (s *memSource) grow(m ...*message.Message) {
	s.mu.Lock()
	s.all = append(s.all, m...)
	s.mu.Unlock()
	signal(s.grew)
}

type memReader struct {
	s            *memSource
	at, reported int
	left         int64
	follow       bool
}

func (r *memReader) Close() error { return nil }

func (r *memReader) Next(ctx context.Context) (*message.Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.s.mu.Lock()
		at, all := r.at, r.s.all
		r.s.mu.Unlock()
		if err := r.s.bad[at]; err != nil && r.reported != at {
			r.reported = at
			return nil, err
		}
		if at < len(all) && r.left > 0 {
			r.left--
			r.at++
			return all[at], nil
		}
		if !r.follow {
			return nil, io.EOF
		}
		select {
		case <-r.s.grew:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func requireArchive(t testing.TB, dir string, want []*message.Message, gaps ...Gap) {
	t.Helper()
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	got, bad := readAll(t, s, everything())
	require.Len(t, bad, len(gaps))
	require.Len(t, got, len(want))
	for i := range want {
		same(t, want[i], got[i])
	}
	damage, err := s.VerifyBytes(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, damage)
}

func TestCaptureTakesAGoldenLogAndTellsItsName(t *testing.T) {
	dir := t.TempDir()
	done, err := Capture(context.Background(), jsonl.Open(golden.WAL(t, "small")), dir, CaptureOptions{SegmentRows: 100})
	require.NoError(t, err)
	require.Equal(t, "by-dev-rootcoord-dml_0", done.PChannel)
	require.EqualValues(t, 531, done.Records)
	require.Equal(t, 6, done.Segments)
	requireArchive(t, dir, goldenMessages(t, "small"))

	again, err := Capture(context.Background(), jsonl.Open(golden.WAL(t, "small")), dir, CaptureOptions{})
	require.NoError(t, err)
	require.True(t, again.Resumed)
	require.Zero(t, again.Records)
	requireArchive(t, dir, goldenMessages(t, "small"))

	logs, err := List(dir)
	require.NoError(t, err)
	require.Len(t, logs, 1)
	require.EqualValues(t, 531, logs[0].Records)
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	_, err := Capture(context.Background(), newMemSource(goldenMessages(t, "small")[:50]), dir, CaptureOptions{})
	require.NoError(t, err)
	require.NoError(t, filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		require.NoError(t, err)
		want := os.FileMode(0o600)
		if st.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, st.Mode().Perm(), p)
		return nil
	}))
}

var errCrash = errors.New("the process died here")

// crashFS stops the process at one operation: that one and all later ones fail,
// and what was written since the last sync of a file is cut in half.
type crashFS struct {
	FS
	mu     sync.Mutex
	at     int // operation that fails; counts down
	before bool
	dead   bool
}

func (c *crashFS) step() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrash
	}
	c.at--
	if c.at <= 0 {
		c.dead = true
		return errCrash
	}
	return nil
}

func (c *crashFS) Create(name string) (File, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	f, err := c.FS.Create(name)
	return crashFile{f, c}, err
}

func (c *crashFS) Rename(from, to string) error {
	if err := c.step(); err != nil {
		if !c.before { // it happened, but nobody heard of it
			_ = c.FS.Rename(from, to)
		}
		return err
	}
	return c.FS.Rename(from, to)
}

func (c *crashFS) Remove(name string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.FS.Remove(name)
}

func (c *crashFS) MkdirAll(name string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.FS.MkdirAll(name)
}

func (c *crashFS) SyncDir(name string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.FS.SyncDir(name)
}

func (c *crashFS) Open(name string) (ReadFile, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.FS.Open(name)
}

type crashFile struct {
	File
	c *crashFS
}

func (f crashFile) Write(b []byte) (int, error) {
	if err := f.c.step(); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f crashFile) Sync() error {
	if err := f.c.step(); err != nil {
		return err
	}
	return f.File.Sync()
}

// A capture killed at any file operation loses nothing it had named, doubles
// nothing, and goes on.
func TestACaptureKilledAnywhereGoesOnWhereItWas(t *testing.T) {
	all := goldenMessages(t, "small")[:120]
	steps := 0
	for _, before := range []bool{true, false} {
		for at := 1; ; at++ {
			dir := t.TempDir()
			fsys := &crashFS{FS: Dir(dir), at: at, before: before}
			opt := CaptureOptions{SegmentRows: 50, FS: fsys}
			done, err := Capture(context.Background(), newMemSource(all), dir, opt)
			if err == nil {
				require.Greater(t, at, 40, "the file system saw fewer steps than a capture has")
				break
			}
			steps++
			require.ErrorIs(t, err, errCrash)
			if s, err := Open(context.Background(), dir, Options{}); err == nil {
				got, bad := readAll(t, s, everything())
				require.Empty(t, bad)
				require.GreaterOrEqual(t, int64(len(got)), done.Records, "step %d: less than was reported", at)
				e, err := s.Extent(context.Background())
				require.NoError(t, err)
				require.True(t, !e.Whole || len(got) == len(all), "step %d: %d records are no whole", at, len(got))
				for i := range got {
					same(t, all[i], got[i])
				}
			}
			_, err = Capture(context.Background(), newMemSource(all), dir, CaptureOptions{SegmentRows: 50})
			require.NoError(t, err, "step %d", at)
			requireArchive(t, dir, all)
			requireNothingLeft(t, dir)
		}
	}
	t.Logf("%d deaths survived", steps)
}

func requireNothingLeft(t testing.TB, dir string) {
	t.Helper()
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	for _, part := range []string{"index", "payload"} {
		files, err := filepath.Glob(filepath.Join(dir, part, "*", "*"))
		require.NoError(t, err)
		require.Len(t, files, len(s.m.Segments), "%v", files)
	}
}

func TestTwoCapturesOfOneLogCannotRunAtOnce(t *testing.T) {
	all := goldenMessages(t, "small")[:10]
	dir := t.TempDir()
	w, err := NewWriter(dir, WriterOptions{PChannel: "p", Backend: all[0].ID.Backend})
	require.NoError(t, err)
	_, err = Capture(context.Background(), newMemSource(all), dir, CaptureOptions{})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, w.Close())
	_, err = Capture(context.Background(), newMemSource(all), dir, CaptureOptions{})
	require.NoError(t, err)
}

func TestSeveralLogsAreCapturedAtOnceIntoOneDirectory(t *testing.T) {
	all := goldenMessages(t, "small")
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = Capture(context.Background(), newMemSource(all), dir, CaptureOptions{PChannel: fmt.Sprintf("dml/%d", i), SegmentRows: 200})
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	_, err := Open(context.Background(), dir, Options{})
	var several *SeveralError
	require.ErrorAs(t, err, &several)
	require.Equal(t, []string{"dml/0", "dml/1", "dml/2", "dml/3"}, several.Logs)
	s, err := Open(context.Background(), dir, Options{PChannel: "dml/2"})
	require.NoError(t, err)
	got, bad := readAll(t, s, everything())
	require.Empty(t, bad)
	require.Len(t, got, len(all))
}

func TestPlacesTheSourceCannotGiveAreRecorded(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	src := newMemSource(all)
	src.bad[40] = &source.CorruptError{Source: "memory", Place: "12/40", Lost: 3, Cause: errors.New("bad entry")}
	dir := t.TempDir()
	done, err := Capture(context.Background(), src, dir, CaptureOptions{})
	require.NoError(t, err)
	require.Len(t, done.Gaps, 1)
	requireArchive(t, dir, all, done.Gaps...)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	require.Len(t, s.Manifest().Gaps, 1)
	g := s.Manifest().Gaps[0]
	require.Equal(t, all[39].ID, g.After.ID(message.BackendPulsar))
	require.EqualValues(t, 3, g.Lost)
}

// A log with many bad places is not a log of many segments.
func TestManyBadPlacesAreOneSegment(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	src := newMemSource(all)
	for i := range all[:90] {
		src.bad[i] = &source.CorruptError{Source: "memory", Place: fmt.Sprint("before ", i), Lost: 1, Cause: errors.New("bad entry")}
	}
	dir := t.TempDir()
	done, err := Capture(context.Background(), src, dir, CaptureOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, done.Segments)
	require.Len(t, done.Gaps, 90)
	require.True(t, done.Gaps[0].AtStart)
	for i, g := range done.Gaps[1:] {
		require.Equal(t, all[i].ID, g.After.ID(message.BackendPulsar))
	}
	requireArchive(t, dir, all, done.Gaps...)
}

// Places with no record between them are one gap, and the list has an end.
func TestGapsAreCountedWhereTheyCannotBeListed(t *testing.T) {
	all := goldenMessages(t, "small")[:3]
	w, err := NewWriter(t.TempDir(), WriterOptions{PChannel: "p", Backend: all[0].ID.Backend})
	require.NoError(t, err)
	require.NoError(t, w.Add(all[0], 0))
	for i := range 5 {
		require.NoError(t, w.NoteGap(Gap{Place: fmt.Sprint("place ", i), Lost: 2}))
	}
	require.NoError(t, w.Cut())
	require.Equal(t, []Gap{{After: w.Manifest().Segments[0].Last, Place: "place 0", Until: "place 4", Places: 5, Lost: 10}}, w.Manifest().Gaps)
	gaps := make([]Gap, 0, maxGaps)
	for i := range maxGaps + 7 {
		gaps = addGap(gaps, Gap{After: Position{A: int64(i)}, Place: fmt.Sprint(i), Lost: -1})
	}
	require.Len(t, gaps, maxGaps)
	require.EqualValues(t, 8, gaps[maxGaps-1].Places)
	require.Equal(t, fmt.Sprint(maxGaps+6), gaps[maxGaps-1].Until)
}

func TestABadPlaceMetAgainIsOneGap(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	dir := t.TempDir()
	for _, n := range []int{40, 60, 100} {
		src := newMemSource(all[:n])
		src.bad[40] = &source.CorruptError{Source: "memory", Place: "12/40", Lost: 3, Cause: errors.New("bad entry")}
		_, err := Capture(context.Background(), src, dir, CaptureOptions{})
		require.NoError(t, err)
		s, err := Open(context.Background(), dir, Options{})
		require.NoError(t, err)
		require.Len(t, s.Manifest().Gaps, 1, "after %d", n)

		// A reader of the archive meets the place where a reader of the log does.
		got, bad := readAll(t, s, everything())
		require.Len(t, got, n)
		require.Len(t, bad, 1)
		require.EqualValues(t, 3, bad[0].Lost)
		r, err := s.Open(context.Background(), everything())
		require.NoError(t, err)
		for range 40 {
			_, err = r.Next(context.Background())
			require.NoError(t, err)
		}
		_, err = r.Next(context.Background())
		require.ErrorContains(t, err, "12/40 of memory is corrupt: bad entry")
		require.NoError(t, r.Close())
	}
}

// A bounded capture of a slow log is safe every SegmentAge, so a kill costs no more.
func TestASlowLogIsNamedAsItComes(t *testing.T) {
	all := goldenMessages(t, "small")
	now := time.Unix(0, 0)
	done, err := Capture(context.Background(), newMemSource(all), t.TempDir(), CaptureOptions{
		SegmentAge: time.Minute, Clock: func() time.Time { now = now.Add(10 * time.Second); return now }})
	require.NoError(t, err)
	require.Greater(t, done.Segments, 1)
}

// A log that was trimmed since the last capture is a gap, not a silent jump.
func TestALogTrimmedBetweenTwoCapturesIsAGap(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	dir := t.TempDir()
	_, err := Capture(context.Background(), newMemSource(all[:40]), dir, CaptureOptions{})
	require.NoError(t, err)
	done, err := Capture(context.Background(), newMemSource(all[60:]), dir, CaptureOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 40, done.Records)
	require.Len(t, done.Gaps, 1)
	require.EqualValues(t, -1, done.Gaps[0].Lost)
}

func TestFollowingNamesWhatTrickles(t *testing.T) {
	defer goleak.VerifyNone(t)
	all := goldenMessages(t, "small")[:60]
	src := newMemSource(all[:20:20])
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := Capture(ctx, src, dir, CaptureOptions{Follow: true, SegmentAge: 10 * time.Millisecond})
		ended <- err
	}()
	records := func() int64 {
		s, err := Open(context.Background(), dir, Options{})
		if err != nil {
			return 0
		}
		return s.m.Records()
	}
	require.Eventually(t, func() bool { return records() == 20 }, 10*time.Second, 5*time.Millisecond)

	// A follower of the archive sees what the capture adds.
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	rd, err := s.Follow(ctx, everything())
	require.NoError(t, err)
	src.grow(all[20:]...)
	for i := range all {
		m, err := rd.Next(ctx)
		require.NoError(t, err)
		same(t, all[i], m)
	}
	require.NoError(t, rd.Close())
	cancel()
	require.NoError(t, <-ended)
	requireArchive(t, dir, all)
}

func TestResumingKeepsTheOrdinals(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	dir := t.TempDir()
	_, err := Capture(context.Background(), newMemSource(all[:40]), dir, CaptureOptions{})
	require.NoError(t, err)
	// A source that counts from where it was opened.
	var rest []*message.Message
	for i, m := range all[39:] {
		c := *m
		c.Ordinal = int64(i)
		rest = append(rest, &c)
	}
	_, err = Capture(context.Background(), newMemSource(rest), dir, CaptureOptions{})
	require.NoError(t, err)
	requireArchive(t, dir, all)
}

// Evidence replaced by a later run is the old or the new one whenever the run dies.
func TestEvidenceIsReplacedWholeOrNotAtAll(t *testing.T) {
	all := goldenMessages(t, "small")[:10]
	store := func(content string) func(*Writer) error {
		return func(w *Writer) error {
			return w.AddEvidence(Evidence{Name: source.EvidenceCatalog, Provenance: map[string]string{"revision": content}}, []byte(content))
		}
	}
	for at := 1; ; at++ {
		dir := t.TempDir()
		_, err := Capture(context.Background(), newMemSource(all), dir, CaptureOptions{Prepared: store("old")})
		require.NoError(t, err)
		_, err = Capture(context.Background(), newMemSource(all), dir, CaptureOptions{Prepared: store("new"), FS: &crashFS{FS: Dir(dir), at: at}})
		s, oerr := Open(context.Background(), dir, Options{})
		require.NoError(t, oerr)
		p, ok := Catalog(dir, "p")
		require.True(t, ok)
		b, rerr := os.ReadFile(p)
		require.NoError(t, rerr)
		require.Equal(t, s.m.Evidence[0].Provenance["revision"], string(b))
		damage, verr := s.VerifyBytes(context.Background(), nil)
		require.NoError(t, verr)
		require.Empty(t, damage)
		if err == nil {
			require.Equal(t, "new", string(b))
			require.Greater(t, at, 10)
			return
		}
	}
}
