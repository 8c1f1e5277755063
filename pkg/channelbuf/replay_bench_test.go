package channelbuf_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// BenchmarkReplay brings logs in memory through reorder and transactions into
// buffers, one log at a time, within a budget they fit and within one they don't.
func BenchmarkReplay(b *testing.B) {
	logs, messages := benchLogs(b, 4, 100_000)
	for _, c := range []struct {
		name     string
		budget   int64
		parallel int
	}{{"fits", 1 << 30, 1}, {"spills", 24 << 20, 1}, {"parallel", 1 << 30, 4}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				r := channelbuf.NewRegistry(channelbuf.NewBudget(c.budget), b.TempDir())
				_, err := channelbuf.Replay(context.Background(), r, logs, channelbuf.ReplayOptions{Parallel: c.parallel})
				require.NoError(b, err)
				r.Close()
			}
			b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkForecast tells the same from headers.
func BenchmarkForecast(b *testing.B) {
	logs, messages := benchLogs(b, 4, 100_000)
	for b.Loop() {
		_, err := channelbuf.ForecastLogs(context.Background(), logs, channelbuf.DefaultPolicy(), channelbuf.ReplayOptions{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
}

func benchLogs(b *testing.B, n, messages int) (logs []channelbuf.Log, total int) {
	b.Helper()
	for i := range n {
		p := "by-dev-rootcoord-dml_" + string(rune('0'+i))
		g := walgen.New(walgen.Config{Seed: uint64(i), PChannel: p, Messages: messages, Collections: 4, DDLRatio: 0.001, SegmentBytes: 4 << 20,
			Schemas: []walgen.SchemaKind{walgen.SchemaBasic}, RowsPerInsert: 4})
		var ms []*message.Message
		for m, ok := g.Next(); ok; m, ok = g.Next() {
			ms = append(ms, m)
		}
		total += len(ms)
		logs = append(logs, channelbuf.Log{PChannel: p, Source: walgen.SliceSource(p, ms), Term: 1})
	}
	return logs, total
}
