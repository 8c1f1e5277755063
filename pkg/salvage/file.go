package salvage

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/parquet-go/parquet-go"
)

// partial ends the name of a file that is not whole yet.
const partial = ".partial"

// file is one Parquet file being written.
type file struct {
	key      fileKey
	path     string
	f        *os.File
	buf      *bufio.Writer
	w        *parquet.Writer
	rows     int64
	size     int64 // bytes written
	buffered int64 // bytes that wait for their row group
	used     int64
}

// Write implements io.Writer and counts.
func (f *file) Write(b []byte) (int, error) {
	n, err := f.buf.Write(b)
	f.size += int64(n)
	return n, err
}

func openFile(path string, l *layout) (*file, error) {
	out, err := os.OpenFile(path+partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file of rows: %w", err)
	}
	f := &file{path: path, f: out, buf: bufio.NewWriterSize(out, 1<<20)}
	options := append([]parquet.WriterOption{l.schema, parquet.DataPageVersion(1), parquet.PageBufferSize(256 << 10),
		parquet.CreatedBy("walctl", "salvage", "1")}, l.unbounded...)
	f.w = parquet.NewWriter(f, options...)
	return f, nil
}

func (f *file) flush() error {
	f.buffered = 0
	if err := f.w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// finish makes the file whole and durable and gives it its name.
func (f *file) finish() error {
	err := f.w.Close()
	if err == nil {
		err = f.buf.Flush()
	}
	if err == nil {
		err = f.f.Sync()
	}
	if err = errors.Join(err, f.f.Close()); err == nil {
		err = os.Rename(f.path+partial, f.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

func (f *file) abandon() error {
	return errors.Join(f.f.Close(), os.Remove(f.path+partial))
}

// writeWhole writes a small file that is there whole or not at all.
func writeWhole(path string, b []byte) error {
	f, err := os.OpenFile(path+partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+partial, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
