package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// Answer is what one part of a cluster said to the settings in force.
type Answer struct {
	Part   string `json:"part"`  // broker, admin port, retention, etcd, root, write
	Where  string `json:"where"` // as the settings spell it
	OK     bool   `json:"ok"`
	Answer string `json:"answer"`
}

func answer(part, where, yes string, err error) Answer {
	if err != nil {
		return Answer{Part: part, Where: where, Answer: err.Error()}
	}
	return Answer{Part: part, Where: where, OK: true, Answer: yes}
}

// TryCluster asks every part of the cluster the settings name, all at once and each
// within a few seconds: nothing is loaded and nothing is changed. write also asks
// etcd whether the credentials may write, by a transaction that cannot succeed.
func (f *Factory) TryCluster(ctx context.Context, write bool) ([]Answer, error) {
	c, err := f.Config()
	if err != nil {
		return nil, err
	}
	if c.Pulsar == "" && len(c.Etcd) == 0 {
		return nil, Usagef("nothing to try: no cluster is configured; give --pulsar or --etcd, or `walctl context add`")
	}
	var broker, metadata []Answer
	var brokerErr, etcdErr error
	var asked sync.WaitGroup
	if c.Pulsar != "" {
		asked.Go(func() { broker, brokerErr = f.tryPulsar(ctx, c) })
	}
	if len(c.Etcd) > 0 {
		asked.Go(func() { metadata, etcdErr = f.tryEtcd(ctx, c, write) })
	}
	asked.Wait()
	if err := errors.Join(brokerErr, etcdErr, context.Cause(ctx)); err != nil {
		return nil, err
	}
	return append(broker, metadata...), nil
}

func (f *Factory) tryPulsar(ctx context.Context, c *config.Config) ([]Answer, error) {
	b, o, err := newCluster(f, c, WALFlags{}).live(c)
	if err != nil {
		return nil, err
	}
	got, err := b.Probe(ctx, o)
	if err != nil {
		return nil, err
	}
	namespace := c.Tenant + "/" + c.Namespace
	out := []Answer{
		answer("broker", c.Pulsar, "answers, and takes these credentials", got.Service),
		answer("admin port", got.AdminURL, fmt.Sprintf("answers: %s in %s", render.Plural(got.Topics, "topic"), namespace), got.Admin),
	}
	if got.Admin == nil { // else it says the same once more
		out = append(out, answer("retention", namespace, "may be read", got.Retention))
	}
	return out, nil
}

func (f *Factory) tryEtcd(ctx context.Context, c *config.Config, write bool) ([]Answer, error) {
	place := strings.Join(c.Etcd, ",")
	cat, err := f.OpenCatalog(ctx, CatalogFlags{AnyRoot: true}, nil, false)
	if err != nil {
		return []Answer{answer("etcd", place, "", err)}, nil
	}
	defer cat.Close()
	out := []Answer{answer("etcd", place, "answers, and takes these credentials", nil), tryRoot(ctx, c, cat)}
	if !write {
		return out, nil
	}
	user := "without a user"
	if cfg, err := EtcdConfig(c, true); err == nil && cfg.Username != "" {
		user = "as user " + cfg.Username
	}
	w, err := f.OpenCatalog(ctx, CatalogFlags{AnyRoot: true}, nil, true)
	if err == nil {
		defer w.Close()
		err = etcdHelp(plan.MayWrite(ctx, w), c, true)
	}
	return append(out, answer("write", user, "may write", err)), nil
}

func tryRoot(ctx context.Context, c *config.Config, cat catalog.Catalog) Answer {
	root := c.EtcdRoot
	if err := catalog.CheckMilvus(ctx, cat); err != nil {
		return answer("root", root, "", noMilvus(etcdSpec(c), err))
	}
	names, _, err := cat.Range(ctx, catalog.PChannelKey(""))
	if err != nil {
		return answer("root", root, "", err)
	}
	sessions, err := catalog.Sessions(ctx, cat)
	return answer("root", root, render.Plural(len(names), "pchannel")+", "+render.Plural(len(sessions), "live session"), err)
}
