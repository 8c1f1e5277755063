//go:build unix

package channelbuf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Rows spilled have no name that a killed process could leave, can be read back all
// the same, and what an older run left is removed; nothing else is.
func TestSpillLeavesNoName(t *testing.T) {
	dir := t.TempDir()
	left, other := filepath.Join(dir, "walctl-spill-123"), filepath.Join(dir, "walctl-spilled")
	link := filepath.Join(dir, "walctl-spill-link")
	for _, name := range []string{left, other} {
		require.NoError(t, os.WriteFile(name, []byte("rows"), 0o600))
	}
	require.NoError(t, os.Symlink(other, link))
	s, err := openSpill(dir)
	require.NoError(t, err)
	defer s.close()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"walctl-spill-link", "walctl-spilled"}, names)

	c := chunk{data: []byte("a row"), size: 5}
	require.NoError(t, s.put(&c))
	require.NoError(t, s.flush())
	got, err := s.get(&c, nil)
	require.NoError(t, err)
	require.Equal(t, "a row", string(got))
}

// A spill file that a process holds is not a killed run's.
func TestSpillInUseStays(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "walctl-spill-held")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, lock(f))
	removeLeftSpills(dir)
	require.FileExists(t, name)
}
