package jsonl_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func keptIn(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "kept"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// What was kept of a stream is read again as a file is, also where the first pass
// broke off.
func TestAKeptStreamIsReadAgain(t *testing.T) {
	text := lines(50)
	s := jsonl.FromKept("stdin", strings.NewReader(text), keptIn(t), 1<<20)
	r, err := s.Open(t.Context(), source.Range{})
	require.NoError(t, err)
	first, err := r.Next(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for range 2 {
		r, err := s.Open(t.Context(), source.Range{})
		require.NoError(t, err)
		n := 0
		for {
			m, err := r.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if n == 0 {
				require.Equal(t, first.ID, m.ID)
			}
			n++
		}
		require.Equal(t, 50, n)
		require.NoError(t, r.Close())
	}
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(50), b.Records)
}

// What is too long to be kept is read once, as a stream.
func TestAStreamThatIsNotKeptIsReadOnce(t *testing.T) {
	f := keptIn(t)
	s := jsonl.FromKept("stdin", strings.NewReader(lines(50)), f, 100)
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(50), b.Records)
	_, err = s.Open(t.Context(), source.Range{})
	require.ErrorIs(t, err, source.ErrConsumed)
	st, err := f.Stat()
	require.NoError(t, err)
	require.Zero(t, st.Size())
}

// Who waits for a stream that brings nothing holds up no other pass.
func TestAWaitingPassHoldsUpNoOther(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	s := jsonl.FromKept("stdin", in, keptIn(t), 1<<20)
	a, err := s.Open(t.Context(), source.Range{})
	require.NoError(t, err)
	go func() { _, _ = a.Next(t.Context()) }()
	time.Sleep(20 * time.Millisecond)
	b, err := s.Open(t.Context(), source.Range{})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, a.Close())
}
