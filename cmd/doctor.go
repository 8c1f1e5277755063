package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type doctorOptions struct {
	evidenceFlags
	wal     string
	source  cli.WALFlags
	catalog cli.CatalogFlags
	output  cli.Output
	failOn  cli.FailOn
}

// evidenceFlags name the files that the evidence of a moment lies in, beside metrics,
// catalog and log.
type evidenceFlags struct{ stats, internal, logs []string }

func (e *evidenceFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&e.stats, "topic-stats", nil, "what the broker says of a topic: `[PCHANNEL=]FILE` from pulsar-admin topics stats, repeatable")
	p.StringArrayVar(&e.internal, "internal-stats", nil, "where the broker's cursors are: `[PCHANNEL=]FILE` from pulsar-admin topics stats-internal, repeatable")
	p.StringArrayVar(&e.logs, "logs", nil, "look for symptoms in this Milvus log `FILE`, plain or gzip, repeatable")
}

func newDoctorCmd(f *cli.Factory, runF func(context.Context, *doctorOptions) error) *cobra.Command {
	opts := &doctorOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *doctorOptions) error { return runDoctor(ctx, f, o) }
	}
	cmd := &cobra.Command{
		Use:   "doctor [WAL]",
		Short: "Say what is wrong from the evidence of a moment: metrics, topic stats, logs, catalog, log",
		Long: `Say what is wrong from the evidence of a moment: which pchannel, why, how bad, and
the command to type next. Every part of the evidence may be a file that somebody
sent, and any may be missing: what needs it is listed as not checked, with the flag
that gives it.

--metrics takes the metrics of each node, as a URL or a saved file; a second look at
the same node tells what moves and what stands. --topic-stats and --internal-stats
take the answers of pulsar-admin topics stats and stats-internal; they do not name
their topic, so where several pchannels are in question write PCHANNEL=FILE. --logs
takes logs of Milvus, plain or gzip. A WAL is held against its catalog as channels
does. Nothing is written and nothing is restarted.`,
		Example: `walctl doctor --metrics node7.txt --metrics node8.txt --topic-stats stats.json
walctl doctor ./evidence --logs streamingnode.log.gz
walctl doctor --metrics http://10.0.0.7:9091/metrics --catalog kvjson:etcd.json
walctl doctor --topic-stats by-dev-rootcoord-dml_3=stats.json --internal-stats by-dev-rootcoord-dml_3=internal.json
walctl doctor wal.jsonl.gz --catalog kvjson:etcd.json --metrics metrics.txt -o json`,
		Args: cli.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				opts.wal = args[0]
			}
			return runF(cmd.Context(), opts)
		},
	}
	opts.add(cmd)
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.failOn.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	opts.source.Again = true
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

// doctorReport is the JSON answer.
type doctorReport struct {
	render.Header
	PChannels  []string `json:"pchannels"`
	Nodes      []string `json:"nodes"`
	NotChecked []string `json:"not_checked"`
}

func runDoctor(ctx context.Context, f *cli.Factory, o *doctorOptions) error {
	e := &examined{f: f, o: o}
	if err := e.gather(ctx); err != nil {
		return err
	}
	r := diagnose.JudgeMoment(&e.moment)
	out := doctorReport{PChannels: r.PChannels, Nodes: []string{}, NotChecked: append(e.unknown, r.NotChecked...)}
	for i := range e.moment.Nodes {
		out.Nodes = append(out.Nodes, e.moment.Nodes[i].Node)
	}
	findings := append(r.Findings, e.findings...)
	slices.SortStableFunc(findings, func(a, b diagnose.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	out.PChannels = withName(out.PChannels, e.described.PChannel)
	out.Header = f.Header("doctor", e.described, findings)
	return errors.Join(writeDoctor(f, o, &out), e.unread, e.bad.err(), o.failOn.Check(findings), e.short)
}

// withName is a sorted list of names with one more, where it is one.
func withName(list []string, name string) []string {
	if name != "" && !slices.Contains(list, name) {
		list = append(list, name)
		slices.Sort(list)
	}
	if list == nil {
		list = []string{}
	}
	return list
}

// mostShown is how many findings have room on a screen.
const mostShown = 3

func writeDoctor(f *cli.Factory, o *doctorOptions, r *doctorReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	lines := []string{fmt.Sprintf("%s · %s", render.Plural(len(r.PChannels), "pchannel"), render.Plural(len(r.Nodes), "node"))}
	lines = append(lines, notCheckedLines(r.NotChecked)...)
	told := shown(r.Header.Findings, o.output)
	more := 0
	if o.output != cli.Wide && len(told) > mostShown {
		told, more = told[:mostShown], len(told)-mostShown
	}
	sick := map[string]bool{}
	for i := range r.Header.Findings {
		if x := &r.Header.Findings[i]; x.Severity > diagnose.SeverityInfo {
			sick[diagnose.PChannelOf(x.Where)] = true
		}
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(f.Out(), render.Clean(l)); err != nil {
			return err
		}
	}
	if err := render.Findings(f.Out(), f.Style(o.output), told); err != nil {
		return err
	}
	tail := fmt.Sprintf("ok %d of %d", len(r.PChannels)-len(sick), max(len(r.PChannels), len(sick)))
	if more > 0 {
		tail = fmt.Sprintf("%s more: -o wide\n%s", render.Plural(more, "finding"), tail)
	}
	if _, err := fmt.Fprintln(f.Out(), tail); err != nil {
		return err
	}
	next := []string{}
	for i := range told {
		if n := told[i].Next; n != "" && len(next) < 2 && !slices.Contains(next, n) {
			next = append(next, n)
		}
	}
	return f.Next(next...)
}

// frozenAfter is from when on a channel checkpoint counts as frozen, as channels has it.
const frozenAfter = time.Hour

// log holds the log against its catalog, as channels does.
func (e *examined) log(ctx context.Context) error {
	names, err := e.f.Logs(ctx, e.o.wal, e.o.source)
	if err != nil {
		return err
	}
	show, done := e.f.Progress("doctor")
	defer done()
	for _, name := range names {
		c := channelsOptions{source: e.o.source, catalog: e.o.catalog, frozen: frozenAfter}
		c.source.Log = name
		g, err := gatherChannels(ctx, e.f, &c, e.o.wal, &liveSeen{known: true}, &e.bad, show)
		if err != nil {
			return err
		}
		e.archived(g.src)
		faults := diagnose.JudgeChannels(g.in).Findings()
		e.findings = append(e.findings, faults...)
		e.unknown = append(e.unknown, g.unknown...)
		e.described = cli.DescribeWAL(g.src)
		e.described.PChannel = g.pchannel
		e.wals = withName(e.wals, g.pchannel)
		for p, a := range g.in.Assigned {
			e.assign(p, a)
		}
		e.short = errors.Join(e.short, g.short)
		g.close()
	}
	if len(names) != 1 {
		e.described = render.WAL{}
	}
	return nil
}

// assign takes in what the catalog says of a pchannel.
func (e *examined) assign(p string, a diagnose.AssignedChannel) {
	if e.moment.Assigned == nil {
		e.moment.Assigned = map[string]diagnose.AssignedChannel{}
	}
	e.moment.Assigned[p] = a
}

// assignments are those of the catalog that belongs to a log, or of one that comes
// without its log: nil. Where there is none, none are taken in.
func (e *examined) assignments(ctx context.Context, s source.Source) error {
	cat, err := e.f.OpenCatalog(ctx, e.o.catalog, s, false)
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
