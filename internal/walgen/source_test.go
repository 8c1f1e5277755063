package walgen

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func TestSourceReadsItsRange(t *testing.T) {
	cfg := Config{Messages: 2000, Version: Version30, UpsertRatio: 0.3}
	ms := New(cfg).Messages()
	ctx := context.Background()
	s := NewSource(cfg)
	b, err := s.Bounds(ctx)
	require.NoError(t, err)
	require.Equal(t, source.Bounds{First: ms[0].ID, Last: ms[len(ms)-1].ID, Records: int64(len(ms))}, b)

	for _, src := range []source.Source{s, SliceSource("p", ms)} {
		r, err := src.Open(ctx, source.Range{
			From: source.Bound{Kind: source.AtID, ID: ms[100].ID}, To: source.Bound{Kind: source.AtID, ID: ms[199].ID},
		})
		require.NoError(t, err)
		for _, want := range ms[100:200] {
			got, err := r.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		_, err = r.Next(ctx)
		require.ErrorIs(t, err, io.EOF)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	r, err := s.Open(ctx, source.Range{})
	require.NoError(t, err)
	_, err = r.Next(stopped)
	require.True(t, errors.Is(err, context.Canceled))

	partial := map[message.Type]int{}
	for _, m := range ms {
		if m.Has(message.PartialUpdate) {
			partial[m.Type]++
		}
	}
	require.Len(t, partial, 2)
	require.NotZero(t, partial[message.TypeInsert])
	require.NotZero(t, partial[message.TypeCommitTxn])
}
