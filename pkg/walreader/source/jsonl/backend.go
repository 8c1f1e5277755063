package jsonl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Kind is what Description.Kind says of record lines.
const Kind = "jsonl"

// Backend is this backend as the door opens it.
func Backend() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(_ context.Context, place string, o source.Options) (source.Source, error) {
			if o.Log.ID != "" {
				place = filepath.Join(place, o.Log.ID)
			}
			return Open(place).Named(o.PChannel), nil
		},
		Stream: func(name string, r io.Reader, o source.Options) source.Source {
			if o.Kept != nil {
				return FromKept(name, r, o.Kept, maxKept).Named(o.PChannel)
			}
			return FromReader(name, r).Named(o.PChannel)
		},
	}
}

// recordKeys tell the record format even behind a damaged first byte, so that its
// reader can say which line is damaged and read the rest.
func recordKeys(head []byte) (one, both bool) {
	props, payload := bytes.Contains(head, []byte(`"props"`)), bytes.Contains(head, []byte(`"payload"`))
	return props || payload, props && payload
}

// sniff takes files of records and directories that hold some; and, where nobody
// else does, what is empty or begins as an object does.
func sniff(l source.Look) source.Claim {
	if l.Dir {
		files, _ := files(l.Path)
		return source.Claim{Sure: len(files) > 0}
	}
	one, _ := recordKeys(l.Head)
	return source.Claim{Sure: l.Pipe || one,
		Maybe: len(l.Head) == 0 || bytes.HasPrefix(bytes.TrimLeft(l.Head, " \t\r\n"), []byte("{"))}
}

// logs lists the record files of a directory; nothing for a file.
func logs(_ context.Context, place string, _ source.Options) ([]source.Log, error) {
	names, err := files(place)
	if err != nil {
		return nil, nil //nolint:nilerr // not a directory
	}
	if len(names) == 0 {
		return nil, source.ErrNoLogs
	}
	out := make([]source.Log, len(names))
	for i, n := range names {
		out[i].ID = n
	}
	return out, nil
}

// maxDirFiles caps how many files of a directory are looked into.
const maxDirFiles = 256

// files lists the files of a directory that hold records.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	var out []string
	for i, e := range entries {
		if i >= maxDirFiles {
			break
		}
		if !e.Type().IsRegular() {
			continue
		}
		head, err := Head(filepath.Join(dir, e.Name()))
		if _, both := recordKeys(head); err == nil && both {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// headSize is how much of a file is looked at, bytes after decompression.
const headSize = 8 << 10

// Head returns a file's first bytes, decompressed. What cannot be decompressed is
// taken for a damaged record file: its reader tells the place.
func Head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	r, packed, err := Decompress(f)
	if err != nil && packed {
		return []byte("{"), nil //nolint:nilerr // said by the reader, with its place
	}
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	defer func() { _ = r.Close() }() // only read
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	case packed && n == 0:
		return []byte("{"), nil
	case !packed:
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	if packed && n == 0 && err != nil {
		return []byte("{"), nil //nolint:nilerr // nothing came out of it: its reader says why
	}
	return head[:n], nil
}
