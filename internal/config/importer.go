package config

import (
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

func (o *Imported) milvus(b []byte) error {
	var y milvusYAML
	if err := yaml.Unmarshal(b, &y); err != nil {
		return fmt.Errorf("not YAML of Milvus: %w", err)
	}
	switch e := y.Etcd.Endpoints.(type) {
	case string:
		o.set("etcd", strings.Join(list(e), ","))
	case []any:
		var all []string
		for _, v := range e {
			all = append(all, fmt.Sprint(v))
		}
		o.set("etcd", strings.Join(all, ","))
	}
	if y.Etcd.RootPath != "" {
		sub := y.Etcd.MetaSubPath
		if sub == "" {
			sub = "meta"
		}
		o.set("etcd-root", y.Etcd.RootPath+"/"+sub)
	}
	if y.Etcd.SSL.Enabled {
		o.set("etcd-tls-ca", y.Etcd.SSL.TLSCACert)
		o.set("etcd-tls-cert", y.Etcd.SSL.TLSCert)
		o.set("etcd-tls-key", y.Etcd.SSL.TLSKey)
		o.note("etcd speaks TLS: the certificate paths are those inside the Milvus pod")
	}
	if y.Etcd.Auth.Enabled {
		o.set("etcd-user", y.Etcd.Auth.UserName)
		o.note("etcd wants a password: --etcd-password-file or WALCTL_ETCD_PASSWORD")
	}
	o.pulsar(y)
	if y.MQ.Type != "" && y.MQ.Type != "default" && y.MQ.Type != "pulsar" {
		o.note("mq.type is %s: its live log is not on Pulsar", y.MQ.Type)
	}
	if y.MetaStore.Type == "tikv" {
		o.note("the metadata lies in TiKV, which is not read")
	}
	return nil
}

func (o *Imported) pulsar(y milvusYAML) {
	o.set("tenant", y.Pulsar.Tenant)
	o.set("namespace", y.Pulsar.Namespace)
	if y.Pulsar.AuthPlugin != "" {
		o.note("Pulsar wants credentials: --pulsar-token-file or WALCTL_PULSAR_TOKEN")
	}
	addr := y.Pulsar.Address
	if addr == "" {
		return
	}
	host := addr
	if _, rest, ok := strings.Cut(addr, "://"); ok {
		o.set("pulsar", addr)
		host, _, _ = strings.Cut(rest, ":")
	} else {
		o.set("pulsar", "pulsar://"+net.JoinHostPort(addr, port(y.Pulsar.Port, "6650")))
	}
	if y.Pulsar.WebAddress != "" {
		o.set("pulsar-admin", y.Pulsar.WebAddress)
	} else if y.Pulsar.WebPort != nil {
		o.set("pulsar-admin", "http://"+net.JoinHostPort(host, port(y.Pulsar.WebPort, "8080")))
	}
}

func port(v any, fallback string) string {
	if v == nil || fmt.Sprint(v) == "" {
		return fallback
	}
	return fmt.Sprint(v)
}

type kubeList struct {
	Kind  string     `json:"kind"`
	Items []kubeItem `json:"items"`
	kubeItem
}

type kubeItem struct {
	Kind     string `json:"kind"`
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		Ports []struct {
			Name string
			Port int
		}
	}
}

// kubernetes reads ConfigMaps first, user settings over the defaults, then fills
// what they leave open from the Services.
func (o *Imported) kubernetes(b []byte) error {
	var l kubeList
	if err := json.Unmarshal(b, &l); err != nil {
		return fmt.Errorf("not what kubectl prints with -o json: %w", err)
	}
	items := l.Items
	if len(items) == 0 {
		l.kubeItem.Kind = l.Kind
		items = []kubeItem{l.kubeItem}
	}
	for _, names := range [][]string{{"milvus.yaml", "default.yaml"}, {"user.yaml"}} {
		for _, it := range items {
			for _, n := range names {
				if text := it.Data[n]; it.Kind == "ConfigMap" && text != "" {
					if err := o.milvus([]byte(text)); err != nil {
						return fmt.Errorf("ConfigMap %s, %s: %w", it.Metadata.Name, n, err)
					}
				}
			}
		}
	}
	for _, it := range items {
		switch it.Kind {
		case "Service":
			o.service(it)
		case "Secret":
			if _, ok := it.Data["TOKEN"]; ok || strings.Contains(it.Metadata.Name, "token") && strings.Contains(it.Metadata.Name, "pulsar") {
				o.note("Secret %s looks like a Pulsar token: save it to a file and give --pulsar-token-file", it.Metadata.Name)
			}
			if _, ok := it.Data["etcd-root-password"]; ok {
				o.note("Secret %s holds the etcd password: save it to a file and give --etcd-password-file", it.Metadata.Name)
			}
		}
	}
	return nil
}

// service fills an address from a Service by the port it offers; a proxy is
// taken before a broker, for brokers answer with names only pods resolve.
func (o *Imported) service(it kubeItem) {
	host := it.Metadata.Name
	if it.Metadata.Namespace != "" {
		host += "." + it.Metadata.Namespace + ".svc"
	}
	better := strings.Contains(it.Metadata.Name, "proxy") && !strings.Contains(o.Settings["pulsar"], "proxy")
	web := ""
	for _, p := range it.Spec.Ports {
		at := net.JoinHostPort(host, strconv.Itoa(p.Port))
		switch {
		case p.Port == 6650 && (o.Settings["pulsar"] == "" || better):
			o.set("pulsar", "pulsar://"+at)
			web = o.web(it, host)
		case p.Port == 2379 && o.Settings["etcd"] == "":
			o.set("etcd", at)
		case p.Port == 9091:
			url := "http://" + at + "/metrics"
			if !strings.Contains(o.Settings["metrics"], url) {
				o.set("metrics", strings.Trim(o.Settings["metrics"]+","+url, ","))
			}
		}
	}
	if web != "" {
		o.set("pulsar-admin", web)
	}
}

func (o *Imported) web(it kubeItem, host string) string {
	for _, p := range it.Spec.Ports {
		if p.Port == 8080 || p.Port == 80 {
			return "http://" + net.JoinHostPort(host, strconv.Itoa(p.Port))
		}
	}
	return ""
}
