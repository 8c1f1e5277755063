// Package channels is walctl channels and channels repair.
package channels

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type options struct {
	gather.ChannelFlags
	wals   []string
	output cli.Output
	failOn cli.FailOn
	jobs   cli.JobsFlag
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "channels [WAL…]",
		Short: "Show every vchannel as log, catalog, RootCoord, DataCoord and live node see it",
		Long: `Show every vchannel as log, catalog, RootCoord, DataCoord and live node see it,
and what does not fit: in the log but not registered, registered though dropped,
registered under a second pchannel, without a schema, its checkpoint frozen or
behind the end of the log. Without a WAL: every pchannel of the context; --jobs logs
are read at once, and one that cannot be read hides no other.

Each fault says what cures it: the catalog, through a plan of channels repair; the
restart of a live process ("channel reduplicates"); or a person's decision. Live
nodes are looked at through --metrics or an archive's metrics, and --logs. A lag is
measured in the log's own time, so an idle log ages nothing.

` + cli.RangeHelp,
		Example: `walctl channels dml_3
walctl channels ./evidence -o json
walctl channels dml_3 --from checkpoint
walctl channels dml_3 --metrics http://10.0.0.7:9091/metrics --logs streamingnode.log
walctl channels wal.jsonl.zst --catalog kvjson:catalog.json`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			if opts.Frozen <= 0 {
				return cli.Usagef("--frozen-after %s: want a time above 0", opts.Frozen)
			}
			return run(cmd.Context(), f, opts)
		},
	}
	cli.AddOutput(cmd, &opts.output)
	opts.failOn.Add(cmd)
	opts.jobs.Add(cmd)
	opts.Add(cmd)
	cmd.AddCommand(newRepairCmd(f))
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

// Report is the JSON answer.
type Report struct {
	render.Header
	WALs []walChannels `json:"wals"`
	*diagnose.ChannelReport
	NotChecked []string       `json:"not_checked"`
	Torn       string         `json:"torn_tail,omitempty"`
	Damage     []cli.BadPlace `json:"damage,omitempty"`
}

// walChannels is what was read of one log.
type walChannels struct {
	PChannel string `json:"pchannel"`
	Records  int64  `json:"records"`
	First    string `json:"first,omitempty"`
	Last     string `json:"last,omitempty"`
	LastTick uint64 `json:"last_time_tick,string"`
	Term     int64  `json:"term"`
	Node     string `json:"node,omitempty"`
	Error    string `json:"error,omitempty"` // why it could not be read
	faults   int
	channels int
}

// judgedChannels is what one log and its catalog say of the vchannels.
type judgedChannels struct {
	report  *diagnose.ChannelReport
	read    walChannels
	wal     render.WAL
	unknown []string
	keys    []catalog.Problem
	bad     *cli.Damage
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	all := len(o.wals) == 0
	if all {
		names, err := f.PChannels(ctx, o.Source)
		if err != nil {
			return err
		}
		o.wals = names
	}
	refs := []cli.LogRef{}
	if len(o.wals) > 0 {
		var err error
		if refs, err = f.LogRefs(ctx, o.wals, o.Source); err != nil {
			return err
		}
	}
	each, jobs := *o, o.jobs.Of(len(refs))
	if len(refs) > 1 {
		each.Source = o.Source.Gently(jobs)
	}
	live, unknown := gather.LiveEvidence(ctx, f, &o.ChannelFlags)
	show, done := f.ProgressOfMany("channels", len(refs))
	defer done()
	answers := cli.Each(ctx, jobs, refs, func(ctx context.Context, ref cli.LogRef) (*judgedChannels, error) {
		one := each
		one.Source.Log = ref.Log
		return judgeLog(ctx, f, &one, ref, live, show.One())
	})
	out, keys, err := joinChannels(f, o, answers, unknown)
	if err != nil {
		return err
	}
	if all {
		out.Faults = append(out.Faults, diagnose.UnservedFaults(keys, o.wals)...)
	}
	slices.SortStableFunc(out.Faults, func(a, b diagnose.ChannelFault) int { return cmp.Compare(b.Severity, a.Severity) })
	findings := out.ChannelReport.Findings()
	out.Header = f.Header("channels", out.WAL, findings)
	errs := []error{write(f, o, out)}
	for _, a := range answers {
		if a.Report == nil {
			a.Err = cli.Reported(a.Err) // its line told
		}
		errs = append(errs, a.Err)
	}
	return errors.Join(errors.Join(errs...), o.failOn.Check(findings))
}

