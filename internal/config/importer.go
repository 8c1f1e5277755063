package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Imported is what a foreign configuration tells of a cluster.
type Imported struct {
	Settings Context
	Notes    []string // what a person has to add or know; never a secret

	notPulsar bool // the log lies elsewhere
	proxied   bool // pulsar is a proxy's Service
}

// Import reads a milvus.yaml, or the List that `kubectl get cm,svc,secret -o json`
// prints; "-" reads stdin.
func Import(path string, stdin io.Reader) (*Imported, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("import %s: longer than %d MiB, not a configuration", path, maxFile>>20)
	}
	out := &Imported{Settings: Context{}}
	if strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
		err = out.kubernetes(b)
	} else {
		err = out.milvus(b)
	}
	out.local()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	if out.Settings["pulsar"] == "" && out.Settings["etcd"] == "" {
		return nil, fmt.Errorf("import %s: neither a Pulsar nor an etcd address in it; want a milvus.yaml, or `kubectl get cm,svc,secret -o json`", path)
	}
	return out, nil
}

// milvusYAML is the part of milvus.yaml that says where things lie.
type milvusYAML struct {
	Etcd struct {
		Endpoints   any    `yaml:"endpoints"`
		RootPath    string `yaml:"rootPath"`
		MetaSubPath string `yaml:"metaSubPath"`
		SSL         struct {
			Enabled   bool   `yaml:"enabled"`
			TLSCert   string `yaml:"tlsCert"`
			TLSKey    string `yaml:"tlsKey"`
			TLSCACert string `yaml:"tlsCACert"`
		} `yaml:"ssl"`
		Auth struct {
			Enabled  bool   `yaml:"enabled"`
			UserName string `yaml:"userName"`
		} `yaml:"auth"`
	} `yaml:"etcd"`
	Pulsar struct {
		Address    string `yaml:"address"`
		Port       any    `yaml:"port"`
		WebAddress string `yaml:"webaddress"`
		WebPort    any    `yaml:"webport"`
		Tenant     string `yaml:"tenant"`
		Namespace  string `yaml:"namespace"`
		AuthPlugin string `yaml:"authPlugin"`
	} `yaml:"pulsar"`
	MQ struct {
		Type string `yaml:"type"`
	} `yaml:"mq"`
	MsgChannel struct {
		ChanNamePrefix struct {
			Cluster      string `yaml:"cluster"`
			RootCoordDML string `yaml:"rootCoordDml"`
		} `yaml:"chanNamePrefix"`
	} `yaml:"msgChannel"`
	Common struct {
		PreCreatedTopic struct {
			Enabled bool `yaml:"enabled"`
		} `yaml:"preCreatedTopic"`
	} `yaml:"common"`
	MetaStore struct {
		Type string `yaml:"type"`
	} `yaml:"metastore"`
}

// set keeps the first value only where the new one says nothing.
func (o *Imported) set(key, value string) {
	if value != "" {
		o.Settings[key] = value
	}
}

func (o *Imported) note(format string, a ...any) {
	if n := fmt.Sprintf(format, a...); !slices.Contains(o.Notes, n) {
		o.Notes = append(o.Notes, n)
	}
}

// milvus reads texts in the form of milvus.yaml, each laid over those before it.
func (o *Imported) milvus(texts ...[]byte) error {
	merged := map[string]any{}
	for _, text := range texts {
		var one map[string]any
		if err := yaml.Unmarshal(text, &one); err != nil {
			return fmt.Errorf("not YAML of Milvus: %w", quiet(err))
		}
		overlay(merged, one)
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		return fmt.Errorf("not YAML of Milvus: %w", quiet(err))
	}
	var y milvusYAML
	if err := yaml.Unmarshal(text, &y); err != nil {
		return fmt.Errorf("not YAML of Milvus: %w", quiet(err))
	}
	o.etcd(y)
	switch y.MQ.Type {
	case "", "default", "pulsar":
		o.pulsar(y)
	default:
		o.notPulsar = true
		o.note("mq.type is %s: its live log is not on Pulsar, so no broker is set", y.MQ.Type)
	}
	if y.MetaStore.Type == "tikv" {
		o.note("the metadata lies in TiKV, which is not read")
	}
	o.names(y)
	return nil
}

// overlay puts values over those of into, key by key, as Milvus does.
func overlay(into, over map[string]any) {
	for k, v := range over {
		from, ok1 := into[k].(map[string]any)
		to, ok2 := v.(map[string]any)
		switch {
		case ok1 && ok2:
			overlay(from, to)
		case v != nil || into[k] == nil:
			into[k] = v
		}
	}
}

