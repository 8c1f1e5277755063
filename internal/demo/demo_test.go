package demo

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/archive"
)

// TestDemosTellTheirStory builds each demo and looks at what its commands will
// find: catalog and archive agree, and a restart meets what was promised.
func TestDemosTellTheirStory(t *testing.T) {
	stops := map[string]bool{"partition-ddl": true, "trimmed": true}
	for _, d := range List() {
		dir := filepath.Join(t.TempDir(), d.Name)
		r, err := Build(context.Background(), d.Name, dir)
		require.NoError(t, err, d.Name)
		require.NotEmpty(t, r.Told)

		src, err := archive.Open(context.Background(), dir, archive.Options{})
		require.NoError(t, err)
		require.Equal(t, r.Records, src.Manifest().Records())
		path, ok := archive.Catalog(dir, r.PChannel)
		require.True(t, ok, d.Name)
		for _, spec := range []string{r.Catalog, "kvjson:" + path} {
			cat, err := catalog.Open(context.Background(), spec, catalog.Options{})
			require.NoError(t, err)
			md, _, err := cat.Load(context.Background(), r.PChannel)
			require.NoError(t, err)
			require.NoError(t, cat.Close())
			res, err := recovery.Replay(context.Background(), src, md, recovery.ReplayOptions{})
			require.NoError(t, err, d.Name)
			dirty, err := res.State.Dirty()
			require.NoError(t, err)
			if d.Name == "crash" {
				require.Greater(t, len(dirty.Puts)+len(dirty.Deletes), 10)
			}
			require.Equal(t, stops[d.Name], res.State.Issues().FirstObstacle(recovery.Line26) != nil, "%s: %+v", d.Name, res.State.Issues().List())
		}
		info, err := os.Stat(filepath.Join(dir, "catalog.db"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	_, err := Build(context.Background(), "healthy", dir)
	require.ErrorIs(t, err, ErrOccupied)
	_, err = Build(context.Background(), "none", t.TempDir())
	require.ErrorIs(t, err, ErrUnknown)
}
