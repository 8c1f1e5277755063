package cmd

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/internal/safefile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// examined is what doctor has gathered.
type examined struct {
	f         *cli.Factory
	o         *doctorOptions
	moment    diagnose.Moment
	findings  []diagnose.Finding // of the log against its catalog
	unknown   []string
	wals      []string
	unread    error // set where a file that was named could not be read
	bad       damage
	described render.WAL
	short     error
}

// gather takes in everything that was named. What a node does not answer is named
// as not checked; a file that cannot be read is an error beside the answer.
func (e *examined) gather(ctx context.Context) error {
	e.bad.f, e.unknown = e.f, []string{}
	settings, err := e.f.Config()
	if err != nil {
		return err
	}
	o := e.o
	if o.wal == "" && o.catalog.Spec == "" && len(settings.Metrics)+len(settings.Etcd)+len(o.stats)+len(o.internal)+len(o.logs) == 0 {
		return cli.Usagef("no evidence was named; give --metrics, --topic-stats, --internal-stats, --logs, --catalog or a WAL")
	}
	if o.wal != "" {
		e.moment.WAL = cli.SpellWord(o.wal)
	}
	if err := e.scrapes(ctx, settings.Metrics); err != nil {
		return err
	}
	if o.wal != "" {
		err = e.log(ctx)
	}
	if o.wal != "" && errors.Is(err, cli.ErrNoCatalog) {
		e.unknown = append(e.unknown, "the log (no catalog to hold it against: --catalog)")
		err = nil
	}
	if o.wal == "" {
		err = e.assignments(ctx, nil)
	}
	if err != nil {
		return err
	}
	for _, path := range o.logs {
		e.milvusLog(ctx, path)
	}
	e.topics()
	return context.Cause(ctx)
}

// failed tells what of the evidence could not be read; the rest is judged.
func (e *examined) failed(err error) {
	if err != nil {
		e.f.Notef("%s", err)
		e.unknown = append(e.unknown, err.Error())
		e.unread = cli.Reported(fmt.Errorf("%w: evidence that could not be read", cli.ErrPartial))
	}
}

// scrapes reads the metrics of every node, from its URL or a file.
func (e *examined) scrapes(ctx context.Context, places []string) error {
	for _, place := range places {
		if !isEndpoint(place) {
			e.failed(e.file("metrics", place, func(r io.Reader) error { e.nodes(place, r); return nil }))
			continue
		}
		body, err := getMetrics(ctx, place)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			e.unknown = append(e.unknown, "metrics ("+err.Error()+")")
			continue
		}
		e.nodes(place, body)
		_ = body.Close()
	}
	return nil
}

// nodes takes in one scrape.
func (e *examined) nodes(place string, r io.Reader) {
	nodes, err := diagnose.ReadNodes(r)
	e.moment.AddNodes(nodes)
	if err != nil {
		e.failed(fmt.Errorf("--metrics %s: %w", cli.SpellWord(place), err))
	} else if len(nodes) == 0 {
		e.unknown = append(e.unknown, "metrics in "+cli.SpellWord(place)+" (none of a write-ahead log: is it a streaming node's?)")
	}
}

// file reads a file that was named, unpacked where it is gzip.
func (e *examined) file(flag, path string, read func(io.Reader) error) error {
	file, err := safefile.Open(path)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	defer file.Close()
	r, err := plainOf(file)
	if err == nil {
		err = read(r)
	}
	if err != nil {
		return fmt.Errorf("--%s %s: %w", flag, cli.SpellWord(path), err)
	}
	return nil
}

// plainOf unpacks what is gzip.
func plainOf(r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	if magic, _ := br.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, errors.New("it begins like gzip and cannot be unpacked")
		}
		return z, nil
	}
	return br, nil
}

// milvusLog looks for symptoms in a log of Milvus.
func (e *examined) milvusLog(ctx context.Context, path string) {
	e.failed(e.file("logs", path, func(r io.Reader) error {
		found, err := diagnose.ReadReduplicates(filepath.Base(path), &whileReader{ctx, r})
		e.moment.Symptoms = append(e.moment.Symptoms, found...)
		e.moment.LogsKnown = true
		return err
	}))
}

