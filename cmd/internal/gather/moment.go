// Package gather brings together what channels, doctor and scanners judge: log and
// catalog, metrics, topic statistics and logs of Milvus, from live services, an archive
// or files that somebody sent.
package gather

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/internal/safefile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// MomentFlags say where the evidence of a moment lies, beside metrics.
type MomentFlags struct {
	EvidenceFlags
	WAL     string
	Source  cli.WALFlags
	Catalog cli.CatalogFlags
}

// Examined is the evidence of a moment as far as it was gathered.
type Examined struct {
	Factory   *cli.Factory
	Flags     *MomentFlags
	Moment    diagnose.Moment
	Findings  []diagnose.Finding // of the log against its catalog
	Unknown   []string
	WALs      []string
	Unread    error // set where a file that was named could not be read
	Bad       cli.Damage
	Described render.WAL
	Short     error
}

// Gather takes in everything that was named. What a node does not answer is named
// as not checked; a file that cannot be read is an error beside the answer.
func (e *Examined) Gather(ctx context.Context) error {
	e.Bad.Factory, e.Unknown = e.Factory, []string{}
	settings, err := e.Factory.Config()
	if err != nil {
		return err
	}
	o := e.Flags
	if o.WAL == "" && o.Catalog.Spec == "" && len(settings.Metrics)+len(settings.Etcd)+len(o.stats)+len(o.internal)+len(o.logs) == 0 {
		return cli.Usagef("no evidence was named; give --metrics, --topic-stats, --internal-stats, --logs, --catalog or a WAL")
	}
	if o.WAL != "" {
		e.Moment.WAL = cli.SpellWord(o.WAL)
	}
	if err := e.scrapes(ctx, settings.Metrics); err != nil {
		return err
	}
	if o.WAL != "" {
		err = e.log(ctx)
	}
	if o.WAL != "" && errors.Is(err, cli.ErrNoCatalog) {
		e.Unknown = append(e.Unknown, "the log (no catalog to hold it against: --catalog)")
		err = nil
	}
	if o.WAL == "" {
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
func (e *Examined) failed(err error) {
	if err != nil {
		e.Factory.Notef("%s", err)
		e.Unknown = append(e.Unknown, err.Error())
		e.Unread = cli.Reported(fmt.Errorf("%w: evidence that could not be read", cli.ErrPartial))
	}
}

// scrapes reads the metrics of every node, from its URL or a file.
func (e *Examined) scrapes(ctx context.Context, places []string) error {
	for _, place := range places {
		if !cli.IsEndpoint(place) {
			e.failed(e.file("metrics", place, func(r io.Reader) error { e.nodes(place, r); return nil }))
			continue
		}
		body, err := cli.GetMetrics(ctx, place)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			e.Unknown = append(e.Unknown, "metrics ("+err.Error()+")")
			continue
		}
		e.nodes(place, body)
		_ = body.Close()
	}
	return nil
}

// nodes takes in one scrape.
func (e *Examined) nodes(place string, r io.Reader) {
	nodes, err := diagnose.ReadNodes(r)
	e.Moment.AddNodes(nodes)
	if err != nil {
		e.failed(fmt.Errorf("--metrics %s: %w", cli.SpellWord(place), err))
	} else if len(nodes) == 0 {
		e.Unknown = append(e.Unknown, "metrics in "+cli.SpellWord(place)+" (none of a write-ahead log: is it a streaming node's?)")
	}
}

// file reads a file that was named, unpacked where it is gzip.
func (e *Examined) file(flag, path string, read func(io.Reader) error) error {
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
func (e *Examined) milvusLog(ctx context.Context, path string) {
	e.failed(e.file("logs", path, func(r io.Reader) error {
		found, err := diagnose.ReadReduplicates(filepath.Base(path), &whileReader{ctx, r})
		e.Moment.Symptoms = append(e.Moment.Symptoms, found...)
		e.Moment.LogsKnown = true
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
func (e *Examined) topics() {
	e.Moment.Topics = map[string]*diagnose.TopicLook{}
	for _, arg := range e.Flags.stats {
		e.topic("topic-stats", arg, (*diagnose.TopicLook).AddStats)
	}
	for _, arg := range e.Flags.internal {
		e.topic("internal-stats", arg, (*diagnose.TopicLook).AddInternal)
	}
}

func (e *Examined) topic(flag, arg string, add func(*diagnose.TopicLook, io.Reader) error) {
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
		e.Unknown = append(e.Unknown, fmt.Sprintf("%s (it does not say of which pchannel: --%s PCHANNEL=%s)", filepath.Base(path), flag, cli.SpellWord(path)))
		return
	}
	have := e.Moment.Topics[p]
	if have == nil {
		have = &diagnose.TopicLook{}
		e.Moment.Topics[p] = have
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
func (e *Examined) topicOf(t *diagnose.TopicLook) string {
	if p := t.PChannel(); p != "" {
		return p
	}
	names := slices.Clone(e.WALs)
	if len(names) == 0 {
		names = e.Moment.PChannels()
	}
	if len(names) == 1 {
		return names[0]
	}
	return ""
}

// archived reads the metrics an archive carries, where none were named.
func (e *Examined) archived(s source.Source) {
	with, ok := source.As[source.EvidenceSource](s)
	if !ok || len(e.Moment.Nodes) > 0 {
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
			e.Unknown = append(e.Unknown, "metrics ("+err.Error()+")")
		}
	}
	e.Moment.AddNodes(nodes)
}

// EvidenceFlags name the files that the evidence of a moment lies in, beside metrics,
// catalog and log.
type EvidenceFlags struct{ stats, internal, logs []string }

// Add defines the flags.
func (e *EvidenceFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&e.stats, "topic-stats", nil, "what the broker says of a topic: `[PCHANNEL=]FILE` from pulsar-admin topics stats, repeatable")
	p.StringArrayVar(&e.internal, "internal-stats", nil, "where the broker's cursors are: `[PCHANNEL=]FILE` from pulsar-admin topics stats-internal, repeatable")
	p.StringArrayVar(&e.logs, "logs", nil, "look for symptoms in this Milvus log `FILE`, plain or gzip, repeatable")
}

// WithName is a sorted list of names with one more, where it is one.
func WithName(list []string, name string) []string {
	if name != "" && !slices.Contains(list, name) {
		list = append(list, name)
		slices.Sort(list)
	}
	if list == nil {
		list = []string{}
	}
	return list
}

// frozenAfter is from when on a channel checkpoint counts as frozen, as channels has it.
const frozenAfter = time.Hour

// log holds the log against its catalog, as channels does.
func (e *Examined) log(ctx context.Context) error {
	names, err := e.Factory.Logs(ctx, e.Flags.WAL, e.Flags.Source)
	if err != nil {
		return err
	}
	show, done := e.Factory.Progress("doctor")
	defer done()
	for _, name := range names {
		c := ChannelFlags{Source: e.Flags.Source, Catalog: e.Flags.Catalog, Frozen: frozenAfter}
		c.Source.Log = name
		g, err := Channels(ctx, e.Factory, &c, e.Flags.WAL, &Live{known: true}, &e.Bad, show)
		if err != nil {
			return err
		}
		e.archived(g.Src)
		faults := diagnose.JudgeChannels(g.In).Findings()
		e.Findings = append(e.Findings, faults...)
		e.Unknown = append(e.Unknown, g.Unknown...)
		e.Described = cli.DescribeWAL(g.Src)
		e.Described.PChannel = g.PChannel
		e.WALs = WithName(e.WALs, g.PChannel)
		for p, a := range g.In.Assigned {
			e.assign(p, a)
		}
		e.Short = errors.Join(e.Short, g.Short)
		g.Close()
	}
	if len(names) != 1 {
		e.Described = render.WAL{}
	}
	return nil
}

// assign takes in what the catalog says of a pchannel.
func (e *Examined) assign(p string, a diagnose.AssignedChannel) {
	if e.Moment.Assigned == nil {
		e.Moment.Assigned = map[string]diagnose.AssignedChannel{}
	}
	e.Moment.Assigned[p] = a
}

// assignments are those of the catalog that belongs to a log, or of one that comes
// without its log: nil. Where there is none, none are taken in.
func (e *Examined) assignments(ctx context.Context, s source.Source) error {
	cat, err := e.Factory.OpenCatalog(ctx, e.Flags.Catalog, s, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return nil
	}
	if err != nil {
		return err
	}
	defer cat.Close()
	cluster, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return err
	}
	for p, m := range cluster.PChannels {
		e.assign(p, assignedBy(m))
	}
	return nil
}

// GatherBeside is gather for a log of which only what was captured with it is looked at.
func (e *Examined) GatherBeside(ctx context.Context, wal string) error {
	if wal == "" {
		return e.Gather(ctx)
	}
	s, err := e.Factory.OpenWAL(ctx, wal, e.Flags.Source)
	if err != nil {
		return err
	}
	defer s.Close()
	e.Moment.WAL, e.Described = cli.SpellWord(wal), cli.DescribeWAL(s)
	settings, err := e.Factory.Config()
	if err != nil {
		return err
	}
	e.Bad.Factory, e.Unknown = e.Factory, []string{}
	if err := e.scrapes(ctx, settings.Metrics); err != nil {
		return err
	}
	e.archived(s)
	if err := e.assignments(ctx, s); err != nil {
		return err
	}
	for _, path := range e.Flags.logs {
		e.milvusLog(ctx, path)
	}
	if p := e.Described.PChannel; p != "" {
		e.WALs = []string{p}
	}
	e.topics()
	if len(e.Moment.Topics) == 0 {
		e.capturedStats(s)
	}
	return context.Cause(ctx)
}

// capturedStats are the topic statistics an archive carries, where none were named.
func (e *Examined) capturedStats(s source.Source) {
	with, ok := source.As[source.EvidenceSource](s)
	p := e.Described.PChannel
	if !ok || p == "" {
		return
	}
	b, err := with.ReadEvidence(source.EvidenceTopicStats)
	if errors.Is(err, source.ErrNotFound) {
		return
	}
	var t cli.TopicEvidence
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	look := &diagnose.TopicLook{}
	for call, add := range map[string]func(io.Reader) error{"stats": look.AddStats, "internal-stats": look.AddInternal} {
		if answer := t.Answers[call]; err == nil && len(answer) > 0 {
			err = add(strings.NewReader(string(answer)))
		}
	}
	if err != nil {
		e.Unknown = append(e.Unknown, "captured topic statistics ("+err.Error()+")")
		return
	}
	e.Moment.Topics[p] = look
}
