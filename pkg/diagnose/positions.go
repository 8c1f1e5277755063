package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// StoredPosition is a position in the log that the catalog names: the consume
// checkpoint's, or a vchannel's flush position.
type StoredPosition struct {
	Key      string
	VChannel string // "" = the consume checkpoint
	catalog.FlushPosition
}

func (p *StoredPosition) what() string {
	if p.VChannel == "" {
		return "the checkpoint"
	}
	return "the flush position"
}

// goneFinding tells of a stored position that nobody can read on from. log are the
// log's ends, nil where they are not known.
func goneFinding(p StoredPosition, at source.Standing, log *source.Bounds) Finding {
	f := Found(recovery.CheckPositionGone, Where{VChannel: p.VChannel, TimeTick: p.TimeTick, Key: p.Key}, Evidence{p.what(), at.String()})
	f.Meaning = goneMeaning(at)
	if p.VChannel == "" {
		f.Meaning = recovery.CheckPositionGone.Meaning
	}
	if p.HasID {
		f.Where.ID = p.ID.String()
	}
	if p.Unread != "" {
		f.Evidence = append(f.Evidence, Evidence{"the stored id cannot be read", p.Unread})
	}
	if log != nil && !log.Empty {
		f.Evidence = append(f.Evidence, Evidence{"log", log.First.String() + " … " + log.Last.String()})
	}
	return f
}

// goneMeaning says what a flusher makes of a position that is gone.
func goneMeaning(at source.Standing) string {
	switch at {
	case source.BeforeFirst:
		return "a flusher that starts there begins, without a word, at the first record that survives: what lay between was not flushed and is lost"
	case source.BehindEnd:
		return "a flusher that starts there waits for what is not there, or skips what is written next"
	case source.EmptyLog:
		return "what came after it was not flushed and is lost: the log was trimmed, or made again"
	case source.OtherWAL:
		return "it is a position in another WAL: nobody can start there in this one"
	}
	return "nobody can read on from it: a node that seeks there can panic"
}

// LivePositions are the flush positions of the vchannels that a restart would bring
// up: those registered, and those RootCoord serves. have is the log's backend.
func LivePositions(md catalog.Metadata, collections map[int64]*catalog.Collection, flushed map[string]*msgpb.MsgPosition, have message.Backend) []StoredPosition {
	served := catalog.Served(collections, md.PChannel)
	out := []StoredPosition{}
	for name, m := range flushed {
		v, registered := md.VChannels[name]
		lives := slices.Contains(served, name)
		if registered && v.GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED || !registered && !lives ||
			catalog.ChannelDropped(m) && (!registered || !lives && len(collections) > 0) {
			continue
		}
		out = append(out, StoredPosition{Key: catalog.ChannelCheckpointKey(name), VChannel: name, FlushPosition: catalog.FlushPositionOf(m, have)})
	}
	slices.SortFunc(out, func(a, b StoredPosition) int { return strings.Compare(a.VChannel, b.VChannel) })
	return out
}

// judged closes the pass: the positions the catalog names, then the report.
func (v *verifier) judged(ctx context.Context) (*VerifyReport, error) {
	err := v.positions(ctx)
	return v.report(), err
}

// positions judges the checkpoint's position and the flush positions. What
// could not be read at an end of the log may hold what lies beyond it.
func (v *verifier) positions(ctx context.Context) error {
	all := v.opts.stored()
	log := &source.Bounds{Empty: v.records == 0, Lacks: source.Lacks{Start: v.blindStart, End: v.corruptions > 0 && v.blindAt == v.records}}
	if !log.Empty {
		log.First, log.Last = v.messageID(v.first), v.messageID(v.last)
	}
	log.Holes = v.sight.Holes()
	doubt := slices.ContainsFunc(all, func(p StoredPosition) bool {
		return p.HasID && !p.Standing(log).Inside()
	})
	unknown := occurrence{pos: v.last, note: "where the catalog's positions stand: not all of the log was read"}
	switch {
	case !doubt:
	case v.opts.Ends != nil:
		b, err := v.opts.Ends(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.Holes = log.Holes
		if log = &b; err != nil {
			log = nil
			unknown.note, unknown.detail = "where the catalog's positions stand: the log's ends are not known", fmt.Sprint(err)
		}
	case v.opts.Partial:
		log = nil
	}
	if slices.ContainsFunc(all, func(p StoredPosition) bool { return p.HasID && p.Standing(log) == source.NotHeld }) {
		v.tell(notChecked, unknown)
	}
	for _, p := range all {
		at := p.Standing(log)
		if !at.Gone() || p.VChannel != "" && v.drops(p.VChannel) {
			continue
		}
		c, f := recovery.CheckPositionGone, goneFinding(p, at, log)
		if p.Dropped {
			c, f = recovery.CheckChannelDropped, Found(recovery.CheckChannelDropped, f.Where, Evidence{p.what(), "is the mark of a dropped channel"})
		}
		f.Count = 1
		if p.VChannel == "" {
			f.Where.PChannel = v.opts.PChannel
		}
		if v.opts.WAL != "" {
			f.Next = next(recovery.CheckPositionGone, v.opts.WAL, f.Where.ID, false)
		}
		v.found.count(c)
		v.gone = append(v.gone, f)
	}
	return nil
}

// stored are the positions the catalog names: the checkpoint's first.
func (o *VerifyOptions) stored() []StoredPosition {
	cp := o.Checkpoint
	if cp == nil {
		return o.Flushed
	}
	at := catalog.FlushPosition{TimeTick: cp.TimeTick, ID: cp.ID, HasID: !cp.ID.IsZero(), Unread: cp.Unread}
	return append([]StoredPosition{{Key: cp.Key, FlushPosition: at}}, o.Flushed...)
}

// lookOut looks out for the records that positions name.
func lookOut(all []StoredPosition) source.Sight {
	ids := make([]message.ID, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	return source.NewSight(ids...)
}

// drops reports whether the log drops a vchannel.
func (v *verifier) drops(name string) bool {
	i := slices.Index(v.names, name)
	return i >= 0 && i < len(v.vchannels) && v.vchannels[i].droppedTT > 0
}

func (v *verifier) messageID(p position) message.ID {
	return message.ID{Backend: v.backend, A: p.a, B: p.b >> 16, Batch: int32(p.b & 0xffff)}
}
