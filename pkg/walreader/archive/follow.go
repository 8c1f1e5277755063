package archive

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// pollEvery is how often a following reader looks for new segments.
const pollEvery = 500 * time.Millisecond

// Follow implements source.FollowSource: at the end it waits for the segments a
// capture adds.
func (s *Source) Follow(ctx context.Context, r source.Range) (source.Reader, error) {
	start, _, err := s.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	end := s.m.Records()
	rd, err := s.reader(start, end, r)
	if err != nil {
		return nil, err
	}
	return &follower{s: s, end: end, r: rd}, nil
}

type follower struct {
	mu     sync.Mutex
	s      *Source
	r      *reader
	end    int64 // rows the present reader reaches to
	closed bool
}

// Next implements source.Reader.
func (f *follower) Next(ctx context.Context) (*message.Message, error) {
	for {
		f.mu.Lock()
		r, closed := f.r, f.closed
		f.mu.Unlock()
		if closed {
			return nil, errClosed
		}
		m, err := r.Next(ctx)
		if !errors.Is(err, io.EOF) && !errors.Is(err, source.ErrTornTail) {
			return m, err
		}
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// wait returns when the archive has grown.
func (f *follower) wait(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		m, _, err := loadManifest(f.s.fsys, f.s.m.PChannel)
		if err == nil && m.Records() > f.end {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.closed {
				return errClosed
			}
			grown := &Source{dir: f.s.dir, fsys: f.s.fsys, m: m}
			next := &reader{c: grown.cursor(f.end, m.Records()), b: f.r.b, props: f.r.props, payload: f.r.payload}
			next.c.gaps, next.c.fresh = m.Gaps[min(len(f.s.m.Gaps), len(m.Gaps)):], false
			_ = f.r.Close() // only read
			f.s, f.r, f.end = grown, next, m.Records()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Close implements source.Reader.
func (f *follower) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.r.Close()
}
