package cmd

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
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

// planned is the plan a recover ends in, once its replay has run.
type planned struct {
	plan   *plan.Plan
	out    string
	copied bool // the catalog is an archive's copy
}

// planning has the replay make a plan while log and catalog are open.
func (o *recoverOptions) planning(f *cli.Factory) *planned {
	p := &planned{out: o.plan.out}
	o.replay.during = func(ctx context.Context, src source.Source, cat catalog.Catalog, r *replayed) error {
		if !r.Until.Reached || r.lacksPayloads() > 0 {
			return nil // there is nothing to bring the catalog to, or what it would lack is not known
		}
		in, err := o.planInput(ctx, f, src, cat, r)
		if err != nil {
			return err
		}
		p.copied = len(in.Against) > 0
		if err := partial(ctx, src, in); err != nil {
			return err
		}
		if p.plan, err = r.restarts(src, cat, o).Plan(ctx, in); err != nil {
			return usageOf(err)
		}
		if p.out != "" {
			return o.files.writePlan(p.out, p.plan)
		}
		return nil
	}
	return p
}

// restarts is the replay as a repair takes it.
func (r *replayed) restarts(src source.Source, cat catalog.Catalog, o *recoverOptions) *repair.Restart {
	return &repair.Restart{Source: src, Catalog: cat, Metadata: r.metadata, Options: r.options, Line: r.line, Result: r.Result,
		AlterWAL: o.plan.alterWAL, Until: o.replay.until}
}

// partial tells where the log is a copy that does not hold all of its origin.
func partial(ctx context.Context, src source.Source, in *plan.Input) error {
	if _, copied := source.As[source.ExtentSource](src); !copied {
		return nil
	}
	x, err := source.ExtentOf(ctx, src)
	if err == nil && !x.Whole {
		in.Against = append(in.Against, "the archive does not hold the whole log: "+cmp.Or(x.Detail, "how it ended is not kept in it"))
	}
	return err
}

// usageOf is the exit code of what was asked of a plan and cannot be.
func usageOf(err error) error {
	var gap *plan.UnknownGapError
	if errors.As(err, &gap) || errors.Is(err, plan.ErrConflict) {
		return &cli.UsageError{Err: err}
	}
	return err
}

// planInput gathers what a plan is made from.
func (o *recoverOptions) planInput(ctx context.Context, f *cli.Factory, src source.Source, cat catalog.Catalog, r *replayed) (*plan.Input, error) {
	bounds, err := boundsOf(ctx, src, r)
	if err != nil {
		return nil, err
	}
	over := planOver{wal: o.wal, named: o.replay.catalog, pchannel: r.wal.PChannel, src: src, cat: cat, bounds: bounds, tick: r.State.TimeTick()}
	in, err := over.input(ctx, f)
	if err != nil {
		return nil, err
	}
	in.Before, in.Revisions, in.AcceptGaps = maps.Clone(r.metadata.KV), maps.Clone(r.metadata.Revisions), o.plan.gaps
	for _, k := range o.plan.only {
		in.Only = append(in.Only, plan.Kind(k))
	}
	return in, nil
}

// boundsOf are the ends of the log, of a stream those of what was read.
func boundsOf(ctx context.Context, src source.Source, r *replayed) (source.Bounds, error) {
	b, err := src.Bounds(ctx)
	if errors.Is(err, source.ErrConsumed) {
		return source.Bounds{First: r.Coverage.First, Last: r.Coverage.Last}, nil
	}
	return b, err
}
