package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// collector takes what lies beside the logs of one capture. The logs share what
// is the same for all.
type collector struct {
	f *cli.Factory
	o *options

	without  sync.Once // that there is no catalog is told once for all logs
	mu       sync.Mutex
	catalogs map[string]catalogDump // by specification
	metrics  func() []scrape
}

func newCollector(ctx context.Context, f *cli.Factory, o *options) *collector {
	c := &collector{f: f, o: o, catalogs: map[string]catalogDump{}}
	c.metrics = sync.OnceValue(func() []scrape { return scrapeAll(ctx, f) })
	return c
}

// before puts beside a log what must be seen before it is read: the catalog, so
// that everything it points at lies in the log, and what reading would change.
// What could not be had is in the archive as an error, and in out.Missing.
func (c *collector) before(ctx context.Context, s source.Source, w *archive.Writer, out *capturedLog) error {
	if err := c.catalog(ctx, s, w, out); err != nil {
		return err
	}
	if live, ok := source.As[source.WitnessSource](s); ok {
		e, p := live.Metadata(ctx)
		if err := addTopic(w, source.EvidenceTopic, e, cli.NewProtection(p)); err != nil {
			return err
		}
	}
	if with, ok := source.As[source.EvidenceSource](s); ok {
		if err := copyEvidence(with, w); err != nil {
			return err
		}
	}
	for i, m := range c.metrics() {
		if err := m.add(w, fmt.Sprintf("%s-%d.prom", source.EvidenceMetrics, i+1)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// opened adds a topic's statistics: our own reader has loaded it by now.
func (c *collector) opened(ctx context.Context, s source.Source, w *archive.Writer) error {
	live, ok := source.As[source.WitnessSource](s)
	if !ok {
		return nil
	}
	return addTopic(w, source.EvidenceTopicStats, live.Stats(ctx), nil)
}

func addTopic(w *archive.Writer, name string, e source.Testimony, p *cli.Protection) error {
	b, err := json.MarshalIndent(cli.TopicEvidence{Schema: render.Schema, Topic: e.Topic, CapturedAt: e.At, Protection: p,
		Answers: e.Answers, Errors: e.Errors}, "", "  ")
	if err != nil {
		return fmt.Errorf("spelling %s: %w", name, err)
	}
	return w.AddEvidence(archive.Evidence{Name: name, CapturedAt: e.At,
		Provenance: map[string]string{"kind": e.Kind, "topic": e.Topic, "errors": strconv.Itoa(len(e.Errors))}}, append(b, '\n'))
}

// copyEvidence takes over what another archive has, but for the catalog, which
// was taken as one.
func copyEvidence(s source.EvidenceSource, w *archive.Writer) error {
	for _, e := range s.Evidence() {
		if e.Name == source.EvidenceCatalog {
			continue
		}
		b, err := s.ReadEvidence(e.Name)
		if err != nil {
			return err
		}
		if err := w.AddEvidence(archive.Evidence{Name: e.Name, CapturedAt: e.CapturedAt, Provenance: e.Provenance}, b); err != nil {
			return err
		}
	}
	return nil
}

// catalog stores the dump. One that does not answer is noted, and the log is
// captured all the same.
func (c *collector) catalog(ctx context.Context, s source.Source, w *archive.Writer, out *capturedLog) error {
	if c.o.noCatalog {
		return nil
	}
	spec, err := c.f.CatalogSpec(c.o.catalog, s)
	if errors.Is(err, cli.ErrNoCatalog) {
		c.without.Do(func() { c.f.Notef("note: no catalog is known, so the archive has none; --catalog names one") })
		return nil
	}
	if err != nil {
		return err
	}
	d := c.dump(ctx, spec, s)
	var usage *cli.UsageError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(d.err, &usage):
		return d.err
	case d.err != nil:
		out.Missing = append(out.Missing, fmt.Sprintf("the catalog is not captured: %v", d.err))
		return w.AddEvidence(archive.Evidence{Name: source.EvidenceCatalogError, CapturedAt: d.at,
			Provenance: map[string]string{"catalog": spec, "error": d.err.Error()}}, []byte(d.err.Error()+"\n"))
	}
	out.Catalog = d.keys
	if err := w.DropEvidence(source.EvidenceCatalogError); err != nil { // of an earlier capture
		return err
	}
	return w.AddEvidence(archive.Evidence{Name: source.EvidenceCatalog, CapturedAt: d.at, Provenance: d.from}, d.text)
}

// catalogDump is a catalog at one moment, or why there is none.
type catalogDump struct {
	text []byte
	keys int
	from map[string]string
	at   time.Time
	err  error
}

// dump reads a catalog once for all logs that have it.
func (c *collector) dump(ctx context.Context, spec string, s source.Source) catalogDump {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.catalogs[spec]
	if !ok {
		d.at = c.f.Now().UTC()
		d.err = d.read(ctx, c.f, c.o, s)
		c.catalogs[spec] = d
	}
	return d
}

func (d *catalogDump) read(ctx context.Context, f *cli.Factory, o *options, s source.Source) error {
	cat, err := f.OpenCatalog(ctx, o.catalog, s, false)
	if err != nil {
		return err
	}
	defer cat.Close()
	kvs, revision, err := cat.Range(ctx, "")
	if err != nil {
		return fmt.Errorf("reading the catalog: %w", err)
	}
	id, err := cat.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the catalog's identity: %w", err)
	}
	d.from = map[string]string{"kind": id.Kind, "root": id.Root, "revision": strconv.FormatInt(int64(revision), 10)}
	if id.ClusterID != "" {
		d.from["cluster_id"] = id.ClusterID
	}
	keys := make(map[string][]byte, len(kvs))
	hidden := 0
	for _, kv := range kvs {
		value := recovery.WithoutCredentials(kv.Key, kv.Value)
		if value != nil {
			keys[kv.Key] = value
		}
		if value != nil && !bytes.Equal(value, kv.Value) {
			hidden++
		}
	}
	if n := len(kvs) - len(keys); n > 0 {
		d.from["left_out"] = render.Plural(n, "key") + " of users and their passwords"
	}
	if hidden > 0 {
		d.from["credentials_hidden"] = render.Plural(hidden, "value") + " without the credentials in them"
	}
	b, err := json.Marshal(keys) // sorted; values as base64
	if err != nil {
		return fmt.Errorf("spelling the catalog: %w", err)
	}
	d.keys, d.text = len(keys), append(bytes.TrimSpace(b), '\n')
	return nil
}

// scrape is what one metrics endpoint answered.
type scrape struct {
	url  string // without what may be a secret
	at   time.Time
	text []byte
	err  error
}

// Bounds of one metrics endpoint's answer.
const (
	scrapeTimeout = 10 * time.Second
	maxScrape     = 64 << 20
)

func scrapeAll(ctx context.Context, f *cli.Factory) []scrape {
	c, err := f.Config()
	if err != nil {
		return nil // whoever opened the log was told
	}
	out := make([]scrape, len(c.Metrics))
	client := &http.Client{Timeout: scrapeTimeout}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for i, endpoint := range c.Metrics {
		all.Go(func() {
			s := scrape{at: f.Now().UTC()}
			s.err = s.fetch(ctx, client, endpoint)
			out[i] = s
		})
	}
	all.Wait()
	return out
}

func (s *scrape) fetch(ctx context.Context, client *http.Client, endpoint string) error {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		s.url = "(not a URL)"
		return errors.New("the metrics endpoint is not a URL")
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	s.url = bare.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("the metrics endpoint is not a URL that can be asked")
	}
	resp, err := client.Do(req)
	var inner *url.Error
	if errors.As(err, &inner) { // it spells the URL, with what may be a secret
		return fmt.Errorf("GET %s: %w", s.url, inner.Err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: HTTP %d", s.url, resp.StatusCode)
	}
	s.text, err = io.ReadAll(io.LimitReader(resp.Body, maxScrape+1))
	if err == nil && len(s.text) > maxScrape {
		s.text, err = nil, fmt.Errorf("GET %s: more than %d bytes", s.url, maxScrape)
	}
	return err
}

// add stores the answer; in its place, why there is none.
func (s *scrape) add(w *archive.Writer, name string) error {
	e := archive.Evidence{Name: name, CapturedAt: s.at, Provenance: map[string]string{"kind": "prometheus", "url": s.url}}
	text := s.text
	if s.err != nil {
		e.Provenance["error"] = s.err.Error()
		text = []byte("# not captured: " + strings.ReplaceAll(s.err.Error(), "\n", " ") + "\n")
	}
	return w.AddEvidence(e, text)
}
