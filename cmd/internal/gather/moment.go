// Package gather brings together what channels, doctor and scanners judge: log and
// catalog, metrics, topic statistics and logs of Milvus, from live services, an archive
// or files that somebody sent.
package gather

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
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

	scraped bool                       // metrics were named
	taken   map[[sha256.Size]byte]bool // evidence of archives
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
	if o.WAL == "" && o.Catalog.Spec == "" && len(settings.Metrics)+len(settings.Etcd)+len(o.Stats)+len(o.Internal)+len(o.Logs) == 0 {
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
	for _, path := range o.Logs {
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
	e.scraped = len(places) > 0
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
	r, err := Plain(file)
	if err == nil {
		err = read(r)
	}
	if err != nil {
		return fmt.Errorf("--%s %s: %w", flag, cli.SpellWord(path), err)
	}
	return nil
}

// Plain unpacks what is gzip.
func Plain(r io.Reader) (io.Reader, error) {
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
		return e.Moment.AddLog(filepath.Base(path), While(ctx, r))
	}))
}

// whileReader reads while its context lasts.
type whileReader struct {
	ctx context.Context
	r   io.Reader
}

// While reads while a context lasts.
func While(ctx context.Context, r io.Reader) io.Reader { return &whileReader{ctx, r} }

// Read implements io.Reader.
func (u *whileReader) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// topics reads what the broker says of the topics.
func (e *Examined) topics() {
	for _, arg := range e.Flags.Stats {
		e.topic("topic-stats", arg, (*diagnose.TopicLook).AddStats)
	}
	for _, arg := range e.Flags.Internal {
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
	e.Moment.AddTopic(p, &t)
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

// archived takes in what an archive carries beside its log, but for the parts that
// were named. What several logs of an archive share is taken in once.
func (e *Examined) archived(s source.Source) {
	with, ok := source.As[source.EvidenceSource](s)
	if !ok {
		return
	}
	for _, piece := range with.Evidence() {
		if e.named(diagnose.KindOf(piece.Name)) {
			continue
		}
		if err := piece.Err(); err != nil {
			e.Unknown = addOnce(e.Unknown, fmt.Sprintf("%s of the archive (%s)", piece.Name, err))
			continue
		}
		content, err := with.ReadEvidence(piece.Name)
		if err == nil && e.fresh(piece.Name, content) {
			err = e.Moment.AddEvidence(s.Describe().PChannel, piece, content)
		}
		if err != nil {
			e.failed(fmt.Errorf("%s of the archive: %w", piece.Name, err))
		}
	}
}

// addOnce adds what is not in a list yet.
func addOnce(list []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// named reports whether a part of the evidence is not looked for in an archive: the
// command line has it, or no moment has it.
func (e *Examined) named(kind diagnose.EvidenceKind) bool {
	switch kind {
	case diagnose.KindMetrics:
		return e.scraped
	case diagnose.KindTopicStats:
		return len(e.Flags.Stats)+len(e.Flags.Internal) > 0
	case diagnose.KindLog:
		return len(e.Flags.Logs) > 0
	case diagnose.KindNone:
	}
	return true
}

// fresh reports whether a file of evidence was not taken in yet. The same text under
// two names is two looks that saw the same.
func (e *Examined) fresh(name string, content []byte) bool {
	sum := sha256.Sum256(append([]byte(name+"\n"), content...))
	if e.taken == nil {
		e.taken = map[[sha256.Size]byte]bool{}
	}
	known := e.taken[sum]
	e.taken[sum] = true
	return !known
}

// EvidenceFlags name the files that the evidence of a moment lies in, beside metrics,
// catalog and log.
type EvidenceFlags struct{ Stats, Internal, Logs []string }

// Add defines the flags.
func (e *EvidenceFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&e.Stats, "topic-stats", nil, "what the broker says of a topic: `[PCHANNEL=]FILE` from pulsar-admin topics stats, repeatable")
	p.StringArrayVar(&e.Internal, "internal-stats", nil, "where the broker's cursors are: `[PCHANNEL=]FILE` from pulsar-admin topics stats-internal, repeatable")
	p.StringArrayVar(&e.Logs, "logs", nil, "look for symptoms in this Milvus log `FILE`, plain or gzip, repeatable")
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
	e.Moment.Several, e.Moment.Logs = len(names) > 1, map[string]*diagnose.ChannelLog{}
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
		e.Unknown = addOnce(e.Unknown, g.Unknown...)
		e.Described = cli.DescribeWAL(g.Src)
		e.Described.PChannel = g.PChannel
		e.WALs = WithName(e.WALs, g.PChannel)
		e.Moment.Logs[g.PChannel] = g.In.Logs[g.PChannel]
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
	for _, path := range e.Flags.Logs {
		e.milvusLog(ctx, path)
	}
	if p := e.Described.PChannel; p != "" {
		e.WALs = []string{p}
	}
	e.topics()
	return context.Cause(ctx)
}
