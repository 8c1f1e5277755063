package catalog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/walctl/walctl/internal/safefile"
)

// A catalog file is bbolt:
//
//	bucket "walctl-catalog"   format "1" · cluster-id hex · root · revision u64 BE
//	bucket "kv"               key ──► │create revision u64 BE│mod revision u64 BE│value…│
//
// Every transaction that writes takes the next revision, as in etcd. The file is
// opened for each operation and locked only so long, so that two walctl on one
// file meet in the guards, not in a wait.
const (
	fileFormat   = "1"
	fileRevBytes = 16
)

// bucket and key names of the file (wire format).
const (
	bucketAbout  = "walctl-catalog"
	bucketKV     = "kv"
	aboutFormat  = "format"
	aboutCluster = "cluster-id"
	aboutRoot    = "root"
	aboutRev     = "revision"
)

type fileCatalog struct {
	path string
	opts Options
}

func openFile(ctx context.Context, path string, opts Options) (Catalog, error) {
	c := &fileCatalog{path: path, opts: opts}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if opts.Write {
			return c, nil // the first transaction creates it
		}
		return nil, fmt.Errorf("open catalog file %s: %w", path, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog file: %w", err)
	}
	if _, err := c.Identity(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Limits are etcd's, so that a plan rehearsed on a file is cut into the same batches.
func (c *fileCatalog) Limits() Limits { return Limits{Ops: etcdMaxOps, Bytes: etcdMaxBytes} }

func (c *fileCatalog) Close() error { return nil }

func (c *fileCatalog) Load(ctx context.Context, pchannel string) (Metadata, Revision, error) {
	return load(ctx, c, pchannel)
}

func (c *fileCatalog) Identity(ctx context.Context) (Identity, error) {
	id := Identity{Kind: "file", Root: c.newRoot()}
	err := c.view(ctx, func(tx *bolt.Tx) error {
		about := tx.Bucket([]byte(bucketAbout))
		id.ClusterID, id.Root = string(about.Get([]byte(aboutCluster))), string(about.Get([]byte(aboutRoot)))
		return nil
	})
	return id, err
}

func (c *fileCatalog) newRoot() string {
	if r := strings.Trim(c.opts.Root, "/"); r != "" {
		return r
	}
	return DefaultRoot
}

func (c *fileCatalog) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	var kvs []KV
	var rev Revision
	err := c.view(ctx, func(tx *bolt.Tx) error {
		rev = Revision(fileRevision(tx))
		r := PrefixRange(prefix)
		cur := tx.Bucket([]byte(bucketKV)).Cursor()
		for k, v := cur.Seek([]byte(r.From)); k != nil && r.Contains(string(k)); k, v = cur.Next() {
			if len(v) < fileRevBytes {
				return fmt.Errorf("key %q: value of %d bytes is too short to be one: %w", k, len(v), ErrCorrupt)
			}
			kvs = append(kvs, fileKV(k, v))
			if len(kvs)%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	return kvs, rev, err
}

func fileKV(k, v []byte) KV {
	return KV{
		Key:            string(k),
		Value:          append([]byte{}, v[fileRevBytes:]...),
		CreateRevision: int64(binary.BigEndian.Uint64(v)),
		ModRevision:    int64(binary.BigEndian.Uint64(v[8:])),
	}
}

func fileRevision(tx *bolt.Tx) uint64 {
	b := tx.Bucket([]byte(bucketAbout)).Get([]byte(aboutRev))
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (c *fileCatalog) Txn(ctx context.Context, g Guard, puts map[string][]byte, deletes []string) (Revision, error) {
	if !c.opts.Write {
		return 0, fmt.Errorf("write to catalog file %s: %w", c.path, ErrReadOnly)
	}
	if err := c.Limits().checkSize(g, puts, deletes); err != nil {
		return 0, err
	}
	var rev uint64
	err := c.update(ctx, func(tx *bolt.Tx) error {
		kv := tx.Bucket([]byte(bucketKV))
		if err := checkGuard(g, func(k string) int64 { return fileModRevision(kv, k) }, func(r KeyRange, f func(string) bool) {
			cur := kv.Cursor()
			for k, _ := cur.Seek([]byte(r.From)); k != nil && r.Contains(string(k)); k, _ = cur.Next() {
				if !f(string(k)) {
					return
				}
			}
		}); err != nil {
			return err
		}
		rev = fileRevision(tx) + 1
		return fileWrite(tx, rev, puts, deletes)
	})
	return Revision(rev), err
}

func fileModRevision(kv *bolt.Bucket, key string) int64 {
	if v := kv.Get([]byte(key)); len(v) >= fileRevBytes {
		return int64(binary.BigEndian.Uint64(v[8:]))
	}
	return 0
}

func fileWrite(tx *bolt.Tx, rev uint64, puts map[string][]byte, deletes []string) error {
	kv := tx.Bucket([]byte(bucketKV))
	for k, v := range puts {
		create := rev
		if old := kv.Get([]byte(k)); len(old) >= fileRevBytes {
			create = binary.BigEndian.Uint64(old)
		}
		b := make([]byte, fileRevBytes, fileRevBytes+len(v))
		binary.BigEndian.PutUint64(b, create)
		binary.BigEndian.PutUint64(b[8:], rev)
		if err := kv.Put([]byte(k), append(b, v...)); err != nil {
			return fmt.Errorf("put %s: %w", k, err)
		}
	}
	for _, k := range deletes {
		if err := kv.Delete([]byte(k)); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
	}
	return tx.Bucket([]byte(bucketAbout)).Put([]byte(aboutRev), binary.BigEndian.AppendUint64(nil, rev))
}

// view opens the file for reading, checks that it is a catalog, and runs f. A
// file that does not exist yet, or in which a first transaction was refused, is
// an empty catalog.
func (c *fileCatalog) view(ctx context.Context, f func(*bolt.Tx) error) error {
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) && c.opts.Write {
		return nil
	}
	return withBolt(ctx, c.path, c.opts.timeout(), true, func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			if k, _ := tx.Cursor().First(); k == nil {
				return nil
			}
			if err := checkFormat(tx); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

func (c *fileCatalog) update(ctx context.Context, f func(*bolt.Tx) error) error {
	return withBolt(ctx, c.path, c.opts.timeout(), false, func(db *bolt.DB) error {
		return db.Update(func(tx *bolt.Tx) error {
			if tx.Bucket([]byte(bucketAbout)) == nil {
				if err := c.create(tx); err != nil {
					return err
				}
			}
			if err := checkFormat(tx); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

func (c *fileCatalog) create(tx *bolt.Tx) error {
	if k, _ := tx.Cursor().First(); k != nil {
		return fmt.Errorf("a bbolt file of something else: %w", ErrCorrupt)
	}
	about, err := tx.CreateBucket([]byte(bucketAbout))
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket([]byte(bucketKV)); err != nil {
		return err
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	for k, v := range map[string]string{aboutFormat: fileFormat, aboutCluster: hex.EncodeToString(id), aboutRoot: c.newRoot()} {
		if err := about.Put([]byte(k), []byte(v)); err != nil {
			return err
		}
	}
	return nil
}

func checkFormat(tx *bolt.Tx) error {
	about := tx.Bucket([]byte(bucketAbout))
	if about == nil || tx.Bucket([]byte(bucketKV)) == nil {
		return fmt.Errorf("a bbolt file, but no catalog of walctl: %w", ErrCorrupt)
	}
	if f := string(about.Get([]byte(aboutFormat))); f != fileFormat {
		return fmt.Errorf("catalog format %q, this walctl reads %q: %w", f, fileFormat, ErrCorrupt)
	}
	return nil
}

// withBolt opens a bbolt file, runs f and closes it. bbolt trusts what it maps:
// a damaged page makes it panic or fault, which comes back as ErrCorrupt.
func withBolt(ctx context.Context, path string, timeout time.Duration, readOnly bool, f func(*bolt.DB) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(d)), time.Millisecond)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read %s: %w: %v", path, ErrCorrupt, r)
		}
	}()
	db, err := openBolt(path, timeout, readOnly)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	if err := f(db); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// openBolt opens a file whose pages hang together. They are checked under the
// shared lock, before bbolt is allowed to follow them: it walks a ring of pages
// for ever.
func openBolt(path string, timeout time.Duration, readOnly bool) (*bolt.DB, error) {
	if info, err := os.Stat(path); !readOnly && (errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0) {
		return boltOpen(path, timeout, false)
	}
	db, err := boltOpen(path, timeout, true)
	if err != nil {
		return nil, err
	}
	if err := checkPages(path); err != nil {
		_ = db.Close() // the damage is the error to tell
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if readOnly {
		return db, nil
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return boltOpen(path, timeout, false)
}

func boltOpen(path string, timeout time.Duration, readOnly bool) (*bolt.DB, error) {
	if err := safefile.Check(path); errors.Is(err, safefile.ErrNotRegular) {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, ReadOnly: readOnly})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolt.ErrTimeout):
		return nil, fmt.Errorf("open %s: another process holds it: %w", path, ErrUnavailable)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open %s: %w", path, ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open %s: %w", path, ErrDenied)
	}
	return nil, fmt.Errorf("open %s: %w: %w", path, ErrCorrupt, err)
}