// whileReader reads while its context lasts.
type whileReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (u *whileReader) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// topics reads what the broker says of the topics.
func (e *examined) topics() {
	e.moment.Topics = map[string]*diagnose.TopicLook{}
	for _, arg := range e.o.stats {
		e.topic("topic-stats", arg, (*diagnose.TopicLook).AddStats)
	}
	for _, arg := range e.o.internal {
		e.topic("internal-stats", arg, (*diagnose.TopicLook).AddInternal)
	}
}

func (e *examined) topic(flag, arg string, add func(*diagnose.TopicLook, io.Reader) error) {
	p, path, given := strings.Cut(arg, "=")
	if !given {
		p, path = "", arg
	}
	var t diagnose.TopicLook
	if err := e.file(flag, path, func(r io.Reader) error { return add(&t, r) }); err != nil {
		e.failed(err)
		return
	}
	if p == "" {
		p = e.topicOf(&t)
	}
	if p == "" {
		e.unknown = append(e.unknown, fmt.Sprintf("%s (it does not say of which pchannel: --%s PCHANNEL=%s)", filepath.Base(path), flag, cli.SpellWord(path)))
		return
	}
	have := e.moment.Topics[p]
	if have == nil {
		have = &diagnose.TopicLook{}
		e.moment.Topics[p] = have
	}
	if t.Stats {
		have.Stats, have.Publishers, have.Readers = true, t.Publishers, t.Readers
	}
	if t.Internal {
		have.Internal, have.Cursors = true, t.Cursors
	}
}

// topicOf tells which pchannel an answer of the broker is of: the one its scanners
// name, or the only one that everything else is of; "" where that is not known.
func (e *examined) topicOf(t *diagnose.TopicLook) string {
	if p := t.PChannel(); p != "" {
		return p
	}
	names := slices.Clone(e.wals)
	if len(names) == 0 {
		names = e.moment.PChannels()
	}
	if len(names) == 1 {
		return names[0]
	}
	return ""
}

// archived reads the metrics an archive carries, where none were named.
func (e *examined) archived(s source.Source) {
	with, ok := source.As[source.EvidenceSource](s)
	if !ok || len(e.moment.Nodes) > 0 {
		return
	}
	var nodes []diagnose.NodeLook
	for _, piece := range with.Evidence() {
		if !strings.HasPrefix(piece.Name, source.EvidenceMetrics) || piece.File == "" {
			continue
		}
		file, err := safefile.Open(piece.File)
		if err == nil {
			var found []diagnose.NodeLook
			found, err = diagnose.ReadNodes(file)
			nodes = append(nodes, found...)
			_ = file.Close()
		}
		if err != nil {
			e.unknown = append(e.unknown, "metrics ("+err.Error()+")")
		}
	}
	e.moment.AddNodes(nodes)
}

// isEndpoint reports whether metrics are asked for at an address: a URL, or HOST:PORT
// that is no file.
func isEndpoint(place string) bool {
	if strings.Contains(place, "://") {
		return true
	}
	if _, err := os.Stat(place); err == nil {
		return false
	}
	_, port, err := net.SplitHostPort(place)
	return err == nil && port != "" && !strings.ContainsAny(place, `/\\`)
}

// openMetrics opens the metrics of a node, asked for or saved. The caller closes them.
func openMetrics(ctx context.Context, place string) (io.ReadCloser, error) {
	if isEndpoint(place) {
		return getMetrics(ctx, place)
	}
	file, err := safefile.Open(place)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// getMetrics asks a node for its metrics. The caller closes the answer.
func getMetrics(ctx context.Context, place string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	if !strings.Contains(place, "://") {
		place = "http://" + place
	}
	u, err := url.Parse(place)
	if err != nil {
		cancel()
		return nil, errors.New("an endpoint is not a URL")
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s cannot be asked", bare.String())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("GET %s: %w", bare.String(), err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("%s answers %s", bare.String(), resp.Status)
	}
	return &heldAnswer{resp.Body, cancel}, nil
}

// heldAnswer ends its request when it is closed.
type heldAnswer struct {
	io.ReadCloser
	done context.CancelFunc
}

// Close implements io.Closer.
func (a *heldAnswer) Close() error {
	defer a.done()
	return a.ReadCloser.Close()
}
