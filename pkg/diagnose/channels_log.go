package diagnose

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ChannelColumns are the fields ScanChannels needs.
const ChannelColumns = message.ColumnID | message.ColumnType | message.ColumnFlags | message.ColumnTimeTick | message.ColumnVChannel | message.ColumnCollection | message.ColumnRows |
	message.ColumnTerm | message.ColumnBroadcastID | message.ColumnFull

// ChannelLog is what one pchannel's log says of its vchannels.
type ChannelLog struct {
	PChannel    string
	First, Last message.ID // of what was read; zero = empty
	LastTick    uint64     // of the last persisted TimeTick
	Records     int64
	ToEnd       bool // read to the log's end
	Damaged     int64
	VChannels   map[string]*LoggedChannel
	// Term is the highest a message of the log carries, TermAt the first that does.
	Term   int64
	TermAt message.ID
	// Reopened says that the log was opened once more, or written by a lower term,
	// behind a message of the highest.
	Reopened bool
	// Bounds are the log's ends, whatever part of it was read. Known is false
	// where nobody can tell them: then no position is judged by them.
	Bounds source.Bounds
	Known  bool
	// Missing are copies of broadcasts that never came, where the whole log was read.
	Missing []message.MissingCopy
	// Local is true where the foreign position asked for is, with its TimeTick, a
	// record of this log.
	Local bool
	// Copies are those of the broadcasts asked for that a reader gets.
	Copies map[BroadcastCopy]CopyAt

	imports []waitingImport // the first CommitImport after each checkpoint asked for, rising
	awake   int64           // milliseconds the log was not idle, up to its last TimeTick
	marks   []passing       // the first persisted TimeTick after each checkpoint asked for, rising
}

// passing is a TimeTick and how long the log had been awake before it.
type passing struct {
	tick  uint64
	awake int64
}

// BroadcastCopy is one copy of a broadcast.
type BroadcastCopy = message.BroadcastCopy

// ForeignPosition is a position in another cluster's WAL, as the catalog has it.
type ForeignPosition struct {
	ID       message.ID
	TimeTick uint64
}

// CopyAt is where a copy of a broadcast stands.
type CopyAt struct {
	id   message.ID
	tick uint64
}

// waitingImport is a message a live flusher does not get past before something
// outside the log happens: a type with message.FlusherWaits.
type waitingImport struct {
	passing
	id       message.ID
	vchannel string
}

// idleFrom is the pause between two persisted TimeTicks, in milliseconds, from
// which on the log counts as idle: a busy one has five a second.
const idleFrom = 60_000

// LoggedChannel is one vchannel as a log has it. What a reader would drop as
// stale is counted in Stale and nowhere else.
type LoggedChannel struct {
	Collection       int64
	Messages, Stale  int64
	Rows             uint64
	First, Last      message.ID
	LastTick         uint64
	Created, Dropped uint64 // TimeTick of CreateCollection and DropCollection, 0 = not in the log
	DroppedAt        message.ID
	Schema           bool       // a message a reader gets brings its schema
	StaleCreate      message.ID // a CreateCollection no reader gets: it lies behind a TimeTick

	// Waiting is the TimeTick of the first message after the channel checkpoint,
	// and Waits how many there are; both 0 where there is no checkpoint.
	Waiting uint64
	Waits   int64
	awake   int64 // the log's, at Waiting
}

// ChannelScan tells ScanChannels what to measure against.
type ChannelScan struct {
	PChannel string
	// Checkpoints is the TimeTick of each vchannel's flush position. Dropped
	// channels have none: their sentinel is no TimeTick.
	Checkpoints map[string]uint64
	// AsOf, where set, is the TimeTick the checkpoints were read at: what was
	// written later cannot have been flushed then.
	AsOf uint64
	// Broadcasts are those whose copies are looked for.
	Broadcasts map[uint64]bool
	// Foreign is a position that must lie in another cluster's WAL, nil for none.
	Foreign *ForeignPosition
	// Bounds are the log's ends, nil where they are not known.
	Bounds *source.Bounds
	// Positions are those of the catalog whose records are looked out for.
	Positions []message.ID
	// WholeRead: the reader begins where the log does and ends where it does, so
	// that what it brings are the ends where nothing else tells them.
	WholeRead bool
	ToEnd     bool // the reader ends where the log does
	Progress  source.Progress
}