// judgeLog judges the vchannels of one log. The error beside a report is its share of
// the exit code.
func judgeLog(ctx context.Context, f *cli.Factory, o *options, ref cli.LogRef, live *gather.Live, show source.Progress) (*judgedChannels, error) {
	bad := &cli.Damage{Factory: f}
	g, err := gather.Channels(ctx, f, &o.ChannelFlags, ref.WAL, live, bad, show)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	out := &judgedChannels{report: diagnose.JudgeChannels(g.In), read: readOf(g), wal: cli.DescribeWAL(g.Src), unknown: g.Unknown, keys: g.In.Catalog, bad: bad}
	out.wal.PChannel = g.PChannel
	out.read.faults, out.read.channels = len(out.report.Faults), len(out.report.Channels)
	return out, errors.Join(bad.Err(), g.Short)
}

func readOf(g *gather.Gathered) walChannels {
	l, a := g.In.Logs[g.PChannel], g.In.Assigned[g.PChannel]
	return walChannels{PChannel: g.PChannel, Records: l.Records, First: l.First.Text(), Last: l.Last.Text(), LastTick: l.LastTick, Term: a.Term, Node: a.Node}
}

// joinChannels makes one answer of those of the logs, and brings the keys of the
// catalog that fit no log. Where the one log there is could not be read, that is the
// error; of several it is a line.
func joinChannels(f *cli.Factory, o *options, answers []cli.Asked[judgedChannels], unknown []string) (*Report, []catalog.Problem, error) {
	out := &Report{ChannelReport: &diagnose.ChannelReport{Channels: []diagnose.ChannelView{}, Faults: []diagnose.ChannelFault{}}, NotChecked: slices.Concat([]string{}, unknown)}
	var keys []catalog.Problem
	for i := range answers {
		a := &answers[i]
		switch {
		case a.Report == nil && (len(answers) == 1 || errors.Is(a.Err, cli.ErrInterrupted)):
			return nil, nil, a.Err
		case a.Report == nil:
			out.WALs = append(out.WALs, walChannels{PChannel: a.Ref.String(), Error: a.Err.Error()})
			if !o.output.IsTable() {
				f.Notef("walctl: %s: %v", a.Ref, a.Err)
			}
			continue
		}
		r := a.Report
		out.Channels = append(out.Channels, r.report.Channels...)
		out.Faults = append(out.Faults, r.report.Faults...)
		out.WALs, out.NotChecked, keys = append(out.WALs, r.read), append(out.NotChecked, r.unknown...), r.keys
		out.Torn, out.Damage = cmp.Or(out.Torn, r.bad.Torn), append(out.Damage, r.bad.Places...)
		if len(answers) == 1 {
			out.WAL = r.wal
		}
	}
	out.NotChecked = slices.Compact(slices.Sorted(slices.Values(out.NotChecked)))
	return out, keys, nil
}

