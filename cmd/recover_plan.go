package cmd

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
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

func (p *planFlags) wants(k plan.Kind) bool { return slices.Contains(p.only, string(k)) }

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
		if !r.Until.Reached {
			return nil // there is nothing to bring the catalog to
		}
		in, err := o.planInput(ctx, f, src, cat, r)
		if err != nil {
			return err
		}
		p.copied = len(in.Against) > 0
		if p.plan, err = plan.Build(*in); err != nil {
			return &cli.UsageError{Err: err}
		}
		if p.out != "" {
			return o.files.writePlan(p.out, p.plan)
		}
		return nil
	}
	return p
}

// planInput gathers what a plan is made from.
func (o *recoverOptions) planInput(ctx context.Context, f *cli.Factory, src source.Source, cat catalog.Catalog, r *replayed) (*plan.Input, error) {
	spec, err := f.CatalogSpec(o.replay.catalog, src)
	if err != nil {
		return nil, err
	}
	binding, err := bindingOf(ctx, f, cli.CatalogFlags{Spec: spec}, cat)
	if err != nil {
		return nil, err
	}
	bounds, err := boundsOf(ctx, src, r)
	if err != nil {
		return nil, err
	}
	binding.Log = plan.Log{Location: absolute(o.wal), LastID: idText(bounds.Last), LastTimeTick: r.State.TimeTick()}
	if live, ok := src.(producerLister); ok {
		if binding.Log.Ledgers, err = live.LedgerIDs(ctx); err != nil && !errors.Is(err, source.ErrUnavailable) {
			return nil, err
		}
		binding.Log.Location = r.wal.PChannel
		if strings.Contains(o.wal, "://") {
			binding.Log.Location = o.wal
		}
	}
	in := &plan.Input{
		PChannel: r.wal.PChannel, Before: maps.Clone(r.metadata.KV), Revisions: maps.Clone(r.metadata.Revisions),
		AcceptGaps: o.plan.gaps, Binding: binding, Created: f.Now(),
		LogFirst: bounds.First, LogLast: bounds.Last,
	}
	if own, err := f.CatalogSpec(o.replay.catalog, nil); err != nil || own != spec {
		in.Against = []string{"the catalog is the archive's copy, which stays as it was captured; name the one to repair with --catalog"}
	}
	for _, k := range o.plan.only {
		in.Only = append(in.Only, plan.Kind(k))
	}
	if in.Positions, _, err = catalog.Positions(ctx, cat, in.PChannel); err != nil {
		return nil, err
	}
	return in, o.edits(ctx, src, cat, r, in)
}

func (o *recoverOptions) planCoverage(r *recovery.Result) plan.Coverage {
	c := r.Coverage
	out := plan.Coverage{From: idText(c.First), To: idText(c.Last), Messages: c.Records, Until: o.replay.until}
	for _, g := range c.Gaps {
		cause := "ids are missing"
		if g.Cause != nil {
			cause = g.Cause.Error()
		}
		out.Gaps = append(out.Gaps, plan.Gap{From: g.From(), To: g.To(), Cause: cause})
	}
	for _, n := range r.Issues().Counts() {
		switch n.Code {
		case recovery.CodeEnvelope, recovery.CodeHeader, recovery.CodeBody:
			out.Undecodable += n.Messages
		}
	}
	return out
}

// oneKindEach keeps, of several edits of a key to the same end, the more telling.
func oneKindEach(edits []plan.Edit) []plan.Edit {
	last := map[string]int{}
	for i, e := range edits {
		last[e.Key] = i
	}
	var out []plan.Edit
	for i, e := range edits {
		if last[e.Key] == i {
			out = append(out, e)
		}
	}
	return out
}

// readAlso brings keys outside the WAL's prefix into a plan's view.
func readAlso(ctx context.Context, cat catalog.Catalog, in *plan.Input, prefix string) error {
	kvs, _, err := cat.Range(ctx, prefix)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		in.Before[kv.Key], in.Revisions[kv.Key] = kv.Value, kv.ModRevision
	}
	return nil
}

func flushedOf(ctx context.Context, cat catalog.Catalog) (map[string]*msgpb.MsgPosition, error) {
	c, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return nil, err
	}
	return c.ChannelCheckpoints, nil
}

func (o *recoverOptions) alterWALEdits(ctx context.Context, cat catalog.Catalog, r *replayed, in *plan.Input) error {
	if o.plan.alterWAL == "" {
		return nil
	}
	var edits []plan.Edit
	var err error
	if o.plan.alterWAL == "drop" {
		edits, err = plan.DropAlterWAL(r.metadata)
	} else {
		var flushed map[string]*msgpb.MsgPosition
		if flushed, err = flushedOf(ctx, cat); err == nil {
			edits, err = plan.FinishAlterWAL(r.metadata, flushed)
		}
	}
	if err != nil || len(edits) == 0 {
		return err
	}
	in.Only = []plan.Kind{plan.KindAlterWAL} // the replayed checkpoint would say otherwise
	in.Edits = append(in.Edits, edits...)
	return readAlso(ctx, cat, in, catalog.ChannelCheckpointKey(in.PChannel+"_"))
}

