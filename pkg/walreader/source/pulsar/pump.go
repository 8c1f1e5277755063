package pulsar

import (
	"context"
	"errors"
	"fmt"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// idleAfter is how long a pump waits for a message before it asks why none comes.
const idleAfter = 2 * time.Second

// retryEvery is how often a broker that is away is asked again.
const retryEvery = 250 * time.Millisecond

// Why a pump opens a new reader where it stands.
var (
	errLost   = errors.New("the connection was lost")
	errHoard  = errors.New("the client holds more than its share")
	errResize = errors.New("messages outgrew the receiver queue")
)

// pump reads one span over a connection of its own into a queue. It lives until
// the span is read, its context ends, or the broker can't be reached for longer
// than patience.
type pump struct {
	s       *Source
	span    span
	ledgers []ledger // at opening
	keep    source.Payload
	follow  bool
	q       *queue
	dec     message.Decoder

	last      message.ID // of the last message handed on; zero = none yet
	lastBatch int32      // messages in its entry
	suspect   message.ID // a gap before this id was seen once: asked for again
	prefetch  int        // receiver queue of the next reader
	largest   int64      // decaying size of the largest message

	idled      time.Duration // how long nothing came while it was waited for
	endSuspect bool          // the span's end was passed over once: asked for again
	waited     func()        // ends the telling that the broker is waited for; nil = it is not
}

// run fills the queue and ends it. It is the goroutine the reader waits for.
func (p *pump) run(ctx context.Context) {
	defer p.q.finish()
	defer func() { p.arrived() }()
	var away time.Time // since when the broker is not there
	for {
		before := p.last
		err := p.readOnce(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, errLost), errors.Is(err, errHoard), errors.Is(err, errResize):
			err = nil
		}
		if p.last != before || err == nil {
			away = time.Time{}
		}
		if err == nil {
			continue
		}
		if away.IsZero() {
			away = time.Now()
		}
		p.waiting()
		if !p.retry(err) || (!p.follow && time.Since(away) > p.s.cfg.Patience) {
			p.q.push(item{err: err}, 0)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryEvery):
		}
	}
}

// retry reports whether an error may pass by itself: a broker that was there
// and restarts, or one that is slow. What else fails at the first try is told at once.
func (p *pump) retry(err error) bool {
	var stalled *StalledError
	return !errors.As(err, &stalled) && errors.Is(err, source.ErrUnavailable) && (p.s.connected.Load() || slow(err))
}

// readOnce opens a reader at the next place and drains it. nil = the span's end.
func (p *pump) readOnce(ctx context.Context) error {
	conn, err := p.s.connect(ctx, p.start(), p.queueSize())
	if err != nil {
		return err
	}
	defer conn.close(p.s)
	p.s.connected.Store(true)
	p.arrived()
	for {
		if err := p.q.waitRoom(ctx, func() error { return p.hoarding(conn) }); err != nil {
			return err
		}
		m, err := p.next(ctx, conn)
		if err != nil {
			return err
		}
		done := m == nil
		if !done {
			done, err = p.accept(conn, m)
		}
		if err != nil {
			return err
		}
		if done {
			p.q.complete() // the reader need not wait for the connection to close
			return nil
		}
	}
}

// hoarding tells when the client has queued more than the connection's memory.
func (p *pump) hoarding(conn *connection) error {
	if conn.prefetched() <= p.s.cfg.Memory {
		return nil
	}
	p.prefetch = max(p.prefetch/8, 1)
	return errHoard
}

// start is the id to begin at: behind the last one handed on.
func (p *pump) start() message.ID {
	switch {
	case p.last.IsZero():
		return p.span.from
	case p.last.Batch+1 < p.lastBatch:
		return message.ID{Backend: message.BackendPulsar, A: p.last.A, B: p.last.B, Batch: p.last.Batch + 1}
	}
	return message.ID{Backend: message.BackendPulsar, A: p.last.A, B: p.last.B + 1}
}

