package repair

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Faults are faulty registrations, and the keys they are cured with.
type Faults struct {
	PChannel string                        // the log's
	WALs     map[string]catalog.Metadata   // of every pchannel that has keys
	Flushed  map[string]*msgpb.MsgPosition // channel checkpoints, by vchannel
	List     []diagnose.ChannelFault
}

// Cure gives the plan's input the edits for the faults that the catalog can cure, with
// notes on where each was taken from, and returns the others.
func (r *Restart) Cure(ctx context.Context, in *plan.Input, f Faults) ([]diagnose.ChannelFault, error) {
	left := []diagnose.ChannelFault{}
	for _, x := range f.List {
		if x.Code == catalog.CodeNoSchema && x.Cure == diagnose.CureDecision { // root-coord lacks it: log or value may have it
			x.Action, x.PChannel = diagnose.ActionSchema, f.PChannel
		} else if x.Cure != diagnose.CureCatalog {
			left = append(left, x)
		}
		edits, err := r.cure(ctx, in, &f, &x)
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

// cure are the edits for one fault.
func (r *Restart) cure(ctx context.Context, in *plan.Input, f *Faults, x *diagnose.ChannelFault) ([]plan.Edit, error) {
	v := x.Where.VChannel
	switch x.Action {
	case diagnose.ActionUnregister:
		edits, blast := plan.Unregister(f.WALs[x.PChannel], v, x.Code)
		if x.Code == diagnose.CodeVChannelDropped && blast.Rows > 0 {
			in.Blast = append(in.Blast, blast)
		}
		return edits, nil
	case diagnose.ActionMove:
		edits, err := plan.MoveRegistration(f.WALs[x.PChannel], message.PChannelOf(v), v, x.Code)
		if errors.Is(err, plan.ErrCannotRepair) {
			return r.registered(ctx, in, f, v)
		}
		return edits, err
	case diagnose.ActionRegister:
		return r.registered(ctx, in, f, v)
	case diagnose.ActionSchema:
		edits, from, err := r.Registration(ctx, v)
		if err == nil {
			in.Notes = append(in.Notes, v+": "+from)
		}
		return edits, err
	}
	return nil, nil
}

// registered gives the catalog back what it lost, and moves a flush position the log
// no longer has to the first that survives.
func (r *Restart) registered(ctx context.Context, in *plan.Input, f *Faults, v string) ([]plan.Edit, error) {
	edits, from, err := r.Registration(ctx, v)
	if err != nil {
		return nil, err
	}
	in.Notes = append(in.Notes, v+": "+from)
	if in.Log.First.IsZero() {
		return edits, nil
	}
	moved, err := plan.SurvivingCheckpoint(v, f.Flushed[v], TargetOf(in, r.Metadata.Checkpoint))
	return append(edits, moved...), err
}
