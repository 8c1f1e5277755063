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
const ChannelColumns = message.ColumnID | message.ColumnType | message.ColumnFlags | message.ColumnTimeTick | message.ColumnVChannel | message.ColumnCollection | message.ColumnRows

// ChannelLog is what one pchannel's log says of its vchannels.
type ChannelLog struct {
	PChannel    string
	First, Last message.ID // of what was read; zero = empty
	LastTick    uint64     // of the last persisted TimeTick
	Records     int64
	ToEnd       bool // read to the log's end
	Damaged     int64
	VChannels   map[string]*LoggedChannel

	awake int64     // milliseconds the log was not idle, up to its last TimeTick
	marks []passing // the first persisted TimeTick behind each checkpoint asked for, rising
}

// passing is a TimeTick and how long the log had been awake before it.
type passing struct {
	tick  uint64
	awake int64
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
	StaleCreate      message.ID // a CreateCollection no reader gets: it lies behind a TimeTick

	// Waiting is the TimeTick of the first message behind the channel checkpoint,
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
	AsOf     uint64
	ToEnd    bool // the reader ends where the log does
	Progress source.Progress
}

// ScanChannels reads a log's index columns once. Places that cannot be read are
// counted and passed over; a torn tail is an end.
func ScanChannels(ctx context.Context, r source.ColumnReader, o ChannelScan) (*ChannelLog, error) {
	s := channelScanner{o: o, out: &ChannelLog{PChannel: o.PChannel, ToEnd: o.ToEnd, VChannels: map[string]*LoggedChannel{}}}
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
	if c.N > 0 {
		if s.out.First.IsZero() {
			s.out.First = c.ID(0)
		}
		s.out.Last = c.ID(c.N - 1)
		s.out.Records += int64(c.N)
	}
}

func (s *channelScanner) row(c *message.Columns, i int) {
	tick := c.TimeTick[i]
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
	v.Messages++
	v.Last = c.ID(i)
	v.LastTick = max(v.LastTick, tick)
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

// passed keeps the first TimeTick behind every checkpoint; TimeTicks rise, so each
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

// waited is how long, idle time left out, what lies behind a checkpoint has
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
	if s.o.AsOf != 0 {
		s.out.LastTick = min(s.out.LastTick, s.o.AsOf)
	}
}
