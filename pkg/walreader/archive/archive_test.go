package archive

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// everything is a range with all a message carries.
func everything() source.Range { return source.Range{Props: true, Payload: source.PayloadAll} }

// readAll returns a source's messages; corrupt places are counted.
func readAll(t testing.TB, s source.Source, r source.Range) (out []*message.Message, corrupt []*source.CorruptError) {
	t.Helper()
	rd, err := s.Open(context.Background(), r)
	require.NoError(t, err)
	defer rd.Close()
	for {
		m, err := rd.Next(context.Background())
		var c *source.CorruptError
		switch {
		case errors.Is(err, io.EOF):
			return out, corrupt
		case errors.As(err, &c):
			corrupt = append(corrupt, c)
		default:
			require.NoError(t, err)
			out = append(out, m)
		}
	}
}

// write archives messages under a pchannel.
func write(t testing.TB, dir string, opt WriterOptions, all []*message.Message) {
	t.Helper()
	w, err := NewWriter(dir, opt)
	require.NoError(t, err)
	for _, m := range all {
		require.NoError(t, w.Add(m, m.Ordinal))
	}
	require.NoError(t, w.Close())
}

func goldenMessages(t testing.TB, name string) []*message.Message {
	s := jsonl.Open(golden.WAL(t, name))
	all, bad := readAll(t, s, everything())
	require.Empty(t, bad)
	return all
}

func writerOptions(all []*message.Message) WriterOptions {
	return WriterOptions{PChannel: "by-dev-rootcoord-dml_0", Backend: all[0].ID.Backend, SegmentRows: 300}
}

// same compares what a record line shows and what a replay reads.
func same(t testing.TB, want, got *message.Message) {
	t.Helper()
	require.Equal(t, want.RawID(), got.RawID())
	require.Equal(t, want.TextID(), got.TextID())
	if !reflect.DeepEqual(want.Props, got.Props) {
		require.Equal(t, want.Props, got.Props, want.TextID())
	}
	require.Equal(t, string(want.Payload), string(got.Payload))
	require.Equal(t, want.RawLastConfirmed(), got.RawLastConfirmed())
	require.Equal(t, want.Describe(), got.Describe())
	require.Equal(t, want.Flags, got.Flags)
	require.Equal(t, want.Ordinal, got.Ordinal)
	require.Equal(t, want.ID, got.ID)
	require.Equal(t, want.PublishTime, got.PublishTime)
	require.Equal(t, message.ComputeChecksum(want.Props, want.Payload), got.Checksum)
}

func TestGoldenLogsComeBackFromAnArchive(t *testing.T) {
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			all := goldenMessages(t, name)
			dir := t.TempDir()
			opt := writerOptions(all)
			opt.SegmentRows = 40_000
			write(t, dir, opt, all)
			require.True(t, Detect(dir))
			s, err := Open(context.Background(), dir, Options{})
			require.NoError(t, err)
			got, bad := readAll(t, s, everything())
			require.Empty(t, bad)
			require.Len(t, got, len(all))
			for i := range all {
				same(t, all[i], got[i])
			}
			index, payload := int64(0), int64(0)
			for _, g := range s.m.Segments {
				index, payload = index+g.Index.Bytes, payload+g.Payload.Bytes
			}
			t.Logf("%d records: index %.2f, payload %.1f bytes a record", len(all), float64(index)/float64(len(all)), float64(payload)/float64(len(all)))
		})
	}
}
