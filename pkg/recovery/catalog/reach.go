package catalog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Cause is why a connection to etcd did not come about or did not hold.
type Cause uint8

// The causes. CauseUnknown is one the network did not tell.
const (
	CauseUnknown    Cause = iota
	CauseName             // the name does not resolve
	CauseRefused          // nothing listens there
	CauseRoute            // there is no way to the host
	CauseReset            // the connection was cut
	CauseSilent           // connected, or not even that, and no answer came in time
	CauseForeign          // something else answers there
	CauseWantsTLS         // it speaks TLS, we did not
	CauseNoTLS            // we speak TLS, it does not
	CauseUntrusted        // its certificate is not trusted
	CauseClientCert       // it wants a client certificate
	CauseTLS              // TLS failed in another way
)

// UnreachableError is an etcd that could not be reached, in the words of whoever
// looks at a screen. It is an ErrUnavailable.
type UnreachableError struct {
	Endpoint string
	Cause    Cause
	Detail   string
	err      error
}

// Error implements error.
func (e *UnreachableError) Error() string { return "etcd at " + e.Endpoint + ": " + e.Detail }

// Is makes it an ErrUnavailable.
func (e *UnreachableError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap returns what the network said.
func (e *UnreachableError) Unwrap() error { return e.err }

// The bytes an HTTP/2 client begins with, and an empty frame of settings. Every
// server that speaks gRPC answers with its own settings at once.
const (
	http2Hello    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	http2Frame    = 9
	http2Settings = 4
)

// Reach asks whether an etcd can answer at one of the endpoints within the timeout;
// nil, or an *UnreachableError that names the cause.
func Reach(ctx context.Context, endpoints []string, t *tls.Config, timeout time.Duration) error {
	err := reach(ctx, endpoints, t, timeout)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// reach asks every endpoint at once whether something that speaks gRPC answers
// there, for etcd's client waits in silence where nothing does and keeps the cause
// to itself. nil as soon as one does; else what the first endpoint met.
func reach(ctx context.Context, endpoints []string, t *tls.Config, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		i   int
		err error
	}
	answers := make(chan answer, len(endpoints))
	for i, e := range endpoints {
		go func() { answers <- answer{i, hello(ctx, e, t, timeout)} }() // ends with ctx
	}
	errs := make([]error, len(endpoints))
	for range endpoints {
		a := <-answers
		if a.err == nil {
			return nil
		}
		errs[a.i] = a.err
	}
	return errs[0]
}

func hello(ctx context.Context, endpoint string, t *tls.Config, timeout time.Duration) error {
	_, address, ok := strings.Cut(endpoint, "://")
	if !ok {
		address = endpoint
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "2379")
	}
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		cause, detail := causeOf(err, t != nil, timeout)
		if cause == CauseReset && t == nil && speaksTLS(ctx, address) {
			cause, detail = CauseWantsTLS, "it speaks TLS, and was asked without"
		}
		return &UnreachableError{Endpoint: address, Cause: cause, Detail: detail, err: err}
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if t != nil {
		cfg := t.Clone()
		cfg.NextProtos = []string{"h2", "http/1.1"} // the second only to be told who else is there
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(address)
		}
		c = tls.Client(c, cfg)
	}
	if _, err := io.WriteString(c, http2Hello); err != nil {
		return fail(err)
	}
	var b [http2Frame]byte
	n, err := io.ReadFull(c, b[:])
	if n >= 5 && b[3] == http2Settings && b[0] == 0 {
		return nil
	}
	if n > 0 {
		return fail(foreign(b[:n]))
	}
	return fail(err)
}

// speaksTLS reports whether a port answers a TLS handshake. Nothing is sent over it.
func speaksTLS(ctx context.Context, address string) bool {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	var remote *net.OpError
	err = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // whom it belongs to does not matter here
	return err == nil || errors.As(err, &remote) && remote.Op == "remote error"
}

// foreignError is an answer that is none of HTTP/2.
type foreignError struct{ first []byte }

func foreign(b []byte) error { return &foreignError{b} }

// Error implements error.
func (e *foreignError) Error() string { return fmt.Sprintf("an answer that begins with %q", e.first) }

// causeOf reads what the network said. None of its own words are passed on: they
// are a library's, and name addresses that say nothing.
func causeOf(err error, withTLS bool, timeout time.Duration) (Cause, string) {
	var (
		dns      *net.DNSError
		other    *foreignError
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		remote   *net.OpError
		deadline interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && !dns.IsTimeout:
		return CauseName, "the name does not resolve (DNS)"
	case errors.As(err, &dns):
		return CauseName, "the name server does not answer (DNS)"
	case errors.As(err, &other):
		return foreignWords(other.first)
	case errors.As(err, &verify):
		return CauseUntrusted, "its TLS certificate is not trusted: " + certificateWords(verify.Err)
	case errors.As(err, &record):
		return CauseNoTLS, "it does not speak TLS"
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert; crypto/tls keeps its type to itself
		if strings.Contains(remote.Err.Error(), "certificate") {
			return CauseClientCert, "TLS: it wants a client certificate that it trusts"
		}
		return CauseTLS, "it ends the TLS handshake"
	case errors.Is(err, syscall.ECONNREFUSED):
		return CauseRefused, "connection refused: nothing listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return CauseRoute, "there is no route to the host"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &deadline) && deadline.Timeout():
		return CauseSilent, fmt.Sprintf("no answer within %s", timeout)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if withTLS {
			return CauseReset, "it closes the connection during the TLS handshake"
		}
		return CauseReset, "it closes the connection without an answer"
	case withTLS:
		return CauseTLS, "the TLS handshake fails"
	}
	return CauseUnknown, "the connection fails"
}

// foreignWords guess who answers.
func foreignWords(first []byte) (Cause, string) {
	switch {
	case first[0] == 0x15 && len(first) > 1 && first[1] == 3:
		return CauseWantsTLS, "it speaks TLS, and was asked without"
	case strings.HasPrefix(string(first), "HTTP/"):
		return CauseForeign, "an HTTP server answers there, no etcd"
	}
	return CauseForeign, "what answers there is no etcd"
}

func certificateWords(err error) string {
	var (
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &unknown):
		return "it is signed by an authority that is not known here"
	case errors.As(err, &name):
		return fmt.Sprintf("it is not made out to %s", name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired, or is not valid yet"
	}
	return "it does not hold"
}