func (o *Imported) etcd(y milvusYAML) {
	var all []string
	switch e := y.Etcd.Endpoints.(type) {
	case string:
		all = list(e)
	case []any:
		for _, v := range e {
			all = append(all, list(fmt.Sprint(v))...)
		}
	}
	if y.Etcd.SSL.Enabled {
		for i, e := range all {
			all[i] = "https://" + strings.TrimPrefix(strings.TrimPrefix(e, "http://"), "https://")
		}
		o.set("etcd-tls-ca", y.Etcd.SSL.TLSCACert)
		o.set("etcd-tls-cert", y.Etcd.SSL.TLSCert)
		o.set("etcd-tls-key", y.Etcd.SSL.TLSKey)
		o.note("etcd speaks TLS: the certificate paths are those inside the Milvus pod")
	}
	o.set("etcd", strings.Join(all, ","))
	if root, sub := y.Etcd.RootPath, y.Etcd.MetaSubPath; root != "" || sub != "" {
		o.set("etcd-root", cmp.Or(root, "by-dev")+"/"+cmp.Or(sub, "meta"))
	}
	if y.Etcd.Auth.Enabled {
		o.set("etcd-user", y.Etcd.Auth.UserName)
		o.note("etcd wants a password: --etcd-password-file or WALCTL_ETCD_PASSWORD")
	}
}

func (o *Imported) pulsar(y milvusYAML) {
	o.set("tenant", y.Pulsar.Tenant)
	o.set("namespace", y.Pulsar.Namespace)
	if cmp.Or(y.Pulsar.Tenant, "public") != "public" || cmp.Or(y.Pulsar.Namespace, "default") != "default" {
		o.note("Milvus up to 2.6.8 ignored tenant and namespace: of such a cluster look into public/default")
	}
	if y.Pulsar.AuthPlugin != "" {
		o.note("Pulsar wants credentials: --pulsar-token-file or WALCTL_PULSAR_TOKEN")
	}
	addr := y.Pulsar.Address
	if addr == "" {
		return
	}
	scheme, host, whole := strings.Cut(addr, "://")
	if !whole {
		scheme, host = "pulsar", addr
	}
	host, _, _ = strings.Cut(host, "/")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, port(y.Pulsar.Port, servicePort(scheme)))
	}
	o.set("pulsar", scheme+"://"+host)
	if scheme == "pulsar+ssl" {
		o.note("Pulsar speaks TLS: give its authority with --pulsar-tls-ca where the system does not know it")
	}
	name, _, _ := net.SplitHostPort(host)
	switch web := port(y.Pulsar.WebPort, ""); {
	case y.Pulsar.WebAddress != "":
		o.set("pulsar-admin", y.Pulsar.WebAddress)
	case web == "443" || web == "8443":
		o.set("pulsar-admin", "https://"+net.JoinHostPort(name, web))
	case y.Pulsar.WebPort != nil:
		o.set("pulsar-admin", "http://"+net.JoinHostPort(name, port(web, "80")))
	}
}

// names tells how the pchannels are called where that is not as usual.
func (o *Imported) names(y milvusYAML) {
	prefix := y.MsgChannel.ChanNamePrefix
	cluster, dml := cmp.Or(prefix.Cluster, "by-dev"), cmp.Or(prefix.RootCoordDML, "rootcoord-dml")
	switch {
	case y.Common.PreCreatedTopic.Enabled:
		o.note("the pchannels are named one by one (common.preCreatedTopic): they are listed from etcd")
	case cluster+"-"+dml != "by-dev-rootcoord-dml":
		o.note("the pchannels are called %s-%s_N", cluster, dml)
	}
}

// local tells of addresses that only pods can resolve.
func (o *Imported) local() {
	for _, k := range Keys(o.Settings) {
		if strings.Contains(o.Settings[k], ".svc") {
			o.note("addresses in .svc resolve in the cluster only: run walctl as a pod there, or forward the ports and give the flags")
		}
	}
}

func servicePort(scheme string) string {
	if scheme == "pulsar+ssl" {
		return "6651"
	}
	return "6650"
}

func port(v any, fallback string) string {
	if s := fmt.Sprint(v); v != nil && s != "" {
		return s
	}
	return fallback
}

// kubeItem is what is read of a ConfigMap, a Service or a Secret.
type kubeItem struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		Ports []struct {
			Name string
			Port int
		}
	}
}

// kubeItems takes a List apart, or a single object. Other kinds are passed over.
func kubeItems(b []byte) ([]kubeItem, error) {
	var l struct{ Items []json.RawMessage }
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("not what kubectl prints with -o json: %w", err)
	}
	if l.Items == nil {
		l.Items = []json.RawMessage{b}
	}
	var out []kubeItem
	for _, text := range l.Items {
		var kind struct{ Kind string }
		if err := json.Unmarshal(text, &kind); err != nil {
			return nil, fmt.Errorf("not what kubectl prints with -o json: %w", err)
		}
		if kind.Kind != "ConfigMap" && kind.Kind != "Service" && kind.Kind != "Secret" {
			continue
		}
		var it kubeItem
		if err := json.Unmarshal(text, &it); err != nil {
			return nil, fmt.Errorf("a %s that kubectl would not print: %w", kind.Kind, err)
		}
		out = append(out, it)
	}
	return out, nil
}

