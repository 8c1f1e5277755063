package diagnose

import (
	"slices"
	"time"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ResolvedPosition is one position that the catalog stores, and what the log says of it.
type ResolvedPosition struct {
	Place    string     `json:"place"` // a catalog.Place…
	Key      string     `json:"key"`
	VChannel string     `json:"vchannel,omitempty"`
	Segment  int64      `json:"segment,string,omitempty"`
	ID       message.ID `json:"-"`
	IDText   string     `json:"id,omitempty"`
	TimeTick uint64     `json:"time_tick,string"` // 0 = none is stored with it
	// Stands is a source.Standing in words, or why there is none to tell.
	Stands string `json:"stands"`
	// Needed says that a node starts to read there; the others tell where something
	// began or ended, and may be gone.
	Needed bool       `json:"needed"`
	Gone   bool       `json:"gone"`
	LostAt *time.Time `json:"lost_at,omitempty"` // its ledger may be deleted from then on
}

// PositionQuestion is what positions are resolved against.
type PositionQuestion struct {
	PChannel string
	WAL      string                                       // as the user named it, for the next command
	Stored   []catalog.Position                           // catalog.Positions
	Live     []StoredPosition                             // the flush positions that a restart starts from
	Log      *source.Bounds                               // nil: the log's ends are not known
	LostAt   func(id message.ID, now time.Time) time.Time // nil: nothing deletes the log by age, as far as known
	Now      time.Time
}

// ResolvePositions says where every stored position stands, those that are needed and
// gone first, with a finding for each of these. The log is not read: that a record
// stands at an id between the log's ends, only verify can tell.
func ResolvePositions(q *PositionQuestion) ([]ResolvedPosition, []Finding) {
	needed := map[string]*StoredPosition{}
	for i := range q.Live {
		needed[q.Live[i].Key] = &q.Live[i]
	}
	out, found := []ResolvedPosition{}, []Finding{}
	for i := range q.Stored {
		r, f := q.resolve(&q.Stored[i], needed)
		out = append(out, r)
		if f != nil {
			found = append(found, *f)
		}
	}
	slices.SortStableFunc(out, func(a, b ResolvedPosition) int { return rankOf(&a) - rankOf(&b) })
	return out, found
}

func rankOf(r *ResolvedPosition) int {
	switch {
	case r.Needed && r.Gone:
		return 0
	case r.Needed:
		return 1
	}
	return 2
}

func (q *PositionQuestion) resolve(p *catalog.Position, needed map[string]*StoredPosition) (ResolvedPosition, *Finding) {
	r := ResolvedPosition{Place: p.Place, Key: p.Key, VChannel: p.VChannel, Segment: p.Segment, TimeTick: p.TimeTick}
	if p.HasID {
		r.ID, r.IDText = p.ID, p.ID.Text()
	}
	at := needed[p.Key]
	if p.Place == catalog.PlaceCheckpoint {
		at = &StoredPosition{Key: p.Key, FlushPosition: catalog.FlushPosition{TimeTick: p.TimeTick, ID: p.ID, HasID: p.HasID}}
		if p.Err != nil {
			at.Unread = p.Err.Error()
		}
	}
	r.Needed = at != nil && (p.Place == catalog.PlaceCheckpoint || p.Place == catalog.PlaceChannelCP)
	var stands source.Standing
	switch {
	case p.Foreign:
		r.Stands = "a position in another cluster's log"
		return r, nil
	case p.Err != nil:
		stands, r.Stands = source.NoPosition, "cannot be read: "+p.Err.Error()
	case !p.HasID && !r.Needed:
		r.Stands = source.NoPosition.String()
		return r, nil
	default:
		stands = catalog.FlushPosition{ID: p.ID, HasID: p.HasID}.Standing(q.Log)
		r.Stands = stands.String()
		if q.Log == nil && p.HasID {
			r.Stands = "not checked: the log's ends are not known"
		}
	}
	r.Gone = stands.Gone()
	if stands == source.Within && q.LostAt != nil {
		if lost := q.LostAt(p.ID, q.Now); !lost.IsZero() {
			r.LostAt = &lost
		}
	}
	if !r.Gone || !r.Needed {
		return r, nil
	}
	f := goneFinding(*at, stands, q.Log)
	f.Count = 1
	if p.Place == catalog.PlaceCheckpoint {
		f.Where.PChannel = q.PChannel
	}
	f.Next = next(recovery.CheckPositionGone, q.WAL, f.Where.ID, false)
	return r, &f
}
