package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// cluster is the live side of the door, over a context's settings.
type cluster struct {
	f *Factory
	c *config.Config
	w WALFlags

	unlisted bool // the names there are could not be asked for
}

func newCluster(f *Factory, c *config.Config, w WALFlags) *cluster { return &cluster{f: f, c: c, w: w} }

// reached is a context's broker, read as gently as the flags say.
func (k *cluster) reached(c *config.Config) (*source.Live, error) {
	token, err := "", error(nil)
	if c.PulsarToken.File == "" {
		token, err = c.PulsarToken.Read()
	}
	return &source.Live{
		Service: c.Pulsar, Admin: c.PulsarAdmin, Tenant: c.Tenant, Namespace: c.Namespace,
		TLSCA: c.PulsarTLSCA, TLSCert: c.PulsarTLSCert, TLSKey: c.PulsarTLSKey,
		TokenFile: c.PulsarToken.File, Token: token,
		Subscription: k.w.Subscription, Listener: c.PulsarListener,
		Parallel: k.w.Parallel, RateBytes: k.w.Rate << 20,
		Touch: k.w.Touch, Exists: k.w.TopicExists,
		Patience: k.w.Wait, Waiting: k.f.waiting(),
	}, err
}

// live is the backend of a context's service, and how it is reached.
func (k *cluster) live(c *config.Config) (b source.Backend, o source.Options, err error) {
	b, ok := walreader.BackendOf(walreader.Backends(), c.Pulsar)
	if !ok || !strings.HasPrefix(c.Pulsar, "pulsar://") && !strings.HasPrefix(c.Pulsar, "pulsar+ssl://") {
		return b, o, Usagef("--pulsar %q: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651", c.Pulsar)
	}
	o.Live, err = k.reached(c)
	return b, o, err
}

// PChannels implements walreader.Cluster: the pchannels that the metadata knows,
// or else the topics that are called like one.
func (k *cluster) PChannels(ctx context.Context) ([]string, error) {
	var etcdErr error
	if len(k.c.Etcd) > 0 {
		names, err := k.fromCatalog(ctx)
		if err == nil && len(names) > 0 {
			return names, nil
		}
		etcdErr = err
	}
	if k.c.Pulsar == "" {
		if etcdErr == nil {
			etcdErr = fmt.Errorf("%w: no pchannel below %s; `walctl context discover` lists the roots there are", source.ErrNotFound, k.c.EtcdRoot)
		}
		return nil, etcdErr
	}
	if etcdErr != nil && ctx.Err() == nil {
		k.f.NoteOnce("note: the pchannels are those the broker has topics of, for the catalog does not tell them: %v", etcdErr)
	}
	names, err := k.fromTopics(ctx)
	k.unlisted = err != nil
	return names, errors.Join(err, whenBoth(err, etcdErr))
}

// whenBoth tells of etcd's failure only where the broker failed too.
func whenBoth(broker, etcd error) error {
	if broker == nil {
		return nil
	}
	return etcd
}

