package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type stateOptions struct {
	wal    string
	replay replay.Flags
	output cli.Output
	view   string
	failOn cli.FailOn
	memory cli.MemoryFlag
}

func newStateCmd(f *cli.Factory) *cobra.Command {
	opts := &stateOptions{}
	cmd := &cobra.Command{
		Use:   "state WAL",
		Short: "Show the state Milvus recovers from a log and its catalog",
		Long: `Show the state Milvus recovers from a log and its catalog: vchannels, growing
segments, the checkpoint, open transactions. The log is replayed from the catalog's
checkpoint to the last TimeTick, or to --until. Nothing is written anywhere.

--view snapshot is what Milvus hands to its managers; --view all adds dropped
vchannels, flushed segments and segments it hides; --view buffers is what the write
buffer of each vchannel holds then, replayed from its channel checkpoint.`,
		Example: `walctl state dml_3
walctl state ./evidence --until @2026-11-21T03:00:00Z
walctl state wal.jsonl --catalog kvjson:before.json --view all -o json --until tt:470603131202830336`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wal = args[0]
			if opts.view != "snapshot" && opts.view != "all" && opts.view != "buffers" {
				return cli.Usagef("--view %s: show snapshot, all or buffers", opts.view)
			}
			ctx, done := opts.memory.Bound(cmd.Context(), 1)
			return done(runState(ctx, f, opts))
		},
	}
	cmd.Flags().StringVar(&opts.view, "view", "snapshot", "`snapshot|all|buffers`")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.CSV)
	opts.failOn.Add(cmd)
	opts.memory.Add(cmd)
	opts.replay.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

type stateReport struct {
	render.Header
	Until       replay.Stop        `json:"until"`
	Coverage    replay.Coverage    `json:"coverage"`
	Snapshot    *recovery.View     `json:"snapshot,omitempty"`
	All         *recovery.View     `json:"all,omitempty"`
	Buffers     *[]channelbuf.View `json:"buffers,omitempty"`
	Uncommitted []recovery.TxnJSON `json:"uncommitted_txns"`
	AlterWAL    bool               `json:"alter_wal"`
}

func runState(ctx context.Context, f *cli.Factory, o *stateOptions) error {
	buffers := []channelbuf.View{}
	if o.view == "buffers" {
		o.replay.During = func(ctx context.Context, src source.Source, cat catalog.Catalog, r *replay.Replayed) (err error) {
			show, done := f.Progress("buffers")
			defer done()
			buffers, err = replay.BufferViews(ctx, src, cat, r, show)
			return err
		}
	}
	r, err := o.replay.Replay(ctx, f, "state", o.wal, recovery.ReplayOptions{})
	if err != nil {
		return err
	}
	findings := r.Findings()
	report := stateReport{
		Header: f.Header("state", r.WAL, findings), Until: r.StopReport(), Coverage: r.CoverageReport(),
		Uncommitted: recovery.TxnsJSON(r.Uncommitted), AlterWAL: r.State.AlterWAL(),
	}
	view := r.State.Snapshot()
	report.Snapshot = &view
	switch o.view {
	case "all":
		view = r.State.All()
		report.Snapshot, report.All = nil, &view
	case "buffers":
		report.Snapshot, report.Buffers = nil, &buffers
	}
	if err := o.write(f, &report, view, findings); err != nil {
		return err
	}
	return errors.Join(r.ReadError(), o.failOn.Check(findings))
}

func (o *stateOptions) write(f *cli.Factory, r *stateReport, view recovery.View, findings []diagnose.Finding) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.CSV:
		if o.view == "buffers" {
			return replay.BufferTable(*r.Buffers).CSV(f.Out())
		}
		return stateTable(view).CSV(f.Out())
	}
	growing, rows := 0, uint64(0)
	for _, s := range view.Segments {
		if s.State == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING {
			growing++
			rows += s.GetStat().GetModifiedRows()
		}
	}
	head := render.Clean(r.WAL.PChannel) + " · at " + render.HumanTime(render.TickTime(r.Until.TimeTick))
	if r.Until.ID != "" {
		head += " · " + r.Until.ID
	}
	read := "nothing to read"
	if r.Coverage.Records > 0 {
		read = fmt.Sprintf("%s read from %s", render.Plural(int(r.Coverage.Records), "record"), r.Coverage.First)
	}
	lines := []string{head, fmt.Sprintf("%s · %s · %s, %s · %s", read, render.Plural(len(view.VChannels), "vchannel"),
		render.Plural(growing, "growing segment"), render.Plural(int(rows), "row"), render.Plural(len(r.Uncommitted), "open transaction"))}
	if o.view == "buffers" {
		lines = append(lines, replay.BufferLine(*r.Buffers))
	}
	if r.AlterWAL {
		lines = append(lines, "the log ends with a switch to another WAL")
	}
	if err := cli.PrintLines(f, append(lines, cli.NotCheckedLines(diagnose.Unchecked(findings))...)); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), cli.WorthShowing(findings, o.output)); err != nil {
		return err
	}
	if o.view == "buffers" {
		return replay.BufferTable(*r.Buffers).Write(f.Out(), f.Style(o.output))
	}
	return stateTable(view).Write(f.Out(), f.Style(o.output))
}

// stateTable has one row for each vchannel.
func stateTable(v recovery.View) *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "vchannel"}, {Name: "state"}, {Name: "collection", Right: true, Wide: true},
		{Name: "partitions", Right: true}, {Name: "schemas", Right: true}, {Name: "growing", Right: true}, {Name: "sealed", Right: true, Wide: true},
		{Name: "rows", Right: true}, {Name: "last change"}, {Name: "last change tt", Right: true, Wide: true}}}
	type sums struct {
		growing, sealed int64
		rows            uint64
	}
	by := map[string]sums{}
	for _, s := range v.Segments {
		x := by[s.Vchannel]
		if s.State == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING {
			x.growing++
			x.rows += s.GetStat().GetModifiedRows()
		} else {
			x.sealed++
		}
		by[s.Vchannel] = x
	}
	for _, name := range slices.Sorted(maps.Keys(v.VChannels)) {
		m, x := v.VChannels[name], by[name]
		state := "normal"
		if m.State == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED {
			state = "dropped"
		}
		t.Add(render.Text(name), render.Text(state), render.Number(m.CollectionInfo.GetCollectionId()),
			render.Count(int64(len(m.CollectionInfo.GetPartitions()))), render.Count(int64(len(m.CollectionInfo.GetSchemas()))),
			render.Count(x.growing), render.Count(x.sealed), render.Count(int64(x.rows)), render.Tick(m.CheckpointTimeTick), render.Number(m.CheckpointTimeTick))
	}
	return t
}
