package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/recovery/catalog"
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
	if c.EtcdTLS() {
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

// etcdHelp adds to an error of etcd what to give it, where credentials or
// certificates are at fault. write tells which credentials were used.
func etcdHelp(err error, c *config.Config, write bool) error {
	if err == nil {
		return nil
	}
	user, password, variable := "--etcd-user", "--etcd-password-file", "WALCTL_ETCD_PASSWORD"
	name := c.EtcdUser
	if write && c.EtcdWriteUser != "" {
		user, password, variable, name = "--etcd-write-user", "--etcd-write-password-file", "WALCTL_ETCD_WRITE_PASSWORD", c.EtcdWriteUser
	}
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("%w: etcd does not accept user %q with this password: check %s, and %s or %s", err, name, user, password, variable)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: etcd wants a user: %s, and %s or %s", err, user, password, variable)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: etcd user %q may not; is --etcd-root %s right, or has another user the right", err, name, c.EtcdRoot)
	}
	var lost *catalog.UnreachableError
	if !errors.As(err, &lost) {
		return err
	}
	switch lost.Cause {
	case catalog.CauseUntrusted:
		return fmt.Errorf("%w; give the authority that signed etcd's certificate: --etcd-tls-ca FILE", err)
	case catalog.CauseClientCert:
		return fmt.Errorf("%w: give one with --etcd-tls-cert and --etcd-tls-key", err)
	case catalog.CauseNoTLS:
		return fmt.Errorf("%w: write --etcd HOST:PORT without https:// and without --etcd-tls-ca", err)
	case catalog.CauseWantsTLS:
		return fmt.Errorf("%w: write https://HOST:PORT, and --etcd-tls-ca FILE", err)
	}
	return fmt.Errorf("%w; check the address in --etcd or --catalog, and whether etcd runs", err)
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
	if err := catalog.Reach(ctx, c.Etcd, cfg.TLS, etcdDialTimeout-time.Second/2); err != nil {
		return nil, etcdHelp(err, c, false)
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, etcdHelp(catalog.EtcdError(ctx, "log in to etcd at "+strings.Join(c.Etcd, ","), err), c, false)
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
			return nil, etcdHelp(catalog.EtcdError(ctx, "list the keys of etcd at "+strings.Join(c.Etcd, ","), err), c, false)
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
