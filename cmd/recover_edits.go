package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// repaired is the log replayed over the catalog with what the plan gives back to
// it: rows written to a vchannel that is registered anew count again.
type repaired struct {
	*recovery.Result
	after map[string][]byte // the WAL's keys, as replayed
	given []plan.Edit       // taken from root-coord
	kind  plan.Kind
}

// edits are the repairs the replay asks for.
func (o *recoverOptions) edits(ctx context.Context, src source.Source, cat catalog.Catalog, r *replayed, in *plan.Input) error {
	rep, err := o.repair(ctx, src, cat, r, in)
	if err != nil {
		return err
	}
	in.Coverage, in.Blast = o.planCoverage(rep.Result), lossOf(rep.Result)
	in.Replay = restartOf(r)
	reasons := map[string]string{}
	list := r.Issues().List()
	for i := range list {
		if list[i].Key != "" {
			reasons[list[i].Key] = string(list[i].Code)
		}
	}
	in.Edits = plan.Replayed(in.PChannel, r.metadata.KV, rep.after, rep.kind, reasons, "state-behind-log")
	alone := len(in.Only) > 0 && !slices.Contains(in.Only, rep.kind) // then the replay's keys are no part of the plan
	for _, e := range rep.given {
		if _, replayed := rep.after[e.Key]; !replayed || alone || string(rep.after[e.Key]) == string(r.metadata.KV[e.Key]) {
			in.Edits = append(in.Edits, e)
		}
	}
	for _, e := range plan.RemoveOrphans(r.metadata, r.metadata.Problems) {
		given := slices.ContainsFunc(rep.given, func(g plan.Edit) bool { return g.Key == e.Key })
		if now, has := rep.after[e.Key]; has && !given && string(now) == string(r.metadata.KV[e.Key]) {
			in.Edits = append(in.Edits, e)
		}
	}
	in.Edits = oneKindEach(in.Edits)
	if err := o.alterWALEdits(ctx, cat, r, in); err != nil {
		return err
	}
	if err := positionEdits(ctx, cat, in, r, rep.after); err != nil {
		return err
	}
	return o.slashEdits(ctx, cat, in)
}

// repair replays once more where the catalog is given something back.
func (o *recoverOptions) repair(ctx context.Context, src source.Source, cat catalog.Catalog, r *replayed, in *plan.Input) (*repaired, error) {
	collections, _, err := catalog.Collections(ctx, cat)
	if err != nil {
		return nil, err
	}
	rep := &repaired{Result: r.Result, kind: plan.KindReplayed}
	if o.plan.wants(plan.KindRebuild) {
		err = rep.rebuild(ctx, src, r, in, collections)
	} else if len(in.Only) == 0 || o.plan.wants(plan.KindRegister) {
		err = rep.register(ctx, src, r, in, collections)
	}
	if err != nil {
		return nil, err
	}
	rep.after, err = rep.State.Persist()
	return rep, err
}

// again replays the log over other metadata.
func (p *repaired) again(ctx context.Context, src source.Source, r *replayed, md catalog.Metadata, fromStart bool) error {
	opts := r.options
	opts.FromStart = fromStart
	res, err := recovery.Replay(ctx, src, md, opts)
	if errors.Is(err, jsonl.ErrConsumed) {
		return fmt.Errorf("replay over the repaired catalog: a stream is read once only; save it to a file and name that: %w", err)
	}
	if err == nil {
		p.Result = res
	}
	return err
}

// register gives the catalog the vchannels and schemas that RootCoord knows and
// neither log nor catalog has, and replays with them.
func (p *repaired) register(ctx context.Context, src source.Source, r *replayed, in *plan.Input, collections map[int64]*catalog.Collection) error {
	known := p.Result.State.All().VChannels
	if p.Tail != nil {
		known = p.Tail.Next.All().VChannels
	}
	bare := bareVChannels(r.metadata)
	given := p.give(in, collections, plan.KindRegister, func(v string) bool { return known[v] == nil || bare[v] })
	if len(given) == 0 {
		return nil
	}
	md := r.metadata
	md.VChannels, md.Problems = maps.Clone(md.VChannels), nil
	for name, v := range given {
		if old := md.VChannels[name]; old.GetCollectionInfo() != nil {
			v.CheckpointTimeTick, v.CollectionInfo.Partitions = old.CheckpointTimeTick, old.CollectionInfo.Partitions
		}
		md.VChannels[name] = v
	}
	p.given = slices.DeleteFunc(p.given, func(e plan.Edit) bool {
		k := catalog.ParseKey(e.Key)
		return k.Kind != catalog.KeySchema && bare[k.VChannel] && r.metadata.VChannels[k.VChannel].GetCollectionInfo() != nil
	})
	return p.again(ctx, src, r, md, false)
}

