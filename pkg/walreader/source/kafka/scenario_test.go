package kafka_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// offsets are the offsets of messages.
func offsets(messages []*message.Message) (out []int64) {
	for _, m := range messages {
		out = append(out, m.ID.A)
	}
	return out
}

// run lists numbers from one to another.
func run(first, last int64) (out []int64) {
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

// change changes a byte of a file, counted from its end where it is negative.
func change(t testing.TB, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x40
	require.NoError(t, os.WriteFile(file, b, 0o600))
	require.NoError(t, os.Chtimes(file, old, old))
}

// Holes between sound batches are legal: a broker makes them, and nothing is missing.
func TestHolesAreLegal(t *testing.T) {
	dir := lay(t, []wrote{of(0, 3, plain), of(10, 2, zstded), of(38, 2, lz4ed)}, []wrote{of(40, 2, plain), of(50, 1, plain), of(60, 2, plain)})
	got, gaps, torn := sourcetest.Read(t, open(t, dir, "", kafka.Options{}), sourcetest.Everything())
	require.Equal(t, []int64{0, 1, 2, 10, 11, 38, 39, 40, 41, 50, 60, 61}, offsets(got))
	require.Empty(t, gaps)
	require.False(t, torn)
}

// A damaged batch is lost whole and counted by what stands around it; everything else of
// all segments is read.
func TestDamagedBatches(t *testing.T) {
	segments := [][]wrote{{of(0, 3, plain), of(3, 4, zstded)}, {of(7, 2, plain), of(9, 3, lz4ed)}, {of(12, 2, plain), of(14, 2, plain)}}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  []int64
		place string
		lost  int64
	}{
		{"a batch in the middle", func(t *testing.T, dir string) { change(t, segmentFile(dir, 0), 80) }, run(3, 15), "the log from offset 0 to 2", 3},
		{"the last batch of a segment", func(t *testing.T, dir string) { change(t, segmentFile(dir, 7), -3) }, append(run(0, 8), run(12, 15)...), "the log from offset 9 to 11", 3},
		{"the last batch of all", func(t *testing.T, dir string) { change(t, segmentFile(dir, 12), -3) }, run(0, 13), "the log after offset 13", 2},
		{"a segment is cut", func(t *testing.T, dir string) { require.NoError(t, os.Truncate(segmentFile(dir, 7), 30)) }, append(run(0, 6), run(12, 15)...), "the log from offset 7 to 11", 5},
		{"a segment is empty", func(t *testing.T, dir string) { require.NoError(t, os.Truncate(segmentFile(dir, 7), 0)) }, append(run(0, 6), run(12, 15)...), "the log from offset 7 to 11", 5},
		{"a segment is missing", func(t *testing.T, dir string) { require.NoError(t, os.Remove(segmentFile(dir, 7))) }, append(run(0, 6), run(12, 15)...), "the log from offset 7 to 11", 5},
		{"a segment is cut between two batches", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(segmentFile(dir, 7), int64(len(of(7, 2, plain).encode(t)))))
		}, append(run(0, 8), run(12, 15)...), "the log from offset 9 to 11", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := lay(t, segments...)
			c.spoil(t, dir)
			s := open(t, dir, "", kafka.Options{})
			got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
			require.Equal(t, c.want, offsets(got))
			require.False(t, torn)
			require.Len(t, gaps, 1)
			require.Equal(t, c.place, gaps[0].Place)
			require.Equal(t, c.lost, gaps[0].Lost)
			b, err := s.Bounds(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.want[0], b.First.A)
			require.Equal(t, c.want[len(c.want)-1], b.Last.A)
			require.Equal(t, source.Lacks{Start: c.want[0] > 0, End: c.want[len(c.want)-1] < 15}, b.Lacks)
		})
	}
}

// marker ends a transaction: 1 commits it, 0 takes it back.
func marker(base, producer int64, kind uint16) wrote {
	return wrote{base: base, producer: producer, attrs: transactional | control,
		recs: []rec{{key: binary.BigEndian.AppendUint16([]byte{0, 0}, kind), value: make([]byte, 6)}}}
}

func in(producer int64, w wrote) wrote {
	w.producer, w.attrs = producer, transactional
	return w
}

