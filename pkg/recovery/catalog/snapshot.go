package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/walctl/walctl/internal/safefile"
)

// An etcd snapshot is etcd's bbolt file, and behind it, where etcdctl wrote it,
// the SHA-256 of all before. Bucket "key" holds every change etcd has not yet
// compacted:
//
//	│revision u64 BE│'_'│sub u64 BE│        mvccpb.KeyValue: a put
//	│revision u64 BE│'_'│sub u64 BE│'t'│    mvccpb.KeyValue with the key only: a delete
//
// in the order they happened. The last one of a key is what holds.
const (
	snapshotRevLen = 17
	snapshotBucket = "key"
	// maxSnapshotKey bounds the keys that are remembered; etcd itself has no
	// bound below its request size.
	maxSnapshotKey = 64 << 10
)

type snapshotCatalog struct {
	path   string
	opts   Options
	root   string // with a slash at the end, or empty
	keys   []string
	at     map[string]string // relative key → its last revision key in the bucket
	newest Revision
}

func openSnapshot(ctx context.Context, path string, opts Options) (Catalog, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open snapshot %s: %w", path, ErrNotFound)
	}
	if opts.Write {
		return nil, fmt.Errorf("snapshot %s: %w; restore it into an etcd, or export it to a file or kvjson catalog", path, ErrReadOnly)
	}
	if err := checkSnapshotSum(ctx, path); err != nil {
		return nil, err
	}
	c := &snapshotCatalog{path: path, opts: opts, at: map[string]string{}}
	last := map[string]string{}
	if err := c.view(ctx, func(b *bolt.Bucket) error { return c.index(ctx, b, last) }); err != nil {
		return nil, err
	}
	root, err := snapshotRoot(last, strings.Trim(opts.Root, "/"))
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", path, err)
	}
	c.root = root
	for k, rev := range last {
		if rel, ok := strings.CutPrefix(k, root); ok {
			c.at[rel] = rev
			c.keys = append(c.keys, rel)
		}
	}
	slices.Sort(c.keys)
	return c, nil
}

// checkSnapshotSum holds the file against the sum at its end, where it has one: a
// bbolt file is whole pages, so 32 bytes more are the sum.
func checkSnapshotSum(ctx context.Context, path string) error {
	f, err := safefile.Open(path)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", denied(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	if info.Size()%512 != sha256.Size {
		return nil
	}
	h, want := sha256.New(), make([]byte, sha256.Size)
	body := io.NewSectionReader(f, 0, info.Size()-sha256.Size)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := io.CopyN(h, body, 16<<20); n == 0 || err != nil && !errors.Is(err, io.EOF) {
			break
		}
	}
	if _, err := f.ReadAt(want, info.Size()-sha256.Size); err != nil {
		return fmt.Errorf("read snapshot %s: %w", path, err)
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return fmt.Errorf("snapshot %s: its bytes are not those its checksum was made of (take it again, or use the member's own db file): %w", path, ErrCorrupt)
	}
	return nil
}

// index notes the last revision of every key that still exists.
func (c *snapshotCatalog) index(ctx context.Context, b *bolt.Bucket, last map[string]string) error {
	n := 0
	return b.ForEach(func(rev, value []byte) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(rev) < snapshotRevLen || rev[8] != '_' {
			return fmt.Errorf("%x is no revision of etcd's: %w", rev[:min(len(rev), 32)], ErrCorrupt)
		}
		var kv mvccpb.KeyValue
		if err := kv.Unmarshal(value); err != nil {
			return fmt.Errorf("revision %x: %w: %w", rev, ErrCorrupt, err)
		}
		if len(kv.Key) > maxSnapshotKey {
			return fmt.Errorf("revision %x: a key of %d bytes: %w", rev, len(kv.Key), ErrCorrupt)
		}
		c.newest = max(c.newest, Revision(binary.BigEndian.Uint64(rev)))
		if len(rev) > snapshotRevLen && rev[snapshotRevLen] == 't' {
			delete(last, string(kv.Key))
			return nil
		}
		last[string(kv.Key)] = string(rev)
		return nil
	})
}

// snapshotRoot is the root asked for, or the one root in which Milvus's keys lie.
func snapshotRoot(keys map[string]string, asked string) (string, error) {
	roots := map[string]bool{}
	for k := range keys {
		for _, p := range []string{walPrefix, streamingCoordRoot} {
			if i := strings.Index(k, p); i >= 0 && (i == 0 || k[i-1] == '/') {
				roots[k[:i]] = true
			}
		}
	}
	if asked != "" {
		return asked + "/", nil
	}
	switch len(roots) {
	case 0:
		return DefaultRoot + "/", nil
	case 1:
		for r := range roots {
			return r, nil
		}
	}
	var names []string
	for r := range roots {
		names = append(names, strings.TrimSuffix(r, "/"))
	}
	slices.Sort(names)
	return "", fmt.Errorf("it holds several metadata roots (%s): choose one", strings.Join(names, ", "))
}

func (c *snapshotCatalog) view(ctx context.Context, f func(*bolt.Bucket) error) error {
	return withBolt(ctx, c.path, c.opts.timeout(), true, func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(snapshotBucket))
			if b == nil {
				return fmt.Errorf("a bbolt file, but no etcd snapshot (no bucket %q): %w", snapshotBucket, ErrCorrupt)
			}
			return f(b)
		})
	})
}

func (c *snapshotCatalog) Limits() Limits { return Limits{Ops: etcdMaxOps, Bytes: etcdMaxBytes} }

func (c *snapshotCatalog) Close() error { return nil }

func (c *snapshotCatalog) Load(ctx context.Context, pchannel string) (Metadata, Revision, error) {
	return load(ctx, c, pchannel)
}

func (c *snapshotCatalog) Identity(context.Context) (Identity, error) {
	return Identity{Kind: "snapshot", Root: strings.TrimSuffix(c.root, "/")}, nil
}

func (c *snapshotCatalog) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	var kvs []KV
	i, _ := slices.BinarySearch(c.keys, prefix)
	err := c.view(ctx, func(b *bolt.Bucket) error {
		for ; i < len(c.keys) && strings.HasPrefix(c.keys[i], prefix); i++ {
			if len(kvs)%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			var kv mvccpb.KeyValue
			if err := kv.Unmarshal(b.Get([]byte(c.at[c.keys[i]]))); err != nil {
				return fmt.Errorf("key %q: %w: %w", c.keys[i], ErrCorrupt, err)
			}
			kvs = append(kvs, KV{
				Key: c.keys[i], Value: notNil(kv.Value),
				CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: kv.Lease,
			})
		}
		return nil
	})
	return kvs, c.newest, err
}

func (c *snapshotCatalog) Txn(context.Context, Guard, map[string][]byte, []string) (Revision, error) {
	return 0, fmt.Errorf("write to snapshot %s: %w", c.path, ErrReadOnly)
}