// ScanChannels reads a log's index columns once. Places that cannot be read are
// counted and passed over; a torn tail is an end.
func ScanChannels(ctx context.Context, r source.ColumnReader, o ChannelScan) (*ChannelLog, error) {
	s := channelScanner{o: o, out: &ChannelLog{PChannel: o.PChannel, ToEnd: o.ToEnd, VChannels: map[string]*LoggedChannel{}, Copies: map[BroadcastCopy]CopyAt{}}}
	s.sight = source.NewSight(o.Positions...)
	if o.Bounds != nil {
		s.out.Bounds, s.out.Known = *o.Bounds, true
	}
	if o.WholeRead {
		s.watch = message.NewCopyWatch(o.PChannel)
	}
	s.cps = slices.Sorted(maps.Values(o.Checkpoints))
	for {
		c, err := r.NextColumns(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			s.batch(c)
			if o.Progress != nil {
				o.Progress(s.out.Records, 0, -1)
			}
		case errors.Is(err, io.EOF), errors.Is(err, source.ErrTornTail):
			s.finish()
			return s.out, nil
		case errors.As(err, &corrupt):
			s.out.Damaged++
			s.sight.Unread()
			s.blind.Start, s.blind.End = s.blind.Start || s.out.Records == 0, true
		default:
			return nil, err
		}
	}
}

type channelScanner struct {
	o     ChannelScan
	out   *ChannelLog
	index []*LoggedChannel // by the reader's dictionary; nil = not looked at yet
	skip  []bool
	cps   []uint64 // the checkpoints, sorted
	next  int      // the first of cps no TimeTick has passed
	watch *message.CopyWatch
	wait  int          // the first of cps no CommitImport has passed
	blind source.Lacks // at which ends a place could not be read
	sight source.Sight
}

func (s *channelScanner) batch(c *message.Columns) {
	for len(s.index) < len(c.VChannels) {
		name := c.VChannels[len(s.index)]
		skip := name == "" || message.IsControlChannel(name) || message.PChannelOf(name) == name
		s.skip = append(s.skip, skip)
		s.index = append(s.index, nil)
	}
	for i := range c.N {
		s.row(c, i)
	}
	s.sight.Columns(c)
	if c.N > 0 {
		if s.out.First.IsZero() {
			s.out.First = c.ID(0)
		}
		s.out.Last, s.blind.End = c.ID(c.N-1), false
		s.out.Records += int64(c.N)
	}
}

func (s *channelScanner) row(c *message.Columns, i int) {
	tick := c.TimeTick[i]
	if s.o.AsOf == 0 || tick <= s.o.AsOf {
		s.term(c, i)
	}
	if s.o.Broadcasts != nil && c.Flags[i]&message.HasBroadcast != 0 && tick >= s.out.LastTick && s.o.Broadcasts[c.BroadcastID[i]] {
		s.out.Copies[BroadcastCopy{Broadcast: c.BroadcastID[i], VChannel: c.VChannels[c.VChannel[i]]}] = CopyAt{c.ID(i), tick}
	}
	if c.Flags[i]&message.HasBroadcast != 0 && s.watch != nil {
		if m := c.Full[i]; m != nil {
			s.watch.See(m, c.VChannels[c.VChannel[i]], s.out.LastTick != 0)
		}
	}
	if f := s.o.Foreign; f != nil && tick == f.TimeTick && c.ID(i) == f.ID {
		s.out.Local = true
	}
	if c.Type[i] == message.TypeTimeTick {
		if tick > s.out.LastTick {
			s.passed(tick)
			s.out.LastTick = tick
		}
		return
	}
	k := c.VChannel[i]
	if s.skip[k] || c.Flags[i]&message.PChannelLevel != 0 {
		return
	}
	v := s.index[k]
	if v == nil {
		v = &LoggedChannel{Collection: message.CollectionIDOf(c.VChannels[k]), First: c.ID(i)}
		s.index[k], s.out.VChannels[c.VChannels[k]] = v, v
	}
	if tick < s.out.LastTick {
		v.Stale++
		if c.Type[i] == message.TypeCreateCollection {
			v.StaleCreate = c.ID(i)
		}
		return
	}
	if c.Type[i].Is(message.FlusherWaits) {
		s.waits(c, i, tick)
	}
	v.Messages++
	v.Last = c.ID(i)
	v.LastTick = max(v.LastTick, tick)
	v.Schema = v.Schema || bringsSchema(c, i)
	switch c.Type[i] {
	case message.TypeCreateCollection:
		v.Created = tick
	case message.TypeDropCollection:
		v.Dropped, v.DroppedAt = tick, c.ID(i)
	case message.TypeInsert:
		v.Rows += c.Rows[i]
	}
	cp := s.o.Checkpoints[c.VChannels[k]]
	if cp != 0 && tick > cp && (s.o.AsOf == 0 || tick <= s.o.AsOf) {
		v.Waits++
		if v.Waiting == 0 {
			v.Waiting, v.awake = tick, s.out.awake
		}
	}
}