// startOf is start, where the log's first entry has its id: a stretch that begins there
// and ends at next has a name.
func (p *pump) startOf(next message.ID) message.ID {
	if at := p.start(); !at.IsZero() {
		return at
	}
	return firstEntry(-1, next, p.ledgers)
}

// queueSize is as many messages as fit into the connection's memory, by the
// largest seen lately or, before any, by the ledgers' averages. What really is
// held is watched apart (hoarding). A short span asks for a part of itself:
// what the client asks for after its end is read for nothing.
func (p *pump) queueSize() int {
	if p.prefetch == 0 {
		p.prefetch = p.s.cfg.ReceiverQueue
		for _, l := range p.ledgers {
			if l.Entries > 0 {
				p.largest = max(p.largest, l.Size/l.Entries)
			}
		}
		if entries := p.span.to.B - p.span.from.B; p.span.from.A == p.span.to.A && !p.span.to.IsZero() {
			p.prefetch = min(p.prefetch, int(max(entries/8, 16)))
		}
	}
	if p.largest > 0 {
		p.prefetch = min(p.prefetch, int(max(p.s.cfg.Memory/p.largest, 1)))
	}
	return p.prefetch
}

// next waits for a message. nil without an error is the end of the span.
func (p *pump) next(ctx context.Context, conn *connection) (client.Message, error) {
	for {
		m, err := conn.next(ctx, idleAfter)
		switch {
		case conn.lost():
			return nil, errLost
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, errLost
		case p.follow || p.span.to.IsZero() || conn.inSlot > 0:
			continue
		}
		if done, err := p.idle(ctx, conn); done || err != nil {
			return nil, err
		}
	}
}

// idle looks into why nothing came for a whole slot although the span has not
// ended. Where the broker has passed the span's end without delivering it, twice,
// it will not come (done). What else keeps it back is borne for patience, half
// way asked for over another connection.
func (p *pump) idle(ctx context.Context, conn *connection) (done bool, err error) {
	before := p.idled
	p.idled += idleAfter
	p.waiting()
	if p.passed(ctx, conn) {
		if !p.endSuspect {
			p.endSuspect = true
			return false, errLost
		}
		p.q.push(item{err: p.gap(p.startOf(p.span.to).String()+" to the end "+entryOf(p.span.to).String(), -1)}, 0)
		return true, nil
	}
	switch half := p.s.cfg.Patience / 2; {
	case p.idled >= p.s.cfg.Patience:
		return false, &StalledError{Topic: p.s.cfg.name(), Next: p.start(), End: entryOf(p.span.to), Waited: p.idled, AdminOpen: p.s.open}
	case before < half && p.idled >= half:
		return false, errLost
	}
	return false, nil
}

// passed reports whether the broker's cursor lies after the span's end and
// nothing it sent is still under way.
func (p *pump) passed(ctx context.Context, conn *connection) bool {
	stats, err := p.s.admin.internalStats(ctx)
	if err != nil {
		return false
	}
	read, ok := parsePosition(stats.Cursors[conn.subscription].Read)
	at := message.ID{Backend: message.BackendPulsar, A: read.Ledger, B: read.Entry}
	return ok && entryOf(p.span.to).Less(at) && conn.overtake(ctx, p.s) && conn.prefetched() == 0
}

