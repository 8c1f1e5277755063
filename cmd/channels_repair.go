package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type channelsRepairOptions struct {
	channelsOptions
	out   string
	files outFlags
}

func newChannelsRepairCmd(f *cli.Factory, runF func(context.Context, *channelsRepairOptions) error) *cobra.Command {
	o := &channelsRepairOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *channelsRepairOptions) error { return runChannelsRepair(ctx, f, o) }
	}
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
			o.files.madeFrom(args[0], o.catalog.Spec)
			if err := o.files.takeStdout(f, o.output, o.out); err != nil {
				return err
			}
			if err := o.files.checkPlan(o.out); err != nil {
				return err
			}
			return runF(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "save the plan to this `FILE`, for apply (required)")
	o.files.add(cmd.Flags())
	cli.AddOutput(cmd, &o.output, cli.Table, cli.Wide, cli.JSON)
	o.add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused)
}

// channelsRepairReport is the JSON answer.
type channelsRepairReport struct {
	render.Header
	Plan *planReport             `json:"plan"`
	Left []diagnose.ChannelFault `json:"left"` // what no plan cures
}

func runChannelsRepair(ctx context.Context, f *cli.Factory, o *channelsRepairOptions) error {
	show, done := f.Progress("channels repair")
	defer done()
	bad := &damage{f: f}
	live, _ := liveEvidence(ctx, f, &o.channelsOptions)
	g, err := gatherChannels(ctx, f, &o.channelsOptions, o.wals[0], live, bad, show)
	if err != nil {
		return err
	}
	defer g.close()
	r := diagnose.JudgeChannels(g.in)
	in, err := o.planInput(ctx, f, g)
	if err != nil {
		return err
	}
	if err := partial(ctx, g.src, in); err != nil {
		return err
	}
	rs, err := o.restart(ctx, f, g)
	if err != nil {
		return err
	}
	left, err := o.cure(ctx, rs, in, g, r.Faults)
	if err != nil {
		return err
	}
	p, err := rs.Registrations(ctx, in)
	if err != nil {
		return usageOf(err)
	}
	if err := o.files.writePlan(o.out, p); err != nil {
		return err
	}
	wal := cli.DescribeWAL(g.src)
	wal.PChannel = g.pchannel
	out := channelsRepairReport{Header: f.Header("channels repair", wal, r.Findings()), Plan: (&planned{plan: p, out: o.out}).report(), Left: left}
	return errors.Join(writeChannelsRepair(f, o, &out, p), bad.err())
}

// planInput is what the plan is made from, but for its edits.
func (o *channelsRepairOptions) planInput(ctx context.Context, f *cli.Factory, g *gathered) (*plan.Input, error) {
	l := g.in.Logs[g.pchannel]
	bounds, err := g.src.Bounds(ctx)
	if err != nil {
		bounds = source.Bounds{First: l.First, Last: l.Last}
	}
	over := planOver{wal: o.wals[0], named: o.catalog, pchannel: g.pchannel, src: g.src, cat: g.cat, bounds: bounds, tick: l.LastTick}
	in, err := over.input(ctx, f)
	if err != nil {
		return nil, err
	}
	in.Coverage = plan.Coverage{From: idText(l.First), To: idText(l.Last), Messages: l.Records, Undecodable: l.Damaged}
	if !l.First.IsZero() {
		c, err := recovery.Cover(ctx, g.src, l.First, l.Last)
		if err != nil && !errors.Is(err, source.ErrConsumed) {
			return nil, err
		}
		in.Coverage.Digest = c.Digest()
	}
	if !l.ToEnd {
		in.Coverage.Filter = "--to or --limit"
	}
	for _, md := range g.wals {
		for k, v := range md.KV {
			in.Before[k], in.Revisions[k] = v, md.Revisions[k]
		}
	}
	return in, repair.ReadAlso(ctx, g.cat, in, catalog.ChannelCheckpointKey(g.pchannel+"_"))
}

