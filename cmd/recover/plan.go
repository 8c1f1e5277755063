package recovercmd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// planFlags say which plan a replay is to end in.
type planFlags struct {
	out      string
	only     []string
	gaps     []string
	alterWAL string
}

func (p *planFlags) add(cmd *cobra.Command) {
	var kinds []string
	for _, k := range plan.Kinds() {
		if k != plan.KindImport && k != plan.KindUnregister {
			kinds = append(kinds, string(k))
		}
	}
	s := cmd.Flags()
	s.StringVar(&p.out, "out", "", "save the plan that repairs the catalog to this `FILE`, for apply")
	s.StringSliceVar(&p.only, "only", nil, "only repairs of this `KIND`: "+strings.Join(kinds, ", "))
	cli.CompleteWords(cmd, "only", kinds)
	s.StringSliceVar(&p.gaps, "accept-gap", nil, "accept the loss of this `FROM..TO`, as the coverage names it")
	s.StringVar(&p.alterWAL, "alter-wal", "", "what becomes of a switch of WALs that was cut off: `finish|drop`")
}

func (p *planFlags) check() error {
	for _, k := range p.only {
		if !slices.Contains(plan.Kinds(), plan.Kind(k)) || k == string(plan.KindImport) || k == string(plan.KindUnregister) {
			return cli.Usagef("--only %s: no such kind of repair; see `walctl recover --help`", k)
		}
	}
	if p.alterWAL != "" && p.alterWAL != "finish" && p.alterWAL != "drop" {
		return cli.Usagef("--alter-wal %s: finish or drop", p.alterWAL)
	}
	if p.alterWAL == "" && slices.Contains(p.only, string(plan.KindAlterWAL)) {
		return cli.Usagef("--only %s: say with --alter-wal whether to finish or drop it", plan.KindAlterWAL)
	}
	return nil
}

// planning has the replay make a plan while log and catalog are open.
func (o *options) planning(f *cli.Factory) *plans.Planned {
	p := &plans.Planned{Out: o.plan.out}
	o.replay.During = func(ctx context.Context, src source.Source, cat catalog.Catalog, r *replay.Replayed) error {
		if !r.Until.Reached || r.LacksPayloads() > 0 {
			return nil // there is nothing to bring the catalog to, or what it would lack is not known
		}
		in, err := o.planInput(ctx, f, src, cat, r)
		if err != nil {
			return err
		}
		p.Copied = len(in.Against) > 0
		if err := plans.Partial(ctx, src, in); err != nil {
			return err
		}
		if p.Plan, err = o.restarts(r, src, cat).Plan(ctx, in); err != nil {
			return plans.UsageOf(err)
		}
		if p.Out != "" {
			return o.files.WritePlan(p.Out, p.Plan)
		}
		return nil
	}
	return p
}

// restarts is the replay as a repair takes it.
func (o *options) restarts(r *replay.Replayed, src source.Source, cat catalog.Catalog) *repair.Restart {
	return &repair.Restart{Source: src, Catalog: cat, Metadata: r.Metadata, Options: r.Options, Line: r.Line, Result: r.Result,
		AlterWAL: o.plan.alterWAL, Until: o.replay.Until}
}

// planInput gathers what a plan is made from.
func (o *options) planInput(ctx context.Context, f *cli.Factory, src source.Source, cat catalog.Catalog, r *replay.Replayed) (*plan.Input, error) {
	bounds, err := boundsOf(ctx, src, r)
	if err != nil {
		return nil, err
	}
	over := plans.Over{WAL: o.wal, Named: o.replay.Catalog, PChannel: r.WAL.PChannel, Src: src, Cat: cat, Bounds: bounds, Tick: r.State.TimeTick()}
	in, err := over.Input(ctx, f)
	if err != nil {
		return nil, err
	}
	in.Before, in.Revisions, in.AcceptGaps = maps.Clone(r.Metadata.KV), maps.Clone(r.Metadata.Revisions), o.plan.gaps
	for _, k := range o.plan.only {
		in.Only = append(in.Only, plan.Kind(k))
	}
	return in, nil
}

// boundsOf are the ends of the log, of a stream those of what was read.
func boundsOf(ctx context.Context, src source.Source, r *replay.Replayed) (source.Bounds, error) {
	b, err := src.Bounds(ctx)
	if errors.Is(err, source.ErrConsumed) {
		return source.Bounds{First: r.Coverage.First, Last: r.Coverage.Last}, nil
	}
	return b, err
}
