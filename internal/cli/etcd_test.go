package cli

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// withContext is a Factory whose context is an etcd with credentials.
func withContext(t *testing.T) (*Factory, *config.Config) {
	t.Helper()
	dir := t.TempDir()
	file := &config.File{Current: "c", Contexts: map[string]config.Context{"c": {
		"etcd": "https://a:2379,b:2379", "etcd-user": "root", "etcd-password-file": "/p", "etcd-tls-ca": "/ca", "etcd-root": "r/meta"}}}
	require.NoError(t, file.Write(dir+"/walctl/config.yaml"))
	f := &Factory{Getenv: func(k string) string { return map[string]string{"XDG_CONFIG_HOME": dir}[k] }}
	f.Bind(&cobra.Command{})
	c, err := f.Config()
	require.NoError(t, err)
	return f, c
}

// An etcd that is not the context's gets none of its credentials.
func TestAnotherEtcdGetsNoCredentials(t *testing.T) {
	f, c := withContext(t)
	for _, own := range [][]string{{"http://a:2379"}, {"https://b:2379", "https://a:2379"}} {
		got, err := f.etcdSettings(c, own)
		require.NoError(t, err)
		require.Equal(t, "root", got.EtcdUser)
	}
	for _, other := range [][]string{{"http://z:2379"}, {"http://a:2379", "http://z:2379"}, {"http://a:2380"}} {
		got, err := f.etcdSettings(c, other)
		require.NoError(t, err)
		require.Empty(t, got.EtcdUser, "%v", other)
		require.False(t, got.EtcdPassword.Set(), "%v", other)
		require.Empty(t, got.EtcdTLSCA, "%v", other)
	}
}

// An etcd behind TLS is spelled so that nothing goes over a plain connection.
func TestEtcdSpec(t *testing.T) {
	_, c := withContext(t)
	require.Equal(t, "etcds://a:2379,b:2379/r/meta", etcdSpec(c))
	require.Equal(t, "etcds://a:1/r", etcdSpec(&config.Config{Etcd: []string{"a:1"}, EtcdRoot: "r", EtcdTLSCA: "/ca"}))
	require.Equal(t, "etcd://a:1/r", etcdSpec(&config.Config{Etcd: []string{"http://a:1"}, EtcdRoot: "r"}))
}

// What etcd's ways to be unreachable want is named with its flag.
func TestEtcdHelp(t *testing.T) {
	for cause, flag := range map[catalog.Cause]string{catalog.CauseUntrusted: "--etcd-tls-ca", catalog.CauseClientCert: "--etcd-tls-cert",
		catalog.CauseNoTLS: "without https://", catalog.CauseWantsTLS: "https://HOST:PORT", catalog.CauseRefused: "--catalog"} {
		require.ErrorContains(t, etcdHelp(&catalog.UnreachableError{Endpoint: "h:1", Cause: cause}, &config.Config{}, false), flag)
	}
	require.NoError(t, etcdHelp(nil, nil, false))
	other := errors.New("something else")
	require.Equal(t, other, etcdHelp(other, &config.Config{}, false))
}
