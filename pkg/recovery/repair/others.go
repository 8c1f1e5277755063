package repair

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func cloneMeta(v *streamingpb.VChannelMeta) *streamingpb.VChannelMeta {
	return proto.Clone(v).(*streamingpb.VChannelMeta)
}

func (p *repaired) flushed(ctx context.Context) (map[string]*msgpb.MsgPosition, error) {
	c, err := catalog.LoadCluster(ctx, p.Catalog)
	if err != nil {
		return nil, err
	}
	return c.ChannelCheckpoints, nil
}

// alterWAL ends a switch of WALs that was cut off, where that was asked for.
func (p *repaired) alterWAL(ctx context.Context) error {
	if p.AlterWAL == "" {
		return nil
	}
	var edits []plan.Edit
	var err error
	if p.AlterWAL == "drop" {
		edits, err = plan.DropAlterWAL(p.Metadata)
	} else {
		var flushed map[string]*msgpb.MsgPosition
		if flushed, err = p.flushed(ctx); err == nil {
			edits, err = plan.FinishAlterWAL(p.Metadata, flushed)
		}
	}
	if err != nil || len(edits) == 0 {
		return err
	}
	p.in.Only = []plan.Kind{plan.KindAlterWAL} // the replayed checkpoint would say otherwise
	p.in.Edits = append(p.in.Edits, edits...)
	return ReadAlso(ctx, p.Catalog, p.in, catalog.ChannelCheckpointKey(p.in.PChannel+"_"))
}

// TargetOf is the first place of the log that stored positions can move to, spelled
// as the checkpoint spells them.
func TargetOf(in *plan.Input, cp *streamingpb.WALCheckpoint) plan.Target {
	_, form, err := message.ParseRaw(in.Log.First.Backend, cp.GetMessageId().GetId())
	if err != nil {
		form = message.Form{}
	}
	to := plan.Target{ID: in.Log.First, Form: form, TimeTick: cp.GetTimeTick(), Log: in.Log}
	return to.Named(message.Backend(cp.GetMessageId().GetWALName()))
}

// positions move stored positions that no longer exist to the first message that
// does. A vchannel without a flush position gets one only where what Milvus would
// fall back to is gone as well.
func (p *repaired) positions(ctx context.Context) error {
	in, cp := p.in, p.Metadata.Checkpoint
	gone := lostPositions(in)
	if in.Log.First.IsZero() || len(gone) == 0 || p.foreign() {
		return nil
	}
	md, _ := catalog.Decode(in.PChannel, p.after)
	if cp == nil {
		cp = md.Checkpoint // of a WAL that was never opened
	}
	if cp == nil {
		return nil
	}
	flushed, err := p.flushed(ctx)
	if err != nil {
		return err
	}
	replayedToo := len(in.Only) == 0 || slices.Contains(in.Only, plan.KindReplayed) || slices.Contains(in.Only, plan.KindRebuild)
	if !replayedToo || md.Checkpoint == nil {
		md.Checkpoint = cp
	}
	edits, err := plan.MovePositions(md, flushed, TargetOf(in, cp))
	if err != nil {
		note(in, err)
		return nil
	}
	for _, e := range edits {
		k := catalog.ParseKey(e.Key)
		switch {
		case k.Kind == catalog.KeyCheckpoint && replayedToo: // a transaction that is still open holds its last confirmed back
			in.Edits = slices.DeleteFunc(in.Edits, func(o plan.Edit) bool { return o.Key == e.Key })
			if len(in.Only) > 0 {
				e.Kind = p.kind
			}
			in.Edits = append(in.Edits, e)
		case k.Kind == catalog.KeyChannelCheckpoint && flushed[k.VChannel] == nil && !gone[k.VChannel] && !gone[in.PChannel]:
		default:
			in.Edits = append(in.Edits, e)
		}
	}
	return ReadAlso(ctx, p.Catalog, in, catalog.ChannelCheckpointKey(in.PChannel+"_"))
}

// foreign reports whether the checkpoint is a position of another WAL than the log.
func (p *repaired) foreign() bool {
	b := message.Backend(p.Metadata.Checkpoint.GetMessageId().GetWALName())
	if b == message.BackendUnknown || p.in.Log.First.IsZero() {
		return false
	}
	return !(message.ID{Backend: b}).SameWAL(p.in.Log.First)
}

// lostPositions tells whose stored positions do not stand in the log any more:
// vchannels, and the pchannel for the checkpoint and start positions named by it.
func lostPositions(in *plan.Input) map[string]bool {
	out := map[string]bool{}
	for _, p := range in.Positions {
		noID := p.Place == catalog.PlaceChannelCP && !p.HasID && p.TimeTick != math.MaxUint64
		lost := p.Err != nil || noID || p.HasID && in.Log.Standing(p.ID).Gone()
		if lost && !p.Foreign {
			out[cmp.Or(p.VChannel, in.PChannel)] = true
		}
	}
	return out
}

// slashes bring the singletons to one spelling. They are the whole cluster's, so
// only where asked for.
func (p *repaired) slashes(ctx context.Context) error {
	if !wants(p.in, plan.KindTrailingSlash) {
		return nil
	}
	for _, key := range []string{catalog.ControlChannelKey, catalog.StreamingVersionKey} {
		if err := ReadAlso(ctx, p.Catalog, p.in, key); err != nil {
			return err
		}
	}
	slashed := false
	for _, v := range []string{"2.6.13", "2.6.14", "2.6.15"} {
		slashed = slashed || strings.TrimPrefix(p.in.Binding.Milvus, "v") == v
	}
	edits, err := plan.TrailingSlash(p.in.Before, slashed)
	if err != nil {
		p.in.Against = append(p.in.Against, err.Error())
		return nil
	}
	p.in.Edits = append(p.in.Edits, edits...)
	return nil
}

// coverageOf is what of the log a plan was made from.
func coverageOf(r *recovery.Result, until string) plan.Coverage {
	c := r.Coverage
	out := plan.Coverage{From: c.First.Text(), To: c.Last.Text(), Messages: c.Records, Digest: c.Digest(), Until: until}
	for _, g := range c.Gaps {
		cause := "ids are missing"
		if g.Cause != nil {
			cause = g.Cause.Error()
		}
		out.Gaps = append(out.Gaps, plan.Gap{From: g.From(), To: g.To(), Cause: cause})
	}
	for _, n := range r.Issues().Counts() {
		switch n.Code {
		case recovery.CodeEnvelope, recovery.CodeHeader, recovery.CodeBody, recovery.CodePayloadAbsent:
			out.Undecodable += n.Messages
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

// Replays is what a restart on the catalog as it is reads before it serves.
func Replays(r *recovery.Result) plan.Replay {
	return plan.Replay{Messages: r.Records, Bytes: r.Bytes, MilvusSeconds: plan.MilvusSeconds(r.Records)}
}
