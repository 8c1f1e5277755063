package repair

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
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Restart is a log replayed over its catalog, both still open: what a repair is
// made from, and replayed over again.
type Restart struct {
	Source   source.Source
	Catalog  catalog.Catalog
	Metadata catalog.Metadata
	Options  recovery.ReplayOptions
	// Line is the Milvus asked about; 0 = what stops every line is an obstacle.
	Line   recovery.Line
	Result *recovery.Result
	// AlterWAL says what becomes of a switch of WALs that was cut off: "finish",
	// "drop", "" to leave it.
	AlterWAL string
	// Until is where the replay was asked to stop, as typed.
	Until string
}

// repaired is the log replayed over the catalog with what the plan gives back to
// it: rows written to a vchannel that is registered anew count again.
type repaired struct {
	*Restart
	in          *plan.Input
	result      *recovery.Result
	collections map[int64]*catalog.Collection
	after       map[string][]byte // the WAL's keys, as replayed
	given       []plan.Edit       // taken from log, vchannel value or root-coord
	kind        plan.Kind
}

func wants(in *plan.Input, k plan.Kind) bool { return slices.Contains(in.Only, k) }

// Plan fills in's edits, coverage and cost with the repairs the replay asks for,
// builds the plan, and judges what it leaves. A repair that cannot be made ends
// there, as a note of the plan; an error is of log or catalog, or of what was asked.
func (r *Restart) Plan(ctx context.Context, in *plan.Input) (*plan.Plan, error) {
	rep := &repaired{Restart: r, in: in, result: r.Result, kind: plan.KindReplayed}
	if err := rep.edits(ctx); err != nil {
		return nil, err
	}
	if rep.foreign() && r.AlterWAL == "" && !wants(in, plan.KindRebuild) {
		in.Against = append(in.Against, fmt.Sprintf("the checkpoint is a position on %s, the log lies on %s: name the log that belongs to it",
			message.Backend(r.Metadata.Checkpoint.GetMessageId().GetWALName()), in.Log.First.Backend))
	}
	return r.judged(ctx, in)
}

// edits are the repairs the replay asks for.
func (p *repaired) edits(ctx context.Context) error {
	if err := p.repair(ctx); err != nil {
		return err
	}
	in, md := p.in, p.Metadata
	in.Coverage, in.Blast = coverageOf(p.result, p.Until), lossOf(p.result)
	in.Replay = Replays(p.Result)
	reasons := map[string]string{}
	list := p.Result.Issues().List()
	for i := range list {
		if list[i].Key != "" {
			reasons[list[i].Key] = string(list[i].Code)
		}
	}
	in.Edits = plan.Replayed(in.PChannel, md.KV, p.after, p.kind, reasons, "state-behind-log")
	in.Known = p.result.State.EncodedFrom
	replayed := len(in.Edits)
	alone := len(in.Only) > 0 && !slices.Contains(in.Only, p.kind) // then the replay's keys are no part of the plan
	for _, e := range p.given {
		if _, replayed := p.after[e.Key]; !replayed || alone || string(p.after[e.Key]) == string(md.KV[e.Key]) {
			in.Edits = append(in.Edits, e)
		}
	}
	for _, e := range plan.RemoveOrphans(md, md.Problems) {
		given := slices.ContainsFunc(p.given, func(g plan.Edit) bool { return g.Key == e.Key })
		if now, has := p.after[e.Key]; has && !given && string(now) == string(md.KV[e.Key]) {
			in.Edits = append(in.Edits, e)
		}
	}
	in.Edits = oneKindEach(in.Edits, replayed)
	if err := p.alterWAL(ctx); err != nil {
		return err
	}
	if err := p.positions(ctx); err != nil {
		return err
	}
	return p.slashes(ctx)
}

// repair replays once more where the catalog is given something back.
func (p *repaired) repair(ctx context.Context) (err error) {
	if p.collections = p.Options.Collections; p.collections == nil {
		if p.collections, _, err = catalog.Collections(ctx, p.Catalog); err != nil {
			return err
		}
	}
	if wants(p.in, plan.KindRebuild) {
		err = p.rebuild(ctx)
	} else if len(p.in.Only) == 0 || wants(p.in, plan.KindRegister) {
		err = p.register(ctx)
	}
	if err != nil {
		return err
	}
	p.after, err = p.result.State.Persist()
	return err
}

// again replays the log over other metadata.
func (p *repaired) again(ctx context.Context, md catalog.Metadata, fromStart bool) error {
	opts := p.Options
	opts.FromStart = fromStart
	res, err := recovery.Replay(ctx, p.Source, md, opts)
	if streamed(err) {
		return fmt.Errorf("replay over the repaired catalog: a stream is read once only; save it to a file and name that: %w", err)
	}
	if err == nil {
		p.result = res
	}
	return err
}

func streamed(err error) bool { return errors.Is(err, source.ErrConsumed) }

