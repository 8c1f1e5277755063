package cli

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/walreader/source"
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

// A certificate nobody trusts is told at once; what else is wrong is the client's to tell.
func TestProbeTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	secure := strings.TrimPrefix(server.URL, "https://")
	err := probeTLS(t.Context(), []string{secure}, &tls.Config{})
	require.ErrorIs(t, err, source.ErrUnavailable)
	require.ErrorContains(t, etcdHelp(err, &config.Config{}, false), "--etcd-tls-ca")
	trusting := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	require.NoError(t, probeTLS(t.Context(), []string{"http://" + secure}, trusting))

	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = c.Close()
		}
	}()
	err = probeTLS(t.Context(), []string{plain.Addr().String()}, &tls.Config{})
	require.ErrorContains(t, etcdHelp(err, &config.Config{}, false), "does not speak TLS")
	require.NoError(t, plain.Close())
	require.NoError(t, probeTLS(t.Context(), []string{plain.Addr().String()}, &tls.Config{}), "not there: the client tells")
	require.NoError(t, probeTLS(t.Context(), []string{"nowhere"}, nil))
	require.NoError(t, etcdHelp(nil, nil, false))
	other := errors.New("something else")
	require.Equal(t, other, etcdHelp(other, &config.Config{}, false))
}