// Control batches take an offset and are no messages; what was taken back is read when
// asked for; what nothing ends is not acknowledged.
func TestTransactions(t *testing.T) {
	dir := lay(t, []wrote{of(0, 1, plain), in(7, of(1, 2, plain)), in(8, of(3, 1, zstded)), marker(4, 7, 0), marker(5, 8, 1)},
		[]wrote{in(7, of(6, 1, plain)), marker(7, 7, 1), in(8, of(8, 2, plain)), of(10, 1, plain)})
	got, gaps, _ := sourcetest.Read(t, open(t, dir, "", kafka.Options{}), sourcetest.Everything())
	require.Empty(t, gaps)
	require.Equal(t, []int64{0, 3, 6, 8, 9, 10}, offsets(got))
	for _, m := range got {
		require.Equal(t, m.ID.A == 8 || m.ID.A == 9, m.Has(message.Unacknowledged), "offset %s", m.ID)
	}
	got, _, _ = sourcetest.Read(t, open(t, dir, "", kafka.Options{IncludeDeleted: true}), sourcetest.Everything())
	require.Equal(t, []int64{0, 1, 2, 3, 6, 8, 9, 10}, offsets(got))
	for _, m := range got {
		require.Equal(t, m.ID.A == 1 || m.ID.A == 2, m.Has(message.Deleted), "offset %s", m.ID)
	}
}

// What a broker makes of a partition that is left as after kill -9, and after a clean stop.
func TestStart(t *testing.T) {
	segments := [][]wrote{{of(0, 3, plain), of(3, 4, plain)}, {of(7, 2, plain)}}
	start := func(t *testing.T, clean bool, spoil func(dir string)) source.Start {
		dir := lay(t, segments...)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "..", "meta.properties"), nil, 0o600))
		if clean {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "..", ".kafka_cleanshutdown"), nil, 0o600))
		}
		spoil(dir)
		out, err := open(t, dir, "", kafka.Options{}).Start(t.Context())
		require.NoError(t, err)
		return out
	}
	batch := func(dir string) { change(t, segmentFile(dir, 0), 80) }
	base := func(dir string) { change(t, segmentFile(dir, 0), 7) }
	cut := func(dir string) { require.NoError(t, os.Truncate(segmentFile(dir, 7), 100)) }

	require.Equal(t, source.StartWhole, start(t, false, func(string) {}).Outcome)
	killed := start(t, false, batch)
	require.Equal(t, source.StartDeletes, killed.Outcome)
	require.EqualValues(t, 6, killed.Loses)
	require.Equal(t, []string{filepath.Base(segmentFile("", 7))}, killed.Deletes)
	require.Contains(t, killed.Says, "cuts 00000000000000000000.log at byte 0")
	require.Contains(t, killed.Says, "6 messages")
	require.Equal(t, source.StartHangs, start(t, true, batch).Outcome)
	require.Equal(t, source.StartHangs, start(t, false, base).Outcome)
	torn := start(t, false, cut)
	require.Equal(t, source.StartWhole, torn.Outcome)
	require.Contains(t, torn.Says, "is dropped")
}

// Reading beside a growing file: what was read is read again, and a batch that is half
// there is an end.
func TestBesideAWriter(t *testing.T) {
	dir := lay(t, []wrote{of(0, 1, plain)})
	file, err := os.OpenFile(segmentFile(dir, 0), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for n := int64(1); ; n++ {
			b := of(n, 1, plain).encode(t)
			for _, part := range [][]byte{b[:40], b[40:]} {
				if _, err := file.Write(part); err != nil || ctx.Err() != nil {
					done <- err
					return
				}
				time.Sleep(200 * time.Microsecond)
			}
		}
	}()
	s := open(t, dir, "", kafka.Options{})
	last := 0
	for range 50 {
		got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
		require.Empty(t, gaps)
		require.False(t, torn, "an end that moves is no torn one")
		require.Equal(t, run(0, int64(len(got))-1), offsets(got))
		require.GreaterOrEqual(t, len(got), last)
		last = len(got)
	}
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, file.Close())
}

// Several directories of one name are told apart, what is given up is read when named.
func TestLogsOfAPlace(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"a/" + topic + "-0", "b/" + topic + "-0", "a/orders-1", "a/by-dev-rootcoord-dml_5-0.0123-delete", "a/__consumer_offsets-0"} {
		require.NoError(t, os.MkdirAll(filepath.Join(top, dir), 0o700))
		require.NoError(t, os.WriteFile(segmentFile(filepath.Join(top, dir), 0), of(0, 2, plain).encode(t), 0o600))
	}
	logs, err := kafka.Files().Logs(t.Context(), top, source.Options{})
	require.NoError(t, err)
	words := map[string]bool{}
	for _, l := range logs {
		words[l.String()] = l.Aside
	}
	require.Equal(t, map[string]bool{"a/" + topic + "-0": false, "b/" + topic + "-0": false, "orders-1": true, "by-dev-rootcoord-dml_5-0.0123-delete": true}, words)
	got, _, _ := sourcetest.Read(t, open(t, top, "by-dev-rootcoord-dml_5-0.0123-delete", kafka.Options{}), sourcetest.Everything())
	require.True(t, got[0].Has(message.Deleted), fmt.Sprint(got[0]))
}
