package pulsar

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// untrusted tells errors of TLS that no second try mends, and what would.
func (c Config) untrusted(err error) (hint string, ok bool) {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	err = foreignOf(err)
	switch {
	case errors.As(err, &record), err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the port does not speak TLS: check the port, or write the address without TLS", true
	case errors.As(err, &host):
		return "the certificate is for another name: use one of the names it lists as the address", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is out of its time: check this machine's clock, or have it renewed", true
	case errors.As(err, &authority), errors.As(err, &verify):
		if c.TLSTrustCerts == "" {
			return "give the authority that signed it: --pulsar-tls-ca FILE", true
		}
		return fmt.Sprintf("the authorities in %s did not sign it: give the right ones with --pulsar-tls-ca", c.TLSTrustCerts), true
	}
	return "", false
}

// refusedToken says what to do about a token that a broker does not accept.
func (c Config) refusedToken(now time.Time) string {
	token, err := c.token()
	switch {
	case err != nil:
		return err.Error()
	case token == "":
		return "it wants a token: --pulsar-token-file FILE or WALCTL_PULSAR_TOKEN"
	}
	if end := expiry(token); !end.IsZero() && end.Before(now) {
		return fmt.Sprintf("the token expired at %s: get a new one", end.UTC().Format(time.RFC3339))
	}
	return "it does not accept the token: is it of this cluster, and whole?"
}

// expiry reads when a JSON web token ends; zero where it does not say.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

// denied turns an admin answer that no second try changes into an error that
// says what to do; nil for any other.
func (c Config) denied(err error) error {
	var status *statusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized {
		return fmt.Errorf("%w by the admin port: %s (%w)", source.ErrDenied, c.refusedToken(time.Now()), status)
	}
	if _, ok := c.untrusted(err); ok {
		return c.reach(c.adminHost(), foreignOf(err))
	}
	return nil
}

// forbidden reports whether the admin port knows who asks and says no.
func forbidden(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden
}
