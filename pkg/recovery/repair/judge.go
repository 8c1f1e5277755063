package repair

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Obstacle is something that stops a restart, or makes it lose what the log holds.
type Obstacle struct {
	Code string
	At   string // an id, a key, a vchannel
}

// String names it as a plan that does not cure it does.
func (o Obstacle) String() string { return o.Code + " at " + o.At }

// Obstacles are what a restart meets of them, in the order it meets them. line is
// the Milvus asked about, 0 = what stops every line.
func Obstacles(r *recovery.Result, line recovery.Line) []Obstacle {
	var out []Obstacle
	list := r.Issues().List()
	for i := range list {
		x := &list[i]
		if x.Code == recovery.CodeOpeningUnreadable || !x.Loses() && !x.StopsNode(line) {
			continue
		}
		o := Obstacle{Code: string(x.Code), At: cmp.Or(x.Key, x.ID, x.VChannel)}
		if code, _, ok := strings.Cut(x.Detail, ": "); ok && x.Code == recovery.CodeCatalogKey {
			o.Code = code // the catalog's own word for it
		}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

const unjudged = "what it leaves was not judged: a stream is read once only; save it to a file and name that"

func uncured(o Obstacle) string { return "does not cure: " + o.String() }

// registration reports whether the obstacle is of a vchannel's keys.
func (o Obstacle) registration() bool {
	k := catalog.ParseKey(o.At).Kind
	return o.Code == string(recovery.CodeVChannelMissing) || k == catalog.KeyVChannel || k == catalog.KeySchema
}

// judged builds the plan and holds its result to the rules that found the
// obstacles. Where one stays the plan is not applicable, and the checkpoint stays:
// what would cure it may lie after it.
func (r *Restart) judged(ctx context.Context, in *plan.Input) (*plan.Plan, error) {
	p, left, err := plan.BuildOver(*in)
	if err != nil || p.Empty() && len(in.Only) == 0 && r.AlterWAL == "" && r.whole() {
		return p, err
	}
	against, err := r.judge(ctx, in, p, left)
	if err != nil || len(against) == 0 {
		return p, err
	}
	in.Against = append(in.Against, against...)
	in.Edits = slices.DeleteFunc(in.Edits, func(e plan.Edit) bool {
		return e.Key == catalog.CheckpointKey(in.PChannel) && (e.Kind == plan.KindReplayed || e.Kind == plan.KindRebuild) && movesOn(in.Before[e.Key], e.New)
	})
	return plan.Build(*in)
}

func (r *Restart) whole() bool {
	return len(Obstacles(r.Result, r.Line)) == 0
}

// movesOn reports whether a checkpoint goes to a later TimeTick.
func movesOn(before, after []byte) bool {
	var b, a streamingpb.WALCheckpoint
	return proto.Unmarshal(before, &b) == nil && proto.Unmarshal(after, &a) == nil && a.GetTimeTick() > b.GetTimeTick()
}

// judge replays the log over what the plan leaves and says what still stands there.
func (r *Restart) judge(ctx context.Context, in *plan.Input, p *plan.Plan, md catalog.Metadata) ([]string, error) {
	before := Obstacles(r.Result, r.Line)
	if p.Empty() {
		return tell(before, before), nil
	}
	if r.AlterWAL != "" && other(r.Metadata, md) {
		return nil, nil // it goes on in another WAL, which this log says nothing of
	}
	opts := r.Options
	opts.FromStart, opts.Tail, opts.Progress = false, true, nil
	opts.Flushed = flushedAfter(opts.Flushed, p)
	if opts.Until.Kind != source.Unbounded {
		opts.Until = source.Bound{Kind: source.AtID, ID: r.Result.Until.ID}
		if opts.Until.ID.IsZero() {
			return nil, nil
		}
	}
	res, err := recovery.Replay(ctx, r.Source, md, opts)
	if streamed(err) {
		if len(before) == 0 && onlyReplayed(p) {
			return nil, nil // a restart leaves the same
		}
		return []string{unjudged}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("replay over what the plan leaves: %w", err)
	}
	return tell(before, Obstacles(res, r.Line)), nil
}

// flushedAfter are the flush positions once the plan is applied.
func flushedAfter(before map[string]*msgpb.MsgPosition, p *plan.Plan) map[string]*msgpb.MsgPosition {
	if before == nil {
		return nil
	}
	after := maps.Clone(before)
	for _, c := range p.Changes {
		k := catalog.ParseKey(c.Key)
		if k.Kind != catalog.KeyChannelCheckpoint {
			continue
		}
		delete(after, k.VChannel)
		m := &msgpb.MsgPosition{}
		if c.New != nil && proto.Unmarshal(c.New, m) == nil {
			after[k.VChannel] = m
		}
	}
	return after
}

func other(before, after catalog.Metadata) bool {
	b, a := before.Checkpoint.GetMessageId(), after.Checkpoint.GetMessageId()
	return before.Checkpoint != nil && after.Checkpoint != nil && b.GetWALName() != a.GetWALName()
}

func onlyReplayed(p *plan.Plan) bool {
	return !slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Kind != plan.KindReplayed })
}

// tell words what stays, and what the plan itself would bring.
func tell(before, after []Obstacle) []string {
	var out []string
	for _, o := range after {
		if slices.Contains(before, o) {
			out = append(out, uncured(o))
		} else {
			out = append(out, "its result would stop a restart: "+o.String())
		}
	}
	return out
}
