package testenv

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Certificates is an authority of a test's own and a certificate it signed for
// 127.0.0.1, as PEM files.
type Certificates struct {
	CA, Cert, Key string
}

// NewCertificates makes an authority and a server's certificate under dir.
func NewCertificates(dir string) (Certificates, error) {
	c := Certificates{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "walctl test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "walctl test server"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(serverKey)
	return c, errors.Join(err,
		sign(c.CA, authority, authority, authorityKey.Public(), authorityKey),
		sign(c.Cert, server, authority, serverKey.Public(), authorityKey),
		writePEM(c.Key, "PRIVATE KEY", key))
}

func sign(file string, template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return err
	}
	return writePEM(file, "CERTIFICATE", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// SecureBroker is a broker that speaks TLS, wants a token and checks what its
// role may do. Broker's own URL and AdminURL are its plain ports.
type SecureBroker struct {
	*Broker
	TLSURL, TLSAdminURL string // pulsar+ssl://…, https://…
	Certs               Certificates
	secret              []byte
}

// Superuser is the role that may do everything on a SecureBroker.
const Superuser = "superuser"

// SecurePulsar starts a SecureBroker for one test.
func SecurePulsar(t testing.TB) *SecureBroker {
	t.Helper()
	short(t, "Pulsar broker")
	b, err := launchSecure(t.Context(), t.TempDir())
	if err != nil {
		Missing(t, "Pulsar broker", err)
	}
	t.Cleanup(b.Kill)
	return b
}

func launchSecure(ctx context.Context, dir string) (*SecureBroker, error) {
	certs, err := NewCertificates(dir)
	if err != nil {
		return nil, err
	}
	b := &SecureBroker{Certs: certs, secret: make([]byte, 32)}
	_, _ = rand.Read(b.secret)
	secretFile := filepath.Join(dir, "token-secret")
	ports, err := freePorts(2)
	if err := errors.Join(err, os.WriteFile(secretFile, b.secret, 0o600)); err != nil {
		return nil, err
	}
	b.TLSURL, b.TLSAdminURL = "pulsar+ssl://127.0.0.1:"+ports[0], "https://127.0.0.1:"+ports[1]
	token := b.Token(Superuser, time.Hour)
	plugin := "org.apache.pulsar.client.impl.auth.AuthenticationToken"
	b.Broker, err = launchBroker(ctx, dir, token, map[string]string{
		"brokerServicePortTls": ports[0], "webServicePortTls": ports[1],
		"tlsCertificateFilePath": certs.Cert, "tlsKeyFilePath": certs.Key, "tlsTrustCertsFilePath": certs.CA,
		"authenticationEnabled": "true", "authorizationEnabled": "true", "superUserRoles": Superuser,
		"authenticationProviders":          "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
		"tokenSecretKey":                   "file://" + secretFile,
		"brokerClientAuthenticationPlugin": plugin, "brokerClientAuthenticationParameters": "token:" + token,
	})
	return b, err
}

// Token signs a JSON web token for a role, as `bin/pulsar tokens create` does.
// One whose validity is negative has expired.
func (b *SecureBroker) Token(role string, valid time.Duration) string {
	return SignToken(b.secret, role, valid)
}

// SignToken signs a JSON web token with a key (HS256).
func SignToken(key []byte, role string, valid time.Duration) string {
	part := func(v any) string {
		text, _ := json.Marshal(v) // of strings and numbers
		return base64.RawURLEncoding.EncodeToString(text)
	}
	head := part(map[string]string{"alg": "HS256"}) + "." + part(map[string]any{"sub": role, "exp": time.Now().Add(valid).Unix()})
	mac := hmac.New(sha256.New, key)
	_, _ = strings.NewReader(head).WriteTo(mac)
	return head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
