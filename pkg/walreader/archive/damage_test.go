package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// overlayFS shows one file with other content.
type overlayFS struct {
	FS
	name string
	data []byte
}

func (o *overlayFS) Open(name string) (ReadFile, error) {
	if name == o.name {
		return memFile{bytes.NewReader(o.data)}, nil
	}
	return o.FS.Open(name)
}

func (o *overlayFS) ReadFile(name string) ([]byte, error) {
	if name == o.name {
		return o.data, nil
	}
	return o.FS.ReadFile(name)
}

type memFile struct{ *bytes.Reader }

func (m memFile) Size() (int64, error) { return m.Reader.Size(), nil }
func (m memFile) Close() error         { return nil }

// smallArchive is two segments whose rows have every kind of column filled.
func smallArchive(t testing.TB) (dir string, all []*message.Message, files []string) {
	for _, m := range goldenMessages(t, "small") {
		if m.PayloadSize < 400 && (len(all) < 8 || m.Type == message.TypeInsert && len(all) < 12 || m.Has(message.HasTxn) && len(all) < 16) {
			all = append(all, m)
		}
	}
	dir = t.TempDir()
	opt := writerOptions(all)
	opt.SegmentRows = 10
	write(t, dir, opt, all)
	require.NoError(t, filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() && st.Size() > 0 {
			rel, _ := filepath.Rel(dir, p)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	}))
	require.Len(t, files, 6)
	return dir, all, files
}

// requireSoundRest reads what can still be read of a damaged archive: nothing
// wrong may come, and what is missing must have been reported.
func requireSoundRest(t *testing.T, fsys FS, all []*message.Message, what string) (lost int64, places []*source.CorruptError) {
	t.Helper()
	s, err := Open(context.Background(), "", Options{FS: fsys})
	require.NoError(t, err, what)
	got, bad := readAll(t, s, everything())
	at := 0
	for _, m := range got {
		for at < len(all) && all[at].Ordinal != m.Ordinal {
			at++
		}
		require.Less(t, at, len(all), what)
		same(t, all[at], m)
		at++
	}
	for _, c := range bad {
		require.NotEmpty(t, c.Place, what)
		lost += max(0, c.Lost)
	}
	require.Equal(t, int64(len(all)-len(got)), lost, "%s: lost and not said", what)
	return lost, bad
}

func requireLocated(t *testing.T, fsys FS, name, what string) []*source.Damage {
	t.Helper()
	s, err := Open(context.Background(), "", Options{FS: fsys})
	require.NoError(t, err, what)
	found, err := s.VerifyBytes(context.Background(), nil)
	require.NoError(t, err, what)
	require.NotEmpty(t, found, "%s: not detected", what)
	for _, d := range found {
		require.Equal(t, name, d.Path, what)
	}
	return found
}

// stride is 1, every byte, where WALCTL_EVERY_BYTE is set (four minutes of one
// core), else a prime that meets every structure.
func stride() int {
	if os.Getenv("WALCTL_EVERY_BYTE") != "" {
		return 1
	}
	return 23
}

// Every byte of every file, flipped: detected, located, and the rest is read.
func TestEveryFlippedByteIsFoundAndTheRestIsRead(t *testing.T) {
	dir, all, files := smallArchive(t)
	step := stride()
	for _, name := range files {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			whole, err := Dir(dir).ReadFile(name)
			require.NoError(t, err)
			kinds := map[string]int{}
			for i := 0; i < len(whole); i += step {
				b := slices.Clone(whole)
				b[i] ^= 1 << (i % 8)
				fsys := &overlayFS{Dir(dir), name, b}
				what := fmt.Sprintf("%s, byte %d of %d", name, i, len(b))
				found := requireLocated(t, fsys, name, what)
				kinds[strings.Fields(found[0].Place)[0]]++
				lost, places := requireSoundRest(t, fsys, all, what)
				require.LessOrEqual(t, lost, int64(10), "%s: more than its segment was lost", what)
				for _, p := range places {
					if !strings.Contains(p.Place, "manifest") {
						require.Contains(t, p.Place, name, what)
						require.ErrorIs(t, p, ErrDamaged, what)
					}
				}
				requireColumnsSound(t, fsys, all, what)
			}
			t.Logf("%d flips: %v", (len(whole)+step-1)/step, kinds)
		})
	}
}

// requireColumnsSound reads columns: what comes must be what was written.
func requireColumnsSound(t *testing.T, fsys FS, all []*message.Message, what string) {
	t.Helper()
	s, err := Open(context.Background(), "", Options{FS: fsys})
	require.NoError(t, err, what)
	r, err := s.OpenColumns(context.Background(), source.Range{})
	require.NoError(t, err, what)
	defer r.Close()
	rows, lost := int64(0), int64(0)
	for {
		c, err := r.NextColumns(context.Background())
		var corrupt *source.CorruptError
		switch {
		case errors.Is(err, io.EOF):
			require.Equal(t, int64(len(all)), rows+lost, what)
			return
		case errors.As(err, &corrupt):
			lost += corrupt.Lost
		default:
			require.NoError(t, err, what)
			for i := range c.N {
				m := all[slices.IndexFunc(all, func(m *message.Message) bool { return m.ID == c.ID(i) })]
				require.Equal(t, m.TimeTick, c.TimeTick[i], what)
				require.Equal(t, m.Type, c.Type[i], what)
				require.Equal(t, m.VChannel, c.VChannels[c.VChannel[i]], what)
				require.Equal(t, message.ComputeChecksum(m.Props, m.Payload), c.Checksum[i], what)
				if m.InFull() {
					require.Equal(t, m.Props, c.Full[i].Props, what)
				}
			}
			rows += int64(c.N)
		}
	}
}