// rebuild replays from the log's first record. What the log no longer accounts
// for is kept as the catalog has it, or taken from RootCoord.
func (p *repaired) rebuild(ctx context.Context, src source.Source, r *replayed, in *plan.Input, collections map[int64]*catalog.Collection) error {
	p.kind = plan.KindRebuild
	md := r.metadata
	md.VChannels, md.Segments, md.Problems = map[string]*streamingpb.VChannelMeta{}, map[int64]*streamingpb.SegmentAssignmentMeta{}, nil
	if err := p.again(ctx, src, r, md, true); err != nil {
		return err
	}
	told, bare := p.State.All(), bareVChannels(r.metadata)
	for name, v := range r.metadata.VChannels {
		if told.VChannels[name] == nil && v.GetCollectionInfo() != nil && !bare[name] {
			md.VChannels[name] = v
		}
	}
	for id, s := range r.metadata.Segments {
		if told.Segments[id] == nil {
			md.Segments[id] = s
		}
	}
	maps.Copy(md.VChannels, p.give(in, collections, plan.KindRebuild, func(v string) bool {
		return told.VChannels[v] == nil && md.VChannels[v] == nil
	}))
	in.Notes = append(in.Notes, fmt.Sprintf("rebuilt from %s on; of what lay before only catalog and root-coord tell", p.Coverage.First))
	if len(md.VChannels)+len(md.Segments) == 0 {
		return nil
	}
	return p.again(ctx, src, r, md, true)
}

// bareVChannels are those alive without a schema.
func bareVChannels(md catalog.Metadata) map[string]bool {
	out := map[string]bool{}
	for _, p := range md.Problems {
		if p.Code == catalog.CodeNoSchema || p.Code == catalog.CodeNoCollectionInfo {
			out[catalog.ParseKey(p.Key).VChannel] = true
		}
	}
	return out
}

// give makes the metadata of vchannels from what RootCoord knows, and its edits.
func (p *repaired) give(in *plan.Input, collections map[int64]*catalog.Collection, kind plan.Kind, missing func(string) bool) map[string]*streamingpb.VChannelMeta {
	out := map[string]*streamingpb.VChannelMeta{}
	for _, id := range slices.Sorted(maps.Keys(collections)) {
		col := collections[id]
		for _, v := range col.Info.GetVirtualChannelNames() {
			if !strings.HasPrefix(v, in.PChannel+"_") || col.Info.GetState() != 0 || !missing(v) {
				continue
			}
			meta, err := plan.VChannelOf(v, col)
			if err != nil {
				in.Notes = append(in.Notes, err.Error())
				continue
			}
			edits, err := plan.Register(in.PChannel, v, col)
			if err != nil {
				in.Notes = append(in.Notes, err.Error())
				continue
			}
			for _, e := range edits {
				e.Kind = kind
				p.given = append(p.given, e)
			}
			out[v] = meta
			in.Notes = append(in.Notes, v+": what the log no longer says is taken from root-coord; which segments hold its older rows only DataCoord knows")
		}
	}
	return out
}

// lossOf is what the reached state leaves out, by vchannel; with a gap, what is
// missing there is on top and not known.
func lossOf(r *recovery.Result) []plan.Blast {
	losses := r.Losses()
	if !r.Coverage.Contiguous() {
		for v := range r.State.All().VChannels {
			if _, ok := losses[v]; !ok {
				if losses == nil {
					losses = map[string]recovery.Loss{}
				}
				losses[v] = recovery.Loss{}
			}
		}
	}
	var out []plan.Blast
	for _, v := range slices.Sorted(maps.Keys(losses)) {
		l := losses[v]
		out = append(out, plan.Blast{VChannel: v, Rows: int64(l.Rows), Deletes: int64(l.Deletes), DDL: l.DDL, Txns: l.Txns, Unknown: !r.Coverage.Contiguous()})
	}
	return out
}

// restartOf is what a restart on the catalog as it is reads before it serves.
func restartOf(r *replayed) plan.Replay {
	return plan.Replay{Messages: r.Records, Bytes: r.Bytes, MilvusSeconds: plan.MilvusSeconds(r.Records)}
}
