package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ReplayOptions say where a replay stops and what it reports.
type ReplayOptions struct {
	State Options
	// Until is where the replay stops. A TimeTick stops at the message with
	// exactly that TimeTick, as Milvus stops at the one it opened with; a time
	// after everything delivered up to it; an id after the record it names.
	// The zero value stops at the last persisted TimeTick.
	Until source.Bound
	// FromStart ignores the catalog's checkpoint: the log is replayed from its
	// first record, over the catalog's other keys.
	FromStart bool
	// Collections are those RootCoord knows, by id; nil = not known. Where a pchannel
	// has no checkpoint a node begins with them, and one that neither catalog nor
	// log brings is missing.
	Collections map[int64]*catalog.Collection
	// Pending tells the vchannels that broadcasts under way name: a change of their
	// definition is not finished. It is asked only where one is missing; nil = not known.
	Pending func(ctx context.Context) (map[string]bool, error)
	// Flushed are DataCoord's flush positions, by vchannel, from which the flusher
	// reads; nil = not known.
	Flushed map[string]*msgpb.MsgPosition
	// Tail reads on after the stop and says what the next opening makes of it.
	Tail bool
	// Progress is called every few thousand records.
	Progress source.Progress
	// Account is told how much memory waiting messages hold: order.Options.
	Account func(delta int64) error
}

// Result is what a replay reached and what it met.
type Result struct {
	State    *State
	Until    Stop
	Coverage Coverage
	// Uncommitted is Milvus's transaction buffer at the stop.
	Uncommitted []*order.Txn
	// Records counts what was read, Bytes its payload as stored; Delivered what the scanner delivered up to
	// the stop, transactions as one; Types what was applied, transaction parts
	// each for itself; Dropped what the scanner dropped.
	Records   int64
	Bytes     int64
	Delivered int64
	Types     map[message.Type]int64
	Dropped   map[order.Reason]Drop
	Tail      *Tail // nil unless asked for
	// Unchecked says what a stream that went by did not let be looked at.
	Unchecked []string
}

// WentBy says that something could not be looked at because a stream is over, and what
// to do.
func WentBy(what string) string {
	return what + ": a stream is read once; save it to a file and name that"
}

// Stop is where a replay ended.
type Stop struct {
	// Reached is false where a bound was asked for that the log does not have.
	Reached  bool
	ID       message.ID // the last message delivered
	RawID    string
	TimeTick uint64
}

// Drop sums what was dropped for one reason.
type Drop struct {
	Messages int64
	Rows     uint64 // of Inserts
}

// Tail is what lies after the stop.
type Tail struct {
	Messages    int64 // records read after the stop or never confirmed before it
	Rows        uint64
	First, Last message.ID
	// Next is the state the next opening would reach: everything delivered, no
	// transaction expired.
	Next        *State
	Uncommitted []*order.Txn
}

// Replay reads the log from the catalog's checkpoint on and replays it. What is
// wrong with log or catalog becomes an Issue of the Result's State; an error
// means the log could not be read on, and comes with the Result up to there.
// When ctx ends, reading stops within a second.
func Replay(ctx context.Context, src source.Source, md catalog.Metadata, o ReplayOptions) (*Result, error) {
	if o.Until.Offset != 0 && o.Until.Kind != source.AtID {
		return nil, fmt.Errorf("replay until %d records from a time: only an id can be moved by records", o.Until.Offset)
	}
	st, err := NewState(md, o.State)
	if err != nil {
		return nil, err
	}
	p := &replay{opts: o, state: st, types: new([1 << 10]int64), copies: message.NewCopyWatch(md.PChannel),
		res: &Result{State: st, Types: map[message.Type]int64{}, Dropped: map[order.Reason]Drop{}}}
	p.progress = o.Progress
	if err := p.initialize(ctx, src, md); err != nil {
		return nil, err
	}
	rd, err := p.open(ctx, src, md)
	if err != nil {
		return nil, err
	}
	ahead := source.Ahead(ctx, rd)
	defer func() { _ = ahead.Close() }()
	p.reader = ahead
	p.startTick = st.tick
	p.sight = p.lookOut(src, p.start)
	p.scan = order.NewScanner(p, order.Options{Observer: p, Account: o.Account, Legacy: legacy(st)})
	err = p.run(ctx)
	if err == nil {
		err = p.stand(ctx, src)
	}
	p.finish()
	if err == nil {
		err = p.flusher(ctx, src)
	}
	if err == nil && o.Tail {
		err = p.tail(ctx)
	}
	if err == nil {
		err = p.missing(ctx, src, md)
	}
	if err == nil {
		p.copyMissing()
		err = p.flushPositions(ctx, src, md)
	}
	if err == nil && p.ended {
		err = p.extent(ctx, src)
		p.res.Coverage = p.cover.Coverage
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("replay %s: %w", src.Describe().Location, err)
	}
	return p.res, err
}

