package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
)

// cluster is the live side of the door, over a context's settings.
type cluster struct {
	f *Factory
	c *config.Config
	w WALFlags
}

func newCluster(f *Factory, c *config.Config, w WALFlags) *cluster { return &cluster{f, c, w} }

// pulsarConfig is a context's broker, read as gently as the flags say.
func (k *cluster) pulsarConfig(c *config.Config) (pulsar.Config, error) {
	token, err := "", error(nil)
	if c.PulsarToken.File == "" {
		token, err = c.PulsarToken.Read()
	}
	return pulsar.Config{
		ServiceURL: c.Pulsar, AdminURL: c.PulsarAdmin, Tenant: c.Tenant, Namespace: c.Namespace,
		TLSTrustCerts: c.PulsarTLSCA, TLSCert: c.PulsarTLSCert, TLSKey: c.PulsarTLSKey,
		TokenFile: c.PulsarToken.File, Token: token,
		SubscriptionPrefix: k.w.Subscription, ListenerName: c.PulsarListener,
		Parallel: k.w.Parallel, RateBytes: k.w.Rate << 20,
		Touch: k.w.Touch, TopicExists: k.w.TopicExists,
	}, err
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
	names, err := k.fromTopics(ctx)
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

// pchannelLike is how pchannels end unless their names were given one by one.
var pchannelLike = regexp.MustCompile(`-dml_\d+$|_\d+$`)

func (k *cluster) fromTopics(ctx context.Context) ([]string, error) {
	cfg, err := k.pulsarConfig(k.c)
	if err != nil {
		return nil, err
	}
	topics, err := pulsar.ListTopics(ctx, cfg)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, t := range topics {
		n := t[strings.LastIndexByte(t, '/')+1:]
		if pchannelLike.MatchString(n) && !strings.Contains(n, "-partition-") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// OpenPChannel implements walreader.Cluster.
func (k *cluster) OpenPChannel(ctx context.Context, pchannel string) (source.Source, error) {
	if k.c.Pulsar == "" {
		return nil, Usagef("%s is a pchannel, and no broker is configured to read it from; give --pulsar", pchannel)
	}
	return k.open(ctx, k.c, pchannel)
}

// OpenURL implements walreader.Cluster.
func (k *cluster) OpenURL(ctx context.Context, raw string) (source.Source, error) {
	c, topic, err := k.forURL(raw)
	if err != nil {
		return nil, err
	}
	return k.open(ctx, c, topic)
}

// forURL is how to reach a topic URL. A broker that is not the context's gets
// none of the context's credentials.
func (k *cluster) forURL(raw string) (*config.Config, string, error) {
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

func (k *cluster) open(ctx context.Context, c *config.Config, topic string) (source.Source, error) {
	if !strings.HasPrefix(c.Pulsar, "pulsar://") && !strings.HasPrefix(c.Pulsar, "pulsar+ssl://") {
		return nil, Usagef("--pulsar %q: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651", c.Pulsar)
	}
	cfg, err := k.pulsarConfig(c)
	if err != nil {
		return nil, err
	}
	cfg.Topic = topic
	s, err := pulsar.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if !k.w.Silent {
		k.f.Notef("%s", Protected(s, k.f.Now()))
	}
	return s, nil
}

// Protected says what keeps a live log from being deleted, before it is read.
func Protected(s *pulsar.Source, now time.Time) string {
	name := s.Describe().PChannel
	if !s.AdminOpen() {
		return name + ": the admin port is closed: retention and ledgers are not known"
	}
	p := s.FirstContact()
	parts := []string{retention(p)}
	if p.TTLKnown && p.TTL > 0 {
		parts = append(parts, "TTL "+render.HumanDuration(p.TTL))
	}
	if p.OldestLedger >= 0 {
		parts = append(parts, fmt.Sprintf("oldest ledger %d", p.OldestLedger))
	}
	switch {
	case p.Expired > 0:
		parts = append(parts, fmt.Sprintf("%d ledgers outlived it and go when the broker next trims", p.Expired))
	case !p.LostAt.IsZero():
		parts = append(parts, "lost in "+render.HumanDuration(p.LostAt.Sub(now)))
	}
	return name + ": " + strings.Join(parts, " · ")
}

// Protection is what keeps a live log from being deleted, for answers.
type Protection struct {
	AdminOpen        bool   `json:"admin_open"` // false: nothing else here is known
	RetentionKnown   bool   `json:"retention_known"`
	RetentionSeconds int64  `json:"retention_seconds"` // applied; −1 = for ever
	RetentionBytes   int64  `json:"retention_bytes"`   // applied; −1 = no limit
	TTLSeconds       int64  `json:"ttl_seconds"`       // 0 = none
	Ledgers          int    `json:"ledgers"`
	OldestLedger     int64  `json:"oldest_ledger"` // −1 = none, or not known
	OldestTime       string `json:"oldest_time,omitempty"`
	LostAt           string `json:"lost_at,omitempty"` // the oldest ledger may go from then on
	Expired          int    `json:"expired"`           // ledgers kept only because the topic is not loaded
}

// ProtectionOf is what first contact saw of a live log; nil for any other.
func ProtectionOf(s source.Source) *Protection {
	live, ok := s.(*pulsar.Source)
	if !ok {
		return nil
	}
	p := live.FirstContact()
	seconds := func(d time.Duration) int64 {
		if d < 0 {
			return -1
		}
		return int64(d.Seconds())
	}
	return &Protection{
		AdminOpen: live.AdminOpen(), RetentionKnown: p.RetentionKnown,
		RetentionSeconds: seconds(p.Retention), RetentionBytes: p.RetentionBytes, TTLSeconds: seconds(p.TTL),
		Ledgers: p.Ledgers, OldestLedger: p.OldestLedger, OldestTime: render.RFC3339(p.OldestTime),
		LostAt: render.RFC3339(p.LostAt), Expired: p.Expired,
	}
}

func retention(p pulsar.Protection) string {
	switch {
	case !p.RetentionKnown:
		return "retention unknown"
	case p.Retention < 0 && p.RetentionBytes < 0:
		return "retention without end"
	case p.Retention < 0:
		return "retention " + render.HumanBytes(p.RetentionBytes)
	case p.RetentionBytes < 0:
		return "retention " + render.HumanDuration(p.Retention)
	}
	return "retention " + render.HumanDuration(p.Retention) + ", " + render.HumanBytes(p.RetentionBytes)
}
