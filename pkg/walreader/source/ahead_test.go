package source

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// script gives n messages, a place that cannot be read after the third, then end; end
// nil waits for its context.
type script struct {
	n, at  int
	end    error
	told   bool
	size   int
	closed chan struct{}
	set    [3]message.Columns
	keep   int
}

func (s *script) Next(ctx context.Context) (*message.Message, error) {
	switch {
	case s.at == 3 && !s.told:
		s.told = true
		return nil, &CorruptError{Place: "after 3", Lost: 1}
	case s.at < s.n:
		s.at++
		return &message.Message{Ordinal: int64(s.at - 1), Payload: make([]byte, s.size)}, nil
	case s.end != nil:
		return nil, s.end
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *script) NextColumns(ctx context.Context) (*message.Columns, error) {
	c := &s.set[s.at%(s.keep+1)]
	m, err := s.Next(ctx)
	if err != nil {
		return nil, err
	}
	*c = message.Columns{N: 1, Ordinal: m.Ordinal}
	return c, nil
}

func (s *script) Keep(n int) { s.keep = n }

func (s *script) Close() error {
	close(s.closed)
	return nil
}

func newScript(n int, end error) *script { return &script{n: n, end: end, closed: make(chan struct{})} }

func TestAheadKeepsOrderAndErrors(t *testing.T) {
	failed := errors.New("failed")
	for name, end := range map[string]error{"the end": io.EOF, "a failure": failed, "a torn tail": ErrTornTail} {
		for kind, open := range map[string]func(*script) (next func() (int64, error), done func() error){
			"messages": func(s *script) (func() (int64, error), func() error) {
				r := Ahead(t.Context(), s)
				return func() (int64, error) {
					m, err := r.Next(t.Context())
					if err != nil {
						return -1, err
					}
					return m.Ordinal, nil
				}, r.Close
			},
			"columns": func(s *script) (func() (int64, error), func() error) {
				r := AheadColumns(t.Context(), s)
				require.NotEqual(t, ColumnReader(s), r)
				return func() (int64, error) {
					c, err := r.NextColumns(t.Context())
					if err != nil {
						return -1, err
					}
					time.Sleep(time.Millisecond / 4) // the reader goes on, and c stays
					return c.Ordinal, nil
				}, r.Close
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := newScript(1000, end)
				if kind == "columns" {
					s.n = 60
				}
				next, done := open(s)
				for i := range s.n {
					if i == 3 {
						_, err := next()
						var corrupt *CorruptError
						require.ErrorAs(t, err, &corrupt)
					}
					got, err := next()
					require.NoError(t, err)
					require.EqualValues(t, i, got)
				}
				for range 2 { // again and again
					_, err := next()
					require.ErrorIs(t, err, end)
				}
				require.NoError(t, done())
				require.NoError(t, done())
				<-s.closed
			})
		}
	}
}

func TestAheadObeysItsContext(t *testing.T) {
	s := newScript(3, nil)
	s.told = true
	r := Ahead(t.Context(), s)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	for range 2 {
		_, err := r.Next(ctx) // the batch is not full
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, r.Close())
	<-s.closed
}

// What waits is bounded by its payload too.
func TestAheadIsBounded(t *testing.T) {
	s := newScript(1<<20, io.EOF)
	s.told, s.size = true, batchBytes
	r := Ahead(t.Context(), s)
	_, err := r.Next(t.Context())
	require.NoError(t, err)
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, r.Close())
	require.LessOrEqual(t, s.at, batchesAhead+2)
}

func TestAheadNeedsColumnsThatLast(t *testing.T) {
	plain := NewColumnReader(newScript(3, io.EOF))
	require.Equal(t, plain, AheadColumns(t.Context(), plain))
}

type sums struct {
	Source
	wait bool
}

func (s *sums) VerifyBytes(ctx context.Context, _ Progress) ([]*Damage, error) {
	if s.wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []*Damage{{Path: "p"}}, nil
}

func TestCheckBytesBeside(t *testing.T) {
	c := CheckBytes(t.Context(), &sums{})
	found, err := c.Wait()
	require.NoError(t, err)
	require.Len(t, found, 1)
	c.Stop()
	c = CheckBytes(t.Context(), &sums{wait: true})
	c.Stop()
	_, err = c.Wait()
	require.ErrorIs(t, err, context.Canceled)
}
