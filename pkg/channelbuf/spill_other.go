//go:build !unix

package channelbuf

import (
	"os"
	"path/filepath"
)

// unname cannot take the name of an open file away here: close removes it.
func unname(*os.File) bool { return false }

// removeLeftSpills removes what a run that was killed left behind. A file in use
// cannot be removed here.
func removeLeftSpills(dir string) {
	if dir == "" {
		dir = os.TempDir()
	}
	names, _ := filepath.Glob(filepath.Join(dir, spillPattern))
	for _, name := range names {
		_ = os.Remove(name)
	}
}
