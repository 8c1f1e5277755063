package archive

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/bench"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// benchLog is the golden log the bars are stated over, repeated. Its records
// are small: 200 bytes of payload on average.
func benchLog(b *testing.B) []*message.Message { return goldenMessages(b, "200k") }

func benchArchive(b *testing.B, times int) (*Source, int64) {
	all := benchLog(b)
	dir := b.TempDir()
	w, err := NewWriter(dir, WriterOptions{PChannel: "p", Backend: all[0].ID.Backend})
	require.NoError(b, err)
	n := int64(0)
	for range times {
		for _, m := range all {
			require.NoError(b, w.Add(m, n))
			n++
		}
	}
	require.NoError(b, w.Close())
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(b, err)
	return s, n
}

// perSecond reports records a second of wall time and of processor time.
func perSecond(b *testing.B, n int64, since time.Duration) {
	if cpu := (bench.CPUTime() - since).Seconds(); cpu > 0 {
		b.ReportMetric(float64(n)*float64(b.N)/cpu/1e6, "Mrecords/cpu-s")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

func benchColumns(b *testing.B, set message.ColumnSet) {
	s, n := benchArchive(b, 10)
	b.ReportAllocs()
	cpu := bench.CPUTime()
	for b.Loop() {
		r, err := s.OpenColumns(context.Background(), source.Range{Columns: set})
		require.NoError(b, err)
		got := int64(0)
		for {
			c, err := r.NextColumns(context.Background())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(b, err)
			got += int64(c.N)
		}
		require.Equal(b, n, got)
		require.NoError(b, r.Close())
	}
	perSecond(b, n, cpu)
}

func BenchmarkColumnsForStats(b *testing.B) {
	benchColumns(b, message.ColumnType|message.ColumnVChannel|message.ColumnPayloadSize|message.ColumnTimeTick)
}

func BenchmarkColumnsForVerify(b *testing.B) { benchColumns(b, message.AllColumns) }

func benchMessages(b *testing.B, r source.Range) {
	s, n := benchArchive(b, 5)
	b.ReportAllocs()
	cpu := bench.CPUTime()
	for b.Loop() {
		rd, err := s.Open(context.Background(), r)
		require.NoError(b, err)
		got := int64(0)
		require.NoError(b, source.Each(context.Background(), rd, func(*message.Message) error { got++; return nil }, nil))
		require.Equal(b, n, got)
		require.NoError(b, rd.Close())
	}
	perSecond(b, n, cpu)
}

func BenchmarkMessagesForReplay(b *testing.B) {
	benchMessages(b, source.Range{Payload: source.PayloadDDL})
}

func BenchmarkMessagesWithAll(b *testing.B) {
	benchMessages(b, source.Range{Payload: source.PayloadAll, Props: true})
}

func BenchmarkVerifyBytes(b *testing.B) {
	s, n := benchArchive(b, 10)
	bytes := int64(0)
	for _, g := range s.m.Segments {
		bytes += g.Index.Bytes + g.Payload.Bytes
	}
	b.SetBytes(bytes)
	cpu := bench.CPUTime()
	for b.Loop() {
		damage, err := s.VerifyBytes(context.Background(), nil)
		require.NoError(b, err)
		require.Empty(b, damage)
	}
	perSecond(b, n, cpu)
}

// BenchmarkWrite gives small records to a writer, files synced and read back: two
// million at a time, as of a short log nothing but beginning and ending it shows.
func BenchmarkWrite(b *testing.B) {
	all := walgen.New(walgen.Config{Messages: 200_000, Cheap: true, RowsPerInsert: 2}).Messages()
	bytes := int64(0)
	for _, m := range all {
		bytes += m.PayloadSize
	}
	b.Logf("%d records, %.0f bytes of payload each", 10*len(all), float64(bytes)/float64(len(all)))
	b.ReportAllocs()
	cpu := bench.CPUTime()
	for b.Loop() {
		w, err := NewWriter(b.TempDir(), WriterOptions{PChannel: "p", Backend: all[0].ID.Backend})
		require.NoError(b, err)
		for range 10 {
			for i, m := range all {
				if err := w.Add(m, int64(i)); err != nil {
					b.Fatal(err)
				}
			}
		}
		require.NoError(b, w.Close())
	}
	perSecond(b, 10*int64(len(all)), cpu)
}