// accept hands one message on. done is true behind the span's end.
func (p *pump) accept(conn *connection, cm client.Message) (done bool, err error) {
	mid := cm.ID()
	id := message.ID{Backend: message.BackendPulsar, A: mid.LedgerID(), B: mid.EntryID(), Batch: max(mid.BatchIdx(), 0)}
	if id.Less(p.span.from) || (!p.last.IsZero() && id.Compare(p.last) <= 0) {
		return false, nil // the broker starts at an entry, and again after a reconnect
	}
	if p.skipped(id) {
		if p.suspect != id {
			p.suspect = id
			return false, errLost // asked for once more before it is called missing
		}
		p.reportGap(id)
	}
	if p.span.past(id) {
		return true, nil
	}
	m := p.convert(cm, id, message.Form{Partition: mid.PartitionIdx(), BatchSize: mid.BatchSize()})
	size := m.PayloadSize + int64(m.Props.Size()) + 256
	p.last, p.lastBatch = id, mid.BatchSize()
	p.idled, p.endSuspect = 0, false
	p.arrived()
	p.q.push(item{m: m}, size)
	if entryOf(id) == entryOf(p.span.to) && id.Batch+1 >= mid.BatchSize() || id == p.span.to {
		return true, nil
	}
	if p.largest = max(size, p.largest-p.largest/4096-1); p.largest*int64(p.prefetch) > 4*p.s.cfg.Memory && p.prefetch > 1 {
		return false, errResize
	}
	return false, nil
}

// skipped reports whether entries that were there at opening are passed over.
func (p *pump) skipped(id message.ID) bool {
	if p.span.past(id) { // what lies after is not ours to judge
		id = message.ID{Backend: id.Backend, A: p.span.to.A, B: p.span.to.B + 1}
	}
	return p.lost(id) != 0
}

// lost counts the entries passed over before an id, as missing does.
func (p *pump) lost(id message.ID) int64 {
	if !p.last.IsZero() {
		return missing(p.last, p.lastBatch, id, p.ledgers)
	}
	return missingBefore(p.span.from, id, p.ledgers)
}

func (p *pump) reportGap(id message.ID) {
	p.q.push(item{err: p.gap(p.startOf(id).String()+" up to "+id.String(), p.lost(id))}, 0)
}

// gap is what a stretch of the log that the broker does not deliver looks like.
func (p *pump) gap(place string, lost int64) error {
	return &source.CorruptError{Source: p.s.cfg.name(), Place: place, Lost: lost,
		Cause: errors.New("the broker passes over these entries: trimmed by retention or TTL, or their checksum is wrong")}
}

// convert makes a message of what the client decoded.
func (p *pump) convert(cm client.Message, id message.ID, form message.Form) *message.Message {
	m := &message.Message{PublishTime: cm.PublishTime().UnixMilli(), Payload: cm.Payload()}
	m.SetID(id, form)
	props := cm.Properties()
	m.Props = make(message.Properties, 0, len(props))
	for k, v := range props {
		m.Props = append(m.Props, message.Property{Key: k, Value: v})
	}
	m.Props.Sort()
	p.dec.Decode(m)
	if !p.keep.Wants(m.Type) {
		m.DropPayload()
	}
	return m
}

// StalledError means that the broker is there, and delivers nothing although the log goes
// on. It wraps source.ErrUnavailable.
type StalledError struct {
	Topic     string
	Next, End message.ID    // the place waited for (zero = the topic's first message), the read's end
	Waited    time.Duration // Config.Patience, about
	AdminOpen bool          // false: what the broker skips could not be told from what it holds back
}

// Error implements error.
func (e *StalledError) Error() string {
	at, unknown := "the topic's first message", ""
	if !e.Next.IsZero() {
		at = e.Next.String()
	}
	if !e.AdminOpen {
		unknown = "give --pulsar-admin, so that what retention or TTL removed is told from what is held back; "
	}
	return fmt.Sprintf("read %s: the broker delivered nothing for %s at %s, though the log goes on to %s: %s"+
		"look in the broker's log for read errors of its bookies and for dispatch limits, or go on after that place with --from",
		e.Topic, e.Waited, at, e.End, unknown)
}

// Unwrap returns source.ErrUnavailable.
func (e *StalledError) Unwrap() error { return source.ErrUnavailable }

// waiting says that the broker is waited for, until arrived.
func (p *pump) waiting() {
	if p.waited == nil {
		p.waited = p.s.waits.begin(p.s.cfg.service())
	}
}

func (p *pump) arrived() {
	if p.waited != nil {
		p.waited()
		p.waited = nil
	}
}
