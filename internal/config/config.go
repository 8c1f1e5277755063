// Package config is how walctl finds a cluster: flags, then WALCTL_* variables,
// then the context file. It alone imports viper, and only when asked.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/walctl/walctl/internal/safefile"
)

// Config is the connection settings of one cluster. Secrets are not in it: their
// files are, and Secret reads them when a connection is made.
type Config struct {
	Context string // the context's name, "" without one

	Pulsar        string // pulsar://host:6650 or pulsar+ssl://host:6651
	PulsarAdmin   string // http(s)://host:8080; "" = port 8080 of the service host
	Tenant        string
	Namespace     string
	PulsarToken   SecretRef
	PulsarTLSCA   string
	PulsarTLSCert string
	PulsarTLSKey  string
	// PulsarListener is the broker's advertised listener to ask for.
	PulsarListener string

	Etcd              []string
	EtcdRoot          string
	EtcdUser          string
	EtcdPassword      SecretRef
	EtcdWriteUser     string
	EtcdWritePassword SecretRef
	EtcdTLSCA         string
	EtcdTLSCert       string
	EtcdTLSKey        string

	Metrics       []string // http://host:9091/metrics
	MilvusVersion string
}

// EtcdTLS reports whether etcd is spoken to over TLS: an address says https, or
// there is a certificate to check it with or to show it.
func (c *Config) EtcdTLS() bool {
	return c.EtcdTLSCA != "" || c.EtcdTLSCert != "" ||
		slices.ContainsFunc(c.Etcd, func(e string) bool { return strings.HasPrefix(e, "https://") })
}

// SecretRef says where a secret lies. It never prints what it holds.
type SecretRef struct {
	File  string
	value string
}

// Set reports whether there is a secret.
func (s SecretRef) Set() bool { return s.File != "" || s.value != "" }

// String implements fmt.Stringer without telling anything.
func (s SecretRef) String() string {
	switch {
	case s.File != "":
		return "from " + s.File
	case s.value != "":
		return "from the environment"
	}
	return ""
}

// GoString keeps %#v from printing the secret.
func (s SecretRef) GoString() string { return s.String() }

// maxSecret caps a secret's file, bytes.
const maxSecret = 1 << 20

