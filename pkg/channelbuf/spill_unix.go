//go:build unix

package channelbuf

import (
	"os"
	"path/filepath"
	"syscall"
)

// unname takes an open file's name away and reports whether it is gone. The lock
// tells a run that starts in between that the file is in use.
func unname(f *os.File) bool {
	_ = lock(f)
	return os.Remove(f.Name()) == nil
}

func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// removeLeftSpills removes what a run that was killed left behind: plain files of
// this user's under our name that no process holds. What cannot be looked at stays.
func removeLeftSpills(dir string) {
	if dir == "" {
		dir = os.TempDir()
	}
	names, err := filepath.Glob(filepath.Join(dir, spillPattern))
	if err != nil {
		return
	}
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && ownedByUs(info) {
			removeIfFree(name)
		}
	}
}

func ownedByUs(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
}

func removeIfFree(name string) {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil {
		_ = os.Remove(name)
	}
}
