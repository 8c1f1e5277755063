package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/walctl/walctl/internal/safefile"
)

// MaxKVJSONSize is the largest kvjson file that is read, in bytes.
const MaxKVJSONSize = 4 << 30

// kvjsonCatalog is a JSON object, key → base64 of the value. It has no
// revisions, so a key's is a checksum of its value: a guard then asks whether
// the value is still the one that was read. It is replaced whole, by renaming.
type kvjsonCatalog struct {
	path string // of the file itself: a symbolic link to it stays one, and has its lock
	opts Options
}

func openKVJSON(ctx context.Context, path string, opts Options) (Catalog, error) {
	file, err := behindLinks(path)
	if err != nil {
		return nil, err
	}
	c := &kvjsonCatalog{path: file, opts: opts}
	_, _, err = c.read(ctx)
	if err != nil && (!errors.Is(err, ErrNotFound) || !opts.Write) {
		return nil, err
	}
	return c, nil
}

// behindLinks is the file that a path leads to: the path itself where nothing stands
// there yet. A link that leads nowhere is not followed to make a file there.
func behindLinks(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, nil //nolint:nilerr // what is wrong with it, reading tells
	}
	file, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("open catalog %s: it is a symbolic link that leads to no file: %w", path, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("open catalog %s: %w", path, denied(err))
	}
	return file, nil
}

// Limits are etcd's, as those of a catalog file.
func (c *kvjsonCatalog) Limits() Limits { return Limits{Ops: etcdMaxOps, Bytes: etcdMaxBytes} }

func (c *kvjsonCatalog) Close() error { return nil }

func (c *kvjsonCatalog) Load(ctx context.Context, pchannel string) (Metadata, Revision, error) {
	return load(ctx, c, pchannel)
}

func (c *kvjsonCatalog) Identity(context.Context) (Identity, error) {
	root := strings.Trim(c.opts.Root, "/")
	if root == "" {
		root = DefaultRoot
	}
	return Identity{Kind: "kvjson", Root: root}, nil
}

// read returns the whole object and its checksum.
func (c *kvjsonCatalog) read(ctx context.Context) (map[string][]byte, Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	b, err := safefile.Read(c.path, MaxKVJSONSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("open catalog %s: %w", c.path, ErrNotFound)
	case errors.Is(err, safefile.ErrTooLarge):
		return nil, 0, fmt.Errorf("catalog %s has more than %d bytes: %w", c.path, int64(MaxKVJSONSize), ErrTooLarge)
	case err != nil:
		return nil, 0, fmt.Errorf("read catalog: %w", err)
	}
	kv := map[string][]byte{}
	if err := json.Unmarshal(b, &kv); err != nil {
		return nil, 0, fmt.Errorf("catalog %s: want a JSON object, key to base64 value: %w: %w", c.path, ErrCorrupt, err)
	}
	if kv == nil { // the file says null
		return nil, 0, fmt.Errorf("catalog %s: want a JSON object, found null: %w", c.path, ErrCorrupt)
	}
	return kv, Revision(checksum(b)), nil
}

// checksum is never 0, which means "no such key", and never negative.
func checksum(b []byte) int64 {
	sum := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(sum[:])&math.MaxInt64 | 1)
}

func (c *kvjsonCatalog) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	all, rev, err := c.read(ctx)
	if errors.Is(err, ErrNotFound) && c.opts.Write {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var kvs []KV
	for k, v := range all {
		if strings.HasPrefix(k, prefix) {
			sum := checksum(v)
			kvs = append(kvs, KV{Key: k, Value: notNil(v), CreateRevision: sum, ModRevision: sum})
		}
	}
	slices.SortFunc(kvs, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	return kvs, rev, nil
}

func (c *kvjsonCatalog) Txn(ctx context.Context, g Guard, puts map[string][]byte, deletes []string) (Revision, error) {
	if !c.opts.Write {
		return 0, fmt.Errorf("write to catalog %s: %w", c.path, ErrReadOnly)
	}
	if err := c.Limits().checkSize(g, puts, deletes); err != nil {
		return 0, err
	}
	unlock, err := lockBeside(ctx, c.path, c.opts.timeout())
	if err != nil {
		return 0, err
	}
	defer unlock()
	all, _, err := c.read(ctx)
	if errors.Is(err, ErrNotFound) {
		all, err = map[string][]byte{}, nil
	}
	if err != nil {
		return 0, err
	}
	if err := checkGuard(g, func(k string) int64 {
		if v, ok := all[k]; ok {
			return checksum(v)
		}
		return 0
	}, func(r KeyRange, f func(string) bool) {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			if r.Contains(k) && !f(k) {
				return
			}
		}
	}); err != nil {
		return 0, err
	}
	maps.Copy(all, puts)
	for _, k := range deletes {
		delete(all, k)
	}
	b, err := marshalKVJSON(all)
	if err != nil {
		return 0, err
	}
	return Revision(checksum(b)), replaceFile(c.path, b)
}

// WriteKVJSON writes kv as the JSON object a kvjson: catalog is.
func WriteKVJSON(w io.Writer, kv map[string][]byte) error {
	b, err := marshalKVJSON(kv)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write catalog: %w", err)
	}
	return nil
}

// marshalKVJSON writes one key a line, in key order, so that two files can be
// compared with any diff.
func marshalKVJSON(kv map[string][]byte) ([]byte, error) {
	out := make(map[string][]byte, len(kv))
	for k, v := range kv {
		if v == nil {
			v = []byte{} // "" rather than null
		}
		out[k] = v
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		return nil, fmt.Errorf("encode catalog: %w", err)
	}
	return b.Bytes(), nil
}

// replaceFile puts b where path is, whole or not at all.
func replaceFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, denied(err))
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // only tidying up
		return fmt.Errorf("replace %s: %w", path, denied(err))
	}
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every file system can, and the rename has happened
		_ = d.Close()
	}
	return nil
}

func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

// lockBeside takes the lock file beside path, waiting for who holds it. The file
// goes away with the lock; who finds itself holding a file that is no longer
// there tries again.
func lockBeside(ctx context.Context, path string, timeout time.Duration) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name := path + ".lock"
	for {
		l, err := fileutil.TryLockFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil && sameFile(l.File, name) {
			return func() { _ = os.Remove(name); _ = l.Close() }, nil
		}
		if err == nil {
			_ = l.Close()
			continue
		}
		if !errors.Is(err, fileutil.ErrLocked) {
			return nil, fmt.Errorf("lock %s: %w", path, denied(err))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: another process holds %s: %w", path, name, ErrUnavailable)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}
