//go:build !windows

package safefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("four"), 0o600))
	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", at("device")))
	require.NoError(t, os.Symlink("fifo", at("to-fifo")))
	require.NoError(t, os.Symlink("file", at("to-file")))

	for _, name := range []string{"file", "to-file"} {
		b, err := Read(at(name), 4)
		require.NoError(t, err)
		require.Equal(t, "four", string(b))
		_, err = Read(at(name), 3)
		require.ErrorIs(t, err, ErrTooLarge)
	}
	for name, words := range map[string]string{"fifo": "a FIFO", "to-fifo": "a FIFO", "device": "a device", ".": "a directory"} {
		_, err := Read(at(name), 1<<20)
		require.ErrorIs(t, err, ErrNotRegular, name)
		require.ErrorContains(t, err, words)
		require.ErrorIs(t, Check(at(name)), ErrNotRegular)
	}
	_, err := Open(at("nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
