package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type timetickOptions struct {
	wals           []string // none = every pchannel of the context
	source         cli.WALFlags
	catalog        cli.CatalogFlags
	place          cli.RangeFlags
	output         cli.Output
	failOn         cli.FailOn
	jobs           cli.JobsFlag
	warn, critical time.Duration
}

// timetickReport is the JSON answer.
type timetickReport struct {
	render.Header
	*diagnose.TickReport
	Torn   string         `json:"torn_tail,omitempty"`
	Damage []cli.BadPlace `json:"damage,omitempty"`
}

func newTimetickCmd(f *cli.Factory) *cobra.Command {
	opts := &timetickOptions{}
	cmd := &cobra.Command{
		Use:   "timetick [WAL…]",
		Short: "Show where a log's time stood still, and why",
		Long: `Show where a log's time stood still, and why:

  idle     nothing was appended: a healthy node writes no TimeTicks then
  stalled  appends waited, and nothing shows that they were acknowledged
  lost     appends were acknowledged, but their TimeTick is not in the log

Appends that wait longer than --warn or --critical are findings of that severity;
a lost or backward TimeTick is an error.

Several WALs, a place that holds several logs, or no WAL (every pchannel of the
context): --jobs logs at once, one line a log, worst first, then what was found.

` + cli.RangeHelp,
		Example: `walctl timetick dml_3
walctl timetick ./evidence --warn 2s --critical 10s
walctl timetick dml_3 dml_7 --jobs 2
walctl timetick dml_3 -o prometheus > /var/lib/node_exporter/walctl.prom`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			if opts.warn <= 0 || opts.critical < opts.warn {
				return cli.Usagef("--warn %s --critical %s: want 0 < warn ≤ critical", opts.warn, opts.critical)
			}
			return runTimetick(cmd.Context(), f, opts)
		},
	}
	cmd.Flags().DurationVar(&opts.warn, "warn", time.Second, "a wait for a TimeTick this long is a warning")
	cmd.Flags().DurationVar(&opts.critical, "critical", 30*time.Second, "a wait for a TimeTick this long is critical")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.NDJSON, cli.CSV, cli.Prometheus)
	opts.failOn.Add(cmd)
	opts.jobs.Add(cmd)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func runTimetick(ctx context.Context, f *cli.Factory, o *timetickOptions) error {
	return f.OneOrMany(ctx, o.wals, o.source, func(ref cli.LogRef) error {
		show, done := f.Progress("timetick")
		defer done()
		report, err := timetickLog(ctx, f, o, ref, show)
		if report != nil {
			err = errors.Join(writeTimetick(f, o, report), err)
		}
		return err
	}, func(refs []cli.LogRef) error { return timetickMany(ctx, f, o, refs) })
}

// timetickMany looks at the time of several logs.
func timetickMany(ctx context.Context, f *cli.Factory, o *timetickOptions, refs []cli.LogRef) error {
	m := cli.Many[timetickReport]{
		Command: "timetick", Output: o.output,
		Columns: []render.Column{{Name: "records", Right: true}, {Name: "stalled", Right: true}, {Name: "lost", Right: true}, {Name: "longest wait", Right: true}, {Name: "last TimeTick"}},
		Header:  func(r *timetickReport) *render.Header { return &r.Header },
		Cells: func(r *timetickReport) []render.Cell {
			return []render.Cell{render.Count(r.Records), render.Count(int64(r.Counts[diagnose.TickStalled.String()])), render.Count(int64(r.Counts[diagnose.TickLost.String()])),
				render.Duration(render.Seconds(r.LongestWait)), render.Tick(r.LastTick)}
		},
		Lines: func(reports []*timetickReport) error { return writeTickMetrics(f.Out(), reports...) },
	}
	return m.Ask(ctx, f, refs, o.jobs.Of(len(refs)), o.source, func(ctx context.Context, ref cli.LogRef, w cli.WALFlags, show source.Progress) (*timetickReport, error) {
		each := *o
		each.source = w
		return timetickLog(ctx, f, &each, ref, show)
	})
}

// timetickLog looks at the time of one log. The error beside a report is what the
// report leads to.
func timetickLog(ctx context.Context, f *cli.Factory, o *timetickOptions, ref cli.LogRef, show source.Progress) (*timetickReport, error) {
	s, err := f.OpenWAL(ctx, ref.WAL, ref.Flags(o.source))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return nil, err
	}
	rng.Columns = diagnose.TickColumns
	r, err := source.OpenColumns(ctx, s, rng)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	bad := &cli.Damage{Factory: f}
	report, err := diagnose.TimeTicks(ctx, &cli.Watched{ColumnReader: r, Damage: bad}, diagnose.TickOptions{
		WAL: ref.WAL, PChannel: s.Describe().PChannel, Warn: o.warn, Critical: o.critical, Progress: show,
	})
	if err != nil {
		return nil, err
	}
	out := timetickReport{f.HeaderOf(ref, "timetick", cli.DescribeWAL(s), report.Findings), report, bad.Torn, bad.Places}
	return &out, errors.Join(bad.Err(), o.failOn.Check(report.Findings), cli.NotWhole(s, rng))
}

