package walreader

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// capture writes a golden log into an archive under this name.
func capture(t *testing.T, dir, pchannel string) int {
	t.Helper()
	ctx := context.Background()
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: pchannel})
	require.NoError(t, err)
	r, err := jsonl.Open(golden.WAL(t, "small")).Open(ctx, source.Range{Props: true, Payload: source.PayloadAll})
	require.NoError(t, err)
	defer r.Close()
	n := 0
	require.NoError(t, source.Each(ctx, r, func(m *message.Message) error { n++; return w.Add(m, m.Ordinal) }, nil))
	require.NoError(t, w.Close())
	return n
}

func TestArchiveIsOpenedByContent(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	n := capture(t, dir, "by-dev-rootcoord-dml_1")
	for _, spec := range []string{dir, "archive:" + dir} {
		s, err := Open(ctx, spec, Options{})
		require.NoError(t, err)
		require.Equal(t, "by-dev-rootcoord-dml_1", s.Describe().PChannel)
		b, err := s.Bounds(ctx)
		require.NoError(t, err)
		require.EqualValues(t, n, b.Records)
	}
	capture(t, dir, "by-dev-rootcoord-dml_10")
	var spec *SpecError
	_, err := Open(ctx, dir, Options{})
	require.ErrorAs(t, err, &spec)
	require.True(t, spec.Several)
	require.Equal(t, []string{"by-dev-rootcoord-dml_1", "by-dev-rootcoord-dml_10"}, spec.Choices)
	s, err := Open(ctx, dir, Options{Log: "dml_1"})
	require.NoError(t, err)
	require.Equal(t, "by-dev-rootcoord-dml_1", s.Describe().PChannel)
	_, err = Open(ctx, dir, Options{Log: "dml_2"})
	require.ErrorAs(t, err, &spec)
}
