package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// etcdDialTimeout bounds the first answer of an etcd, which else looks like a hang.
const etcdDialTimeout = 5 * time.Second

// EtcdConfig is how to reach the context's etcd: with the reading credentials,
// or with those for writing where there are such.
func EtcdConfig(c *config.Config, write bool) (clientv3.Config, error) {
	user, password := c.EtcdUser, c.EtcdPassword
	if write && c.EtcdWriteUser != "" {
		user, password = c.EtcdWriteUser, c.EtcdWritePassword
	}
	out := clientv3.Config{Endpoints: c.Etcd, DialTimeout: etcdDialTimeout, Logger: zap.NewNop()}
	if user != "" {
		secret, err := password.Read()
		if err != nil {
			return out, fmt.Errorf("etcd user %s: %w", user, err)
		}
		out.Username, out.Password = user, secret
	}
	secure := slices.ContainsFunc(c.Etcd, func(e string) bool { return strings.HasPrefix(e, "https://") })
	if secure || c.EtcdTLSCA != "" || c.EtcdTLSCert != "" {
		info := transport.TLSInfo{CertFile: c.EtcdTLSCert, KeyFile: c.EtcdTLSKey, TrustedCAFile: c.EtcdTLSCA}
		t, err := info.ClientConfig()
		if err != nil {
			return out, fmt.Errorf("TLS for etcd: %w", err)
		}
		t.MinVersion = tls.VersionTLS12
		out.TLS = t
	}
	return out, nil
}

// Root is a metadata root found in an etcd.
type Root struct {
	Root      string `json:"root"` // as --etcd-root takes it
	PChannels int    `json:"pchannels"`
	Sessions  int    `json:"sessions"`
	Keys      int    `json:"keys"`
}

// rootMarks are the first words below a metadata root.
var rootMarks = [...]string{"/streamingnode-meta/", "/streamingcoord-meta/", "/datacoord-meta/", "/root-coord/", "/session/"}

// discoverPage is how many keys one request asks for.
const discoverPage = 5000

// DiscoverRoots walks an etcd's keys, without their values, and lists the roots
// that hold Milvus metadata. It writes nothing.
func DiscoverRoots(ctx context.Context, c *config.Config) ([]Root, error) {
	cfg, err := EtcdConfig(c, false)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("reach etcd %s: %w", strings.Join(c.Etcd, ","), err)
	}
	defer client.Close()
	found := map[string]*Root{}
	key, opts := "\x00", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithKeysOnly(), clientv3.WithLimit(discoverPage)}
	for {
		page, cancel := context.WithTimeout(ctx, etcdDialTimeout)
		r, err := client.Get(page, key, opts...)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("%w: list the keys of etcd %s: %w", source.ErrUnavailable, strings.Join(c.Etcd, ","), err)
		}
		for _, kv := range r.Kvs {
			count(found, string(kv.Key))
		}
		if !r.More || len(r.Kvs) == 0 {
			break
		}
		key = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
	out := []Root{}
	for _, r := range found {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Root) int { return strings.Compare(a.Root, b.Root) })
	return out, nil
}

func count(found map[string]*Root, key string) {
	for _, mark := range rootMarks {
		i := strings.Index(key, mark)
		if i <= 0 {
			continue
		}
		root := key[:i]
		r := found[root]
		if r == nil {
			r = &Root{Root: root}
			found[root] = r
		}
		r.Keys++
		rest := key[i:]
		if name, ok := strings.CutPrefix(rest, "/streamingcoord-meta/pchannel/"); ok && name != "" {
			r.PChannels++
		}
		if mark == "/session/" {
			r.Sessions++
		}
		return
	}
}