// positionEdits move positions that no longer exist to the first message that
// does. A vchannel without a flush position gets one only where what Milvus would
// fall back to is gone as well.
func positionEdits(ctx context.Context, cat catalog.Catalog, in *plan.Input, r *replayed, after map[string][]byte) error {
	first, cp := in.LogFirst, r.metadata.Checkpoint
	gone := lostPositions(in)
	if first.IsZero() || cp == nil || len(gone) == 0 {
		return nil
	}
	flushed, err := flushedOf(ctx, cat)
	if err != nil {
		return err
	}
	md, _ := catalog.Decode(in.PChannel, after)
	replayedToo := len(in.Only) == 0 || slices.Contains(in.Only, plan.KindReplayed) || slices.Contains(in.Only, plan.KindRebuild)
	if !replayedToo || md.Checkpoint == nil {
		md.Checkpoint = cp
	}
	_, form, err := message.ParseRaw(first.Backend, cp.GetMessageId().GetId())
	if err != nil {
		form = message.Form{}
	}
	to := plan.Target{ID: first, Form: form, TimeTick: cp.GetTimeTick(), Log: source.Bounds{First: in.LogFirst, Last: in.LogLast}}
	edits, err := plan.MovePositions(md, flushed, to.Named(message.Backend(cp.GetMessageId().GetWALName())))
	if err != nil {
		in.Notes = append(in.Notes, err.Error()) // that repair ends, not the verdict
		return nil
	}
	for _, e := range edits {
		k := catalog.ParseKey(e.Key)
		switch {
		case k.Kind == catalog.KeyCheckpoint && replayedToo: // a transaction that is still open holds its last confirmed back
			in.Edits = slices.DeleteFunc(in.Edits, func(o plan.Edit) bool { return o.Key == e.Key })
			if len(in.Only) > 0 {
				e.Kind = in.Only[0]
			}
			in.Edits = append(in.Edits, e)
		case k.Kind == catalog.KeyChannelCheckpoint && flushed[k.VChannel] == nil && !gone[k.VChannel] && !gone[in.PChannel]:
		default:
			in.Edits = append(in.Edits, e)
		}
	}
	return readAlso(ctx, cat, in, catalog.ChannelCheckpointKey(in.PChannel+"_"))
}

// lostPositions tells whose stored positions do not stand in the log any more:
// vchannels, and the pchannel for the checkpoint and start positions named by it.
func lostPositions(in *plan.Input) map[string]bool {
	out := map[string]bool{}
	log := source.Bounds{First: in.LogFirst, Last: in.LogLast}
	for _, p := range in.Positions {
		lost := p.Err != nil || p.HasID && log.Standing(p.ID).Gone()
		if lost && !p.Foreign {
			out[cmp.Or(p.VChannel, in.PChannel)] = true
		}
	}
	return out
}

// slashEdits bring the singletons to one spelling. They are the whole cluster's,
// so only where asked for.
func (o *recoverOptions) slashEdits(ctx context.Context, cat catalog.Catalog, in *plan.Input) error {
	if !o.plan.wants(plan.KindTrailingSlash) {
		return nil
	}
	for _, key := range []string{catalog.ControlChannelKey, catalog.StreamingVersionKey} {
		if err := readAlso(ctx, cat, in, key); err != nil {
			return err
		}
	}
	slashed := false
	for _, v := range []string{"2.6.13", "2.6.14", "2.6.15"} {
		slashed = slashed || strings.TrimPrefix(in.Binding.Milvus, "v") == v
	}
	edits, err := plan.TrailingSlash(in.Before, slashed)
	in.Edits = append(in.Edits, edits...)
	return err
}

// boundsOf are the ends of the log. NDJSON has no index: its last record is known
// from the replay, which saves reading it all once more.
func boundsOf(ctx context.Context, src source.Source, r *replayed) (source.Bounds, error) {
	seen := source.Bounds{First: r.Coverage.First, Last: r.Coverage.Last}
	if _, plain := src.(*jsonl.Source); !plain || r.options.Until.Kind == source.AtID || r.Coverage.Records == 0 {
		b, err := src.Bounds(ctx)
		if errors.Is(err, jsonl.ErrConsumed) { // a stream: what was read of it is what there is
			return seen, nil
		}
		return b, err
	}
	rd, err := src.Open(ctx, source.Range{})
	if errors.Is(err, jsonl.ErrConsumed) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	defer func() { _ = rd.Close() }()
	for {
		m, err := rd.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			seen.First = m.ID
			return seen, nil
		case !errors.As(err, &corrupt):
			return seen, err
		}
	}
}
