package channelbuf

import (
	"context"
	"errors"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Feeder brings the deliveries of one pchannel to the buffers of its vchannels.
type Feeder struct {
	registry *Registry
	lease    *Lease
	term     int64
	starts   map[string]uint64
	buffers  map[string]*Buffer

	// Until ends Replay after the deliveries up to this TimeTick; 0 = at the
	// reader's end.
	Until uint64
	// Unregistered counts messages by vchannel that no buffer took: the
	// vchannel is in the log but was neither registered nor created in it.
	Unregistered map[string]int64
}

// NewFeeder registers a buffer for every vchannel of starts (the TimeTick of
// its checkpoint) in the given term. lease is the worker's, and stays its own.
func NewFeeder(r *Registry, lease *Lease, term int64, starts map[string]uint64) (*Feeder, error) {
	f := &Feeder{registry: r, lease: lease, term: term, starts: starts,
		buffers: make(map[string]*Buffer), Unregistered: make(map[string]int64)}
	for v, tick := range starts {
		if err := f.register(v, tick); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Feeder) register(vchannel string, tick uint64) error {
	b, _, err := f.registry.Register(vchannel, Incarnation{Term: f.term, Checkpoint: tick})
	if err == nil {
		f.buffers[vchannel] = b
	}
	return err
}

// Observe hands a delivery to the buffer it belongs to, a pchannel-level one to
// all of them. docs/rules.md#buffers
func (f *Feeder) Observe(ctx context.Context, d order.Delivery) error {
	m := d.Message
	switch {
	case m.Type == message.TypeTimeTick:
		return nil
	case m.Has(message.PChannelLevel) || !m.Has(message.HasVChannel):
		for _, b := range f.buffers {
			if _, err := b.Append(ctx, f.lease, d); err != nil {
				return err
			}
		}
		return nil
	case message.IsControlChannel(m.VChannel):
		return nil
	}
	b := f.buffers[m.VChannel]
	if b == nil {
		if !begins(m.Type) {
			f.Unregistered[m.VChannel]++
			return nil
		}
		// A buffer starts right before the collection's first message, or where it
		// was flushed up to.
		if err := f.register(m.VChannel, max(f.starts[m.VChannel], d.TimeTick-1)); err != nil {
			return err
		}
		b = f.buffers[m.VChannel]
	}
	_, err := b.Append(ctx, f.lease, d)
	return err
}

// Replay feeds everything a reader returns, in the order a scanner delivers it,
// until the reader's end. Corrupt places go to onCorrupt (nil: they end
// the replay). The memory of reorder heap and open transactions is the lease's.
func (f *Feeder) Replay(ctx context.Context, r source.Reader, o order.Options, onCorrupt func(*source.CorruptError) error) error {
	o.Account = func(delta int64) error {
		if delta <= 0 {
			f.lease.ReleasePassing(-delta)
			return nil
		}
		return f.lease.ReservePassing(ctx, delta)
	}
	s := order.NewScanner(r, o)
	for {
		d, err := s.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil && f.Until != 0 && d.TimeTick > f.Until:
			return nil
		case err == nil:
			err = f.Observe(ctx, d)
		case ended(err):
			return nil
		case onCorrupt != nil && errors.As(err, &corrupt):
			err = onCorrupt(corrupt)
		}
		if err != nil {
			return err
		}
	}
}

// ended reports a reader's end: clean, or in the middle of its last record.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, source.ErrTornTail) }