// register gives the catalog the vchannels and schemas that it lost, and replays
// with them.
func (p *repaired) register(ctx context.Context) error {
	given, err := p.give(ctx, plan.KindRegister, missingIn(p.Result))
	if err != nil || len(given) == 0 {
		return err
	}
	md := p.Metadata
	md.VChannels, md.Problems = maps.Clone(md.VChannels), withoutCured(md.Problems, given)
	maps.Copy(md.VChannels, given)
	if err := p.again(ctx, md, false); err != nil {
		return err
	}
	p.forgetDropped()
	return nil
}

// withoutCured leaves out the problems of vchannels that are given what they lack.
func withoutCured(problems []catalog.Problem, given map[string]*streamingpb.VChannelMeta) []catalog.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p catalog.Problem) bool { return given[catalog.ParseKey(p.Key).VChannel] != nil })
}

// forgetDropped gives nothing to a vchannel that the log drops.
func (p *repaired) forgetDropped() {
	if len(p.in.Only) > 0 {
		return
	}
	all := p.result.State.All().VChannels
	p.given = slices.DeleteFunc(p.given, func(e plan.Edit) bool {
		return all[catalog.ParseKey(e.Key).VChannel].GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED
	})
}

// rebuild replays from the log's first record. What the log no longer accounts
// for is kept as the catalog has it, or taken from RootCoord.
func (p *repaired) rebuild(ctx context.Context) error {
	p.kind = plan.KindRebuild
	md := p.Metadata
	md.VChannels, md.Segments, md.Problems = map[string]*streamingpb.VChannelMeta{}, map[int64]*streamingpb.SegmentAssignmentMeta{}, nil
	if err := p.again(ctx, md, true); err != nil {
		return err
	}
	told, bare := p.result.State.All(), bareVChannels(p.Metadata)
	for name, v := range p.Metadata.VChannels {
		if told.VChannels[name] == nil && v.GetCollectionInfo() != nil && !bare[name] {
			md.VChannels[name] = v
		}
	}
	for id, s := range p.Metadata.Segments {
		if told.Segments[id] == nil {
			md.Segments[id] = s
		}
	}
	missing := slices.DeleteFunc(catalog.Served(p.collections, p.in.PChannel), func(v string) bool { return told.VChannels[v] != nil || md.VChannels[v] != nil })
	given, err := p.give(ctx, plan.KindRebuild, missing)
	if err != nil {
		return err
	}
	for name, v := range given {
		if told.VChannels[name] == nil && md.VChannels[name] == nil {
			md.VChannels[name] = v
		}
	}
	p.given = slices.DeleteFunc(p.given, func(e plan.Edit) bool { return told.VChannels[catalog.ParseKey(e.Key).VChannel] != nil })
	p.in.Notes = append(p.in.Notes, fmt.Sprintf("rebuilt from %s on; of what lay before only catalog and root-coord tell", p.result.Coverage.First))
	if len(md.VChannels)+len(md.Segments) == 0 {
		return nil
	}
	return p.again(ctx, md, true)
}

// bareVChannels are those alive without a schema.
func bareVChannels(md catalog.Metadata) map[string]bool {
	out := map[string]bool{}
	for _, p := range md.Problems {
		v := catalog.ParseKey(p.Key).VChannel
		if (p.Code == catalog.CodeNoSchema || p.Code == catalog.CodeNoCollectionInfo) && md.VChannels[v].GetState() != streamingpb.VChannelState_VCHANNEL_STATE_DROPPED {
			out[v] = true
		}
	}
	return out
}

// missingIn lists the vchannels that a replay found missing.
func missingIn(r *recovery.Result) (out []string) {
	list := r.Issues().List()
	for i := range list {
		if list[i].Code == recovery.CodeVChannelMissing {
			out = append(out, list[i].VChannel)
		}
	}
	return out
}

// give makes the metadata of the vchannels that the catalog lacks or has without a
// schema, and the edits that write it.
func (p *repaired) give(ctx context.Context, kind plan.Kind, missing []string) (map[string]*streamingpb.VChannelMeta, error) {
	bare := bareVChannels(p.Metadata)
	look := maps.Clone(bare)
	for _, v := range missing {
		look[v] = true
	}
	if len(look) == 0 {
		return nil, nil
	}
	logged, err := histories(ctx, p.Source, look)
	if err != nil && !streamed(err) {
		return nil, err
	}
	g := &giver{md: p.Metadata, collections: p.collections, logged: logged}
	out := map[string]*streamingpb.VChannelMeta{}
	for _, v := range slices.Sorted(maps.Keys(look)) {
		meta, edits, from, err := g.vchannel(v, bare[v])
		if err != nil {
			p.in.Notes = append(p.in.Notes, err.Error())
			continue
		}
		for _, e := range edits {
			e.Kind = kind
			p.given = append(p.given, e)
		}
		out[v] = meta
		p.in.Notes = append(p.in.Notes, v+": "+from)
	}
	return out, nil
}