// kubernetes reads the ConfigMap, user settings over the defaults, then fills
// what it leaves open from the Services.
func (o *Imported) kubernetes(b []byte) error {
	items, err := kubeItems(b)
	if err != nil {
		return err
	}
	chosen := ""
	for _, it := range items {
		var texts [][]byte
		for _, n := range []string{"milvus.yaml", "default.yaml", "user.yaml"} {
			if text := it.Data[n]; it.Kind == "ConfigMap" && text != "" {
				texts = append(texts, []byte(text))
			}
		}
		if len(texts) == 0 {
			continue
		}
		if chosen != "" {
			o.note("ConfigMap %s is passed over, %s was read before it: import one cluster at a time", it.Metadata.Name, chosen)
			continue
		}
		chosen = it.Metadata.Name
		if err := o.milvus(texts...); err != nil {
			return fmt.Errorf("ConfigMap %s: %w", it.Metadata.Name, err)
		}
	}
	configured := o.Settings["pulsar"] != ""
	for _, it := range items {
		switch it.Kind {
		case "Service":
			o.service(it, configured)
		case "Secret":
			o.secret(it)
		}
	}
	return nil
}

// secret names a Secret that is wanted, and how to save it; never what it holds.
func (o *Imported) secret(it kubeItem) {
	save := func(key, to string) string {
		namespace := ""
		if it.Metadata.Namespace != "" {
			namespace = " -n " + it.Metadata.Namespace
		}
		return fmt.Sprintf("(umask 077; kubectl get secret %s%s -o jsonpath='{.data.%s}' | base64 -d > %s)",
			it.Metadata.Name, namespace, strings.ReplaceAll(key, ".", `\.`), to)
	}
	name := it.Metadata.Name
	if _, ok := it.Data["TOKEN"]; ok {
		o.note("Secret %s holds a Pulsar token: save it, %s, and give --pulsar-token-file pulsar.token", name, save("TOKEN", "pulsar.token"))
	}
	if _, ok := it.Data["etcd-root-password"]; ok {
		o.note("Secret %s holds etcd's password: save it, %s, and give --etcd-password-file etcd.password", name, save("etcd-root-password", "etcd.password"))
	}
	if _, ok := it.Data["ca.crt"]; ok {
		for _, of := range []string{"pulsar", "etcd"} {
			if strings.Contains(name, of) {
				o.note("Secret %s holds the authority of %s: save it, %s, and give --%s-tls-ca %s-ca.pem", name, of, save("ca.crt", of+"-ca.pem"), of, of)
			}
		}
	}
}

// service fills an address from a Service by the port it offers; a proxy is
// taken before a broker, for brokers answer with names only pods resolve. An
// address that the configuration gives stays.
func (o *Imported) service(it kubeItem, configured bool) {
	host := it.Metadata.Name
	if it.Metadata.Namespace != "" {
		host += "." + it.Metadata.Namespace + ".svc"
	}
	proxy := strings.Contains(it.Metadata.Name, "proxy")
	wanted := !configured && !o.notPulsar && (o.Settings["pulsar"] == "" || proxy && !o.proxied)
	plain, secure, web := 0, 0, ""
	for _, p := range it.Spec.Ports {
		at := net.JoinHostPort(host, strconv.Itoa(p.Port))
		switch p.Port {
		case 6650:
			plain = p.Port
		case 6651:
			secure = p.Port
		case 8080, 80:
			web = "http://" + at
		case 8443, 443:
			web = cmp.Or(web, "https://"+at)
		case 2379:
			if o.Settings["etcd"] == "" {
				o.set("etcd", at)
			}
		case 9091:
			o.metrics("http://" + at + "/metrics")
		}
	}
	if !wanted || plain+secure == 0 {
		return
	}
	o.proxied = proxy
	delete(o.Settings, "pulsar-admin") // of a Service taken before
	if plain != 0 {
		o.set("pulsar", "pulsar://"+net.JoinHostPort(host, strconv.Itoa(plain)))
	} else {
		o.set("pulsar", "pulsar+ssl://"+net.JoinHostPort(host, strconv.Itoa(secure)))
	}
	o.set("pulsar-admin", web)
}

func (o *Imported) metrics(url string) {
	if have := list(o.Settings["metrics"]); !slices.Contains(have, url) {
		o.set("metrics", strings.Join(append(have, url), ","))
	}
}
