package recovery_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// blocking is a log whose reader stops dead at a record until it is closed: a
// broker that does not answer. It ignores its context where deaf is set.
type blocking struct {
	*memory
	at     int  // blocks in Next from this record on; −1: in Open
	deaf   bool // only Close ends it
	follow bool // appends keep arriving instead
	inside chan struct{}
}

func (s *blocking) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	if s.at < 0 {
		s.inside <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	inner, err := s.memory.Open(ctx, r)
	return &blockingReader{Reader: inner, s: s, closed: make(chan struct{})}, err
}

type blockingReader struct {
	source.Reader
	s      *blocking
	n      int
	once   sync.Once
	closed chan struct{}
	last   *message.Message
}

func (r *blockingReader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *blockingReader) Next(ctx context.Context) (*message.Message, error) {
	if r.n++; r.n <= r.s.at {
		m, err := r.Reader.Next(ctx)
		if err == nil {
			r.last = m
			return m, nil
		}
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	if r.n == r.s.at+1 || r.s.at == 0 && r.n == 1 {
		r.s.inside <- struct{}{}
	}
	if r.s.follow {
		select {
		case <-r.closed:
			return nil, io.ErrClosedPipe
		default:
			m := *r.last
			m.ID.B, m.TimeTick = m.ID.B+1, m.TimeTick+1
			r.last = &m
			return &m, nil
		}
	}
	if r.s.deaf {
		<-r.closed
		return nil, io.ErrClosedPipe
	}
	select {
	case <-r.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close must end a replay from every state: opening, waiting for the broker,
// between messages, inside a transaction, with appends still arriving.
func TestCloseFromEveryState(t *testing.T) {
	defer goleak.VerifyNone(t)
	log := walgen.New(walgen.Config{Seed: 7, Messages: 300, TxnRatio: 0.5})
	list := log.Messages()
	md := load(t, log.PChannel(), log.CatalogBefore())
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range rounds {
		s := &blocking{memory: &memory{list: list}, at: r.IntN(len(list)+1) - 1, deaf: i%3 == 0, follow: i%5 == 0, inside: make(chan struct{}, 1)}
		if s.follow && s.at < 1 {
			s.at = 1
		}
		p := recovery.Start(context.Background(), s, md, recovery.ReplayOptions{Tail: i%2 == 0})
		if i%4 != 0 {
			<-s.inside
		}
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { require.NoError(t, p.Close()) })
		}
		group.Wait()
		require.NoError(t, p.Close())
		_, err := p.Wait(context.Background())
		require.ErrorIs(t, err, recovery.ErrClosed)
	}
}

func TestCloseAfterTheEndIsHarmless(t *testing.T) {
	log := walgen.New(walgen.Config{Seed: 7, Messages: 300})
	list := log.Messages()
	p := recovery.Start(context.Background(), &memory{list: list}, load(t, log.PChannel(), log.CatalogBefore()), recovery.ReplayOptions{})
	r, err := p.Wait(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, len(list), r.Records)
	require.NoError(t, p.Close())
}

type stuckSource struct {
	*memory
	release chan struct{}
}

func (s *stuckSource) Open(context.Context, source.Range) (source.Reader, error) {
	<-s.release
	return nil, io.ErrClosedPipe
}

func TestCloseNamesAReaderThatDoesNotStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := &stuckSource{&memory{}, make(chan struct{})}
	log := walgen.New(walgen.Config{Seed: 7, Messages: 10})
	p := recovery.Start(context.Background(), s, load(t, log.PChannel(), log.CatalogBefore()), recovery.ReplayOptions{})
	require.ErrorIs(t, p.Close(), recovery.ErrStuck)
	close(s.release)
	_, err := p.Wait(context.Background())
	require.ErrorIs(t, err, recovery.ErrClosed)
}