func writeTimetick(f *cli.Factory, o *timetickOptions, r *timetickReport) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.NDJSON:
		return render.Lines(f.Out(), r.Stretches)
	case cli.CSV:
		return stretchTable(r.Stretches).CSV(f.Out())
	case cli.Prometheus:
		return writeTickMetrics(f.Out(), r)
	}
	if _, err := fmt.Fprintf(f.Out(), "%s · %s · %s · %s\nlongest wait %s · longest idle %s · unconfirmed tail %s\n%s\n",
		render.Plural(int(r.Records), "record"), render.Plural(int(r.TimeTicks), "TimeTick"), render.Plural(int(r.Openings), "opening"), render.HumanSpan(r.From, r.To),
		seconds(r.LongestWait), seconds(r.LongestIdle), render.Thousands(int64(r.Unconfirmed)), drawTimeline(r.TickReport, f.Style(o.output))); err != nil {
		return err
	}
	all := r.Stretches
	if !f.Style(o.output).Wide && len(all) > 10 {
		all = all[:10]
	}
	if len(all) > 0 {
		if err := stretchTable(all).Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	if err := render.Findings(f.Out(), f.Style(o.output), cli.Shown(r.Header.Findings, o.output)); err != nil {
		return err
	}
	next := []string{}
	for _, x := range r.Header.Findings {
		if x.Severity >= diagnose.SeverityError && len(next) == 0 {
			next = append(next, x.Next)
		}
	}
	return f.Next(next...)
}

func seconds(s float64) string {
	return render.HumanDuration(render.Seconds(s))
}

// timelineWidth is how many steps the drawn timeline has at most.
const timelineWidth = 72

// drawTimeline draws one letter a step: the worst of what happened in it.
//
//	|####....####ssss####XX####|  # ok  . idle  s stalled  X lost
func drawTimeline(r *diagnose.TickReport, s render.Style) string {
	n := len(r.Buckets)
	if n == 0 {
		return "no TimeTicks"
	}
	per := (n + timelineWidth - 1) / timelineWidth
	var b strings.Builder
	b.WriteByte('|')
	for i := 0; i < n; i += per {
		worst, idle := diagnose.TickOK, true
		for _, x := range r.Buckets[i:min(n, i+per)] {
			idle = idle && x.State == diagnose.TickIdle
			if x.State != diagnose.TickIdle {
				worst = max(worst, x.State)
			}
		}
		switch {
		case worst == diagnose.TickLost:
			b.WriteString(s.Paint("error", "X"))
		case worst == diagnose.TickStalled:
			b.WriteString(s.Paint("warning", "s"))
		case idle:
			b.WriteByte('.')
		default:
			b.WriteString(s.Paint("ok", "#"))
		}
	}
	fmt.Fprintf(&b, "|  # ok  . idle  s stalled  X lost  · %s a step", seconds(r.BucketWidth*float64(per)))
	return b.String()
}

func stretchTable(all []diagnose.Stretch) *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "state"}, {Name: "from"}, {Name: "length", Right: true}, {Name: "messages", Right: true},
		{Name: "first"}, {Name: "last"}, {Name: "closed by"}, {Name: "to", Wide: true}}}
	for _, s := range all {
		t.Add(render.Text(s.State.String()), render.Time(s.From), render.Cell{Human: render.HumanDuration(s.Duration), Raw: strconv.FormatFloat(s.Seconds, 'f', -1, 64)}, render.Count(s.Messages),
			render.Text(s.FirstID), render.Text(s.LastID), render.Text(s.Closed), render.Time(s.To))
	}
	return t
}

// channel is the label that names the log.
func (r *timetickReport) channel() string {
	name := r.WAL.PChannel
	if name == "" {
		name = r.WAL.Location
	}
	return `channel_name="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

// writeTickMetrics writes the text format Prometheus collects from files: each metric
// once, with a sample for each log.
func writeTickMetrics(w io.Writer, reports ...*timetickReport) error {
	for _, m := range []struct {
		name, help string
		value      func(*timetickReport) float64
	}{
		{"walctl_timetick_last_seconds", "Physical time of the last persisted TimeTick, Unix seconds.", func(r *timetickReport) float64 { return float64(message.PhysicalMillis(r.LastTick)) / 1000 }},
		{"walctl_timetick_records", "Records read.", func(r *timetickReport) float64 { return float64(r.Records) }},
		{"walctl_timetick_persisted", "TimeTicks read.", func(r *timetickReport) float64 { return float64(r.TimeTicks) }},
		{"walctl_timetick_longest_wait_seconds", "Longest wait of an append for its TimeTick.", func(r *timetickReport) float64 { return r.LongestWait }},
		{"walctl_timetick_longest_idle_seconds", "Longest time without an append.", func(r *timetickReport) float64 { return r.LongestIdle }},
		{"walctl_timetick_regressions", "TimeTicks that do not lie above the one before.", func(r *timetickReport) float64 { return float64(r.Regressions) }},
		{"walctl_timetick_unconfirmed", "Messages above the last TimeTick.", func(r *timetickReport) float64 { return float64(r.Unconfirmed) }},
	} {
		if _, err := fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name); err != nil {
			return err
		}
		for _, r := range reports {
			if _, err := fmt.Fprintf(w, "%s{%s} %v\n", m.name, r.channel(), m.value(r)); err != nil {
				return err
			}
		}
	}
	const stretches = "walctl_timetick_stretches"
	if _, err := fmt.Fprintf(w, "# HELP %s Stretches without a TimeTick.\n# TYPE %s gauge\n", stretches, stretches); err != nil {
		return err
	}
	for _, r := range reports {
		for _, s := range []diagnose.TickState{diagnose.TickIdle, diagnose.TickStalled, diagnose.TickLost} {
			if _, err := fmt.Fprintf(w, "%s{%s,state=\"%s\"} %d\n", stretches, r.channel(), s, r.Counts[s.String()]); err != nil {
				return err
			}
		}
	}
	return nil
}
