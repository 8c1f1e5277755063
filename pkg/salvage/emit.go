package salvage

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// emitter is the second pass: it brings the Inserts in, several at work at once.
type emitter struct {
	*run
	appends appends
	work    chan *job
	queue   chan *job
	failed  chan struct{} // closed when the writer gave up
	room    *semaphore.Weighted
}

// inFlight bounds the payloads decoded and not yet written, in bytes. Prepared
// for Parquet, the numbers of a vector take six times their size.
const inFlight = 32 << 20

// job is one Insert on its way out.
type job struct {
	m    *message.Message
	tick uint64
	mark Mark

	done   chan struct{}
	tally  *tally
	chunks []Chunk
	err    error
}

func (r *run) emit(ctx context.Context, records int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := r.opts.Workers
	e := &emitter{run: r, work: make(chan *job, 2*n), queue: make(chan *job, 2*n), failed: make(chan struct{}),
		room: semaphore.NewWeighted(inFlight)}
	e.appends = appends{floor: r.floor, ceiling: r.ceiling, hold: r.hold}
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for j := range e.work {
				r.prepare(j)
				close(j.done)
			}
		})
	}
	// The writer counts for itself; the scan's own counts are r.tally's.
	out := newTally()
	var writeErr error
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		if writeErr = e.write(out); writeErr != nil {
			cancel(writeErr)
			close(e.failed)
			for j := range e.queue {
				<-j.done
				e.room.Release(j.size())
			}
		}
	}()
	_, err := r.scan(ctx, e, records, again)
	if err == nil && r.lost != nil {
		err = r.lost.emit(ctx, e)
	}
	close(e.work)
	close(e.queue)
	workers.Wait()
	<-writer
	r.tally.add(out)
	if writeErr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = writeErr
	}
	return err
}

// write brings what is ready out in order.
func (e *emitter) write(out *tally) error {
	for j := range e.queue {
		<-j.done
		out.add(j.tally)
		err := j.err
		for _, c := range j.chunks {
			if err == nil {
				err = c.Write()
			}
		}
		e.room.Release(j.size())
		if err != nil {
			return err
		}
	}
	return nil
}

// size is a job's share of inFlight.
func (j *job) size() int64 { return min(j.m.PayloadSize, inFlight) }

// submit hands an Insert to the workers.
func (e *emitter) submit(ctx context.Context, m *message.Message, tick uint64, mark Mark) error {
	j := &job{m: m, tick: tick, mark: mark, done: make(chan struct{}), tally: newTally()}
	if err := e.enqueue(ctx, j); err != nil {
		return err
	}
	e.work <- j // as large as the queue
	return nil
}

// enqueue takes room for a job and a place in the order of what is written.
func (e *emitter) enqueue(ctx context.Context, j *job) error {
	if e.room.Acquire(ctx, j.size()) != nil {
		return context.Cause(ctx)
	}
	select {
	case e.queue <- j:
		return nil
	case <-e.failed:
	case <-ctx.Done():
	}
	e.room.Release(j.size())
	return context.Cause(ctx)
}

func (e *emitter) read(m *message.Message) {
	if m.Type == message.TypeInsert {
		e.tally.of(m.Collection).RowsIn += int64(m.Rows)
	}
}

// errNoPayload is an Insert or Delete of a log that was copied without what it carries.
var errNoPayload = errors.New("this copy of the log was made without payloads; read it where they are")

// errNotWhole is a payload that its writer split over several records.
var errNotWhole = errors.New("the payload stands in several records that cannot be put together")

// Dropped implements order.Observer.
func (e *emitter) Dropped(m *message.Message, why order.Reason, _ uint64) {
	switch {
	case m.Type != message.TypeInsert:
	case e.lost != nil && e.lost.has(m):
	case why == order.ChunksMissing || why == order.ChunksBroken:
		if !m.Has(message.ChunkRest) { // without the first record nothing tells how many rows
			e.tally.fail(m, m.TimeTick, Undecodable, fmt.Errorf("%w: %s", errNotWhole, why))
		}
	case why == order.Undecodable:
		e.tally.fail(m, 0, Undecodable, m.Broken())
	default:
		e.tally.not(m.Collection, dropped(why), m.Rows)
	}
}

