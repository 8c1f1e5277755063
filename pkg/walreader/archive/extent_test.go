package archive

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// fullFS has no room left behind a number of bytes.
type fullFS struct {
	FS
	room *int
}

type fullFile struct {
	File
	room *int
}

func (f fullFS) Create(name string) (File, error) {
	file, err := f.FS.Create(name)
	return fullFile{file, f.room}, err
}

func (f fullFile) Write(b []byte) (int, error) {
	if len(b) > 1<<10 { // the manifest still fits once what was open is given up
		if *f.room -= len(b); *f.room < 0 {
			return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
		}
	}
	return f.File.Write(b)
}

// upTo is a log that cannot be read on at message n.
func upTo(all []*message.Message, n int, err error) *memSource {
	s := newMemSource(all)
	if err != nil {
		s.bad[n] = err
	}
	return s
}

func TestAnArchiveKnowsHowItsCaptureEnded(t *testing.T) {
	all := goldenMessages(t, "small")[:200]
	last, end := all[99].ID.String(), all[199].ID.String()
	room := 20 << 10
	lost := errors.New("the broker has gone")
	for name, c := range map[string]struct {
		src    *memSource
		opt    CaptureOptions
		cancel bool
		ended  source.Ending
		whole  bool
		detail string
		start  message.ID
	}{
		"complete":             {src: newMemSource(all), ended: source.EndedComplete, whole: true},
		"limited":              {src: newMemSource(all), opt: CaptureOptions{Limit: 100}, ended: source.EndedLimited, detail: "captured to " + last + " of " + end + ": it was limited to 100 records"},
		"a limit it never met": {src: newMemSource(all), opt: CaptureOptions{Limit: 1000}, ended: source.EndedComplete, whole: true},
		"source lost":          {src: upTo(all, 100, lost), opt: CaptureOptions{SegmentRows: 100}, ended: source.EndedSourceLost, detail: "captured to " + last + " of " + end + ": the log could not be read on"},
		"interrupted":          {src: upTo(all, 100, context.Canceled), cancel: true, ended: source.EndedInterrupted, detail: "captured to " + last + " of " + end + ": it was interrupted, or still runs"},
		"disk full":            {src: newMemSource(all), opt: CaptureOptions{FS: fullFS{room: &room}}, ended: source.EndedDiskFull, detail: "nothing is captured of " + end + ": the disk was full"},
		"empty":                {src: newMemSource(nil), ended: source.EndedComplete, whole: true},
		"from the middle": {src: newMemSource(all), opt: CaptureOptions{From: source.Bound{Kind: source.AtID, ID: all[50].ID}},
			ended: source.EndedComplete, whole: true, start: all[50].ID},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if c.opt.FS != nil {
				c.opt.FS = fullFS{Dir(dir), &room}
			}
			if c.cancel {
				c.src.bad[100] = &stopAt{cancel}
			}
			done, err := Capture(ctx, c.src, dir, c.opt)
			require.Equal(t, c.ended == source.EndedComplete || c.ended == source.EndedLimited, err == nil, "%v", err)
			require.Equal(t, c.ended, done.Ended)
			s, err := Open(context.Background(), dir, Options{})
			require.NoError(t, err)
			e, err := s.Extent(context.Background())
			require.NoError(t, err)
			require.Equal(t, c.ended, e.Ended)
			require.Equal(t, c.whole, e.Whole)
			require.Equal(t, c.detail, e.Detail)
			require.Equal(t, c.start, e.Start)
			b, err := s.Bounds(context.Background())
			require.NoError(t, err)
			if !c.whole {
				require.Equal(t, "walctl capture memory --dir "+dir, e.Resume)
				require.Equal(t, source.NotHeld, b.Standing(all[150].ID), "not captured is not gone")
				require.Equal(t, source.NotHeld, b.Standing(all[199].ID))
			}
			if !c.start.IsZero() {
				require.Equal(t, source.NotHeld, b.Standing(all[10].ID))
			}

			// Going on makes it whole.
			c.src.bad = nil
			done, err = Capture(context.Background(), c.src, dir, CaptureOptions{})
			require.NoError(t, err)
			require.Equal(t, source.EndedComplete, done.Ended)
			require.True(t, done.Extent.Whole)
			require.Equal(t, c.start, done.Extent.Start)
		})
	}
}

// stopAt cancels the capture where it is met.
type stopAt struct{ cancel context.CancelFunc }

func (s *stopAt) Error() string { s.cancel(); return "stopped" }
func (s *stopAt) Is(error) bool { s.cancel(); return false }

// While a capture runs, and after it was killed, the archive says that it is not whole.
func TestARunningCaptureIsNotWhole(t *testing.T) {
	all := goldenMessages(t, "small")[:20]
	dir := t.TempDir()
	_, err := Capture(context.Background(), newMemSource(all), dir, CaptureOptions{
		Opened: func(*Writer) error {
			s, err := Open(context.Background(), dir, Options{})
			require.NoError(t, err)
			e, err := s.Extent(context.Background())
			require.NoError(t, err)
			require.Equal(t, source.EndedInterrupted, e.Ended)
			require.Equal(t, all[19].ID, e.End)
			require.False(t, e.Whole)
			return nil
		}})
	require.NoError(t, err)
}

// A copy of a copy holds no more than that did.
func TestACopyOfHalfACopyIsNotWhole(t *testing.T) {
	all := goldenMessages(t, "small")[:200]
	half, dir := t.TempDir(), t.TempDir()
	_, err := Capture(context.Background(), newMemSource(all), half, CaptureOptions{Limit: 100})
	require.NoError(t, err)
	s, err := Open(context.Background(), half, Options{})
	require.NoError(t, err)
	done, err := Capture(context.Background(), s, dir, CaptureOptions{})
	require.NoError(t, err)
	require.False(t, done.Extent.Whole)
	require.Equal(t, source.EndedLimited, done.Ended)
	require.Equal(t, all[199].ID, done.Extent.End)
}

// An archive of a walctl that did not keep how it ended says that it cannot tell.
func TestAnArchiveThatDoesNotTellIsNotWhole(t *testing.T) {
	all := goldenMessages(t, "small")[:20]
	dir := t.TempDir()
	_, err := Capture(context.Background(), newMemSource(all), dir, CaptureOptions{})
	require.NoError(t, err)
	m, _, err := loadManifest(Dir(dir), "p")
	require.NoError(t, err)
	m.Copied = nil
	require.NoError(t, storeManifest(Dir(dir), m))
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	e, err := s.Extent(context.Background())
	require.NoError(t, err)
	require.False(t, e.Whole)
	require.Equal(t, "the archive does not tell how its capture ended", e.Detail)
	done, err := Capture(context.Background(), newMemSource(all), dir, CaptureOptions{})
	require.NoError(t, err)
	require.True(t, done.Extent.Whole)
}
