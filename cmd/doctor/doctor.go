// Package doctor is walctl doctor.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
)

type options struct {
	gather.MomentFlags
	output cli.Output
	failOn cli.FailOn
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	opts := &options{}
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
				opts.WAL = args[0]
			}
			return run(cmd.Context(), f, opts)
		},
	}
	opts.Add(cmd)
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.failOn.Add(cmd)
	opts.Catalog.Add(cmd)
	opts.Source.Add(cmd)
	opts.Source.Again = true
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

// Report is the JSON answer.
type Report struct {
	render.Header
	PChannels  []string `json:"pchannels"`
	Nodes      []string `json:"nodes"`
	NotChecked []string `json:"not_checked"`
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	e := &gather.Examined{Factory: f, Flags: &o.MomentFlags}
	if err := e.Gather(ctx); err != nil {
		return err
	}
	r := diagnose.JudgeMoment(&e.Moment)
	out := Report{PChannels: r.PChannels, Nodes: []string{}, NotChecked: append(e.Unknown, r.NotChecked...)}
	for i := range e.Moment.Nodes {
		out.Nodes = append(out.Nodes, e.Moment.Nodes[i].Node)
	}
	findings := append(r.Findings, e.Moment.Settle(e.Findings)...)
	slices.SortStableFunc(findings, func(a, b diagnose.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	for i := range findings {
		if x := &findings[i]; x.Next == "" && x.Severity > diagnose.SeverityInfo {
			x.Next = "walctl explain " + x.Code // a person's decision: what it rests on
		}
	}
	out.PChannels = gather.WithName(out.PChannels, e.Described.PChannel)
	out.Header = f.Header("doctor", e.Described, findings)
	return errors.Join(write(f, o, &out), e.Unread, e.Bad.Err(), o.failOn.Check(findings), e.Short)
}

// mostShown is how many findings have room on a screen.
const mostShown = 3

func write(f *cli.Factory, o *options, r *Report) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	lines := []string{fmt.Sprintf("%s · %s", render.Plural(len(r.PChannels), "pchannel"), render.Plural(len(r.Nodes), "node"))}
	lines = append(lines, cli.NotCheckedLines(r.NotChecked)...)
	told := cli.Shown(r.Header.Findings, o.output)
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
	if err := cli.PrintLines(f, lines); err != nil {
		return err
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
