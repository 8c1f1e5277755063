package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// CaptureOptions say what Capture takes and how it cuts it.
type CaptureOptions struct {
	// PChannel names the log; "" = what the source says, else what the
	// vchannels of its first messages say.
	PChannel     string
	From, To     source.Bound // From counts for an archive that is still empty only
	Limit        int64        // records of this run; 0 = all
	SegmentRows  int64        // 0 = DefaultSegmentRows
	SegmentBytes int64        // of payload; 0 = DefaultSegmentBytes
	// SegmentAge ends an open segment this long after its first row, so that a
	// log that trickles is safe soon and a kill costs little; 0 = DefaultSegmentAge.
	SegmentAge time.Duration
	Follow     bool // wait for more at the end; the source must be a FollowSource
	Progress   source.Progress
	// Prepared is called once the archive is open and before anything is read,
	// to put evidence beside the log. nil = nothing.
	Prepared func(*Writer) error
	// Opened is the same once the source is open: what asking about it could do
	// to it, reading has done by then.
	Opened func(*Writer) error
	Clock  func() time.Time // nil = time.Now
	FS     FS               // replaces the directory's own, in tests
}

// DefaultSegmentAge is the age at which a segment is ended.
const DefaultSegmentAge = 30 * time.Second

// clockEvery is after how many messages of a bounded read the clock is looked at.
const clockEvery = 64

// keepOnCancel is how large an open segment may be for a cancelled capture to
// still complete it; a larger one is left for the next run to read again.
const keepOnCancel = 32 << 20

// Captured says what a capture did.
type Captured struct {
	PChannel string
	Resumed  bool       // the archive had rows already
	Behind   message.ID // the last row it had
	Records  int64      // taken by this run and named in the manifest
	Segments int
	Gaps     []Gap // met by this run
	TornTail bool  // the source ends in the middle of a record
	Last     message.ID
	Ended    source.Ending // "" where it came no further than opening
	Extent   source.Extent // what the archive holds now
}

// Capture copies a log into the archive in dir, or goes on exactly after the
// last row the archive names. Places the source cannot give are recorded as
// gaps and passed over. It ends at the source's end; following, when ctx ends,
// which is then no error. What the result counts is durable and was read back,
// also where an error is returned beside it.
func Capture(ctx context.Context, src source.Source, dir string, opt CaptureOptions) (Captured, error) {
	c := &capture{opt: opt, src: src, dir: dir}
	if c.opt.Clock == nil {
		c.opt.Clock = time.Now
	}
	if c.opt.SegmentAge <= 0 {
		c.opt.SegmentAge = DefaultSegmentAge
	}
	err := c.run(ctx, dir)
	if c.w != nil {
		err = errors.Join(err, c.finish(ctx, err), c.w.Abandon())
	}
	return c.done, err
}

type capture struct {
	opt   CaptureOptions
	src   source.Source
	w     *Writer
	in    *feed
	done  Captured
	had   int64 // rows before this run
	shift int64 // from the source's ordinals to the archive's
	first bool  // no row was taken yet
	taken int64
	bytes int64
	begun time.Time // of the open segment

	dir        string
	origin     source.Extent // of what is copied, when it was begun
	lostSource bool          // it ended because the source could not be read on
	unreadEnd  bool          // the last thing read was a place that could not be
}

