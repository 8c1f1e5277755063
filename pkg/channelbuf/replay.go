package channelbuf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Log is one pchannel's log, to be replayed into buffers or forecast.
type Log struct {
	PChannel string
	Source   source.Source
	From     source.Bound // where the earliest flush position stands
	Term     int64
	Starts   map[string]uint64 // TimeTick of each registered vchannel's flush position
	Until    uint64            // TimeTick; 0 = the log's end
}

// ReplayOptions bound and watch a replay of several logs.
type ReplayOptions struct {
	Parallel int             // logs at once; 0 = 1
	Progress source.Progress // over all logs together; called from several goroutines
	Total    int64           // records, for Progress; −1 = unknown
}

// Replayed is what came of one log.
type Replayed struct {
	PChannel     string           `json:"pchannel"`
	Records      int64            `json:"records"`
	Bytes        int64            `json:"payload_bytes"` // as read
	Corrupt      int64            `json:"corrupt_places,omitempty"`
	Unregistered map[string]int64 `json:"unregistered,omitempty"` // messages by vchannel that no buffer took
}

// Replay brings several logs into the buffers of one registry, within its
// budget, Parallel of them at once. It returns what came of each log, in order;
// the first error ends all of them. Cancelled half-way, everything registered
// stays so and a second Replay goes on from it: what was applied is applied once.
// docs/rules.md#buffers
func Replay(ctx context.Context, r *Registry, logs []Log, o ReplayOptions) ([]Replayed, error) {
	out := make([]Replayed, len(logs))
	return out, each(ctx, logs, o, func(ctx context.Context, i int, rd *countingReader) error {
		l := &logs[i]
		lease := r.budget.Join()
		defer lease.Leave()
		f, err := NewFeeder(r, lease, l.Term, l.Starts)
		if err != nil {
			return err
		}
		f.Until = l.Until
		out[i] = Replayed{PChannel: l.PChannel}
		err = f.Replay(ctx, rd, order.Options{}, func(*source.CorruptError) error { out[i].Corrupt++; return nil })
		out[i].Records, out[i].Bytes = rd.records, rd.bytes
		if len(f.Unregistered) > 0 {
			out[i].Unregistered = maps.Clone(f.Unregistered)
		}
		return err
	}, source.PayloadAll)
}

// ForecastLogs tells what Replay would make the buffers hold, from headers alone.
func ForecastLogs(ctx context.Context, logs []Log, p Policy, o ReplayOptions) ([]PChannelForecast, error) {
	out := make([]PChannelForecast, len(logs))
	return out, each(ctx, logs, o, func(ctx context.Context, i int, rd *countingReader) error {
		l := &logs[i]
		f := NewForecaster(l.PChannel, l.Starts, p)
		s := order.NewScanner(rd, order.Options{})
		for {
			d, err := s.Next(ctx)
			var corrupt *source.CorruptError
			switch {
			case errors.As(err, &corrupt):
				continue
			case ended(err), err == nil && l.Until != 0 && d.TimeTick > l.Until:
				out[i] = f.Forecast()
				return nil
			case err != nil:
				return err
			}
			f.Reordering(rd.waited)
			rd.waited = rd.waiting
			f.Observe(d)
		}
	}, source.PayloadNone)
}

// each opens every log and runs fn over it, Parallel at once.
func each(ctx context.Context, logs []Log, o ReplayOptions, fn func(context.Context, int, *countingReader) error, payload source.Payload) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(o.Parallel, 1))
	var records, bytes atomic.Int64
	for i := range logs {
		group.Go(func() error {
			l := &logs[i]
			if err := ctx.Err(); err != nil {
				return err
			}
			rd, err := l.Source.Open(ctx, source.Range{From: l.From, Payload: payload})
			if err != nil {
				return fmt.Errorf("open the log of %s: %w", l.PChannel, err)
			}
			defer func() { _ = rd.Close() }()
			c := &countingReader{Reader: rd, o: o, allRecords: &records, allBytes: &bytes}
			if err := fn(ctx, i, c); err != nil {
				return fmt.Errorf("replay %s into its buffers: %w", l.PChannel, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// countingReader counts what is read, and what waits for the next TimeTick.
type countingReader struct {
	source.Reader
	o                    ReplayOptions
	allRecords, allBytes *atomic.Int64
	records, bytes       int64
	waiting, waited      int64 // bytes since the last TimeTick, and the most of them
}

// waitingOverhead is what a message takes while it waits, beside its payload.
const waitingOverhead = 512

// Next implements source.Reader.
func (c *countingReader) Next(ctx context.Context) (*message.Message, error) {
	m, err := c.Reader.Next(ctx)
	if err != nil {
		return m, err
	}
	c.records++
	c.bytes += m.PayloadSize
	if m.Type == message.TypeTimeTick {
		c.waiting = 0
	} else {
		c.waiting += m.PayloadSize + waitingOverhead
		c.waited = max(c.waited, c.waiting)
	}
	if c.o.Progress != nil {
		n, b := c.allRecords.Add(1), c.allBytes.Add(m.PayloadSize)
		if n&0xfff == 0 {
			c.o.Progress(n, b, c.o.Total)
		}
	}
	return m, nil
}
