// Package recovercmd is walctl recover: what a restart makes of a log, the plan that
// repairs its catalog, and the memory that a restart takes.
package recovercmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type options struct {
	wal       string
	wals      []string // none = every pchannel of the context
	jobs      cli.JobsFlag
	mem       memoryFlags
	replay    replay.Flags
	output    cli.Output
	writeTo   string
	files     plans.OutFlags
	writeSpec catalog.Spec // of writeTo
	plan      planFlags
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "recover [WAL…]",
		Short: "Say what a restart makes of a log and its catalog, and whether it succeeds",
		Long: `Say what a restart makes of a log and its catalog, and whether it succeeds.

The log is replayed from the catalog's checkpoint by Milvus's own rules: to the last
TimeTick, or to --until. What comes after it is the unconfirmed tail, which the next
opening confirms. Where a node would panic or wait for ever the replay goes on, and
the first message or key that stops it is named. The live catalog is never written.

Several WALs, a place that holds several logs, or no WAL (every pchannel of the
context): --jobs logs at once, one line a log, worst first, then what stops a restart.
A plan, and a catalog written out, are of one log.

--forecast says instead how much memory the write buffers of a restart take, and
--memory replays into such buffers within a bound: both for several logs at once,
--parallel of them together (an archive's logs all, unless --log names one).`,
		Example: `walctl recover dml_3
walctl recover ./evidence --until @2026-11-21T03:00:00Z -o json
walctl recover wal.jsonl --catalog kvjson:before.json --write-to kvjson:after.json
walctl recover dml_3 --accept-gap 15/1516..16/2 --out p.json
walctl recover dml_3 dml_7
walctl recover dml_3 dml_7 --forecast --node-memory 16GiB
walctl recover ./evidence --memory 512MiB --parallel 4`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			if err := opts.checkFiles(f); err != nil {
				return err
			}
			if err := opts.plan.check(); err != nil {
				return err
			}
			if err := opts.mem.check(opts); err != nil {
				return err
			}
			ctx, done := cli.BoundMemory(cmd.Context(), int64(cmp.Or(opts.mem.memory, cli.DefaultMemory)), opts.mem.logsAtOnce(opts))
			return done(run(ctx, f, opts))
		},
	}
	cmd.Flags().StringVar(&opts.writeTo, "write-to", "", "write the pchannel's catalog as a graceful close would leave it to a new `file:PATH|kvjson:PATH`")
	opts.plan.add(cmd)
	opts.files.Add(cmd.Flags())
	opts.mem.add(cmd)
	opts.jobs.Add(cmd)
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.replay.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

// checkFiles looks at where files are to go before the log is read.
func (o *options) checkFiles(f *cli.Factory) error {
	o.files.MadeFrom(append(slices.Clone(o.wals), o.replay.Catalog.Spec)...)
	if o.writeTo != "" {
		var err error
		if o.writeSpec, err = o.files.CatalogPath("--write-to", o.writeTo); err != nil {
			return err
		}
	}
	if err := o.files.TakeStdout(f, o.output, o.plan.out, o.writeSpec.Path); err != nil {
		return err
	}
	if err := o.files.CheckPlan(o.plan.out); err != nil || o.writeTo == "" {
		return err
	}
	return o.files.CatalogRule().Check(o.writeSpec.Path)
}

type verdictReport struct {
	Milvus   string          `json:"milvus"`
	Succeeds bool            `json:"succeeds"`
	Obstacle *recovery.Issue `json:"obstacle,omitempty"`
	Meaning  string          `json:"meaning,omitempty"`
	line     recovery.Line
}

type tailReport struct {
	Messages    int64  `json:"messages"`
	Rows        uint64 `json:"rows"`
	First       string `json:"first,omitempty"`
	Last        string `json:"last,omitempty"`
	Differences int    `json:"differences"` // keys the next opening changes beyond what is shown
}

type dropReport struct {
	Reason   string `json:"reason"`
	Messages int64  `json:"messages"`
	Rows     uint64 `json:"rows"`
}

// Report is the JSON answer for one log.
type Report struct {
	render.Header
	Milvus      string `json:"milvus_version,omitempty"` // asked about, or a session's
	asked       recovery.Line
	lacking     int64                 // definitions without payload
	Succeeds    bool                  `json:"succeeds"` // by the version asked about; unknown: by what all lines share
	Verdicts    []verdictReport       `json:"verdicts"`
	Until       replay.Stop           `json:"until"`
	Coverage    replay.Coverage       `json:"coverage"`
	Delivered   int64                 `json:"delivered"`
	Dropped     []dropReport          `json:"dropped,omitempty"`
	Issues      []recovery.Issue      `json:"issues,omitempty"`
	Quarantine  []recovery.IssueCount `json:"issue_counts,omitempty"`
	Uncommitted []recovery.TxnJSON    `json:"uncommitted_txns"`
	AlterWAL    bool                  `json:"alter_wal"`
	Tail        tailReport            `json:"tail"`
	Differences []plans.Difference    `json:"differences"`
	WrittenTo   string                `json:"written_to,omitempty"`
	Plan        *plans.PlanReport     `json:"plan,omitempty"`
	Restart     restartReport         `json:"restart_replays"`
	Next        string                `json:"next,omitempty"`
	*memoryPart                       // with --memory
	differences []recovery.Difference // as the screen shows them
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	switch {
	case o.mem.forecast:
		return runForecast(ctx, f, o)
	case o.mem.memory > 0 && (len(o.wals) > 1 || o.severalLogs()):
		return runRecoverMemory(ctx, f, o)
	}
	return f.OneOrMany(ctx, o.wals, o.replay.Source, func(ref cli.LogRef) error {
		report, err := recoverLog(ctx, f, o, ref, nil)
		if report != nil {
			err = errors.Join(o.write(f, report, report.differences), err)
		}
		return err
	}, func(refs []cli.LogRef) error { return recoverMany(ctx, f, o, refs) })
}