// restart replays the log over the catalog as it is: what a repair is held against.
func (o *channelsRepairOptions) restart(ctx context.Context, f *cli.Factory, g *gathered) (*repair.Restart, error) {
	settings, err := f.Config()
	if err != nil {
		return nil, err
	}
	version := versionOf(ctx, settings.MilvusVersion, g.cat)
	rs := &repair.Restart{Source: g.src, Catalog: g.cat, Metadata: g.wals[g.pchannel], Line: recovery.LineOf(version),
		Options: recovery.ReplayOptions{Tail: true, Collections: g.collections,
			Pending: func(context.Context) (map[string]bool, error) { return g.in.Pending, nil }, Flushed: g.cluster.ChannelCheckpoints, State: recovery.Options{Milvus: version}}}
	rs.Result, err = recovery.Replay(ctx, g.src, rs.Metadata, rs.Options)
	if errors.Is(err, source.ErrConsumed) {
		return rs, nil
	}
	return rs, err
}

// cure turns the faults the catalog can cure into edits, and returns the others.
func (o *channelsRepairOptions) cure(ctx context.Context, rs *repair.Restart, in *plan.Input, g *gathered, faults []diagnose.ChannelFault) ([]diagnose.ChannelFault, error) {
	left := []diagnose.ChannelFault{}
	for _, x := range faults {
		if x.Code == catalog.CodeNoSchema && x.Cure == diagnose.CureDecision { // root-coord lacks it: log or value may have it
			x.Action, x.PChannel = diagnose.ActionSchema, g.pchannel
		} else if x.Cure != diagnose.CureCatalog {
			left = append(left, x)
		}
		edits, err := g.edits(ctx, rs, in, x)
		if errors.Is(err, plan.ErrCannotRepair) {
			in.Notes = append(in.Notes, err.Error())
			left = append(left, x)
			continue
		}
		if err != nil {
			return nil, err
		}
		in.Edits = append(in.Edits, edits...)
	}
	slices.SortFunc(in.Notes, strings.Compare)
	in.Notes = slices.Compact(in.Notes)
	return left, nil
}

// edits are one fault's.
func (g *gathered) edits(ctx context.Context, rs *repair.Restart, in *plan.Input, x diagnose.ChannelFault) ([]plan.Edit, error) {
	v := x.Where.VChannel
	switch x.Action {
	case diagnose.ActionUnregister:
		edits, blast := plan.Unregister(g.wals[x.PChannel], v, x.Code)
		if x.Code == "vchannel-dropped" && blast.Rows > 0 {
			in.Blast = append(in.Blast, blast)
		}
		return edits, nil
	case diagnose.ActionMove:
		edits, err := plan.MoveRegistration(g.wals[x.PChannel], message.PChannelOf(v), v, x.Code)
		if errors.Is(err, plan.ErrCannotRepair) {
			return g.register(ctx, rs, in, v)
		}
		return edits, err
	case diagnose.ActionRegister:
		return g.register(ctx, rs, in, v)
	case diagnose.ActionSchema:
		edits, from, err := rs.Registration(ctx, v)
		if err == nil {
			in.Notes = append(in.Notes, v+": "+from)
		}
		return edits, err
	}
	return nil, nil
}

// register gives the catalog back what it lost, and moves a flush position the log
// no longer has to the first that survives.
func (g *gathered) register(ctx context.Context, rs *repair.Restart, in *plan.Input, v string) ([]plan.Edit, error) {
	edits, from, err := rs.Registration(ctx, v)
	if err != nil {
		return nil, err
	}
	in.Notes = append(in.Notes, v+": "+from)
	if in.Log.First.IsZero() {
		return edits, nil
	}
	moved, err := plan.SurvivingCheckpoint(v, g.cluster.ChannelCheckpoints[v], repair.TargetOf(in, rs.Metadata.Checkpoint))
	return append(edits, moved...), err
}

func writeChannelsRepair(f *cli.Factory, o *channelsRepairOptions, r *channelsRepairReport, p *plan.Plan) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	if p.Empty() {
		if _, err := fmt.Fprintln(f.Out(), "The plan is empty: the catalog needs no repair of its registrations."); err != nil {
			return err
		}
	} else if err := writePlan(f, p, o.output == cli.Wide); err != nil {
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
	return f.Next("walctl apply " + shellQuote(o.out) + confirmation(f))
}
