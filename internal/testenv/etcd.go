package testenv

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// LaunchEtcd starts an etcd with its data under dir on a free loopback port and
// waits until it serves. The caller calls stop.
func LaunchEtcd(ctx context.Context, dir string) (endpoint string, stop func(), err error) {
	return launchEtcd(ctx, dir, func(*embed.Config) {})
}

func launchEtcd(ctx context.Context, dir string, change func(*embed.Config)) (endpoint string, stop func(), err error) {
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.InitialClusterToken = dir // gives each a cluster id of its own
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.LogLevel = "error"
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{local}, []url.URL{local}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 10, 100
	change(cfg)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return "", nil, fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e.Clients[0].Addr().String(), e.Close, nil
	case err = <-e.Err():
	case <-time.After(30 * time.Second):
		err = fmt.Errorf("not ready within 30 s")
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.Close()
	return "", nil, fmt.Errorf("start etcd: %w", err)
}

// Etcd returns a client of a real etcd and its endpoints. Where
// WALCTL_TEST_ETCD names one, tests share it: keep keys under a root of the
// test's own.
func Etcd(t testing.TB) (*clientv3.Client, []string) {
	t.Helper()
	endpoints := strings.Split(os.Getenv("WALCTL_TEST_ETCD"), ",")
	if endpoints[0] == "" {
		endpoint, stop, err := LaunchEtcd(t.Context(), t.TempDir())
		if err != nil {
			Missing(t, "etcd", err)
		}
		t.Cleanup(stop)
		endpoints = []string{endpoint}
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		Missing(t, "etcd", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli, endpoints
}

// PrivateEtcd starts an etcd of the test's own even where one is shared, for
// tests that need the whole keyspace. It returns its endpoint and how to stop it early.
func PrivateEtcd(t testing.TB) (endpoint string, stop func()) {
	t.Helper()
	endpoint, stop, err := LaunchEtcd(t.Context(), t.TempDir())
	if err != nil {
		Missing(t, "etcd", err)
	}
	t.Cleanup(stop)
	return endpoint, stop
}
