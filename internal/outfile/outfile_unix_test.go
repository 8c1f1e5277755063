//go:build unix && !darwin

package outfile_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/walctl/walctl/internal/outfile"
)

func TestNeverOverADeviceOrAFIFO(t *testing.T) {
	dir := t.TempDir()
	r := rule()
	r.Force = true
	check := func(path, word string, kind os.FileMode) {
		t.Helper()
		require.ErrorContains(t, r.Write(path, []byte("PLAN")), word)
		require.ErrorIs(t, r.Write(path, []byte("PLAN")), outfile.ErrTaken)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&kind, "it is what it was")
	}
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	check(fifo, "a FIFO stands there", os.ModeNamedPipe)

	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer l.Close()
	check(socket, "a socket stands there", os.ModeSocket)

	null := filepath.Join(dir, "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("only root makes devices: %v", err)
	}
	check(null, "a device stands there", os.ModeCharDevice)
}