// legacy teaches messages from before streaming the vchannels of the catalog.
func legacy(s *State) *message.Legacy {
	l := &message.Legacy{}
	for name, v := range s.vchannels {
		l.Learn(v.meta.CollectionInfo.GetCollectionId(), name)
	}
	return l
}

// replay is one run. It stands between reader and scanner, to see what is read,
// and behind the scanner, to see what is dropped.
type replay struct {
	opts     ReplayOptions
	reader   source.Reader
	scan     *order.Scanner
	state    *State
	res      *Result
	progress source.Progress

	start     message.ID // the checkpoint's; zero = the log's first record
	startTick uint64     // the checkpoint's
	stored    bool       // start is a checkpoint's, not an opening's last confirmed id
	elsewhere bool       // the checkpoint is of another WAL
	unopened  bool       // no checkpoint stands, and the opening that makes one comes after the log's end
	standing  source.Standing
	bounds    source.Bounds // where standing had to ask for them
	sight     source.Sight  // of the flush positions, over what is read from start on
	holes     []message.ID  // those of them before start that name no record
	cover     coverage
	types     *[1 << 10]int64
	copies    *message.CopyWatch
	lastTick  uint64 // the largest TimeTick read
	behind    bool   // the stop was passed
	ended     bool   // the log's end was reached
	tailRows  uint64
	tailCount int64
	tailFirst message.ID
	bytes     int64

	lastDelivered *message.Message
	tailState     *State          // where drops after the stop are counted
	heldBack      *order.Delivery // delivered, but after the time asked for
}

// initialize does what Milvus does where a pchannel has no checkpoint: it starts
// at the TimeTick of the opening itself, with the root coordinator's collections.
func (p *replay) initialize(ctx context.Context, src source.Source, md catalog.Metadata) error {
	if p.opts.FromStart {
		p.state.base.MessageId, p.state.base.TimeTick, p.state.tick = nil, 0, 0
		p.state.base.RecoveryMagic = max(p.state.base.RecoveryMagic, 1)
		return nil
	}
	if md.Checkpoint != nil {
		return nil
	}
	missing := p.noCheckpoint(md)
	opening, old, err := p.findOpening(ctx, src)
	if err != nil {
		return fmt.Errorf("find the opening TimeTick: %w", err)
	}
	if missing.Legacy = old; old {
		missing.Detail += "; no Milvus with streaming has opened this log yet"
	}
	p.state.issues.add(missing)
	if p.unopened = p.opts.Until.Kind == source.Unbounded; opening == nil {
		return nil
	}
	s := p.state
	s.base = &streamingpb.WALCheckpoint{RecoveryMagic: 1}
	s.tick, s.last, s.changed = opening.TimeTick, opening, true
	return nil
}

// findOpening finds the TimeTick that an opening without a checkpoint starts at:
// the one asked for, or the log's last. What was delivered up to it is left out of
// the state, messages from before streaming aside, which flushers read. old tells that
// the log holds nothing but such.
func (p *replay) findOpening(ctx context.Context, src source.Source) (opening *message.Message, old bool, err error) {
	rd, err := guarded(ctx, src, source.Range{})
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rd.Close() }()
	readable := &skipCorrupt{Reader: rd}
	scan := order.NewScanner(readable, order.Options{Account: p.opts.Account, Legacy: legacy(p.state)})
	for {
		d, err := scan.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, source.ErrTornTail):
			return opening, readable.legacy > 0 && readable.legacy == readable.n, nil
		case err != nil:
			return nil, false, err
		}
		if d.Message.Type == message.TypeTimeTick {
			asked := p.opts.Until.Kind == source.AtTimeTick
			if opening = d.Message; asked && d.TimeTick == p.opts.Until.TimeTick {
				return opening, false, nil
			} else if asked {
				opening = nil
			}
			continue
		}
		if d.Message.Version > 0 && !isControl(d.Message) {
			p.state.loseDelivery(d)
		}
	}
}

// skipCorrupt goes on after places that cannot be read: the replay that follows
// tells of them. It counts what it reads, and how much of that is from before streaming.
type skipCorrupt struct {
	source.Reader
	n, legacy int64
}

