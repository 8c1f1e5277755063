package cmd

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

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

type channelsOptions struct {
	wals    []string
	source  cli.WALFlags
	catalog cli.CatalogFlags
	place   cli.RangeFlags
	output  cli.Output
	failOn  cli.FailOn
	logs    []string
	frozen  time.Duration
}

func (o *channelsOptions) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&o.logs, "logs", nil, "look for the symptom in this Milvus log `FILE`, repeatable")
	p.DurationVar(&o.frozen, "frozen-after", time.Hour, "a channel checkpoint is frozen when what comes after it has waited this long, in the log's own time")
	o.place.Add(cmd)
	o.catalog.Add(cmd)
	o.source.Add(cmd)
	o.source.Again = true
}

func newChannelsCmd(f *cli.Factory, runF func(context.Context, *channelsOptions) error) *cobra.Command {
	opts := &channelsOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *channelsOptions) error { return runChannels(ctx, f, o) }
	}
	cmd := &cobra.Command{
		Use:   "channels [WAL…]",
		Short: "Show every vchannel as log, catalog, RootCoord, DataCoord and live node see it",
		Long: `Show every vchannel as log, catalog, RootCoord, DataCoord and live node see it,
and what does not fit: in the log but not registered, registered though dropped,
registered under a second pchannel, without a schema, its checkpoint frozen or
behind the end of the log. Without a WAL: every pchannel of the context.

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
			if opts.frozen <= 0 {
				return cli.Usagef("--frozen-after %s: want a time above 0", opts.frozen)
			}
			return runF(cmd.Context(), opts)
		},
	}
	cli.AddOutput(cmd, &opts.output)
	opts.failOn.Add(cmd)
	opts.add(cmd)
	cmd.AddCommand(newChannelsRepairCmd(f, nil))
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

// channelsReport is the JSON answer.
type channelsReport struct {
	render.Header
	WALs []walChannels `json:"wals"`
	*diagnose.ChannelReport
	NotChecked []string   `json:"not_checked"`
	Torn       string     `json:"torn_tail,omitempty"`
	Damage     []badPlace `json:"damage,omitempty"`
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
}

func runChannels(ctx context.Context, f *cli.Factory, o *channelsOptions) error {
	all := len(o.wals) == 0
	if all {
		names, err := f.PChannels(ctx, o.source)
		if err != nil {
			return err
		}
		o.wals = names
	}
	show, done := f.Progress("channels")
	defer done()
	bad := &damage{f: f}
	out := channelsReport{ChannelReport: &diagnose.ChannelReport{Channels: []diagnose.ChannelView{}, Faults: []diagnose.ChannelFault{}}, NotChecked: []string{}}
	live, unknown := liveEvidence(ctx, f, o)
	out.NotChecked = append(out.NotChecked, unknown...)
	wal := render.WAL{}
	var keys []catalog.Problem
	var short error
	for _, w := range o.wals {
		names, err := f.Logs(ctx, w, o.source)
		if err != nil {
			return err
		}
		for _, name := range names {
			one := *o
			one.source.Log = name
			g, err := gatherChannels(ctx, f, &one, w, live, bad, show)
			if err != nil {
				return err
			}
			r := diagnose.JudgeChannels(g.in)
			out.Channels = append(out.Channels, r.Channels...)
			out.Faults = append(out.Faults, r.Faults...)
			out.WALs = append(out.WALs, g.read())
			out.NotChecked, keys = append(out.NotChecked, g.unknown...), g.in.Catalog
			wal = cli.DescribeWAL(g.src)
			wal.PChannel = g.pchannel
			short = errors.Join(short, g.short)
			g.close()
		}
	}
	if all {
		out.Faults = append(out.Faults, diagnose.UnservedFaults(keys, o.wals)...)
	}
	if len(out.WALs) != 1 {
		wal = render.WAL{}
	}
	slices.SortStableFunc(out.Faults, func(a, b diagnose.ChannelFault) int { return cmp.Compare(b.Severity, a.Severity) })
	out.NotChecked = slices.Compact(slices.Sorted(slices.Values(out.NotChecked)))
	findings := out.ChannelReport.Findings()
	out.Header, out.Torn, out.Damage = f.Header("channels", wal, findings), bad.torn, bad.places
	return errors.Join(writeChannels(f, o, &out), bad.err(), o.failOn.Check(findings), short)
}

func writeChannels(f *cli.Factory, o *channelsOptions, r *channelsReport) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.NDJSON:
		return render.Lines(f.Out(), r.Channels)
	case cli.CSV:
		return channelTable(r.Channels).CSV(f.Out())
	}
	if err := writeChannelsHead(f, r); err != nil {
		return err
	}
	told := shown(r.Header.Findings, o.output)
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

func writeChannelsHead(f *cli.Factory, r *channelsReport) error {
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
	lines := []string{fmt.Sprintf("%s · %s records · %s: %d sound, %d with faults",
		render.Plural(len(r.WALs), "pchannel"), render.Thousands(records), render.Plural(len(r.Channels), "vchannel"), len(r.Channels)-faulty, faulty)}
	if len(r.NotChecked) > 0 {
		lines = append(lines, "NOT CHECKED  "+strings.Join(r.NotChecked, "; "))
	}
	if n := len(r.Faults); n > 0 {
		lines = append(lines, render.Plural(n, "fault")+": "+cureWords(cures))
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(f.Out(), render.Clean(l)); err != nil {
			return err
		}
	}
	return nil
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
			if c.cure != diagnose.CureImport {
				parts = append(parts, "0 "+c.many)
			}
		case 1:
			parts = append(parts, "1 "+c.one)
		default:
			parts = append(parts, strconv.Itoa(n[c.cure])+" "+c.many)
		}
	}
	return strings.Join(parts, ", ")
}

// channelTable has one row for each vchannel.
func channelTable(list []diagnose.ChannelView) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "vchannel"}, {Name: "log"}, {Name: "registered"}, {Name: "rootcoord"}, {Name: "channel cp"},
		{Name: "lag"}, {Name: "live"}, {Name: "messages", Right: true, Wide: true}, {Name: "rows", Right: true, Wide: true}, {Name: "growing rows", Right: true, Wide: true},
		{Name: "collection", Wide: true}, {Name: "channel cp tt", Right: true, Wide: true}, {Name: "last tt", Right: true, Wide: true}, {Name: "faults"}}}
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
