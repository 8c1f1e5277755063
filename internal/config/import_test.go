package config

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imported reads a text as `context import -` does and proves that it kept no secret.
func imported(t *testing.T, text string) *Imported {
	t.Helper()
	got, err := Import("-", strings.NewReader(text))
	require.NoError(t, err)
	all := fmt.Sprintf("%v", *got)
	require.NotContains(t, all, secret)
	require.NotContains(t, all, base64.StdEncoding.EncodeToString([]byte(secret)))
	return got
}

func TestImportMilvusYAML(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		want  Context
		notes []string // words of each note, in order
	}{
		"as delivered": {
			"etcd: {endpoints: localhost:2379, rootPath: by-dev, metaSubPath: meta, auth: {enabled: false, userName: '', password: ''}, ssl: {enabled: false, tlsCert: /p.crt}}\n" +
				"pulsar: {address: localhost, port: 6650, webport: 80, tenant: public, namespace: default}\nmq: {type: default}\n",
			Context{"etcd": "localhost:2379", "etcd-root": "by-dev/meta", "pulsar": "pulsar://localhost:6650",
				"pulsar-admin": "http://localhost:80", "tenant": "public", "namespace": "default"}, nil},
		"endpoints as a list":      {"etcd: {endpoints: [e0:2379, 'http://e1:2379,e2:2379']}", Context{"etcd": "e0:2379,http://e1:2379,e2:2379"}, nil},
		"only the end of the root": {"etcd: {endpoints: e:1, metaSubPath: m}", Context{"etcd": "e:1", "etcd-root": "by-dev/m"}, nil},
		"etcd behind TLS and a password": {
			"etcd: {endpoints: ['e:2379', 'http://f:2379'], rootPath: r, ssl: {enabled: true, tlsCACert: /ca, tlsCert: /c, tlsKey: /k}, auth: {enabled: true, userName: root, password: " + secret + "}}",
			Context{"etcd": "https://e:2379,https://f:2379", "etcd-root": "r/meta", "etcd-tls-ca": "/ca", "etcd-tls-cert": "/c", "etcd-tls-key": "/k", "etcd-user": "root"},
			[]string{"inside the Milvus pod", "WALCTL_ETCD_PASSWORD"}},
		"pulsar with its port":    {"pulsar: {address: 'p:7000', port: 6650}", Context{"pulsar": "pulsar://p:7000"}, nil},
		"pulsar, port as text":    {"pulsar: {address: p, port: '7000', webport: ''}", Context{"pulsar": "pulsar://p:7000", "pulsar-admin": "http://p:80"}, nil},
		"pulsar as a URL":         {"pulsar: {address: 'pulsar://p:7000', webport: 8080}", Context{"pulsar": "pulsar://p:7000", "pulsar-admin": "http://p:8080"}, nil},
		"pulsar as a bare URL":    {"pulsar: {address: 'pulsar://p'}", Context{"pulsar": "pulsar://p:6650"}, nil},
		"pulsar, IPv6":            {"pulsar: {address: 'pulsar://[::1]:6650', webport: 8080}", Context{"pulsar": "pulsar://[::1]:6650", "pulsar-admin": "http://[::1]:8080"}, nil},
		"pulsar behind TLS":       {"pulsar: {address: 'pulsar+ssl://p', webport: 8443}", Context{"pulsar": "pulsar+ssl://p:6651", "pulsar-admin": "https://p:8443"}, []string{"--pulsar-tls-ca"}},
		"pulsar's web address":    {"pulsar: {address: p, webaddress: 'https://w:1', webport: 80}", Context{"pulsar": "pulsar://p:6650", "pulsar-admin": "https://w:1"}, nil},
		"pulsar wants a token":    {"pulsar: {address: p, authPlugin: token, authParams: 'token:" + secret + "'}", Context{"pulsar": "pulsar://p:6650"}, []string{"WALCTL_PULSAR_TOKEN"}},
		"tenant of its own":       {"pulsar: {address: p, tenant: t, namespace: n}", Context{"pulsar": "pulsar://p:6650", "tenant": "t", "namespace": "n"}, []string{"2.6.8"}},
		"the log is elsewhere":    {"mq: {type: woodpecker}\netcd: {endpoints: e:1}\npulsar: {address: p}", Context{"etcd": "e:1"}, []string{"mq.type is woodpecker"}},
		"mq said to be pulsar":    {"mq: {type: pulsar}\npulsar: {address: p}", Context{"pulsar": "pulsar://p:6650"}, nil},
		"metadata in TiKV":        {"metastore: {type: tikv}\npulsar: {address: p}", Context{"pulsar": "pulsar://p:6650"}, []string{"TiKV"}},
		"pchannels of other name": {"msgChannel: {chanNamePrefix: {cluster: prod}}\netcd: {endpoints: e:1}", Context{"etcd": "e:1"}, []string{"prod-rootcoord-dml_N"}},
		"pchannels as always":     {"msgChannel: {chanNamePrefix: {cluster: by-dev, rootCoordDml: rootcoord-dml}}\netcd: {endpoints: e:1}", Context{"etcd": "e:1"}, nil},
		"pchannels made before":   {"common: {preCreatedTopic: {enabled: true, names: [a, b]}}\netcd: {endpoints: e:1}", Context{"etcd": "e:1"}, []string{"preCreatedTopic"}},
		"more than is asked for":  {"minio: {secretAccessKey: " + secret + "}\netcd: {endpoints: e:1}\nlog: {level: info}", Context{"etcd": "e:1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := imported(t, c.text)
			require.Equal(t, c.want, got.Settings)
			require.Len(t, got.Notes, len(c.notes), "%q", got.Notes)
			for i, words := range c.notes {
				require.Contains(t, got.Notes[i], words)
			}
			for k := range got.Settings {
				require.True(t, IsConnectionFlag(k), k)
			}
		})
	}
}

