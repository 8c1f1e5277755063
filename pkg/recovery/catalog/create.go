package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// ErrExists means that a catalog lies there already; a new one is never written over it.
var ErrExists = errors.New("a catalog exists there already")

// Create writes kv (keys relative to the root) as a new catalog to a file: or
// kvjson: place, whole or not at all, readable by its owner only. It never
// changes a catalog that exists: that takes a plan.
func Create(ctx context.Context, spec string, kv map[string][]byte, opts Options) error {
	s, err := ParseSpec(spec)
	if err != nil {
		return err
	}
	if s.Kind != "file" && s.Kind != "kvjson" {
		return fmt.Errorf("write a new catalog to %s: only file: and kvjson: can be written whole: %w", spec, ErrReadOnly)
	}
	if _, err := os.Lstat(s.Path); err == nil {
		return fmt.Errorf("write a new catalog to %s: %w", s.Path, ErrExists)
	}
	if s.Kind == "kvjson" {
		b, err := marshalKVJSON(kv)
		if err != nil {
			return err
		}
		return replaceFile(s.Path, b)
	}
	return createFile(ctx, s.Path, kv, opts)
}

// createFile builds the bbolt file under another name, so that a kill leaves
// nothing that looks like a catalog.
func createFile(ctx context.Context, path string, kv map[string][]byte, opts Options) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write a new catalog to %s: %w", path, denied(err))
	}
	defer os.Remove(tmp.Name()) // gone already where the rename succeeded
	if err := tmp.Close(); err != nil {
		return err
	}
	c := &fileCatalog{path: tmp.Name(), opts: opts}
	err = c.update(ctx, func(tx *bolt.Tx) error {
		return fileWrite(tx, fileRevision(tx)+1, kv, nil)
	})
	if err != nil {
		return fmt.Errorf("write a new catalog to %s: %w", path, err)
	}
	if err := os.Link(tmp.Name(), path); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("write a new catalog to %s: %w", path, ErrExists)
	} else if err != nil { // a file system without links
		return os.Rename(tmp.Name(), path)
	}
	return nil
}

// Export reads every key below prefix into a map, as Create takes it.
func Export(ctx context.Context, c Catalog, prefix string) (map[string][]byte, error) {
	kvs, _, err := c.Range(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(kvs))
	for _, kv := range kvs {
		out[kv.Key] = kv.Value
	}
	return out, nil
}

// Keys returns the keys of a catalog map in order.
func Keys(kv map[string][]byte) []string { return slices.Sorted(maps.Keys(kv)) }
