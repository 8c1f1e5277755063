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
	wal            string
	source         cli.WALFlags
	catalog        cli.CatalogFlags
	place          cli.RangeFlags
	output         cli.Output
	failOn         cli.FailOn
	warn, critical time.Duration
}

// timetickReport is the JSON answer.
type timetickReport struct {
	render.Header
	*diagnose.TickReport
	Torn   string     `json:"torn_tail,omitempty"`
	Damage []badPlace `json:"damage,omitempty"`
}

func newTimetickCmd(f *cli.Factory, runF func(context.Context, *timetickOptions) error) *cobra.Command {
	opts := &timetickOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *timetickOptions) error { return runTimetick(ctx, f, o) }
	}
	cmd := &cobra.Command{
		Use:   "timetick WAL",
		Short: "Show where a log's time stood still, and why",
		Long: `Show where a log's time stood still, and why:

  idle     nothing was appended: a healthy node writes no TimeTicks then
  stalled  appends waited, and nothing shows that they were acknowledged
  lost     appends were acknowledged, but their TimeTick is not in the log

Appends that wait longer than --warn or --critical are findings of that severity;
a lost or backward TimeTick is an error.

` + cli.RangeHelp,
		Example: `walctl timetick dml_3
walctl timetick ./evidence --warn 2s --critical 10s
walctl timetick dml_3 -o prometheus > /var/lib/node_exporter/walctl.prom`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wal = args[0]
			if opts.warn <= 0 || opts.critical < opts.warn {
				return cli.Usagef("--warn %s --critical %s: want 0 < warn ≤ critical", opts.warn, opts.critical)
			}
			return runF(cmd.Context(), opts)
		},
	}
	cmd.Flags().DurationVar(&opts.warn, "warn", time.Second, "a wait for a TimeTick this long is a warning")
	cmd.Flags().DurationVar(&opts.critical, "critical", 30*time.Second, "a wait for a TimeTick this long is critical")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.NDJSON, cli.CSV, cli.Prometheus)
	opts.failOn.Add(cmd)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func runTimetick(ctx context.Context, f *cli.Factory, o *timetickOptions) error {
	s, err := f.OpenWAL(ctx, o.wal, o.source)
	if err != nil {
		return err
	}
	defer s.Close()
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return err
	}
	rng.Columns = diagnose.TickColumns
	r, err := source.OpenColumns(ctx, s, rng)
	if err != nil {
		return err
	}
	defer r.Close()
	show, done := f.Progress("timetick")
	defer done()
	bad := &damage{f: f}
	report, err := diagnose.TimeTicks(ctx, &watched{r, bad}, diagnose.TickOptions{
		WAL: o.wal, PChannel: s.Describe().PChannel, Warn: o.warn, Critical: o.critical, Progress: show,
	})
	if err != nil {
		return err
	}
	out := timetickReport{f.Header("timetick", cli.DescribeWAL(s), report.Findings), report, bad.torn, bad.places}
	return errors.Join(writeTimetick(f, o, &out), bad.err(), o.failOn.Check(report.Findings), cli.NotWhole(s, rng))
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
	if err := render.Findings(f.Out(), f.Style(o.output), shown(r.Header.Findings, o.output)); err != nil {
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
	t := &render.Table{Columns: []render.Column{{Name: "state"}, {Name: "from"}, {Name: "length", Right: true}, {Name: "messages", Right: true},
		{Name: "first"}, {Name: "last"}, {Name: "closed by"}, {Name: "to", Wide: true}}}
	for _, s := range all {
		t.Add(render.Text(s.State.String()), render.Time(s.From), render.Cell{Human: render.HumanDuration(s.Duration), Raw: strconv.FormatFloat(s.Seconds, 'f', -1, 64)}, render.Count(s.Messages),
			render.Text(s.FirstID), render.Text(s.LastID), render.Text(s.Closed), render.Time(s.To))
	}
	return t
}

// writeTickMetrics writes the text format Prometheus collects from files.
func writeTickMetrics(w io.Writer, r *timetickReport) error {
	label := func(s string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
	}
	name := r.WAL.PChannel
	if name == "" {
		name = r.WAL.Location
	}
	channel := `channel_name="` + label(name) + `"`
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"walctl_timetick_last_seconds", "Physical time of the last persisted TimeTick, Unix seconds.", float64(message.PhysicalMillis(r.LastTick)) / 1000},
		{"walctl_timetick_records", "Records read.", float64(r.Records)},
		{"walctl_timetick_persisted", "TimeTicks read.", float64(r.TimeTicks)},
		{"walctl_timetick_longest_wait_seconds", "Longest wait of an append for its TimeTick.", r.LongestWait},
		{"walctl_timetick_longest_idle_seconds", "Longest time without an append.", r.LongestIdle},
		{"walctl_timetick_regressions", "TimeTicks that do not lie above the one before.", float64(r.Regressions)},
		{"walctl_timetick_unconfirmed", "Messages above the last TimeTick.", float64(r.Unconfirmed)},
	} {
		if _, err := fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n%s{%s} %v\n", m.name, m.help, m.name, m.name, channel, m.value); err != nil {
			return err
		}
	}
	const stretches = "walctl_timetick_stretches"
	if _, err := fmt.Fprintf(w, "# HELP %s Stretches without a TimeTick.\n# TYPE %s gauge\n", stretches, stretches); err != nil {
		return err
	}
	for _, s := range []diagnose.TickState{diagnose.TickIdle, diagnose.TickStalled, diagnose.TickLost} {
		if _, err := fmt.Fprintf(w, "%s{%s,state=\"%s\"} %d\n", stretches, channel, s, r.Counts[s.String()]); err != nil {
			return err
		}
	}
	return nil
}
