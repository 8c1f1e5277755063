package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/walctl/walctl/internal/safefile"
)

// FS is what an archive is written through, so that a test can stop it at every
// step. Names are relative to the archive's directory, with slashes.
type FS interface {
	// Create makes a new file of mode 0600, or empties the one that is there.
	Create(name string) (File, error)
	Open(name string) (ReadFile, error)
	ReadFile(name string) ([]byte, error)
	Rename(from, to string) error
	Remove(name string) error
	// MkdirAll makes directories of mode 0700.
	MkdirAll(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// List returns the names of the files in a directory; none where it is missing.
	List(name string) ([]string, error)
	// Dirs returns the names of the directories in a directory, likewise.
	Dirs(name string) ([]string, error)
	// Lock takes an exclusive lock that ends with the process; ErrLocked where
	// another holds it.
	Lock(name string) (io.Closer, error)
}

// File is a file being written.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// ReadFile is a file being read.
type ReadFile interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// ErrLocked means that another capture writes this pchannel's archive.
var ErrLocked = errors.New("another capture writes this log's archive")

// maxManifest caps the manifest before it is read.
const maxManifest = 256 << 20

type dirFS struct{ dir string }

// Dir returns the FS of a directory, which is made when something is written.
func Dir(dir string) FS { return dirFS{dir} }

func (d dirFS) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d dirFS) Create(name string) (File, error) {
	return os.OpenFile(d.path(name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (d dirFS) Open(name string) (ReadFile, error) {
	f, err := safefile.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dirFS) ReadFile(name string) ([]byte, error) { return safefile.Read(d.path(name), maxManifest) }

func (d dirFS) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d dirFS) Remove(name string) error     { return os.Remove(d.path(name)) }

// MkdirAll makes the name of every directory it adds durable in its parent.
func (d dirFS) MkdirAll(name string) error {
	var added []string // deepest first
	for p := d.path(name); ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			break
		}
		added = append(added, p)
	}
	if err := os.MkdirAll(d.path(name), 0o700); err != nil {
		return err
	}
	for _, p := range added {
		if err := syncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

func (d dirFS) SyncDir(name string) error { return syncDir(d.path(name)) }

func syncDir(path string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d dirFS) List(name string) ([]string, error) { return d.entries(name, false) }
func (d dirFS) Dirs(name string) ([]string, error) { return d.entries(name, true) }

func (d dirFS) entries(name string, dirs bool) ([]string, error) {
	entries, err := os.ReadDir(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() == dirs {
			out = append(out, e.Name())
		}
	}
	return out, err
}

func (d dirFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