// term keeps the highest term, and whether the log was opened behind it.
func (s *channelScanner) term(c *message.Columns, i int) {
	known := c.Flags[i]&message.HasTerm != 0
	switch {
	case known && c.Term[i] > s.out.Term:
		s.out.Term, s.out.TermAt, s.out.Reopened = c.Term[i], c.ID(i), false
	case c.Type[i] == message.TypeTimeTick && (!known || c.Term[i] < s.out.Term):
		s.out.Reopened = true
	}
}

// bringsSchema reports whether a message sets its vchannel's schema.
func bringsSchema(c *message.Columns, i int) bool {
	switch c.Type[i] {
	case message.TypeCreateCollection, message.TypeSchemaChange:
		return true
	case message.TypeAlterCollection:
		m := c.Full[i]
		if m == nil {
			return false
		}
		mask, err := m.UpdateMask()
		return err == nil && slices.Contains(mask, "schema")
	}
	return false
}

// passed keeps the first TimeTick after every checkpoint; TimeTicks rise, so each
// checkpoint is looked at once.
func (s *channelScanner) passed(tick uint64) {
	if s.o.AsOf != 0 && tick > s.o.AsOf {
		return
	}
	if s.out.LastTick != 0 {
		s.out.awake += min(message.PhysicalMillis(tick)-message.PhysicalMillis(s.out.LastTick), idleFrom)
	}
	if s.next == len(s.cps) || tick <= s.cps[s.next] {
		return
	}
	s.out.marks = append(s.out.marks, passing{tick, s.out.awake})
	for s.next < len(s.cps) && s.cps[s.next] < tick {
		s.next++
	}
}

// waits keeps the first message after each checkpoint that a flusher does not get
// past by itself.
func (s *channelScanner) waits(c *message.Columns, i int, tick uint64) {
	if s.wait == len(s.cps) || tick <= s.cps[s.wait] || s.o.AsOf != 0 && tick > s.o.AsOf {
		return
	}
	s.out.imports = append(s.out.imports, waitingImport{passing{tick, s.out.awake}, c.ID(i), c.VChannels[c.VChannel[i]]})
	for s.wait < len(s.cps) && s.cps[s.wait] < tick {
		s.wait++
	}
}

// unsynced is how long, in milliseconds, a write buffer may keep what it was given
// before it is synced for its age alone.
const unsynced = 10 * 60_000

// held is the message that keeps a flusher at a checkpoint: one it does not get past
// by itself, with nothing of the vchannel in front that had to be synced before.
func (l *ChannelLog) held(v *LoggedChannel, cp uint64) *waitingImport {
	for i := range l.imports {
		m := &l.imports[i]
		if m.tick <= cp {
			continue
		}
		if v != nil && v.Waiting != 0 && v.Waiting < m.tick && m.awake-v.awake > unsynced {
			return nil
		}
		return m
	}
	return nil
}

// waited is how long, idle time left out, what lies after a checkpoint has
// waited at the log's end.
func (l *ChannelLog) waited(v *LoggedChannel, cp uint64) time.Duration {
	if v != nil && v.Waiting != 0 {
		return time.Duration(l.awake-v.awake) * time.Millisecond
	}
	for _, m := range l.marks {
		if m.tick > cp {
			return time.Duration(l.awake-m.awake) * time.Millisecond
		}
	}
	return 0
}

func (s *channelScanner) finish() {
	if s.watch != nil && s.out.Damaged == 0 {
		s.out.Missing = s.watch.Missing(s.out.LastTick)
	}
	if !s.out.Known && s.o.Bounds == nil && s.o.WholeRead {
		s.out.Bounds, s.out.Known = source.Bounds{First: s.out.First, Last: s.out.Last, Empty: s.out.Records == 0, Records: s.out.Records, Lacks: s.blind}, true
	}
	s.out.Bounds.Holes = s.sight.Holes()
	if s.o.AsOf != 0 {
		s.out.LastTick = min(s.out.LastTick, s.o.AsOf)
	}
}