// Read returns the secret, without the line end an editor leaves.
func (s SecretRef) Read() (string, error) {
	if s.File == "" {
		return s.value, nil
	}
	b, err := safefile.Read(s.File, maxSecret)
	if errors.Is(err, safefile.ErrTooLarge) {
		return "", fmt.Errorf("secret file %s: more than %d bytes is no secret", s.File, maxSecret)
	}
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// field is one setting: its flag, and its key in a context file.
type field struct {
	name, usage, fallback string
	list                  bool
}

// fields is every setting; read only.
var fields = [...]field{
	{name: "pulsar", usage: "Pulsar service `URL`: pulsar://host:6650 or pulsar+ssl://host:6651"},
	{name: "pulsar-admin", usage: "Pulsar admin `URL` (default: port 8080 of the service host, with TLS 8443)"},
	{name: "tenant", usage: "Pulsar tenant", fallback: "public"},
	{name: "namespace", usage: "Pulsar namespace", fallback: "default"},
	{name: "pulsar-token-file", usage: "`FILE` holding the Pulsar token (or WALCTL_PULSAR_TOKEN)"},
	{name: "pulsar-tls-ca", usage: "`FILE` of CA certificates for Pulsar"},
	{name: "pulsar-tls-cert", usage: "client certificate `FILE` for Pulsar"},
	{name: "pulsar-tls-key", usage: "client key `FILE` for Pulsar"},
	{name: "pulsar-listener", usage: "advertised listener `NAME` of the brokers to ask for"},
	{name: "etcd", usage: "etcd endpoints `HOST:PORT`, comma-separated", list: true},
	{name: "etcd-root", usage: "metadata root in etcd: <rootPath>/<metaSubPath>", fallback: "by-dev/meta"},
	{name: "etcd-user", usage: "etcd user for reading"},
	{name: "etcd-password-file", usage: "`FILE` holding its password (or WALCTL_ETCD_PASSWORD)"},
	{name: "etcd-write-user", usage: "etcd user for apply and undo (default: the reading one)"},
	{name: "etcd-write-password-file", usage: "`FILE` holding its password (or WALCTL_ETCD_WRITE_PASSWORD)"},
	{name: "etcd-tls-ca", usage: "`FILE` of CA certificates for etcd"},
	{name: "etcd-tls-cert", usage: "client certificate `FILE` for etcd"},
	{name: "etcd-tls-key", usage: "client key `FILE` for etcd"},
	{name: "metrics", usage: "metrics of Milvus's nodes, each a `URL` or a saved file, comma-separated or repeated", list: true},
	{name: "milvus-version", usage: "Milvus version of the cluster, where no session tells"},
}

// AddFlags adds every setting as a flag, and the choice of a context.
func AddFlags(p *pflag.FlagSet) {
	p.String("context", "", "context to use instead of the current one")
	p.String("config", "", "context `FILE` (default: walctl/config.yaml in the user's config directory)")
	for _, f := range fields {
		usage := f.usage
		if f.fallback != "" {
			usage += " (default: " + f.fallback + ")"
		}
		if f.list {
			p.Var(new(listValue), f.name, usage)
			continue
		}
		p.String(f.name, "", usage)
	}
}

// listValue is a flag that may be given several times: its values are joined by
// commas, as each of them may be already.
type listValue string

// String implements pflag.Value.
func (l *listValue) String() string { return string(*l) }

// Type implements pflag.Value.
func (l *listValue) Type() string { return "string" }

// Set implements pflag.Value.
func (l *listValue) Set(s string) error {
	if *l != "" {
		s = string(*l) + "," + s
	}
	*l = listValue(s)
	return nil
}

// IsConnectionFlag reports whether a persistent flag is a setting of this package.
func IsConnectionFlag(name string) bool {
	if name == "context" || name == "config" {
		return true
	}
	for _, f := range fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// Load resolves every setting: flag, then environment, then context, then default.
func Load(flags *pflag.FlagSet, getenv func(string) string) (*Config, error) {
	path, err := Path(flags, getenv)
	if err != nil {
		return nil, err
	}
	file, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	name := flagOrEnv(flags, getenv, "context")
	if name == "" {
		name = file.Current
	}
	chosen, ok := file.Contexts[name]
	if !ok && name != "" {
		return nil, fmt.Errorf("no context %q in %s; `walctl context list` shows those there are", name, path)
	}
	return resolve(name, chosen, flags, getenv)
}

// LoadBare is Load without any context: what flags and variables alone say.
func LoadBare(flags *pflag.FlagSet, getenv func(string) string) (*Config, error) {
	return resolve("", nil, flags, getenv)
}

func resolve(name string, chosen Context, flags *pflag.FlagSet, getenv func(string) string) (*Config, error) {
	v := viper.New()
	for _, f := range fields {
		v.SetDefault(f.name, f.fallback)
		if s := chosen[f.name]; s != "" {
			v.SetDefault(f.name, s)
		}
		if s := getenv(EnvName(f.name)); s != "" {
			v.Set(f.name, s)
		}
		if fl := flags.Lookup(f.name); fl != nil && fl.Changed {
			v.Set(f.name, fl.Value.String())
		}
	}
	return build(name, v, func(key string) SecretRef {
		if shadowed(key, flags, getenv) {
			return SecretRef{value: getenv(EnvName(key))}
		}
		return SecretRef{File: v.GetString(key + "-file")}
	})
}

// shadowed reports whether a secret comes straight from its variable: neither a
// flag nor a variable names a file. A context's file is behind the environment.
func shadowed(key string, flags *pflag.FlagSet, getenv func(string) string) bool {
	return getenv(EnvName(key)) != "" && flagOrEnv(flags, getenv, key+"-file") == ""
}

func build(name string, v *viper.Viper, secret func(key string) SecretRef) (*Config, error) {
	c := &Config{
		Context: name,
		Pulsar:  v.GetString("pulsar"), PulsarAdmin: v.GetString("pulsar-admin"),
		Tenant: v.GetString("tenant"), Namespace: v.GetString("namespace"),
		PulsarToken: secret("pulsar-token"), PulsarTLSCA: v.GetString("pulsar-tls-ca"),
		PulsarTLSCert: v.GetString("pulsar-tls-cert"), PulsarTLSKey: v.GetString("pulsar-tls-key"),
		PulsarListener: v.GetString("pulsar-listener"),
		Etcd:           list(v.GetString("etcd")), EtcdRoot: strings.Trim(v.GetString("etcd-root"), "/"),
		EtcdUser: v.GetString("etcd-user"), EtcdPassword: secret("etcd-password"),
		EtcdWriteUser: v.GetString("etcd-write-user"), EtcdWritePassword: secret("etcd-write-password"),
		EtcdTLSCA: v.GetString("etcd-tls-ca"), EtcdTLSCert: v.GetString("etcd-tls-cert"), EtcdTLSKey: v.GetString("etcd-tls-key"),
		Metrics: list(v.GetString("metrics")), MilvusVersion: v.GetString("milvus-version"),
	}
	for key, url := range map[string]string{"pulsar": c.Pulsar, "pulsar-admin": c.PulsarAdmin, "etcd": strings.Join(c.Etcd, ","), "metrics": strings.Join(c.Metrics, ",")} {
		if hasUserInfo(url) {
			return nil, fmt.Errorf("--%s: %w", key, ErrSecret)
		}
	}
	return c, nil
}

// hasUserInfo finds user:password@ in a URL without ever quoting it.
func hasUserInfo(s string) bool {
	for _, u := range strings.Split(s, ",") {
		_, rest, ok := strings.Cut(u, "://")
		if !ok {
			rest = u
		}
		host, _, _ := strings.Cut(rest, "/")
		if strings.Contains(host, "@") {
			return true
		}
	}
	return false
}

func list(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// EnvName is the variable of a setting: WALCTL_PULSAR_ADMIN for pulsar-admin.
func EnvName(name string) string {
	return "WALCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func flagOrEnv(flags *pflag.FlagSet, getenv func(string) string, name string) string {
	if f := flags.Lookup(name); f != nil && f.Changed {
		return f.Value.String()
	}
	return getenv(EnvName(name))
}

// ErrNoContext says that a name was asked for and nothing tells where it lies.
var ErrNoContext = errors.New("no cluster is configured; give --pulsar, or `walctl context add`")
