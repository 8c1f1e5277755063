package diagnose

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/bench"
	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// memory is a log as columns in memory.
type memory struct {
	batches []*message.Columns
	i       int
}

func (m *memory) Close() error { return nil }

func (m *memory) NextColumns(context.Context) (*message.Columns, error) {
	if m.i == len(m.batches) {
		return nil, io.EOF
	}
	m.i++
	return m.batches[m.i-1], nil
}

// columnsOf gathers messages into columns of their own.
func columnsOf(ms []*message.Message) *memory { return columnsIn(ms, 1024) }

func columnsIn(ms []*message.Message, rows int) *memory {
	out := &memory{}
	index := map[string]uint32{"": 0}
	names := []string{""}
	var c *message.Columns
	for _, m := range ms {
		if c == nil || c.N == rows {
			c = &message.Columns{}
			out.batches = append(out.batches, c)
		}
		k, ok := index[m.VChannel]
		if !ok {
			k = uint32(len(names))
			index[m.VChannel], names = k, append(names, m.VChannel)
		}
		c.Append(m, k)
	}
	for _, c := range out.batches {
		c.VChannels = names
	}
	return out
}

// goldenMessages reads a golden log whole, checksums computed.
func goldenMessages(t testing.TB, name string) []*message.Message {
	t.Helper()
	rd, err := jsonl.Open(golden.WAL(t, name)).Open(context.Background(), source.Range{Props: true, Payload: source.PayloadAll})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var out []*message.Message
	if err := source.Each(context.Background(), rd, func(m *message.Message) error {
		m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
		out = append(out, m)
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	return out
}

// benchLogs are the logs engines are measured on: Milvus's own, dense with
// definition changes, and a generated one of plain inserts and transactions.
func benchLogs(b *testing.B) map[string]*memory {
	b.Helper()
	return map[string]*memory{
		"golden":    columnsOf(goldenMessages(b, "200k")),
		"generated": columnsOf(walgen.New(walgen.Config{Messages: 300_000, Cheap: true, Terms: 2}).Messages()),
	}
}

func benchmark(b *testing.B, run func(context.Context, source.ColumnReader) error) {
	for name, m := range benchLogs(b) {
		n := int64(0)
		for _, c := range m.batches {
			n += int64(c.N)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			used := bench.CPUTime()
			for b.Loop() {
				m.i = 0
				if err := run(context.Background(), m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/(bench.CPUTime()-used).Seconds()/1e6, "Mrecords/cpu-s")
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	benchmark(b, func(ctx context.Context, r source.ColumnReader) error {
		_, err := Verify(ctx, r, VerifyOptions{})
		return err
	})
}

func BenchmarkTimeTicks(b *testing.B) {
	benchmark(b, func(ctx context.Context, r source.ColumnReader) error {
		_, err := TimeTicks(ctx, r, TickOptions{})
		return err
	})
}

// BenchmarkVerifyArchive is verify as an operator runs it over an archive of
// Milvus's own log, ten times over: read, decoded and judged.
func BenchmarkVerifyArchive(b *testing.B) {
	for name, ms := range map[string][]*message.Message{
		"golden":    goldenMessages(b, "200k"),
		"generated": walgen.New(walgen.Config{Messages: 500_000, Cheap: true, Terms: 2}).Messages(),
	} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: "by-dev-rootcoord-dml_0", Backend: ms[0].ID.Backend})
			require.NoError(b, err)
			for i, m := range ms {
				require.NoError(b, w.Add(m, int64(i)))
			}
			require.NoError(b, w.Close())
			s, err := archive.Open(context.Background(), dir, archive.Options{})
			require.NoError(b, err)
			defer s.Close()
			b.ReportAllocs()
			used := bench.CPUTime()
			for b.Loop() {
				r, err := s.OpenColumns(context.Background(), source.Range{Columns: VerifyColumns})
				require.NoError(b, err)
				rep, err := Verify(context.Background(), r, VerifyOptions{})
				require.NoError(b, err)
				require.EqualValues(b, len(ms), rep.Records)
				require.Zero(b, rep.Broken)
				require.NoError(b, r.Close())
			}
			b.ReportMetric(float64(len(ms))*float64(b.N)/(bench.CPUTime()-used).Seconds()/1e6, "Mrecords/cpu-s")
		})
	}
}
