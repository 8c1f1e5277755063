package rocksmq

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Backend is this backend as the door opens it.
func Backend() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(ctx context.Context, place string, o source.Options) (source.Source, error) {
			s, err := Open(ctx, place, o.Log.Name, Options{IncludeDeleted: o.IncludeDeleted})
			if err != nil {
				return nil, err // never a nil *Source in the interface
			}
			if err := s.call(ctx, o.PChannel); err != nil {
				return nil, errors.Join(err, s.Close())
			}
			return s, nil
		},
	}
}

func logs(ctx context.Context, dir string, _ source.Options) ([]source.Log, error) {
	topics, err := Topics(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := make([]source.Log, len(topics))
	for i, t := range topics {
		out[i] = source.Log{Name: t, Aside: !plainName(t)}
	}
	return out, nil
}

// sniffFiles is how many files of a directory are looked into.
const sniffFiles = 16

// sniff tells a RocksDB directory by what its log files and tables begin or end
// with. Whether RocksMQ keeps it is told when it is opened.
func sniff(l source.Look) source.Claim {
	if !l.Dir {
		if !l.Pipe && isFile(l.Path) {
			return source.Claim{Instead: "is one file of a RocksDB directory; name the directory, rdb_data"}
		}
		return source.Claim{}
	}
	dir, err := place(l.Path)
	if err != nil {
		return source.Claim{}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return source.Claim{}
	}
	looked := 0
	for _, e := range entries {
		if _, _, ok := numbered(e.Name()); !ok || !e.Type().IsRegular() {
			continue
		}
		if looked++; looked > sniffFiles {
			break
		}
		if isFile(filepath.Join(dir, e.Name())) {
			return source.Claim{Sure: true}
		}
	}
	_, err = os.Stat(filepath.Join(dir, "CURRENT"))
	return source.Claim{Maybe: err == nil} // damaged: its reader says where
}

// isFile tells a log file or table of RocksDB by its content.
func isFile(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	end := make([]byte, 8)
	if _, err := f.ReadAt(end, max(st.Size()-8, 0)); err == nil && rocksdb.IsTable(end) {
		return true
	}
	number, _, _ := numbered(filepath.Base(path))
	rec, off, err := rocksdb.NewLogReader(path, number, f, min(st.Size(), 256<<10), 0).Next()
	if err != nil || off != 0 {
		return false
	}
	_, err = rocksdb.ParseBatch(rec)
	return err == nil
}
