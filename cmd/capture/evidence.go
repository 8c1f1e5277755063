package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/internal/safefile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
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
	scraped  sync.Once
	metrics  []scrape
	logs     func() []copiedLog
}

func newCollector(ctx context.Context, f *cli.Factory, o *options) *collector {
	c := &collector{f: f, o: o, catalogs: map[string]catalogDump{}}
	c.logs = sync.OnceValue(func() []copiedLog { return copyLogs(ctx, f, o.Logs) })
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
	c.scraped.Do(func() { c.metrics = c.scrapeAll(ctx, s) })
	if err := addAll(w, source.EvidenceMetrics+"-%d.prom", c.metrics, (*scrape).add); err != nil {
		return err
	}
	if err := addAll(w, source.EvidenceLog+"-%d.gz", c.logs(), (*copiedLog).add); err != nil {
		return err
	}
	if out.WAL.PChannel == "" {
		out.WAL.PChannel = w.Manifest().PChannel
	}
	if err := c.answers(w, out.WAL.PChannel); err != nil {
		return err
	}
	return ctx.Err()
}

// addAll stores pieces of one kind under numbered names, in place of all that an
// earlier capture has of them.
func addAll[T any](w *archive.Writer, name string, pieces []T, add func(*T, *archive.Writer, string) error) error {
	if len(pieces) == 0 {
		return nil
	}
	for i := range pieces {
		if err := add(&pieces[i], w, fmt.Sprintf(name, i+1)); err != nil {
			return err
		}
	}
	for i := len(pieces) + 1; slices.ContainsFunc(w.Manifest().Evidence, func(e archive.Evidence) bool { return e.Name == fmt.Sprintf(name, i) }); i++ {
		if err := w.DropEvidence(fmt.Sprintf(name, i)); err != nil {
			return err
		}
	}
	return nil
}

// answers stores the broker's answers for a topic that were saved to files.
func (c *collector) answers(w *archive.Writer, pchannel string) error {
	e := source.Testimony{Kind: "file", Topic: pchannel, At: c.f.Now().UTC(), Answers: map[string]json.RawMessage{}, Errors: map[string]string{}}
	take := func(flag, answer string, args []string, check func(*diagnose.TopicLook, io.Reader) error) error {
		for _, arg := range args {
			p, path, given := strings.Cut(arg, "=")
			if !given {
				p, path = pchannel, arg
			}
			if p != pchannel {
				continue
			}
			text, err := readNamed(flag, path)
			var look diagnose.TopicLook
			if err == nil {
				err = check(&look, bytes.NewReader(text))
			}
			if of := look.PChannel(); err == nil && !given && of != "" && of != pchannel {
				continue // of another log of this capture
			}
			if err != nil {
				return fmt.Errorf("--%s %s: %w", flag, cli.SpellWord(path), err)
			}
			e.Answers[answer] = text
		}
		return nil
	}
	if err := errors.Join(take("topic-stats", diagnose.AnswerStats, c.o.Stats, (*diagnose.TopicLook).AddStats),
		take("internal-stats", diagnose.AnswerInternal, c.o.Internal, (*diagnose.TopicLook).AddInternal)); err != nil {
		return err
	}
	if len(e.Answers) == 0 {
		return nil
	}
	return addTopic(w, source.EvidenceTopicStats, e, nil)
}

// readNamed reads a file of evidence whole, unpacked where it is gzip.
func readNamed(flag, path string) ([]byte, error) {
	file, err := safefile.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := gather.Plain(file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxScrape+1))
	if err == nil && len(text) > maxScrape {
		return nil, fmt.Errorf("more than %d bytes: is it what --%s takes?", maxScrape, flag)
	}
	return text, err
}

// maxLog bounds what is kept of one log of Milvus, in bytes of text.
const maxLog = 256 << 20

// copiedLog is a log of Milvus as it is kept: packed, without credentials.
type copiedLog struct {
	path string
	at   time.Time
	diagnose.CopiedLog
	packed []byte
	err    error
}

func copyLogs(ctx context.Context, f *cli.Factory, paths []string) []copiedLog {
	out := make([]copiedLog, len(paths))
	for i, path := range paths {
		out[i] = copiedLog{path: path, at: f.Now().UTC()}
		out[i].err = out[i].read(ctx)
	}
	return out
}

