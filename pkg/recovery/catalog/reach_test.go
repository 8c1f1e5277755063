package catalog

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listen serves each connection as a broken peer would, and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func quietTLS(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// Each way in which there is no etcd has its cause, and no word of a library.
func TestReachNamesTheCause(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secure := quietTLS(t)
	trusting := secure.Client().Transport.(*http.Transport).TLSClientConfig
	wantsCert := httptest.NewUnstartedServer(http.NotFoundHandler())
	wantsCert.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	wantsCert.Config.ErrorLog = log.New(io.Discard, "", 0)
	wantsCert.StartTLS()
	t.Cleanup(wantsCert.Close)
	host := func(url string) string { return url[strings.Index(url, "://")+3:] }
	plain := (*tls.Config)(nil)

	for name, c := range map[string]struct {
		address string
		tls     *tls.Config
		want    Cause
		says    string
	}{
		"nothing listens":     {closed.Addr().String(), plain, CauseRefused, "connection refused"},
		"hangs":               {listen(t, func(net.Conn) {}), plain, CauseSilent, "no answer within"},
		"hangs, with TLS":     {listen(t, func(net.Conn) {}), &tls.Config{}, CauseSilent, "no answer within"},
		"closes":              {listen(t, func(c net.Conn) { _ = c.Close() }), plain, CauseReset, "closes the connection"},
		"resets":              {listen(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }), plain, CauseReset, "closes the connection"},
		"closes, with TLS":    {listen(t, func(c net.Conn) { _ = c.Close() }), &tls.Config{}, CauseReset, "TLS handshake"},
		"half open":           {listen(t, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }), plain, CauseReset, "closes the connection"},
		"garbage":             {listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "+PONG\r\n") }), plain, CauseForeign, "no etcd"},
		"garbage, with TLS":   {listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "+PONG\r\n") }), &tls.Config{}, CauseNoTLS, "does not speak TLS"},
		"an HTTP server":      {host(web.URL), plain, CauseForeign, "HTTP server"},
		"TLS to a plain port": {host(web.URL), &tls.Config{}, CauseNoTLS, "does not speak TLS"},
		"plain to a TLS port": {host(secure.URL), plain, CauseWantsTLS, "it speaks TLS"},
		"a stranger's TLS":    {host(secure.URL), &tls.Config{}, CauseUntrusted, "authority that is not known here"},
		"another name":        {host(secure.URL), &tls.Config{RootCAs: trusting.RootCAs, ServerName: "elsewhere"}, CauseUntrusted, "not made out to elsewhere"},
		"wants a certificate": {host(wantsCert.URL), &tls.Config{InsecureSkipVerify: true}, CauseClientCert, "client certificate"}, //nolint:gosec // a double
		"a name that is not":  {"no-such-host.invalid:2379", plain, CauseName, "DNS"},
		"a web server's TLS":  {host(secure.URL), trusting, CauseForeign, "no etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Reach(t.Context(), []string{"http://" + c.address}, c.tls, time.Second)
			var lost *UnreachableError
			require.ErrorAs(t, err, &lost)
			require.Equal(t, c.want, lost.Cause, err.Error())
			require.ErrorContains(t, err, c.says)
			require.ErrorIs(t, err, ErrUnavailable)
			for _, word := range []string{"rpc", "grpc", "dial", "tcp", "EOF", "i/o timeout", "context deadline", "x509", "tls:"} {
				require.NotContains(t, err.Error(), word)
			}
		})
	}
}

// One endpoint that answers is enough; where none does the first one's cause counts.
func TestReachOneOfSeveral(t *testing.T) {
	good := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")) })
	hangs := listen(t, func(net.Conn) {})
	bad := listen(t, func(c net.Conn) { _ = c.Close() })
	require.NoError(t, Reach(t.Context(), []string{"http://" + hangs, "http://" + bad, good}, nil, time.Minute))
	err := Reach(t.Context(), []string{bad, hangs}, nil, 300*time.Millisecond)
	require.ErrorContains(t, err, bad)
}