func kube(items ...string) string {
	return `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(items, ",") + `]}`
}

func configMap(name string, data map[string]string) string {
	var out []string
	for k, v := range data {
		out = append(out, fmt.Sprintf("%q:%q", k, v))
	}
	return fmt.Sprintf(`{"kind":"ConfigMap","metadata":{"name":%q,"namespace":"ns"},"data":{%s}}`, name, strings.Join(out, ","))
}

func service(name string, ports ...int) string {
	var out []string
	for _, p := range ports {
		out = append(out, fmt.Sprintf(`{"name":"p","port":%d,"targetPort":"any","protocol":"TCP"}`, p))
	}
	return fmt.Sprintf(`{"kind":"Service","metadata":{"name":%q,"namespace":"ns"},"spec":{"ports":[%s]}}`, name, strings.Join(out, ","))
}

func TestImportKubernetes(t *testing.T) {
	hidden := base64.StdEncoding.EncodeToString([]byte(secret))
	for name, c := range map[string]struct {
		text  string
		want  Context
		notes []string
	}{
		"user.yaml lies over milvus.yaml, key by key": {
			kube(configMap("m", map[string]string{
				"milvus.yaml": "etcd: {endpoints: e:2379, rootPath: by-dev, metaSubPath: meta}\npulsar: {address: p, port: 6650}",
				"user.yaml":   "etcd: {metaSubPath: other}\npulsar: {port: 7000}"})),
			Context{"etcd": "e:2379", "etcd-root": "by-dev/other", "pulsar": "pulsar://p:7000"}, nil},
		"Services fill what is open": {
			kube(configMap("m", map[string]string{"default.yaml": "etcd: {rootPath: r}"}),
				service("m-pulsar-broker", 8080, 6650), service("m-pulsar-proxy", 80, 6650), service("m-pulsar-zookeeper", 2181),
				service("m-etcd", 2379, 2380), service("m-etcd-headless", 2379), service("m-milvus-proxy", 19530, 9091), service("m-milvus-node", 9091)),
			Context{"etcd-root": "r/meta", "pulsar": "pulsar://m-pulsar-proxy.ns.svc:6650", "pulsar-admin": "http://m-pulsar-proxy.ns.svc:80",
				"etcd": "m-etcd.ns.svc:2379", "metrics": "http://m-milvus-proxy.ns.svc:9091/metrics,http://m-milvus-node.ns.svc:9091/metrics"},
			[]string{"in the cluster only"}},
		"a proxy met first stays": {
			kube(service("m-pulsar-proxy", 6650), service("m-pulsar-broker", 8080, 6650)),
			Context{"pulsar": "pulsar://m-pulsar-proxy.ns.svc:6650"}, []string{"in the cluster only"}},
		"a Service that speaks TLS only": {
			kube(service("pulsar", 6651, 8443)),
			Context{"pulsar": "pulsar+ssl://pulsar.ns.svc:6651", "pulsar-admin": "https://pulsar.ns.svc:8443"}, []string{"in the cluster only"}},
		"what is configured stays": {
			kube(service("m-pulsar-proxy", 6650), configMap("m", map[string]string{"milvus.yaml": "pulsar: {address: far.example}"})),
			Context{"pulsar": "pulsar://far.example:6650"}, nil},
		"no broker where the log is elsewhere": {
			kube(configMap("m", map[string]string{"milvus.yaml": "mq: {type: kafka}\netcd: {endpoints: e:1}"}), service("pulsar", 6650)),
			Context{"etcd": "e:1"}, []string{"kafka"}},
		"of two clusters the first": {
			kube(configMap("a", map[string]string{"milvus.yaml": "etcd: {endpoints: a:1}"}), configMap("b", map[string]string{"milvus.yaml": "etcd: {endpoints: b:1}"}),
				configMap("kube-root-ca.crt", map[string]string{"ca.crt": "x"})),
			Context{"etcd": "a:1"}, []string{"ConfigMap b is passed over"}},
		"Secrets are named, not read": {
			kube(service("etcd", 2379),
				`{"kind":"Secret","metadata":{"name":"pulsar-token-admin","namespace":"ns"},"data":{"TOKEN":"`+hidden+`"}}`,
				`{"kind":"Secret","metadata":{"name":"m-etcd","namespace":"ns"},"data":{"etcd-root-password":"`+hidden+`"}}`,
				`{"kind":"Secret","metadata":{"name":"pulsar-tls","namespace":"ns"},"data":{"ca.crt":"`+hidden+`","tls.key":"`+hidden+`"}}`,
				`{"kind":"Secret","metadata":{"name":"unrelated"},"data":{"password":"`+hidden+`"}}`),
			Context{"etcd": "etcd.ns.svc:2379"},
			[]string{"--pulsar-token-file", "--etcd-password-file", `{.data.ca\.crt}`, "in the cluster only"}},
		"one object, and kinds nobody asked for": {
			configMap("m", map[string]string{"milvus.yaml": "etcd: {endpoints: e:1}"}), Context{"etcd": "e:1"}, nil},
		"other kinds": {
			kube(`{"kind":"Pod","data":[1],"spec":{"ports":"x"}}`, service("etcd", 2379)), Context{"etcd": "etcd.ns.svc:2379"}, []string{"in the cluster only"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := imported(t, c.text)
			require.Equal(t, c.want, got.Settings)
			require.Len(t, got.Notes, len(c.notes), "%q", got.Notes)
			for i, words := range c.notes {
				require.Contains(t, got.Notes[i], words)
			}
		})
	}
}

// What is no configuration is refused, and nothing of it repeated.
func TestImportRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":              "",
		"a word":               secret,
		"a list":               "- " + secret,
		"broken YAML":          "etcd: {endpoints: [" + secret,
		"a wrong shape":        "etcd: " + secret,
		"a wrong value":        "etcd: {endpoints: e:1, ssl: {enabled: " + secret + "}}",
		"broken JSON":          `{"kind":"List","items":[` + secret,
		"items of no kind":     `{"items":["` + secret + `"]}`,
		"nothing of Milvus":    kube(configMap("m", map[string]string{"app.yaml": "x: " + secret})),
		"broken user.yaml":     kube(configMap("m", map[string]string{"milvus.yaml": "etcd: {endpoints: e:1}", "user.yaml": "etcd: [" + secret})),
		"a Service's nonsense": kube(`{"kind":"Service","spec":{"ports":"` + secret + `"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Import("-", strings.NewReader(text))
			require.Error(t, err)
			require.NotContains(t, err.Error(), secret)
		})
	}
	_, err := Import("/nowhere/milvus.yaml", nil)
	require.ErrorContains(t, err, "/nowhere/milvus.yaml")
	_, err = Import("-", strings.NewReader(strings.Repeat("#", maxFile+1)))
	require.ErrorContains(t, err, "longer than 64 MiB")
}

// FuzzImport: no text makes the import panic.
func FuzzImport(f *testing.F) {
	f.Add("etcd: {endpoints: [a, 1, null], rootPath: r}\npulsar: {address: 'pulsar://', port: [1]}")
	f.Add(kube(service("a", 6650), configMap("m", map[string]string{"milvus.yaml": "a: b"})))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Import("-", strings.NewReader(text))
		if err == nil {
			for k := range got.Settings {
				if !IsConnectionFlag(k) {
					t.Errorf("%q is no setting", k)
				}
			}
		}
	})
}
