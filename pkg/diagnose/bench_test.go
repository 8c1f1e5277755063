package diagnose

import (
	"context"
	"io"
	"testing"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
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
func columnsOf(ms []*message.Message) *memory {
	out := &memory{}
	index := map[string]uint32{"": 0}
	names := []string{""}
	var c *message.Columns
	for _, m := range ms {
		if c == nil || c.N == 1024 {
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
			used := cpuTime()
			for b.Loop() {
				m.i = 0
				if err := run(context.Background(), m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/(cpuTime()-used).Seconds()/1e6, "Mrecords/cpu-s")
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
