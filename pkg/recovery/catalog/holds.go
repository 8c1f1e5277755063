package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// milvusPrefixes are what a Milvus keeps below its metadata root.
var milvusPrefixes = [...]string{"streamingnode-meta/", streamingCoordRoot, "datacoord-meta/", rootCoordPrefix, SessionPrefix}

// NoMilvusError says that nothing below a catalog's root is of a Milvus, and where
// something is. It is an ErrNotFound.
type NoMilvusError struct {
	Root  string
	Empty bool     // there is no key at all below the root
	Roots []string // those that do hold Milvus metadata
	Part  bool     // Roots is what was found before time was up
}

// Error implements error.
func (e *NoMilvusError) Error() string {
	var b strings.Builder
	if e.Empty {
		fmt.Fprintf(&b, "there is no key below the metadata root %q", e.Root)
	} else {
		fmt.Fprintf(&b, "no key below the metadata root %q is one of a Milvus", e.Root)
	}
	switch {
	case len(e.Roots) > 0:
		b.WriteString("; Milvus metadata lies below " + strings.Join(e.Roots, ", "))
	case !e.Part:
		b.WriteString("; nor does any other root there hold Milvus metadata")
	}
	return b.String()
}

// Is makes it an ErrNotFound.
func (e *NoMilvusError) Is(target error) bool { return target == ErrNotFound }

// prober is a catalog that can be asked for one key without the others, and for
// keys outside its root.
type prober interface {
	any(ctx context.Context, prefix string) (bool, error)
	roots(ctx context.Context) (found []string, all bool, err error)
}

// CheckMilvus returns a *NoMilvusError where nothing below the catalog's root is of
// a Milvus: a mistyped root looks like a cluster without a single WAL.
func CheckMilvus(ctx context.Context, c Catalog) error {
	p, remote := c.(prober)
	if !remote {
		return checkLocal(ctx, c)
	}
	for _, prefix := range milvusPrefixes {
		if found, err := p.any(ctx, prefix); found || err != nil {
			return err
		}
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return err
	}
	some, err := p.any(ctx, "")
	if err != nil {
		return err
	}
	e := &NoMilvusError{Root: id.Root, Empty: !some}
	roots, all, err := p.roots(ctx)
	if err != nil && ctx.Err() != nil {
		return err
	}
	e.Roots, e.Part = roots, !all || err != nil // a user who may read one root only cannot list others
	return e
}

// checkLocal is CheckMilvus for a file, whose keys are read at once.
func checkLocal(ctx context.Context, c Catalog) error {
	kvs, _, err := c.Range(ctx, "")
	if err != nil {
		return err
	}
	roots := map[string]bool{}
	for _, kv := range kvs {
		for _, prefix := range milvusPrefixes {
			if strings.HasPrefix(kv.Key, prefix) {
				return nil
			}
		}
		if r := rootOf(kv.Key); r != "" {
			roots[r] = true
		}
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return err
	}
	e := &NoMilvusError{Root: id.Root, Empty: len(kvs) == 0}
	for r := range roots {
		e.Roots = append(e.Roots, r)
	}
	slices.Sort(e.Roots)
	return e
}

// rootOf is the metadata root in an absolute key that Milvus wrote, "" in others.
func rootOf(key string) string {
	for _, p := range milvusPrefixes {
		if i := strings.Index(key, "/"+p); i > 0 {
			return strings.Trim(key[:i], "/")
		}
	}
	return ""
}

func (c *etcdCatalog) any(ctx context.Context, prefix string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout())
	defer cancel()
	from := c.root + prefix
	r, err := c.client.Get(ctx, from, clientv3.WithRange(prefixEnd(from)), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	if err != nil {
		return false, c.failed(ctx, "read "+from+" from etcd", err)
	}
	return len(r.Kvs) > 0, nil
}

// The bounds of a search for roots.
const (
	rootsPage = 1000
	rootsTime = 3 * time.Second
)

// roots walks the keys of the whole etcd, without values, past every root found.
func (c *etcdCatalog) roots(ctx context.Context) ([]string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, rootsTime)
	defer cancel()
	var out []string
	for from := "\x00"; ; {
		r, err := c.client.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithKeysOnly(), clientv3.WithLimit(rootsPage))
		if err != nil {
			return out, false, err
		}
		next := ""
		for _, kv := range r.Kvs {
			if root := rootOf(string(kv.Key)); root != "" {
				out = append(out, root)
				at := strings.Index(string(kv.Key), root)
				next = prefixEnd(string(kv.Key)[:at+len(root)] + "/")
				break
			}
		}
		if next == "" {
			if !r.More || len(r.Kvs) == 0 {
				return slices.Compact(out), true, nil
			}
			next = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		}
		from = next
	}
}
