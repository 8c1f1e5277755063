package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// memoryCatalog is a read-only catalog over keys already read: an archive's
// dump, or a test's.
type memoryCatalog struct{ kvs []KV }

func memory(kvs []KV) *memoryCatalog {
	kvs = slices.Clone(kvs)
	slices.SortFunc(kvs, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	return &memoryCatalog{kvs: kvs}
}

// FromMap is a read-only Catalog over a map of keys relative to the root. Its
// revisions are checksums, as of a kvjson file.
func FromMap(kv map[string][]byte) Catalog {
	kvs := make([]KV, 0, len(kv))
	for k, v := range kv {
		sum := checksum(v)
		kvs = append(kvs, KV{Key: k, Value: notNil(v), CreateRevision: sum, ModRevision: sum})
	}
	return memory(kvs)
}

func (m *memoryCatalog) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	i, _ := slices.BinarySearchFunc(m.kvs, prefix, func(kv KV, p string) int { return strings.Compare(kv.Key, p) })
	j := i
	for j < len(m.kvs) && strings.HasPrefix(m.kvs[j].Key, prefix) {
		j++
	}
	return slices.Clone(m.kvs[i:j]), 0, nil
}

func (m *memoryCatalog) Load(ctx context.Context, pchannel string) (Metadata, Revision, error) {
	return load(ctx, m, pchannel)
}

func (m *memoryCatalog) Txn(context.Context, Guard, map[string][]byte, []string) (Revision, error) {
	return 0, fmt.Errorf("write to a catalog in memory: %w", ErrReadOnly)
}

func (m *memoryCatalog) Identity(context.Context) (Identity, error) {
	return Identity{Kind: "memory", Root: DefaultRoot}, nil
}

func (m *memoryCatalog) Limits() Limits { return Limits{} }

func (m *memoryCatalog) Close() error { return nil }