func write(f *cli.Factory, o *options, r *Report) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.NDJSON:
		return render.Lines(f.Out(), r.Channels)
	case cli.CSV:
		return channelTable(r.Channels).CSV(f.Out())
	}
	if err := writeHead(f, r); err != nil {
		return err
	}
	if len(r.WALs) > 1 {
		if err := logTable(r.WALs).Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	told := cli.Shown(r.Header.Findings, o.output)
	if o.output != cli.Wide {
		for i := range told {
			told[i].Where.Key = "" // the vchannel says it
		}
	}
	if err := render.Findings(f.Out(), f.Style(o.output), told); err != nil {
		return err
	}
	list := r.Channels
	if o.output != cli.Wide {
		list = slices.DeleteFunc(slices.Clone(list), func(c diagnose.ChannelView) bool { return len(c.Faults) == 0 })
	}
	if len(list) > 0 {
		if err := channelTable(list).Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	next := []string{}
	for _, x := range r.Header.Findings {
		if x.Next != "" && len(next) == 0 {
			next = append(next, x.Next)
		}
	}
	return f.Next(next...)
}

func writeHead(f *cli.Factory, r *Report) error {
	faulty, records := 0, int64(0)
	for i := range r.Channels {
		if len(r.Channels[i].Faults) > 0 {
			faulty++
		}
	}
	for i := range r.WALs {
		records += r.WALs[i].Records
	}
	cures := map[diagnose.Cure]int{}
	for i := range r.Faults {
		cures[r.Faults[i].Cure]++
	}
	lines := []string{fmt.Sprintf("%s · %s · %s: %d sound, %d with faults",
		render.Plural(len(r.WALs), "pchannel"), render.Plural(int(records), "record"), render.Plural(len(r.Channels), "vchannel"), len(r.Channels)-faulty, faulty)}
	lines = append(lines, cli.NotCheckedLines(r.NotChecked)...)
	if n := len(r.Faults); n > 0 {
		lines = append(lines, render.Plural(n, "fault")+": "+cureWords(cures))
	}
	return cli.PrintLines(f, lines)
}

// cureWords says who can put how many of the faults right.
func cureWords(n map[diagnose.Cure]int) string {
	var parts []string
	for _, c := range []struct {
		cure      diagnose.Cure
		one, many string
	}{
		{diagnose.CureCatalog, "the catalog can cure", "the catalog can cure"},
		{diagnose.CureRestart, "sits in a live process and clears only when it restarts", "sit in a live process and clear only when it restarts"},
		{diagnose.CureImport, "waits for an import job", "wait for an import job"},
		{diagnose.CureDecision, "needs a decision", "need a decision"},
	} {
		switch n[c.cure] {
		case 0:
		case 1:
			parts = append(parts, "1 "+c.one)
		default:
			parts = append(parts, strconv.Itoa(n[c.cure])+" "+c.many)
		}
	}
	return strings.Join(parts, ", ")
}

// logTable has one row for each log, worst first.
func logTable(list []walChannels) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "state"}, {Name: "log"}, {Name: "records", Right: true}, {Name: "vchannels", Right: true}, {Name: "faults", Right: true}, {Name: "why"}}}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b walChannels) int {
		return cmp.Or(-cmp.Compare(min(len(a.Error), 1), min(len(b.Error), 1)), cmp.Compare(b.faults, a.faults))
	})
	for i := range sorted {
		l := &sorted[i]
		state, why := "ok", ""
		switch {
		case l.Error != "":
			state = "FAILED"
			why, _, _ = strings.Cut(l.Error, "\n")
		case l.faults > 0:
			state = "FAULTS"
		}
		t.Add(render.Text(state), render.Text(l.PChannel), render.Count(l.Records), render.Count(int64(l.channels)), render.Count(int64(l.faults)), render.Text(why))
	}
	return t
}

// channelTable has one row for each vchannel.
func channelTable(list []diagnose.ChannelView) *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "vchannel"}, {Name: "log"}, {Name: "registered"}, {Name: "rootcoord"}, {Name: "channel cp"},
		{Name: "lag"}, {Name: "live", Spare: true}, {Name: "messages", Right: true, Wide: true}, {Name: "rows", Right: true, Wide: true}, {Name: "growing rows", Right: true, Wide: true},
		{Name: "collection", Wide: true}, {Name: "channel cp tt", Right: true, Wide: true}, {Name: "last tt", Right: true, Wide: true}, {Name: "faults", Spare: true}}}
	for i := range list {
		c := &list[i]
		registered := c.Registered
		if len(c.Elsewhere) > 0 {
			registered += " + " + strings.Join(c.Elsewhere, ", ")
		}
		cp := render.Text(c.ChannelCP)
		if c.CPTick > 0 {
			cp = render.Tick(c.CPTick)
		}
		lag := render.Text("")
		if c.CPTick > 0 {
			lag = render.Duration(time.Duration(c.LagSeconds * float64(time.Second)))
		}
		t.Add(render.Text(c.VChannel), render.Text(c.Log), render.Text(registered), render.Text(c.RootCoord), cp, lag, render.Text(c.Live),
			render.Count(c.Messages), render.Count(int64(c.Rows)), render.Count(int64(c.GrowingRows)), render.Text(c.Name),
			render.Number(c.CPTick), render.Number(c.LastTick), render.Text(strings.Join(c.Faults, ", ")))
	}
	return t
}