func TestEveryTruncationIsFoundAndTheRestIsRead(t *testing.T) {
	dir, all, files := smallArchive(t)
	step := stride()
	for _, name := range files {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			whole, err := Dir(dir).ReadFile(name)
			require.NoError(t, err)
			for n := 0; n < len(whole); n += step {
				fsys := &overlayFS{Dir(dir), name, whole[:n]}
				what := fmt.Sprintf("%s, cut to %d of %d", name, n, len(whole))
				requireLocated(t, fsys, name, what)
				lost, _ := requireSoundRest(t, fsys, all, what)
				require.LessOrEqual(t, lost, int64(10), what)
			}
		})
	}
}

// A file that is missing costs its segment, said with its ids.
func TestAMissingIndexFileIsReportedWithItsIDs(t *testing.T) {
	dir, all, _ := smallArchive(t)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, s.m.Segments[0].Index.Path)))
	lost, places := requireSoundRest(t, Dir(dir), all, "missing")
	require.EqualValues(t, 10, lost)
	require.Contains(t, places[0].Place, all[0].ID.String())
	require.Contains(t, places[0].Place, all[9].ID.String())
}

// An archive without rows' data is a copy of index/ and manifest/.
func TestAnArchiveWithoutPayloadIsSound(t *testing.T) {
	dir, all, _ := smallArchive(t)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "payload")))
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	got, bad := readAll(t, s, source.Range{Props: true})
	require.Empty(t, bad)
	require.Len(t, got, len(all))
	found, err := s.VerifyBytes(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, found)
	got, bad = readAll(t, s, everything())
	require.Empty(t, bad, "what was left behind is not damaged")
	require.Len(t, got, len(all))
	asked := 0
	for i, m := range got {
		require.Equal(t, all[i].PayloadSize, m.PayloadSize)
		if m.PayloadSize > 0 {
			asked++
			_, err := m.Body()
			require.ErrorIs(t, err, message.ErrNotRead)
		}
	}
	require.Positive(t, asked)
}

// One payload file that is missing is damage: the others came along.
func TestAMissingPayloadFileIsDamage(t *testing.T) {
	dir, _, _ := smallArchive(t)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	for i := range s.m.Segments {
		require.NoError(t, os.Remove(filepath.Join(dir, s.m.Segments[i].Payload.Path)))
	}
	_, bad := readAll(t, s, everything())
	require.NotEmpty(t, bad)
	found, err := s.VerifyBytes(context.Background(), nil)
	require.NoError(t, err)
	require.NotEmpty(t, found)
}

// The values of a manifest with a right checksum are not trusted either.
func TestHostileManifestsAreRefused(t *testing.T) {
	dir, _, _ := smallArchive(t)
	good, _, err := loadManifest(Dir(dir), "by-dev-rootcoord-dml_0")
	require.NoError(t, err)
	for what, change := range map[string]func(*Manifest){
		"path upwards":     func(m *Manifest) { m.Segments[0].Index.Path = "index/../../etc/passwd" },
		"absolute path":    func(m *Manifest) { m.Segments[0].Payload.Path = "/etc/passwd" },
		"drive path":       func(m *Manifest) { m.Segments[0].Payload.Path = `index/C:\x` },
		"empty path":       func(m *Manifest) { m.Segments[0].Payload.Path = "" },
		"evidence upwards": func(m *Manifest) { m.Evidence = []Evidence{{Name: source.EvidenceCatalog, Path: "../x/y"}} },
		"version":          func(m *Manifest) { m.Version = 99 },
		"negative size":    func(m *Manifest) { m.Segments[0].Index.Bytes = -1 },
		"huge tail":        func(m *Manifest) { m.Segments[0].Index.Tail = 1 << 62 },
		"no rows":          func(m *Manifest) { m.Segments[0].Rows = 0 },
		"endless rows":     func(m *Manifest) { m.Segments[0].Rows = 1 << 62 },
	} {
		m := *good
		m.Segments = slices.Clone(good.Segments)
		change(&m)
		b, err := encodeManifest(&m)
		require.NoError(t, err)
		_, err = decodeManifest(b)
		require.Error(t, err, what)
	}
	// Sizes that are possible but wrong are found when the file is opened.
	for what, change := range map[string]func(*Manifest){
		"tail too long":  func(m *Manifest) { m.Segments[0].Index.Tail = m.Segments[0].Index.Bytes - 5 },
		"tail too short": func(m *Manifest) { m.Segments[0].Index.Tail = 13 },
		"rows":           func(m *Manifest) { m.Segments[0].Rows = 9 },
		"swapped files": func(m *Manifest) {
			m.Segments[0].Index, m.Segments[0].Payload = m.Segments[0].Payload, m.Segments[0].Index
		},
	} {
		m := *good
		m.Segments = slices.Clone(good.Segments)
		change(&m)
		b, err := encodeManifest(&m)
		require.NoError(t, err)
		s, err := Open(context.Background(), "", Options{FS: &overlayFS{Dir(dir), manifestPath(m.PChannel), b}})
		require.NoError(t, err)
		_, bad := readAll(t, s, everything())
		require.NotEmpty(t, bad, what)
	}
}