func (l *copiedLog) read(ctx context.Context) error {
	file, err := safefile.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := gather.Plain(file)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	l.CopiedLog, err = diagnose.CopyLog(z, gather.While(ctx, r), maxLog)
	if err := errors.Join(err, z.Close()); err != nil {
		return err
	}
	l.packed = packed.Bytes()
	return nil
}

// add stores the log. One that cannot be read is an error: a person named it.
func (l *copiedLog) add(w *archive.Writer, name string) error {
	if l.err != nil {
		return fmt.Errorf("--logs %s: %w", cli.SpellWord(l.path), l.err)
	}
	e := archive.Evidence{Name: name, CapturedAt: l.at, Provenance: map[string]string{"kind": "milvus-log", source.EvidenceFile: filepath.Base(l.path), "lines": strconv.FormatInt(l.Lines, 10)}}
	if l.Hidden > 0 {
		e.Provenance["credentials_hidden"] = render.Plural(int(l.Hidden), "line")
	}
	if l.Short {
		e.Provenance["short"] = "it goes on beyond what was kept"
	}
	return w.AddEvidence(e, l.packed)
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
	text     []byte
	keys     int
	from     map[string]string
	at       time.Time
	sessions []catalog.Session
	err      error
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
	if d.sessions, err = catalog.Sessions(ctx, cat); err != nil {
		return err
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
	url   string // without what may be a secret
	file  string // the saved answer it was taken from
	place string // as named
	at    time.Time
	text  []byte
	err   error
}

// Bounds of one metrics endpoint's answer.
const (
	scrapeTimeout = 10 * time.Second
	maxScrape     = 64 << 20
)

// secondLook is how long after the first look at a live node the second one is taken,
// where nothing else is said: a flusher and a TimeTick move several times in it.
const secondLook = 3 * time.Second

// places are the endpoints and files that metrics are taken from: those named, or,
// where the whole evidence is wanted, those of the sessions in the catalog.
func (c *collector) places(ctx context.Context, s source.Source) []string {
	settings, err := c.f.Config()
	if err != nil {
		return nil // whoever opened the log was told
	}
	if len(settings.Metrics) > 0 || !c.o.evidence || c.o.noCatalog {
		return settings.Metrics
	}
	spec, err := c.f.CatalogSpec(c.o.catalog, s)
	if err != nil {
		return nil
	}
	d := c.dump(ctx, spec, s)
	return catalog.MetricsPlaces(d.sessions)
}

// scrapeAll looks at every node; where the whole evidence is wanted, at the live ones
// twice, which tells what moves.
func (c *collector) scrapeAll(ctx context.Context, s source.Source) []scrape {
	out := c.look(ctx, c.places(ctx, s))
	var again []string
	for i := range out {
		if out[i].err == nil && out[i].file == "" {
			again = append(again, out[i].place)
		}
	}
	if !c.o.evidence || len(again) == 0 {
		return out
	}
	wait := time.NewTimer(c.o.between)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return out
	case <-wait.C:
	}
	return append(out, c.look(ctx, again)...)
}

// look asks every place once, all at the same time.
func (c *collector) look(ctx context.Context, places []string) []scrape {
	out := make([]scrape, len(places))
	client := &http.Client{Timeout: scrapeTimeout}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for i, place := range places {
		all.Go(func() {
			s := scrape{at: c.f.Now().UTC(), place: place}
			if cli.IsEndpoint(place) {
				s.err = s.fetch(ctx, client, place)
			} else {
				s.file = filepath.Base(place)
				s.text, s.err = readNamed("metrics", place)
			}
			out[i] = s
		})
	}
	all.Wait()
	return out
}

func (s *scrape) fetch(ctx context.Context, client *http.Client, endpoint string) error {
	u, bare, err := cli.MetricsURL(endpoint)
	if err != nil {
		s.url = "(not a URL)"
		return errors.New("the metrics endpoint is not a URL")
	}
	s.url = bare
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
	e := archive.Evidence{Name: name, CapturedAt: s.at, Provenance: map[string]string{"kind": "prometheus"}}
	if s.file != "" {
		e.Provenance[source.EvidenceFile] = s.file
	} else {
		e.Provenance["url"] = s.url
	}
	text := s.text
	if s.err != nil {
		e.Provenance[source.EvidenceError] = s.err.Error()
		text = []byte("# not captured: " + strings.ReplaceAll(s.err.Error(), "\n", " ") + "\n")
	}
	return w.AddEvidence(e, text)
}