func (k *cluster) fromCatalog(ctx context.Context) ([]string, error) {
	cat, err := k.f.OpenCatalog(ctx, CatalogFlags{}, nil, false)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	prefix := catalog.PChannelKey("")
	kvs, _, err := cat.Range(ctx, prefix)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, kv := range kvs {
		if n := strings.TrimPrefix(kv.Key, prefix); n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Unlisted implements walreader.MoreNames: the pchannels that collections lie on and
// the coordinator does not know.
func (k *cluster) Unlisted(ctx context.Context) ([]string, error) {
	if len(k.c.Etcd) == 0 {
		return nil, nil
	}
	cat, err := k.f.OpenCatalog(ctx, CatalogFlags{}, nil, false)
	if err != nil {
		return nil, nil //nolint:nilerr // told when the list was asked for
	}
	defer cat.Close()
	c, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return nil, err
	}
	collections, _, err := catalog.Collections(ctx, cat)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range catalog.CrossCheck(c, collections, nil) {
		if p.Code == catalog.CodeUnassigned {
			names = append(names, p.PChannel)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// pchannelLike is how pchannels end unless their names were given one by one.
var pchannelLike = regexp.MustCompile(`-dml_\d+$|_\d+$`)

func (k *cluster) fromTopics(ctx context.Context) ([]string, error) {
	b, o, err := k.live(k.c)
	if err != nil {
		return nil, err
	}
	logs, err := b.Logs(ctx, "", o)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, l := range logs {
		if pchannelLike.MatchString(l.Name) {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// OpenPChannel implements walreader.Cluster.
func (k *cluster) OpenPChannel(ctx context.Context, pchannel string) (source.Source, error) {
	if k.c.Pulsar == "" {
		return nil, Usagef("%s is a pchannel, and no broker is configured to read it from; give --pulsar", pchannel)
	}
	if k.unlisted && k.w.TopicExists { // a name's end would become a topic
		return nil, Usagef("the names there are can't be listed, so --topic-exists needs the topic written out: %s/%s/%s/%s, or another whole name",
			k.c.Pulsar, k.c.Tenant, k.c.Namespace, pchannel)
	}
	return k.open(ctx, k.c, pchannel)
}

// OpenURL implements walreader.Cluster.
func (k *cluster) OpenURL(ctx context.Context, b source.Backend, raw string) (source.Source, error) {
	if strings.HasPrefix(raw, kafkaScheme) {
		return k.openKafka(ctx, b, raw)
	}
	c, topic, err := k.forURL(raw)
	if err != nil {
		return nil, err
	}
	return k.open(ctx, c, topic)
}

// kafkaScheme begins the URL of a Kafka topic.
const kafkaScheme = "kafka://"

// openKafka opens a topic of Kafka's, which no context names.
func (k *cluster) openKafka(ctx context.Context, b source.Backend, raw string) (source.Source, error) {
	hosts, topic, ok := strings.Cut(strings.TrimPrefix(raw, kafkaScheme), "/")
	if !ok || hosts == "" || topic == "" || strings.ContainsAny(topic, "/?#") || strings.ContainsRune(hosts, '@') {
		return nil, Usagef("write a topic of Kafka's as kafka://HOST:9092/TOPIC, several brokers with a comma between them, without credentials")
	}
	return b.Open(ctx, topic, source.Options{Live: &source.Live{Service: kafkaScheme + hosts, RateBytes: k.w.Rate << 20, Patience: k.w.Wait, Waiting: k.f.waiting()}})
}

// forURL is how to reach a topic URL. A broker that is not the context's gets
// none of the context's credentials.
func (k *cluster) forURL(raw string) (*config.Config, string, error) {
	if rest, own := strings.CutPrefix(raw, "persistent://"); own {
		return k.forTopic(raw, rest)
	}
	if strings.HasPrefix(raw, "non-persistent://") {
		return nil, "", Usagef("%s is a topic that keeps nothing: a log lies in a persistent:// one", raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, "", Usagef("WAL %q is no URL; write pulsar://HOST:6650/TENANT/NAMESPACE/TOPIC", raw)
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if u.Host == "" || u.User != nil || len(parts) != 3 || slices.Contains(parts, "") {
		return nil, "", Usagef("write a topic as pulsar://HOST:6650/TENANT/NAMESPACE/TOPIC, without credentials")
	}
	service := u.Scheme + "://" + u.Host
	c := *k.c
	if c.Pulsar != "" && c.Pulsar != service {
		bare, err := config.LoadBare(k.f.flags, k.f.Getenv)
		if err != nil {
			return nil, "", &UsageError{err}
		}
		c = *bare
	}
	c.Pulsar, c.Tenant, c.Namespace = service, parts[0], parts[1]
	return &c, parts[2], nil
}

// forTopic is how to reach a topic named as Pulsar itself names it: it lies on the
// context's broker.
func (k *cluster) forTopic(raw, rest string) (*config.Config, string, error) {
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || slices.Contains(parts, "") || strings.ContainsAny(rest, "?#@") {
		return nil, "", Usagef("WAL %q: write a topic as persistent://TENANT/NAMESPACE/TOPIC", raw)
	}
	if k.c.Pulsar == "" {
		return nil, "", Usagef("%s is a topic of a broker, and none is configured: give --pulsar, or write pulsar://HOST:6650/%s", raw, rest)
	}
	c := *k.c
	c.Tenant, c.Namespace = parts[0], parts[1]
	return &c, parts[2], nil
}

func (k *cluster) open(ctx context.Context, c *config.Config, topic string) (source.Source, error) {
	b, o, err := k.live(c)
	if err != nil {
		return nil, err
	}
	return b.Open(ctx, topic, o)
}
