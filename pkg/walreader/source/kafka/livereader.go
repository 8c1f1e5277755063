package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/layout"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

const (
	pollWithin  = 200 * time.Millisecond // how soon a reader that is closed notices
	pollRecords = 1000
	askAfter    = 2 * time.Second  // without a record the broker is asked whether it is there
	patience    = 30 * time.Second // where nobody says how long
)

// liveReader reads a topic's partition from one offset up to another.
type liveReader struct {
	selector.Steps
	s      *Live
	rng    source.Range
	follow bool
	dec    layout.Decoder
	client *kgo.Client // nil = not begun

	at, to int64     // the next offset, and the one to end at
	since  time.Time // nothing has come since; zero = something has just come
	asked  time.Time
	idle   int // how often the broker was there and had nothing
	waits  bool
	due    time.Time // for the rate
}

// step hands what comes next to the selector.
func (r *liveReader) step(ctx context.Context) error {
	if r.at >= r.to && !r.follow {
		r.Sel.End()
		r.End = io.EOF
		return nil
	}
	if r.client == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	if wait := min(time.Until(r.due), pollWithin); wait > 0 {
		return pause(ctx, wait)
	}
	polling, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	got := r.client.PollRecords(polling, pollRecords)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range got.Errors() {
		if err := r.broken(e.Err); err != nil {
			r.End = err
			return nil
		}
	}
	size, n := 0, 0
	got.EachRecord(func(rec *kgo.Record) {
		n++
		size += len(rec.Value)
		r.take(rec)
	})
	if n == 0 {
		return r.nothing(ctx)
	}
	r.came()
	if r.s.cfg.RateBytes > 0 {
		r.due = later(r.due, time.Now()).Add(time.Duration(float64(size) / float64(r.s.cfg.RateBytes) * float64(time.Second)))
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// begin connects a client of its own, which reads from the offset and from no other.
func (r *liveReader) begin() (err error) {
	r.client, err = r.s.dial(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.s.topic: {0: kgo.NewOffset().At(r.at)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes), kgo.FetchMaxWait(pollWithin), kgo.MaxConcurrentFetches(1))
	if err != nil {
		return fmt.Errorf("read %s: %w", r.s.location(), err)
	}
	r.since = time.Now()
	return nil
}

// take turns a record into a message, unless it lies beyond the end.
func (r *liveReader) take(rec *kgo.Record) {
	if rec.Offset >= r.to && !r.follow || rec.Offset < r.at {
		r.at = max(r.at, rec.Offset)
		return
	}
	r.at = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return
	}
	r.dec.Reset()
	for _, h := range rec.Headers {
		r.dec.Property([]byte(h.Key), h.Value)
	}
	if len(rec.Headers) == 0 {
		r.dec.Legacy(rec.Value)
	}
	r.Sel.Push(r.dec.Message(id(rec.Offset), rec.Value, r.rng.Props, r.rng.Payload.Wants))
}

// came says that waiting is over.
func (r *liveReader) came() {
	if r.waits && r.s.cfg.Waiting != nil {
		r.s.cfg.Waiting(r.s.cfg.Service, -1)
	}
	r.since, r.asked, r.idle, r.waits = time.Now(), time.Time{}, 0, false
}

// nothing decides what it means that no record came: that the brokers are away, or that
// what is left up to the end are offsets without a record.
func (r *liveReader) nothing(ctx context.Context) error {
	now := time.Now()
	if now.Sub(r.since) < askAfter || now.Sub(r.asked) < askAfter {
		return nil
	}
	if !r.follow && r.s.cfg.Waiting != nil {
		r.waits = true
		r.s.cfg.Waiting(r.s.cfg.Service, now.Sub(r.since))
	}
	asking, cancel := context.WithTimeout(ctx, askAfter/2)
	defer cancel()
	end, err := r.s.edge(asking, atEnd)
	r.asked = time.Now()
	switch limit := r.patience(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && end < r.at:
		r.End = fmt.Errorf("read %s: it ended at offset %d when the reading began, and ends at %d now: it was made again, or lost its end", r.s.location(), r.to, end)
	case err == nil && r.follow:
		r.came()
	case err == nil:
		if r.idle++; r.idle >= 3 {
			r.at = r.to
		}
	case now.Sub(r.since) > limit && !r.follow:
		r.End = fmt.Errorf("%w: read %s up to offset %d of %d, then waited %s for the broker; start it, or wait longer with --broker-wait", source.ErrUnavailable,
			r.s.location(), r.at, r.to, now.Sub(r.since).Round(time.Second))
	default:
		r.idle = 0
	}
	return nil
}

func (r *liveReader) patience() time.Duration {
	if r.s.cfg.Patience > 0 {
		return r.s.cfg.Patience
	}
	return patience
}

// GoneError is an offset that was deleted before it was read.
type GoneError struct {
	Topic  string
	Offset int64 // the first that was to be read
	First  int64 // the topic's first now; −1 = not known
}

// Error implements error.
func (e *GoneError) Error() string {
	first := ""
	if e.First >= 0 {
		first = fmt.Sprintf(" and begins with offset %d now", e.First)
	}
	return fmt.Sprintf("read %s: offset %d is not there any more: retention or a truncation took it while the log was read%s; capture what is left before it goes", e.Topic, e.Offset, first)
}

// broken says what an error of the client means; nil for one that it mends itself.
func (r *liveReader) broken(err error) error {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return nil
	case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &loss):
		ctx, cancel := context.WithTimeout(context.Background(), askAfter/2)
		defer cancel()
		first, ferr := r.s.edge(ctx, atStart)
		if ferr != nil {
			first = -1
		}
		return &GoneError{Topic: r.s.location(), Offset: r.at, First: first}
	case kerr.IsRetriable(err) && !errors.Is(err, kerr.CorruptMessage):
		return nil
	}
	return fmt.Errorf("read %s from offset %d on: %s", r.s.location(), r.at, words(err))
}

// pause waits, at most as long as a reader may take to notice that it is closed.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// free closes the connections.
func (r *liveReader) free() {
	if r.client != nil {
		r.client.Close()
	}
}
