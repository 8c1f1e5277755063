package pulsar

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// jwt is a token with these claims; its signature is of no matter here.
func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// A token that is refused is told by what is wrong with it, hostile ones included.
func TestRefusedToken(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for token, want := range map[string]string{
		"":                              "WALCTL_PULSAR_TOKEN",
		jwt(`{"exp":1700000000}`):       "expired at 2023-11-14T22:13:20Z",
		jwt(`{"exp":1.7e9}`):            "expired at 2023-11-14T22:13:20Z",
		jwt(`{"exp":1900000000}`):       "does not accept",
		jwt(`{"exp":1e300}`):            "does not accept",
		jwt(`{"exp":-5}`):               "does not accept",
		jwt(`{"exp":"1700000000"}`):     "does not accept",
		jwt(`{"sub":"a"}`):              "does not accept",
		jwt(`[1`):                       "does not accept",
		"...":                           "does not accept",
		"a.!!.c":                        "does not accept",
		strings.Repeat("x", 1<<20):      "does not accept",
		jwt(`{"exp":1700000000}`) + ".": "does not accept",
	} {
		got := Config{Token: token}.refusedToken(now)
		if !strings.Contains(got, want) || token != "" && strings.Contains(got, token) {
			t.Errorf("%.40q: %s", token, got)
		}
	}
}

// What a broker says is told, but for the token it may repeat.
func TestHandshakeReason(t *testing.T) {
	const token = "s3cret.token.value"
	c := newCauses(Config{Token: token})
	if c.given() != nil {
		t.Error("an error was given before anything happened")
	}
	c.Warnf("something else: %s", token)
	select {
	case <-c.fatal:
		t.Fatal("an unrelated warning ends the tries")
	default:
	}
	c.WithFields(nil).Warnf(handshakeRefused+"'%s'", "no "+token+" here")
	c.WithError(errors.New("connection error")).Error()
	<-c.fatal
	err := c.given()
	if !errors.Is(err, source.ErrDenied) || !strings.Contains(err.Error(), "'no … here'") || strings.Contains(err.Error(), token) {
		t.Errorf("got %v", err)
	}
}

// A certificate that is not trusted ends the tries; a lost connection does not.
func TestUntrusted(t *testing.T) {
	for want, err := range map[string]error{
		"--pulsar-tls-ca FILE": fmt.Errorf("dial: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"another name":         &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}},
		"clock":                &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"does not speak TLS":   tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
		"":                     errors.New("connection reset by peer"),
	} {
		c := newCauses(Config{})
		c.WithError(err).Warn()
		given := c.given()
		if want == "" && given != nil || want != "" && (given == nil || !strings.Contains(given.Error(), want)) {
			t.Errorf("%v: got %v, want %q", err, given, want)
		}
	}
}

// The admin port's answers: 401 is about the token, 403 about the role; neither is
// taken for a closed port that --touch would be an answer to.
func TestAdminDenies(t *testing.T) {
	status := http.StatusUnauthorized
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	cfg := Config{ServiceURL: "pulsar://127.0.0.1:1", AdminURL: server.URL, Topic: "t", Token: "wrong"}
	_, err := Open(t.Context(), cfg)
	if !errors.Is(err, source.ErrDenied) || errors.Is(err, source.ErrRefused) {
		t.Errorf("401: got %v", err)
	}
	if _, err = ListTopics(t.Context(), cfg); !errors.Is(err, source.ErrDenied) {
		t.Errorf("401, listing: got %v", err)
	}
	status = http.StatusForbidden
	_, err = Open(t.Context(), cfg)
	if !errors.Is(err, source.ErrRefused) || !strings.Contains(err.Error(), "administrator of tenant public") {
		t.Errorf("403: got %v", err)
	}
}
