package salvage

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/rows"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// run is one salvage.
type run struct {
	opts Options
	src  source.Source
	sink Sink

	collections collections
	graves      map[string]*graves // by vchannel
	deletes     DeleteReport
	tally       *tally
	lost        *lost // nil unless LostOnly

	wanted     map[int64]bool // collections; nil = all
	partitions map[int64]bool
	names      map[string]bool // of partitions
	segments   map[int64]bool
	held       int64

	// Where TimeTicks go back, appends can stand in the log again: from the
	// lowest they went back to, to the highest they came from. 0, 0 = nowhere.
	floor, ceiling uint64
}

// Run brings rows out of the log into sink, in log order of what delivers them.
// The log is read twice, the second time as far as the first. The Report is
// complete when the error is nil, and tells what was reached otherwise. Errors
// are those of the source and the sink, ErrMemory and ErrNoCollection.
func Run(ctx context.Context, src source.Source, sink Sink, o Options) (*Report, error) {
	r := &run{opts: o, src: src, sink: sink, collections: collections{}, graves: map[string]*graves{}, tally: newTally()}
	if o.Workers <= 0 {
		r.opts.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	if o.LostOnly {
		r.lost = newLost(r)
	}
	r.scope()
	report := &Report{Notes: []string{}}
	if err := report.copied(ctx, src, o.Range); err != nil {
		return report, fmt.Errorf("salvage %s: %w", src.Describe().Location, err)
	}
	first, err := r.gather(ctx, report)
	if err == nil && first.records > 0 {
		err = r.emit(ctx, first.records)
	}
	r.finish(report)
	if err != nil {
		err = fmt.Errorf("salvage %s: %w", src.Describe().Location, err)
	}
	return report, err
}

// copied tells where the log is a copy that does not hold all of its origin, unless
// an end before that was asked for.
func (r *Report) copied(ctx context.Context, src source.Source, asked source.Range) error {
	if _, copied := source.As[source.ExtentSource](src); !copied || asked.To.Kind != source.Unbounded || asked.Limit > 0 {
		return nil
	}
	x, err := source.ExtentOf(ctx, src)
	if err != nil || x.Whole {
		return err
	}
	r.Missing = cmp.Or(x.Detail, "how the copying ended is not kept in it")
	r.notef("the archive does not hold the whole log: %s; rows of the rest are not here, and what the rest deletes is", r.Missing)
	return nil
}

// scope reads the partitions and segments asked for.
func (r *run) scope() {
	if len(r.opts.Partitions) > 0 {
		r.partitions, r.names = map[int64]bool{}, map[string]bool{}
		for _, p := range r.opts.Partitions {
			if id, err := strconv.ParseInt(p, 10, 64); err == nil {
				r.partitions[id] = true
			} else {
				r.names[p] = true
			}
		}
	}
	for _, s := range r.opts.Segments {
		if r.segments == nil {
			r.segments = map[int64]bool{}
		}
		r.segments[s] = true
	}
}

// inScope reports whether an Insert was asked for.
func (r *run) inScope(m *message.Message) bool {
	switch {
	case r.wanted != nil && !r.wanted[m.Collection]:
	case r.segments != nil && !r.segments[m.Segment]:
	case r.opts.VChannel != nil && !r.opts.VChannel(m.VChannel):
	case r.partitions == nil || r.partitions[m.Partition]:
		return true
	default:
		c := r.collections[m.Collection]
		return c != nil && r.names[c.partitions[m.Partition]]
	}
	return false
}

// hold accounts for memory kept between the passes.
func (r *run) hold(n int64) error {
	r.held += n
	if r.opts.Memory > 0 && r.held > r.opts.Memory {
		return fmt.Errorf("%w: deletes and dropped messages take more than %d bytes; raise --memory, or name a --collection or --vchannel at a time", ErrMemory, r.opts.Memory)
	}
	return nil
}

// finish puts the report together.
func (r *run) finish(report *Report) {
	r.tally.report(report)
	report.Deletes = r.deletes
	for _, c := range report.Collections {
		known := r.collections[c.Collection]
		if known == nil {
			continue
		}
		c.Name, c.Database, c.Dropped, c.TTLSeconds = known.newest.GetName(), known.newest.GetDbName(), known.dropped, known.ttl
		c.Partitions = known.partitions
		r.dropped(c, known.schema, report)
	}
	if d := r.deletes; d.Unscoped > 0 {
		report.notef("%d deletes name partition 0, which no proxy writes; they are read as deletes in all partitions", d.Unscoped)
	}
	if d := r.deletes; d.Predicates > 0 {
		report.notef("%d deletes are by an expression, without keys: rows they took may be among those brought out", d.Predicates)
	}
	if d := r.deletes; d.Encrypted+d.Undecodable+d.NoPayload > 0 {
		report.notef("%d deletes could not be read (%d encrypted): rows they took may be among those brought out", d.Encrypted+d.Undecodable+d.NoPayload, d.Encrypted)
	}
	ttl := slices.DeleteFunc(slices.Clone(report.Collections), func(c *CollectionReport) bool { return c.TTLSeconds <= 0 })
	if len(ttl) == 0 {
		return
	}
	after := make([]string, len(ttl))
	for i, c := range ttl {
		after[i] = fmt.Sprintf("%d after %d s", c.Collection, c.TTLSeconds)
	}
	report.notef("rows that a collection hides by their age are brought out all the same (%s)", strings.Join(after, ", "))
}

// dropped tells which dropped fields the rows of a collection carry.
func (r *run) dropped(c *CollectionReport, s *rows.Schema, report *Report) {
	if s == nil {
		return
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		n := r.tally.former[f]
		if n == 0 {
			continue
		}
		d := DroppedField{ID: f.ID, Name: f.Was, As: called(f), Rows: n}
		c.FieldsDropped = append(c.FieldsDropped, d)
		report.notef("collection %d no longer has the field %q (id %d); what %d rows hold in it is brought out as %q", c.Collection, d.Name, d.ID, n, d.As)
	}
}