func (c *capture) run(ctx context.Context, dir string) error {
	d := c.src.Describe()
	err := c.hasPayload()
	if err == nil {
		err = c.nameLog(ctx, &d)
	}
	if err != nil {
		return err
	}
	c.w, err = NewWriter(dir, WriterOptions{PChannel: d.PChannel, Backend: d.Backend, Source: d.Location,
		SegmentRows: c.opt.SegmentRows, SegmentBytes: c.opt.SegmentBytes, FS: c.opt.FS})
	if err != nil {
		return err
	}
	c.done.PChannel, c.had, c.first = d.PChannel, c.w.Manifest().Records(), true
	before, gaps := len(c.w.Manifest().Segments), len(c.w.Manifest().Gaps)
	if c.opt.Prepared != nil {
		if err := c.opt.Prepared(c.w); err != nil {
			return err
		}
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.open(ctx); err != nil {
		c.lostSource = true
		return err
	}
	if c.opt.Opened != nil {
		if err := c.opt.Opened(c.w); err != nil {
			return errors.Join(err, c.in.close())
		}
	}
	err = c.loop(ctx)
	err = errors.Join(err, c.in.close())
	c.done.Gaps = c.w.Manifest().Gaps[gaps:]
	c.done.Records, c.done.Segments = c.w.Manifest().Records()-c.had, len(c.w.Manifest().Segments)-before
	if last, ok := c.w.Last(); ok {
		c.done.Last = last.ID(d.Backend)
	}
	return err
}

// hasPayload refuses an archive that was copied without its payloads: a capture of it
// would look whole.
func (c *capture) hasPayload() error {
	of, ok := source.As[source.PayloadSource](c.src)
	if !ok {
		return nil
	}
	kept, err := of.HasPayload()
	if err == nil && !kept {
		err = errors.New("the archive is without payload/, and a capture of it would look whole: copy its directory instead, or capture the archive it was copied from")
	}
	return err
}

// peekRecords is how far into a log that does not say its name or backend
// Capture looks for them.
const peekRecords = 4096

// nameLog finds out the log's name and backend where the source does not know.
func (c *capture) nameLog(ctx context.Context, d *source.Description) error {
	if c.opt.PChannel != "" {
		d.PChannel = c.opt.PChannel
	}
	if d.PChannel != "" && d.Backend != message.BackendUnknown {
		return nil
	}
	r, err := c.src.Open(ctx, source.Range{Limit: peekRecords})
	if err != nil {
		return fmt.Errorf("looking for the log's name: %w", err)
	}
	defer func() { _ = r.Close() }() // only read
	for range peekRecords {
		m, err := r.Next(ctx)
		var corrupt *source.CorruptError
		if errors.As(err, &corrupt) {
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, source.ErrTornTail) {
			break
		}
		if err != nil {
			return fmt.Errorf("looking for the log's name: %w", err)
		}
		if d.Backend == message.BackendUnknown {
			d.Backend = m.ID.Backend
		}
		if d.PChannel == "" && m.VChannel != "" {
			d.PChannel = message.PChannelOf(m.VChannel)
		}
		if d.PChannel != "" && d.Backend != message.BackendUnknown {
			return nil
		}
	}
	if d.PChannel == "" {
		return fmt.Errorf("%s does not say which pchannel it is: name it", d.Location)
	}
	return nil
}

// open opens the source after the last row that is named.
func (c *capture) open(ctx context.Context) error {
	r := source.Range{From: c.opt.From, To: c.opt.To, Limit: c.opt.Limit, Payload: source.PayloadAll, Props: true}
	if last, ok := c.w.Last(); ok {
		c.done.Resumed, c.done.Behind = true, last.ID(c.w.Manifest().Backend)
		r.From = source.Bound{Kind: source.AtID, ID: c.done.Behind}
		if r.Limit > 0 {
			r.Limit++ // the row it begins with is there already
		}
	}
	if !c.opt.Follow {
		rd, err := c.src.Open(ctx, r)
		if err != nil {
			return fmt.Errorf("opening the log: %w", err)
		}
		c.in = newFeed(rd)
		return nil
	}
	fs, ok := c.src.(source.FollowSource)
	if !ok {
		return fmt.Errorf("%s: %s logs cannot be followed", c.src.Describe().Location, c.src.Describe().Kind)
	}
	rd, err := fs.Follow(ctx, r)
	if err != nil {
		return fmt.Errorf("following the log: %w", err)
	}
	c.in = newFollowing(rd)
	return nil
}

func (c *capture) loop(ctx context.Context) error {
	for {
		m, err := c.in.next(ctx, c.due())
		switch {
		case err == nil && m == nil: // the open segment is old enough
			err = c.w.Cut()
		case err == nil:
			err = c.take(ctx, m)
		case ctx.Err() != nil:
			return c.cancelled(ctx)
		default:
			var end bool
			if end, err = c.other(err); end {
				c.report()
				return errors.Join(err, c.w.Cut())
			}
		}
		if err != nil {
			return err
		}
	}
}

// due returns when the open segment is to be ended; zero where none is open.
func (c *capture) due() time.Time {
	if rows, _ := c.w.Open(); rows == 0 {
		return time.Time{}
	}
	return c.begun.Add(c.opt.SegmentAge)
}

// ErrNoPayload means that the log is a copy made without what messages carry: a capture
// of it would look whole.
var ErrNoPayload = errors.New("the copy is without payloads, and a capture of it would look whole")

func (c *capture) take(ctx context.Context, m *message.Message) error {
	if m.LacksPayload() {
		return fmt.Errorf("record %s: %w: export the log once more with its payloads (walctl inspect WAL --records --data -o ndjson), or capture the log itself", m.TextID(), ErrNoPayload)
	}
	c.unreadEnd = false
	if c.first {
		c.first = false
		if c.had == 0 {
			if err := c.begunLater(ctx, m); err != nil {
				return err
			}
		}
		if last, ok := c.w.Last(); ok {
			if m.ID == last.ID(m.ID.Backend) {
				c.shift = last.Ordinal - m.Ordinal
				return nil // it is there already
			}
			c.shift = last.Ordinal + 1 - m.Ordinal
			if err := c.lost(last, m); err != nil {
				return err
			}
		}
	}
	if rows, _ := c.w.Open(); rows == 0 {
		c.begun = c.opt.Clock()
	}
	if err := c.w.Add(m, m.Ordinal+c.shift); err != nil {
		return err
	}
	c.taken++
	c.bytes += m.PayloadSize
	if c.taken%8192 == 0 {
		c.report()
	}
	if !c.opt.Follow && c.taken%clockEvery != 0 {
		return nil
	}
	if due := c.due(); !due.IsZero() && !c.opt.Clock().Before(due) {
		return c.w.Cut()
	}
	return nil
}

func (c *capture) report() {
	if c.opt.Progress != nil {
		c.opt.Progress(c.taken, c.bytes, -1)
	}
}

// lost records that the source no longer has the row the archive ends with.
func (c *capture) lost(last Position, m *message.Message) error {
	return c.gap(Gap{Place: fmt.Sprintf("%s … %s", last.ID(m.ID.Backend), m.ID), Lost: -1,
		Cause: "the log no longer has the record the archive ends with: what lay between may be lost"})
}

func (c *capture) gap(g Gap) error {
	g.At, g.Source = c.opt.Clock().UTC(), c.src.Describe().Location
	return c.w.NoteGap(g)
}

// other deals with what is no message: end says that nothing follows.
func (c *capture) other(err error) (end bool, _ error) {
	var corrupt *source.CorruptError
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case errors.Is(err, source.ErrTornTail):
		c.done.TornTail = true
		return true, nil
	case errors.As(err, &corrupt):
		c.unreadEnd = true
		return false, c.gap(Gap{Place: corrupt.Place, Lost: corrupt.Lost, Cause: corrupt.Cause.Error()})
	}
	c.lostSource = true
	return true, fmt.Errorf("reading the log: %w", err)
}

// cancelled completes what is open where that takes no time to speak of.
func (c *capture) cancelled(ctx context.Context) error {
	c.report()
	var err error
	if _, bytes := c.w.Open(); bytes <= keepOnCancel {
		err = c.w.Cut()
	}
	if c.opt.Follow {
		return err
	}
	return errors.Join(ctx.Err(), err)
}
