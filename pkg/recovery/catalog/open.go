package catalog

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// DefaultRoot is where Milvus keeps its metadata unless told otherwise.
const DefaultRoot = "by-dev/meta"

// Options say how to open a catalog. The zero value reads only.
type Options struct {
	// Write allows Txn. Without it a catalog cannot be changed by any mistake.
	Write bool
	// Root is used where the spec names none; empty = DefaultRoot. For a
	// snapshot, empty = the one root found in it.
	Root string
	// TLS, if set, is used for etcd.
	TLS *tls.Config
	// Username and Password are etcd's. They appear in no error.
	Username, Password string
	// Timeout bounds one request to etcd, or the wait for a file's lock; 0 = 10 s.
	Timeout time.Duration
	// Limits of etcd where it was configured away from its defaults; 0 = 128
	// operations (--max-txn-ops) and 1 MiB (--max-request-bytes is 1.5 MiB).
	Limits Limits
}

func (o Options) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return 10 * time.Second
}

// Spec is a --catalog value taken apart.
type Spec struct {
	Kind      string   // etcd, file, kvjson or snapshot
	Endpoints []string // of etcd, with scheme
	Path      string   // of a file
	Root      string   // of etcd, where the spec names one
}

// ParseSpec reads a --catalog value:
//
//	etcd://host:2379[,host:2379…][/by-dev/meta]   etcds:// for TLS
//	file:PATH     a bbolt file
//	kvjson:PATH   a JSON object, key → base64
//	snapshot:PATH an etcd snapshot, read only
func ParseSpec(spec string) (Spec, error) {
	kind, rest, ok := strings.Cut(spec, ":")
	if !ok || rest == "" {
		return Spec{}, fmt.Errorf("catalog %q: want etcd://HOST:PORT/ROOT, file:PATH, kvjson:PATH or snapshot:PATH", redact(spec))
	}
	switch kind {
	case "file", "kvjson", "snapshot":
		return Spec{Kind: kind, Path: rest}, nil
	case "etcd", "etcds":
		return parseEtcdSpec(kind, rest)
	}
	return Spec{}, fmt.Errorf("catalog %q: %q is no kind of catalog; want etcd, file, kvjson or snapshot", redact(spec), kind)
}

func parseEtcdSpec(kind, rest string) (Spec, error) {
	rest, ok := strings.CutPrefix(rest, "//")
	hosts, root, _ := strings.Cut(rest, "/")
	if !ok || hosts == "" {
		return Spec{}, fmt.Errorf("catalog: %s wants %s://HOST:PORT[/ROOT]", kind, kind)
	}
	if strings.Contains(hosts, "@") {
		return Spec{}, fmt.Errorf("catalog: credentials do not belong in an address; give them as a file or in the environment")
	}
	scheme := "http://"
	if kind == "etcds" {
		scheme = "https://"
	}
	s := Spec{Kind: "etcd", Root: strings.Trim(root, "/")}
	for h := range strings.SplitSeq(hosts, ",") {
		if _, err := url.Parse(scheme + h); err != nil || h == "" {
			return Spec{}, fmt.Errorf("catalog: %q is no host:port of etcd", h)
		}
		s.Endpoints = append(s.Endpoints, scheme+h)
	}
	return s, nil
}

// redact drops what stands before an @, where people put passwords.
func redact(spec string) string {
	i := strings.LastIndexByte(spec, '@')
	if i < 0 {
		return spec
	}
	scheme, _, ok := strings.Cut(spec, "://")
	if !ok {
		return "…" + spec[i:]
	}
	return scheme + "://…" + spec[i:]
}

// Open opens the catalog spec names (ParseSpec). Close it.
func Open(ctx context.Context, spec string, opts Options) (Catalog, error) {
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case "etcd":
		return openEtcd(ctx, s, opts)
	case "file":
		return openFile(ctx, s.Path, opts)
	case "kvjson":
		return openKVJSON(ctx, s.Path, opts)
	default:
		return openSnapshot(ctx, s.Path, opts)
	}
}