func (e *emitter) rest(waiting []*message.Message, open []*order.Txn, cut bool) {
	why := [2]Reason{Unconfirmed, OpenTransaction}
	if cut {
		why = [2]Reason{BehindUntil, BehindUntil}
	}
	count := func(ms []*message.Message, why Reason) {
		for _, m := range ms {
			if m.Type == message.TypeInsert && !(e.lost != nil && e.lost.has(m)) {
				e.tally.not(m.Collection, why, m.Rows)
			}
		}
	}
	count(waiting, why[0])
	for _, t := range open {
		count(t.Body, why[1])
	}
}

func (e *emitter) deliver(ctx context.Context, d order.Delivery) error {
	once, twice, err := e.appends.inserts(d)
	if err != nil {
		return err
	}
	for _, m := range twice {
		e.tally.not(m.Collection, DuplicateAppend, m.Rows)
	}
	for _, m := range once {
		if e.lost != nil {
			e.tally.not(m.Collection, Delivered, m.Rows)
			e.lost.delivered(m, d.TimeTick)
		} else if err := e.submit(ctx, m, d.TimeTick, Mark{}); err != nil {
			return err
		}
	}
	return nil
}

// prepare decides over one Insert and makes its rows ready.
func (r *run) prepare(j *job) {
	b := r.decide(j.m, j.tick, j.tally, &j.mark)
	if b == nil {
		return
	}
	j.tally.bytes += j.m.PayloadSize
	g := r.graves[j.m.VChannel].deletedIn(j.m.Partition, j.tick)
	live := make([]int32, 0, b.N)
	var gone []int32
	if g.empty() {
		for i := range b.N {
			live = append(live, int32(i))
		}
	} else {
		for i := range b.N {
			if g.deleted(b.Primary(), i) {
				gone = append(gone, int32(i))
			} else {
				live = append(live, int32(i))
			}
		}
	}
	if !r.opts.IncludeDeleted {
		j.tally.not(j.m.Collection, Deleted, uint64(len(gone)))
		gone = nil
	}
	r.bring(j, b, live, j.mark)
	mark := j.mark
	mark.Deleted = true
	r.bring(j, b, gone, mark)
}

// decide returns the rows of an Insert, nil where none of them is wanted or
// readable. mark learns what ended them.
func (r *run) decide(m *message.Message, tick uint64, t *tally, mark *Mark) *rows.Batch {
	if !r.inScope(m) {
		t.not(m.Collection, Filtered, m.Rows)
		return nil
	}
	if why := r.graves[m.VChannel].end(m.Partition, tick); why != "" {
		if !r.opts.IncludeDropped {
			t.not(m.Collection, why, m.Rows)
			return nil
		}
		mark.Dropped = why
	}
	b, why, err := r.decode(m)
	if err != nil {
		t.fail(m, tick, why, err)
		return nil
	}
	return b
}

// errNoSchema is an Insert's collection that neither log nor catalog describe.
var errNoSchema = errors.New("neither the log nor a catalog holds the collection's schema; give --catalog")

func (r *run) decode(m *message.Message) (*rows.Batch, Reason, error) {
	if m.Has(message.HasCipher) {
		_, err := m.Body()
		return nil, Encrypted, err
	}
	c := r.collections[m.Collection]
	switch {
	case m.Payload == nil && m.PayloadSize > 0:
		return nil, NoPayload, errNoPayload
	case c == nil || c.newest == nil:
		return nil, NoSchema, errNoSchema
	case c.schemaErr != nil:
		return nil, NoSchema, c.schemaErr
	}
	b, err := rows.Decode(m.Payload, c.schema, m.Rows)
	if err != nil {
		return nil, Undecodable, err
	}
	return b, "", nil
}

// bring makes rows ready for the sink.
func (r *run) bring(j *job, b *rows.Batch, keep []int32, mark Mark) {
	if len(keep) == 0 || j.err != nil {
		return
	}
	m := j.m
	chunk, err := r.sink.Prepare(&Rows{Batch: b, Keep: keep, Mark: mark, Collection: m.Collection, Database: b.Schema.Database,
		Partition: m.Partition, Segment: m.Segment, VChannel: m.VChannel, TimeTick: j.tick, ID: m.TextID()})
	if err != nil {
		j.err = fmt.Errorf("rows of message %s: %w", m.ID, err)
		return
	}
	j.chunks = append(j.chunks, chunk)
	j.tally.of(m.Collection).RowsOut += int64(len(keep))
	for i := range b.Columns {
		if c := &b.Columns[i]; c.Field.Dropped && !c.Missing {
			j.tally.former[c.Field] += int64(len(keep))
		}
	}
}