// recoverMany says what a restart makes of several logs.
func recoverMany(ctx context.Context, f *cli.Factory, o *options, refs []cli.LogRef) error {
	if o.writeTo != "" || o.planned() {
		return cli.Usagef("a plan, and a catalog written out, are of one log, and %d are asked about: name one for --out, --write-to, --only, --accept-gap and --alter-wal", len(refs))
	}
	m := cli.Many[Report]{
		Command: "recover", Output: o.output,
		Columns: []render.Column{{Name: "restart"}, {Name: "replays", Right: true}, {Name: "keys", Right: true}, {Name: "coverage"}},
		Header:  func(r *Report) *render.Header { return &r.Header },
		Next:    func(r *Report) string { return r.Next },
		Cells: func(r *Report) []render.Cell {
			return []render.Cell{render.Text(r.outcome()), render.Count(r.Restart.Messages), render.Count(int64(len(r.differences))), render.Text(r.covered())}
		},
	}
	return m.Ask(ctx, f, refs, o.jobs.Of(len(refs)), o.replay.Source, func(ctx context.Context, ref cli.LogRef, w cli.WALFlags, show source.Progress) (*Report, error) {
		each := *o
		each.replay.Source = w
		return recoverLog(ctx, f, &each, ref, show)
	})
}

// outcome is what a restart makes of a log, in a few words.
func (r *Report) outcome() string {
	if r.Succeeds {
		return "recovers"
	}
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Obstacle != nil && (r.asked == 0 || v.line == r.asked) {
			return "would " + v.Obstacle.Outcome()
		}
	}
	return "fails"
}

// covered says whether the replay read all it had to.
func (r *Report) covered() string {
	if r.Coverage.Contiguous {
		return "whole"
	}
	return "INCOMPLETE"
}

// recoverLog replays one log. The error beside a report is what the report leads to.
func recoverLog(ctx context.Context, f *cli.Factory, o *options, ref cli.LogRef, show source.Progress) (*Report, error) {
	o.wal, o.replay.Source.Log, o.replay.Show = ref.WAL, ref.Log, show
	planned := o.planning(f)
	o.replay.Fields = true
	r, err := o.replay.Replay(ctx, f, "recover", o.wal, recovery.ReplayOptions{Tail: true})
	if err != nil {
		return nil, err
	}
	after, err := r.State.Persist()
	if err != nil {
		return nil, err
	}
	if err := o.writeCatalog(ctx, r, after); err != nil {
		return nil, err
	}
	further, err := r.State.Differences(r.Tail.Next)
	if err != nil {
		return nil, err
	}
	p := planned.Plan
	byPlan := p != nil && (!p.Empty() || !p.Applicable)
	var d []recovery.Difference
	if !byPlan || o.output == cli.JSON {
		d = recovery.Diff(r.Metadata.KV, after)
	}
	report := reportOf(r, f, ref, d, further)
	report.WrittenTo = o.writeTo
	report.Plan = planned.Report()
	report.Restart = restartOf(r)
	report.Next = f.CarryTo(ref, o.next(f, report))
	if byPlan {
		d = plans.DifferencesOf(p.Changes)
	}
	report.differences = d
	if o.mem.memory > 0 {
		if report.memoryPart, err = bufferOne(ctx, f, o, r.Until.TimeTick); err != nil {
			return nil, err
		}
	}
	var fails error
	if !report.Succeeds {
		fails = cli.Reported(&cli.FindingsError{Count: 1, Worst: diagnose.SeverityCritical})
	}
	return report, errors.Join(r.ReadError(), fails)
}

// writeCatalog writes what the replay reached, where --write-to asks.
func (o *options) writeCatalog(ctx context.Context, r *replay.Replayed, after map[string][]byte) error {
	if o.writeTo == "" {
		return nil
	}
	if n := r.LacksPayloads(); n > 0 {
		return fmt.Errorf("write %s: the log has %s: %w", o.writeTo, replay.Lacking(n), cli.ErrPartial)
	}
	return o.files.WriteCatalog(ctx, o.writeSpec, after, catalog.Options{Write: true})
}

func reportOf(r *replay.Replayed, f *cli.Factory, ref cli.LogRef, d []recovery.Difference, tailDifferences int) *Report {
	t := r.Tail
	out := &Report{
		Header: f.HeaderOf(ref, "recover", r.WAL, r.Findings()), Succeeds: r.Obstacle() == nil, Milvus: r.Version, asked: r.Line, lacking: r.LacksPayloads(),
		Until: r.StopReport(), Coverage: r.CoverageReport(), Delivered: r.Delivered,
		Issues: r.Issues().List(), Quarantine: r.Issues().Counts(),
		Uncommitted: recovery.TxnsJSON(r.Uncommitted), AlterWAL: r.State.AlterWAL(),
		Tail:        tailReport{t.Messages, t.Rows, t.First.Text(), t.Last.Text(), tailDifferences},
		Differences: plans.Differences(d),
	}
	for _, v := range r.Verdicts() {
		x := verdictReport{Milvus: v.Line.String(), Succeeds: v.Succeeds, Obstacle: v.Obstacle, line: v.Line}
		if v.Obstacle != nil {
			x.Meaning = v.Obstacle.Consequence()
		}
		out.Verdicts = append(out.Verdicts, x)
	}
	for _, why := range order.Reasons() {
		if n := r.Dropped[why]; n.Messages > 0 {
			out.Dropped = append(out.Dropped, dropReport{why.String(), n.Messages, n.Rows})
		}
	}
	return out
}