func (r *skipCorrupt) Next(ctx context.Context) (*message.Message, error) {
	for {
		m, err := r.Reader.Next(ctx)
		var corrupt *source.CorruptError
		if err == nil {
			r.n++
			if m.Version == 0 {
				r.legacy++
			}
		}
		if err == nil || !errors.As(err, &corrupt) {
			return m, err
		}
	}
}

// open finds the place the checkpoint names.
func (p *replay) open(ctx context.Context, src source.Source, md catalog.Metadata) (source.Reader, error) {
	r := source.Range{Payload: source.PayloadDDL}
	if p.opts.Until.Kind == source.AtID {
		r.To = p.opts.Until
	}
	p.start = p.startID(src, md)
	if !p.start.IsZero() {
		r.From = source.Bound{Kind: source.AtID, ID: p.start}
	}
	rd, err := guarded(ctx, src, r)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	first, err := rd.Next(ctx)
	switch {
	case err == nil && p.start.Backend != first.ID.Backend && !p.start.IsZero():
		if p.start.SameWAL(first.ID) {
			p.start.Backend = first.ID.Backend
			break
		}
		p.foreign(md, fmt.Sprintf("the checkpoint is of %s, the log of %s", p.start.Backend, first.ID.Backend))
	case errors.Is(err, message.ErrBadID) && !p.start.IsZero():
		p.foreign(md, err.Error())
	}
	if p.start.IsZero() || !p.elsewhere {
		return &pushedBack{Reader: rd, first: first, err: err}, nil
	}
	_ = rd.Close()
	p.start, r.From = message.ID{}, source.Bound{}
	if rd, err = guarded(ctx, src, r); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return rd, nil
}

// startID is the checkpoint's position in the source's terms, zero to begin at
// the log's first record.
func (p *replay) startID(src source.Source, md catalog.Metadata) message.ID {
	if p.opts.FromStart {
		return message.ID{}
	}
	if md.Checkpoint == nil {
		if p.state.last != nil {
			return p.state.last.LastConfirmed
		}
		return message.ID{}
	}
	p.stored = true
	have := src.Describe().Backend
	id, err := CheckpointID(md, have)
	switch {
	case err != nil && md.Checkpoint.GetMessageId().GetId() == "":
		p.noPosition(md)
		return message.ID{}
	case err != nil:
		p.state.issues.add(Issue{Code: CodeCheckpointBroken, Stops: AllLines, Key: catalog.CheckpointKey(md.PChannel), Detail: err.Error()})
		return message.ID{}
	}
	if have != message.BackendUnknown && id.Backend != have {
		p.foreign(md, fmt.Sprintf("the checkpoint is of %s, the log of %s", id.Backend, have))
		return message.ID{}
	}
	if id.IsEarliest() {
		p.signedOffset(md, message.Backend(md.Checkpoint.GetMessageId().GetWALName()))
		return message.ID{}
	}
	return id
}

// signedOffset notes a Kafka checkpoint at the log's beginning, −2, which AlterWAL
// leaves: 2.6.0 to 2.6.17 write it and cannot read it. docs/rules.md#ids
func (p *replay) signedOffset(md catalog.Metadata, named message.Backend) {
	version := p.opts.State.Milvus
	patch, known := patchOf(version)
	if named != message.BackendKafka || LineOf(version) == Line30 || LineOf(version) == Line26 && known && patch > 17 {
		return
	}
	i := Issue{Code: CodeCheckpointBroken, Key: catalog.CheckpointKey(md.PChannel),
		Detail: "−2, the beginning of a Kafka log: 2.6.0 to 2.6.17 cannot read a negative offset, 2.6.18 and later can"}
	if known && LineOf(version) == Line26 {
		i.Stops = Line26
	}
	p.state.issues.add(i)
}

// foreign notes a checkpoint of another WAL: the log is read from its start.
func (p *replay) foreign(md catalog.Metadata, detail string) {
	p.elsewhere = true
	p.state.issues.add(Issue{Code: CodePositionGone, Stops: AllLines, Key: catalog.CheckpointKey(md.PChannel), Detail: detail})
}

// run delivers to the state until the stop or the end of the log.
func (p *replay) run(ctx context.Context) error {
	for {
		d, err := p.scan.Next(ctx)
		if err != nil {
			return p.readError(err)
		}
		if p.past(d) {
			p.hold(d)
			return nil
		}
		p.observe(p.state, d)
		if p.opts.Until.Kind == source.AtTimeTick && d.TimeTick == p.opts.Until.TimeTick {
			p.res.Until.Reached = true
			return nil
		}
	}
}

