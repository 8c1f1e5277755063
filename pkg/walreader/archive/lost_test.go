package archive

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// loseManifests destroys a manifest and its copy.
func loseManifests(t *testing.T, dir string, how func(path string) error) {
	t.Helper()
	for _, name := range []string{manifestPath("by-dev-rootcoord-dml_0"), copyPath("by-dev-rootcoord-dml_0")} {
		require.NoError(t, how(filepath.Join(dir, name)))
	}
}

func scribble(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 0x40
	return os.WriteFile(path, b, 0o600)
}

func TestALogWhoseManifestsAreLostIsReadFromItsSegments(t *testing.T) {
	for how, lose := range map[string]func(string) error{"damaged": scribble, "gone": os.Remove} {
		t.Run(how, func(t *testing.T) {
			dir, all, _ := smallArchive(t)
			w, err := NewWriter(dir, writerOptions(all))
			require.NoError(t, err)
			for _, content := range []string{"old", "new"} { // the second replaces the first
				require.NoError(t, w.AddEvidence(Evidence{Name: source.EvidenceCatalog}, []byte(content)))
			}
			require.NoError(t, w.Close())
			loseManifests(t, dir, lose)

			require.True(t, Detect(dir))
			s, err := Open(context.Background(), dir, Options{})
			require.NoError(t, err)
			got, bad := readAll(t, s, everything())
			require.Len(t, bad, 1)
			require.Equal(t, "manifest", bad[0].Place)
			require.EqualValues(t, -1, bad[0].Lost)
			require.Len(t, got, len(all))
			for i := range all {
				same(t, all[i], got[i])
			}
			b, err := s.Bounds(context.Background())
			require.NoError(t, err)
			require.Equal(t, []message.ID{all[0].ID, all[len(all)-1].ID}, []message.ID{b.First, b.Last})
			at := source.Bound{Kind: source.AtID, ID: all[11].ID}
			got, _ = readAll(t, s, source.Range{From: at, To: at})
			require.Len(t, got, 1)

			path, ok := Catalog(dir, "by-dev-rootcoord-dml_0")
			require.True(t, ok)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "new", string(content))
			found, err := s.VerifyBytes(context.Background(), nil)
			require.NoError(t, err)
			require.Len(t, found, 2, "%v", found) // the manifest and its copy

			logs, err := List(dir)
			require.NoError(t, err)
			require.Error(t, logs[0].Damage)
			require.EqualValues(t, len(all), logs[0].Records)

			// Nobody writes over what no manifest names.
			before := tree(t, dir)
			_, err = NewWriter(dir, writerOptions(all))
			require.ErrorIs(t, err, ErrDamaged)
			require.Equal(t, before, tree(t, dir))
		})
	}
}

func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		out = append(out, p)
		return err
	}))
	return out
}

// With no manifest to vouch for them, every flipped byte of the segments is
// still found by what they carry themselves.
func TestWithoutAManifestNothingWrongIsRead(t *testing.T) {
	dir, all, files := smallArchive(t)
	loseManifests(t, dir, os.Remove)
	for _, name := range files {
		if !strings.HasSuffix(name, ".parquet") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for at := 0; at < len(b); at += stride() {
			b[at] ^= 0x20
			_, bad := requireSoundRest(t, &overlayFS{Dir(dir), name, slices.Clone(b)}, all, name)
			require.Equal(t, "manifest", bad[0].Place)
			b[at] ^= 0x20
		}
		for n := 0; n < len(b); n += 7 * stride() {
			requireSoundRest(t, &overlayFS{Dir(dir), name, b[:n]}, all, name)
		}
	}
}

func TestASegmentThatIsGoneWithItsManifestIsMissed(t *testing.T) {
	_, all, _ := smallArchive(t)
	opt := writerOptions(all)
	opt.SegmentRows = 4
	dir := t.TempDir()
	write(t, dir, opt, all)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	gone := s.m.Segments[1]
	require.NoError(t, os.Remove(filepath.Join(dir, gone.Index.Path)))
	require.NoError(t, os.Remove(filepath.Join(dir, gone.Payload.Path)))
	loseManifests(t, dir, os.Remove)
	s, err = Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	got, bad := readAll(t, s, everything())
	require.Len(t, bad, 2)
	require.Len(t, got, len(all)-int(gone.Rows))
	missing := all[8].Ordinal - all[3].Ordinal - 1
	require.Equal(t, missing, bad[1].Lost)
	require.Contains(t, bad[1].Place, all[3].ID.String()+" … "+all[8].ID.String())
}
