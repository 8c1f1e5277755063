package testenv

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// EtcdUser is a user of a SecureEtcd and what it may do below a prefix.
type EtcdUser struct {
	Name, Password, Prefix string
	Write                  bool
}

// SecureEtcd starts an etcd that speaks TLS and knows these users. root's client
// is for setting up; the endpoint is host:port.
func SecureEtcd(t testing.TB, certs Certificates, users ...EtcdUser) (root *clientv3.Client, endpoint string) {
	t.Helper()
	endpoint, stop, err := launchEtcd(t.Context(), t.TempDir(), func(cfg *embed.Config) {
		local := url.URL{Scheme: "https", Host: "127.0.0.1:0"}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: certs.Cert, KeyFile: certs.Key}
		cfg.EnableGRPCGateway = false
	})
	if err != nil {
		Missing(t, "etcd", err)
	}
	t.Cleanup(stop)
	info := transport.TLSInfo{TrustedCAFile: certs.CA}
	cfg := clientv3.Config{Endpoints: []string{"https://" + endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()}
	if cfg.TLS, err = info.ClientConfig(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := enableAuth(ctx, cfg, users); err != nil {
		t.Fatal(err)
	}
	cfg.Username, cfg.Password = "root", "root"
	if root, err = clientv3.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, endpoint
}

func enableAuth(ctx context.Context, cfg clientv3.Config, users []EtcdUser) error {
	c, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err1 := c.UserAdd(ctx, "root", "root")
	_, err2 := c.UserGrantRole(ctx, "root", "root")
	errs := []error{err1, err2}
	for _, u := range users {
		kind := clientv3.PermissionType(clientv3.PermRead)
		if u.Write {
			kind = clientv3.PermissionType(clientv3.PermReadWrite)
		}
		_, err1 := c.RoleAdd(ctx, u.Name)
		_, err2 := c.RoleGrantPermission(ctx, u.Name, u.Prefix, clientv3.GetPrefixRangeEnd(u.Prefix), kind)
		_, err3 := c.UserAdd(ctx, u.Name, u.Password)
		_, err4 := c.UserGrantRole(ctx, u.Name, u.Name)
		errs = append(errs, err1, err2, err3, err4)
	}
	_, err = c.AuthEnable(ctx)
	return errors.Join(append(errs, err)...)
}