// giver makes registrations from what is known elsewhere.
type giver struct {
	md          catalog.Metadata
	collections map[int64]*catalog.Collection
	logged      map[string]*history
}

// vchannel is one vchannel's metadata with a schema, the edits that write it, and
// where it comes from.
func (g *giver) vchannel(v string, bare bool) (*streamingpb.VChannelMeta, []plan.Edit, string, error) {
	meta, from, err := g.meta(v)
	if err != nil {
		return nil, nil, "", err
	}
	kv := map[string][]byte{}
	if err := catalog.EncodeVChannel(kv, g.md.PChannel, v, meta); err != nil {
		return nil, nil, "", err
	}
	reason := "vchannel-missing"
	if bare {
		reason = catalog.CodeNoSchema
	}
	var edits []plan.Edit
	for _, k := range catalog.Keys(kv) {
		edits = append(edits, plan.Edit{Key: k, New: kv[k], Kind: plan.KindRegister, Reason: reason})
	}
	return meta, edits, from, nil
}

func (g *giver) meta(v string) (*streamingpb.VChannelMeta, string, error) {
	meta := g.md.VChannels[v]
	unregistered := meta.GetCollectionInfo() == nil
	if h := g.logged[v]; unregistered && h != nil && h.dropped {
		return nil, "", fmt.Errorf("%s: not registered, since the log drops its collection: %w", v, plan.ErrCannotRepair)
	}
	if unregistered {
		var err error
		if meta, err = plan.VChannelOf(v, g.collections[g.md.CollectionOf(v)]); err != nil {
			return nil, "", err
		}
	} else {
		meta = cloneMeta(meta)
	}
	tick := g.md.Checkpoint.GetTimeTick()
	if own := meta.GetCheckpointTimeTick(); own > 0 {
		tick = max(tick, own-1) // a replay adds what is at its own TimeTick or later
	}
	kept, rootcoord := g.md.SchemasOf(v, g.collections)
	schemas, from := schemasOf(g.logged[v], kept, rootcoord, tick)
	if len(schemas) == 0 {
		return nil, "", fmt.Errorf("%s: its schema is in neither the log, its own value nor root-coord: %w", v, plan.ErrCannotRepair)
	}
	meta.CollectionInfo.Schemas = schemas
	if unregistered {
		return meta, fmt.Sprintf("registered with what root-coord says, its schema from %s; which segments hold its older rows only DataCoord knows", from), nil
	}
	return meta, "its schema is taken from " + from, nil
}

// oneKindEach keeps, of several edits of a key to the same end, the more telling: the
// last. The first so many, unique, are of different keys.
func oneKindEach(edits []plan.Edit, unique int) []plan.Edit {
	last := map[string]int{}
	for i, e := range edits[unique:] {
		last[e.Key] = unique + i
	}
	if len(last) == 0 {
		return edits
	}
	out := edits[:0]
	for i, e := range edits {
		if at, again := last[e.Key]; !again || at == i {
			out = append(out, e)
		}
	}
	return out
}

// ReadAlso brings keys outside the WAL's prefix into a plan's view.
func ReadAlso(ctx context.Context, cat catalog.Catalog, in *plan.Input, prefix string) error {
	kvs, _, err := cat.Range(ctx, prefix)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		in.Before[kv.Key], in.Revisions[kv.Key] = kv.Value, kv.ModRevision
	}
	return nil
}

// note keeps the reason why a repair was not made.
func note(in *plan.Input, err error) { in.Notes = append(in.Notes, strings.TrimSpace(err.Error())) }

// Registration is one vchannel's registration, or the schema it lacks, and where it
// is taken from.
func (r *Restart) Registration(ctx context.Context, vchannel string) ([]plan.Edit, string, error) {
	logged, err := histories(ctx, r.Source, map[string]bool{vchannel: true})
	if err != nil && !streamed(err) {
		return nil, "", err
	}
	g := &giver{md: r.Metadata, collections: r.Options.Collections, logged: logged}
	_, edits, from, err := g.vchannel(vchannel, r.Metadata.VChannels[vchannel] != nil)
	return edits, from, err
}

// Registrations builds a plan of the edits that in has already, all of registrations,
// and judges whether the registrations it leaves are whole: other obstacles are
// other repairs'.
func (r *Restart) Registrations(ctx context.Context, in *plan.Input) (*plan.Plan, error) {
	p, left, err := plan.BuildOver(*in)
	if err != nil || p.Empty() {
		return p, err
	}
	if r.Result == nil {
		in.Against = append(in.Against, unjudged)
		return plan.Build(*in)
	}
	against, err := r.judge(ctx, in, p, left)
	if err != nil {
		return nil, err
	}
	before := Obstacles(r.Result, r.Line)
	against = slices.DeleteFunc(against, func(a string) bool {
		return slices.ContainsFunc(before, func(o Obstacle) bool { return !o.registration() && a == uncured(o) })
	})
	if len(against) == 0 {
		return p, nil
	}
	in.Against = append(in.Against, against...)
	return plan.Build(*in)
}
