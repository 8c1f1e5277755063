// Package outfile is the one writer of files whose path somebody gave: a path given
// is not a path owned. What stands there already is replaced only where it is
// walctl's own of the same kind, or a regular file that was given up with --force;
// never a device, a FIFO, a directory, what a symbolic link leads to, or what the
// answer was made from.
package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrTaken says that something stands at the path that is not walctl's to replace.
var ErrTaken = errors.New("something stands there that is not replaced")

// TakenError says what stands at a path, and what to do instead.
type TakenError struct {
	What, Path   string // what was to be written, and where
	Stands, Next string
}

// Error implements error.
func (e *TakenError) Error() string {
	return fmt.Sprintf("write the %s to %s: %s; %s", e.What, e.Path, e.Stands, e.Next)
}

// Is makes every TakenError an ErrTaken.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

// headSize is how much of a file is looked at to tell whose it is, in bytes.
const headSize = 64 << 10

// Rule says what is written and what it may replace.
type Rule struct {
	What string // "plan", "catalog", "context file"
	// Own tells from a file's first bytes whether it is walctl's own of this kind;
	// nil: none is.
	Own func(head []byte) bool
	// Force replaces any other regular file. ForceFlag is how it is spelled; "" where
	// the command has no such flag.
	Force     bool
	ForceFlag string
	// From are the files and directories the answer was made from.
	From []string
	// Stdout is where "-" and /dev/stdout lead; nil: they are refused.
	Stdout io.Writer
}

// Sink is where a path leads.
type Sink uint8

// The sinks.
const (
	ToFile Sink = iota
	ToStdout
	ToNull
)

// SinkOf tells a file from the names that lead to no file.
func SinkOf(path string) Sink {
	if path == "-" {
		return ToStdout
	}
	switch filepath.ToSlash(filepath.Clean(path)) {
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return ToStdout
	case "/dev/null":
		return ToNull
	}
	if path == os.DevNull {
		return ToNull
	}
	return ToFile
}

func (r *Rule) taken(path, stands, next string) error {
	return &TakenError{What: r.What, Path: path, Stands: stands, Next: next}
}

// Check reports whether the path may be written, so that it is known before the
// work is done. Write and Place look again.
func (r *Rule) Check(path string) error {
	switch SinkOf(path) {
	case ToNull:
		return nil
	case ToStdout:
		if r.Stdout == nil {
			return r.taken(path, "it cannot go to standard output", "name a file")
		}
		return nil
	}
	if path == "" || strings.HasSuffix(filepath.ToSlash(path), "/") {
		return r.taken(path, "that names a directory", "name a file in it")
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.parent(path)
	case err != nil:
		return r.failed(path, err)
	}
	return r.replaceable(path, info)
}

// parent reports whether there is a directory to write into.
func (r *Rule) parent(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write the %s to %s: there is no directory %s; make it first", r.What, path, dir)
	case err != nil:
		return r.failed(path, err)
	case !info.IsDir():
		return r.taken(path, dir+" is no directory", "name another place")
	}
	return nil
}

func (r *Rule) replaceable(path string, info fs.FileInfo) error {
	const elsewhere = "name another file"
	mode := info.Mode()
	switch {
	case mode&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			to = "?"
		}
		return r.taken(path, "a symbolic link to "+to+" stands there", "name the file it leads to, or another one")
	case mode.IsDir():
		return r.taken(path, "a directory stands there", "name a file in it")
	case mode&fs.ModeNamedPipe != 0:
		return r.taken(path, "a FIFO stands there", elsewhere)
	case mode&fs.ModeSocket != 0:
		return r.taken(path, "a socket stands there", elsewhere)
	case !mode.IsRegular():
		return r.taken(path, "a device stands there", elsewhere)
	}
	return r.regular(path, info)
}

func (r *Rule) regular(path string, info fs.FileInfo) error {
	within := ""
	for _, from := range r.From {
		at, err := os.Stat(from)
		if err != nil {
			continue // not a path, or gone
		}
		if os.SameFile(at, info) {
			return r.taken(path, "it is what the answer was made from", "name another file")
		}
		if at.IsDir() && inside(from, path) {
			within = from
		}
	}
	if info.Size() == 0 {
		return nil // nothing is lost
	}
	head, err := headOf(path)
	if err != nil {
		return r.failed(path, err)
	}
	switch {
	case r.Own != nil && r.Own(head):
		return nil
	case within != "":
		return r.taken(path, "it is a file of "+within+", which the answer was made from", "name another file")
	case r.Force:
		return nil
	case r.ForceFlag == "":
		return r.taken(path, "a file stands there that is no "+r.What+" of walctl's", "name another file")
	case r.Own == nil:
		return r.taken(path, "a file stands there already", "name another file, or say "+r.ForceFlag+" to replace it")
	}
	return r.taken(path, "a file stands there that is no "+r.What+" of walctl's", "name another file, or say "+r.ForceFlag+" to replace it")
}

// inside reports whether a path lies below a directory, links followed.
func inside(dir, path string) bool {
	d, err1 := real(dir)
	p, err2 := real(filepath.Dir(path))
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func real(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func headOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, headSize))
}

// failed says in plain words what the system said.
func (r *Rule) failed(path string, err error) error {
	why := "it cannot be written"
	switch {
	case errors.Is(err, fs.ErrPermission):
		why = "no permission"
	case errors.Is(err, syscall.ENOSPC):
		why = "no space left there"
	case errors.Is(err, syscall.EROFS):
		why = "the file system there is read-only"
	}
	return fmt.Errorf("write the %s to %s: %s: %w", r.What, path, why, err)
}

// Write puts b at the path, whole or not at all, readable by its owner only; or
// through to standard output; or nowhere, for /dev/null.
func (r *Rule) Write(path string, b []byte) error {
	if err := r.Check(path); err != nil {
		return err
	}
	switch SinkOf(path) {
	case ToNull:
		return nil
	case ToStdout:
		if _, err := r.Stdout.Write(b); err != nil {
			return fmt.Errorf("write the %s to standard output: %w", r.What, err)
		}
		return nil
	}
	tmp, err := r.Temp(path)
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		_ = os.Remove(tmp.Name()) // only tidying up
		return r.failed(path, err)
	}
	return r.Place(tmp.Name(), path)
}

// Temp makes a new file beside the path, for Place.
func (r *Rule) Temp(path string) (*os.File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, r.failed(path, err)
	}
	return tmp, nil
}

// Place gives a finished file beside the path its name. Where the path may not be
// written the finished file is removed.
func (r *Rule) Place(tmp, path string) error {
	err := r.Check(path)
	if err == nil {
		err = r.place(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // only tidying up
		return err
	}
	return nil
}

func (r *Rule) place(tmp, path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		switch err := os.Link(tmp, path); { // never over what came up meanwhile
		case err == nil:
			_ = os.Remove(tmp) // the second name
			return r.synced(path)
		case errors.Is(err, fs.ErrExist):
			return r.taken(path, "a file came up there meanwhile", "look at it, then try again")
		} // a file system without links
	}
	if err := os.Rename(tmp, path); err != nil {
		return r.failed(path, err)
	}
	return r.synced(path)
}

// synced makes the name durable, where the file system can.
func (r *Rule) synced(path string) error {
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // not every file system can, and the name is given
		_ = d.Close()
	}
	return nil
}
