package channels

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type repairOptions struct {
	options
	out   string
	files plans.OutFlags
}

func newRepairCmd(f *cli.Factory) *cobra.Command {
	o := &repairOptions{}
	cmd := &cobra.Command{
		Use:   "repair WAL",
		Short: "Plan the repair of the registrations the catalog can cure",
		Long: `Plan the repair of the registrations the catalog can cure: a missing vchannel is
registered from RootCoord's keys, a registration that should not be is removed, one
under the wrong pchannel is moved, a lost schema is put back. Nothing is written but
the plan; apply writes it, undo takes it back. What sits in a live process or needs a
decision is named and left alone. After apply, a second repair plans nothing.`,
		Example: `walctl channels repair dml_3 --out p.json
walctl channels repair ./evidence --catalog file:catalog.db --out p.json`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.wals = args
			if o.out == "" {
				return cli.Usagef("say with --out FILE where the plan goes; nothing else is written")
			}
			o.files.MadeFrom(args[0], o.Catalog.Spec)
			if err := o.files.TakeStdout(f, o.output, o.out); err != nil {
				return err
			}
			if err := o.files.CheckPlan(o.out); err != nil {
				return err
			}
			return runRepair(cmd.Context(), f, o)
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "save the plan to this `FILE`, for apply (required)")
	o.files.Add(cmd.Flags())
	cli.AddOutput(cmd, &o.output, cli.Table, cli.Wide, cli.JSON)
	o.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused)
}

// RepairReport is the JSON answer.
type RepairReport struct {
	render.Header
	Plan *plans.PlanReport       `json:"plan"`
	Left []diagnose.ChannelFault `json:"left"` // what no plan cures
}

func runRepair(ctx context.Context, f *cli.Factory, o *repairOptions) error {
	show, done := f.Progress("channels repair")
	defer done()
	bad := &cli.Damage{Factory: f}
	live, _ := gather.LiveEvidence(ctx, f, &o.ChannelFlags)
	g, err := gather.Channels(ctx, f, &o.ChannelFlags, o.wals[0], live, bad, show)
	if err != nil {
		return err
	}
	defer g.Close()
	r := diagnose.JudgeChannels(g.In)
	in, err := o.planInput(ctx, f, g)
	if err != nil {
		return err
	}
	if err := plans.Partial(ctx, g.Src, in); err != nil {
		return err
	}
	rs, err := o.restart(ctx, f, g)
	if err != nil {
		return err
	}
	left, err := rs.Cure(ctx, in, repair.Faults{PChannel: g.PChannel, WALs: g.WALs, Flushed: g.Cluster.ChannelCheckpoints, List: r.Faults})
	if err != nil {
		return err
	}
	p, err := rs.Registrations(ctx, in)
	if err != nil {
		return plans.UsageOf(err)
	}
	if err := o.files.WritePlan(o.out, p); err != nil {
		return err
	}
	wal := cli.DescribeWAL(g.Src)
	wal.PChannel = g.PChannel
	out := RepairReport{Header: f.Header("channels repair", wal, r.Findings()), Plan: (&plans.Planned{Plan: p, Out: o.out}).Report(), Left: left}
	return errors.Join(writeRepair(f, o, &out, p), bad.Err())
}

// planInput is what the plan is made from, but for its edits.
func (o *repairOptions) planInput(ctx context.Context, f *cli.Factory, g *gather.Gathered) (*plan.Input, error) {
	l := g.In.Logs[g.PChannel]
	bounds, err := g.Src.Bounds(ctx)
	if err != nil {
		bounds = source.Bounds{First: l.First, Last: l.Last}
	}
	over := plans.Over{WAL: o.wals[0], Named: o.Catalog, PChannel: g.PChannel, Src: g.Src, Cat: g.Cat, Bounds: bounds, Tick: l.LastTick}
	in, err := over.Input(ctx, f)
	if err != nil {
		return nil, err
	}
	in.Coverage = plan.Coverage{From: l.First.Text(), To: l.Last.Text(), Messages: l.Records, Undecodable: l.Damaged}
	if !l.First.IsZero() {
		c, err := recovery.Cover(ctx, g.Src, l.First, l.Last)
		if err != nil && !errors.Is(err, source.ErrConsumed) {
			return nil, err
		}
		in.Coverage.Digest = c.Digest()
	}
	if !l.ToEnd {
		in.Coverage.Filter = "--to or --limit"
	}
	for _, md := range g.WALs {
		for k, v := range md.KV {
			in.Before[k], in.Revisions[k] = v, md.Revisions[k]
		}
	}
	return in, repair.ReadAlso(ctx, g.Cat, in, catalog.ChannelCheckpointKey(g.PChannel+"_"))
}

// restart replays the log over the catalog as it is: what a repair is held against.
func (o *repairOptions) restart(ctx context.Context, f *cli.Factory, g *gather.Gathered) (*repair.Restart, error) {
	settings, err := f.Config()
	if err != nil {
		return nil, err
	}
	version := replay.VersionOf(ctx, settings.MilvusVersion, g.Cat)
	rs := &repair.Restart{Source: g.Src, Catalog: g.Cat, Metadata: g.WALs[g.PChannel], Line: recovery.LineOf(version),
		Options: recovery.ReplayOptions{Tail: true, Collections: g.Collections,
			Pending: func(context.Context) (map[string]bool, error) { return g.In.Pending, nil }, Flushed: g.Cluster.ChannelCheckpoints, State: recovery.Options{Milvus: version}}}
	rs.Result, err = recovery.Replay(ctx, g.Src, rs.Metadata, rs.Options)
	if errors.Is(err, source.ErrConsumed) {
		return rs, nil
	}
	return rs, err
}

func writeRepair(f *cli.Factory, o *repairOptions, r *RepairReport, p *plan.Plan) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	if p.Empty() {
		if _, err := fmt.Fprintln(f.Out(), "The plan is empty: the catalog needs no repair of its registrations."); err != nil {
			return err
		}
	} else if err := plans.Show(f, p, o.output == cli.Wide); err != nil {
		return err
	}
	for i := range r.Left {
		x := &r.Left[i]
		word := "needs a decision"
		if x.Cure == diagnose.CureRestart {
			word = "clears only when the process restarts"
		}
		if x.Severity == diagnose.SeverityInfo {
			continue
		}
		if _, err := fmt.Fprintf(f.Out(), "Left       %s  %s: %s\n", x.Code, render.Clean(x.Where.VChannel+x.Where.PChannel), word); err != nil {
			return err
		}
	}
	if !p.Applicable || p.Empty() {
		return nil
	}
	return f.Next(plans.Apply(f, o.out, ""))
}
