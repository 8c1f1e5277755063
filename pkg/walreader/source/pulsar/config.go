package pulsar

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// DefaultRate is what a live read takes at most unless told otherwise, in bytes
// of payload and properties a second.
const DefaultRate = 64 << 20

// Config says where a topic lies and how gently to read it. ServiceURL and
// Topic are required.
type Config struct {
	ServiceURL string // pulsar://host:6650 or pulsar+ssl://host:6651
	AdminURL   string // http://host:8080; "" = port 8080 (TLS: 8443) of the service host
	Tenant     string // "" = public
	Namespace  string // "" = default
	Topic      string // the pchannel, or a full persistent://tenant/namespace/topic

	TLSTrustCerts string // PEM file with the authorities to trust; "" = the system's
	TLSCert       string // PEM file of the client's certificate
	TLSKey        string // PEM file of its key
	TLSInsecure   bool   // accept any certificate
	TokenFile     string // file with a JSON web token, read again at every use
	Token         string // the token itself; TokenFile wins

	SubscriptionPrefix string // name of the non-durable reader begins with it; "" = walctl
	ListenerName       string // the broker's advertised listener to ask for

	Parallel  int   // connections a bounded read may use; 0 and 1 = one
	RateBytes int64 // bytes a second over all connections; 0 = no limit, DefaultRate is polite

	Touch       bool // go on where loading the topic may cost ledgers, or where that is unknown
	TopicExists bool // the caller knows that the topic exists: needed where the admin port is closed

	// ReceiverQueue is the most messages one connection asks for ahead; 0 = 1000.
	// Fewer are asked for where messages are large.
	ReceiverQueue int
	// Memory is the most bytes one connection holds ahead of the caller; 0 = 64 MiB.
	Memory int64
	// Patience is how long a bounded read waits for a broker that has gone away,
	// or that delivers nothing (*StalledError), before it gives up; 0 = two
	// minutes. A following read waits for ever.
	Patience time.Duration
	// FirstContact is how long it may take until a broker has answered at all, the
	// admin port and the broker's own together; 0 = half a minute, or Patience
	// where that is less.
	FirstContact time.Duration
	// Waiting is told about once a second that HOST:PORT is waited for, and how long
	// by now; −1 when it is over. It is called from a goroutine of the source.
	Waiting func(addr string, waited time.Duration)
}

// contactStep is how long one port may take for one answer at first contact: the
// listing of topics, the look at one and the greeting fit into FirstContact.
func (c Config) contactStep() time.Duration { return min(c.FirstContact/3, adminTimeout) }

// withDefaults checks a configuration and fills in what it leaves open.
func (c Config) withDefaults() (Config, error) {
	service, err := url.Parse(c.ServiceURL)
	if err != nil || service.Host == "" || (service.Scheme != "pulsar" && service.Scheme != "pulsar+ssl") {
		return c, fmt.Errorf("service URL of Pulsar %q: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651", c.ServiceURL)
	}
	if c.Tenant == "" {
		c.Tenant = "public"
	}
	if c.Namespace == "" {
		c.Namespace = "default"
	}
	if full, ok := strings.CutPrefix(c.Topic, "persistent://"); ok {
		parts := strings.SplitN(full, "/", 3)
		if len(parts) != 3 {
			return c, fmt.Errorf("topic %q: write persistent://TENANT/NAMESPACE/TOPIC", c.Topic)
		}
		c.Tenant, c.Namespace, c.Topic = parts[0], parts[1], parts[2]
	}
	if c.AdminURL == "" {
		host, _, _ := strings.Cut(service.Host, ",") // the first of several brokers
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if service.Scheme == "pulsar" {
			c.AdminURL = "http://" + net.JoinHostPort(host, "8080")
		} else {
			c.AdminURL = "https://" + net.JoinHostPort(host, "8443")
		}
	}
	c.AdminURL = strings.TrimRight(c.AdminURL, "/")
	if c.SubscriptionPrefix == "" {
		c.SubscriptionPrefix = "walctl"
	}
	if c.Parallel < 1 {
		c.Parallel = 1
	}
	if c.ReceiverQueue < 1 {
		c.ReceiverQueue = 1000
	}
	if c.Memory < 1 {
		c.Memory = 64 << 20
	}
	if c.Patience <= 0 {
		c.Patience = 2 * time.Minute
	}
	if c.FirstContact <= 0 {
		c.FirstContact = min(30*time.Second, c.Patience)
	}
	return c, nil
}

// name is the topic's full name.
func (c Config) name() string {
	return "persistent://" + c.Tenant + "/" + c.Namespace + "/" + c.Topic
}

// token reads the token, or returns "" where none is configured.
func (c Config) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the Pulsar token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// tls builds what both ports are spoken to with. The client is given the
// host's name by its dialer where ServerName is empty.
func (c Config) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.TLSInsecure}
	if c.TLSTrustCerts != "" {
		pem, err := os.ReadFile(c.TLSTrustCerts)
		if err != nil {
			return nil, fmt.Errorf("read the authorities to trust: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities to trust in %s: no PEM certificate", c.TLSTrustCerts)
		}
	}
	switch {
	case c.TLSCert != "" && c.TLSKey != "":
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	case c.TLSCert != "" || c.TLSKey != "":
		return nil, errors.New("a client certificate needs both its file and its key's")
	}
	return cfg, nil
}