// past reports whether a delivery lies after a time asked for.
func (p *replay) past(d order.Delivery) bool {
	if p.opts.Until.Kind != source.AtTime {
		return false
	}
	p.res.Until.Reached = message.PhysicalMillis(d.TimeTick) > p.opts.Until.Time.UnixMilli()
	return p.res.Until.Reached
}

// hold keeps the delivery that passed the stop for the tail.
func (p *replay) hold(d order.Delivery) {
	p.res.Until.Reached = true
	p.heldBack = &d
}

func (p *replay) observe(s *State, d order.Delivery) {
	s.Observe(d)
	if p.behind {
		return
	}
	p.res.Delivered++
	p.res.Until.ID, p.res.Until.TimeTick = d.Message.ID, d.TimeTick
	p.lastDelivered = d.Message
	if d.Begin == nil {
		p.types[d.Message.Type&(1<<10-1)]++
		return
	}
	p.types[message.TypeTxn]++
	for _, m := range d.Body {
		p.types[m.Type&(1<<10-1)]++
	}
}

// readError sorts a reader's error: nil at an end.
func (p *replay) readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		p.cover.end(p.start)
		p.ended = true
		return nil
	case errors.Is(err, source.ErrTornTail):
		p.cover.end(p.start)
		p.ended = true
		p.cover.TornTail = true
		return nil
	}
	return err
}

// finish fixes the result at the stop.
func (p *replay) finish() {
	r := p.res
	r.Records, r.Bytes = p.cover.Records, p.bytes
	r.Uncommitted = p.scan.Uncommitted()
	if p.lastDelivered != nil {
		r.Until.RawID = p.lastDelivered.RawID()
	}
	switch p.opts.Until.Kind {
	case source.Unbounded, source.AtID:
		r.Until.Reached = true
	case source.AtTimeTick:
		if !r.Until.Reached {
			detail := "no message with exactly this TimeTick is delivered from the checkpoint on"
			if p.opts.Until.TimeTick <= p.startTick {
				detail = fmt.Sprintf("it lies at or before the checkpoint, whose TimeTick is %d", p.startTick)
			}
			p.state.issues.add(Issue{Code: CodeOpeningUnreadable, Stops: AllLines, TimeTick: p.opts.Until.TimeTick, Detail: detail})
		}
	case source.AtTime:
		r.Until.Reached = true // the log may end before the time asked for
	}
	for t, n := range p.types {
		if n > 0 {
			r.Types[message.Type(t)] = n
		}
	}
	p.state.importWaits()
	p.coverageIssues()
	r.Coverage = p.cover.Coverage
}

// tail goes on after the stop, on a copy of the state.
func (p *replay) tail(ctx context.Context) error {
	p.behind = true
	next := p.state.Clone()
	p.tailState = next
	t := &Tail{Next: next}
	for _, m := range p.scan.Waiting() {
		p.tailed(m)
	}
	if d := p.heldBack; d != nil {
		p.tailed(d.Message)
		for _, m := range d.Body {
			p.tailed(m)
		}
		next.Observe(*d)
	}
	for flushed := false; ; {
		d, err := p.scan.Next(ctx)
		switch {
		case err == nil && p.unopened:
			if d.Message.Version > 0 { // what is older, flushers read
				next.loseDelivery(d)
			}
			continue
		case err == nil:
			next.Observe(d)
			continue
		case p.readError(err) != nil:
			return err
		case !flushed:
			flushed = true
			p.scan.Flush()
			continue
		}
		break
	}
	t.Messages, t.Rows, t.First, t.Last = p.tailCount, p.tailRows, p.tailFirst, p.cover.Last
	t.Uncommitted = p.scan.Uncommitted()
	p.readingIssues(&next.issues)
	p.res.Tail = t
	p.res.Coverage = p.cover.Coverage
	p.res.Records, p.res.Bytes = p.cover.Records, p.bytes
	return nil
}

// tailed counts what lies after the stop. Messages from before streaming were
// acknowledged without a TimeTick after them: they are no unconfirmed tail.
func (p *replay) tailed(m *message.Message) {
	if m.Version == 0 {
		return
	}
	p.tailCount++
	if p.tailFirst.IsZero() {
		p.tailFirst = m.ID
	}
	if m.Type == message.TypeInsert {
		p.tailRows += m.Rows
	}
}
