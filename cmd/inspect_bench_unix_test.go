//go:build unix

package cmd

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// benchRecords is the length of the archive the statistics are measured on.
const benchRecords = 8_000_000

// BenchmarkStats counts a long archive: go test ./cmd -run - -bench Stats -cpu 1
func BenchmarkStats(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	var log []*message.Message
	r, err := jsonl.Open(golden.WAL(b, "200k")).Open(ctx, source.Range{Props: true})
	require.NoError(b, err)
	require.NoError(b, source.Each(ctx, r, func(m *message.Message) error { log = append(log, m); return nil }, nil))
	r.Close()
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: "p"})
	require.NoError(b, err)
	for i := range benchRecords {
		m := *log[i%len(log)]
		m.ID.A += int64(i / len(log))
		m.TimeTick += uint64(i/len(log)) << 40
		require.NoError(b, w.Add(&m, int64(i)))
	}
	require.NoError(b, w.Close())
	for name, stats := range map[string]string{"type": "type", "type,vchannel": "type,vchannel", "all": "type,vchannel,size,term", "overview": ""} {
		b.Run(name, func(b *testing.B) {
			args := []string{"inspect", dir}
			if stats != "" {
				args = append(args, "--stats="+stats)
			}
			before := cpuSeconds(b)
			for range b.N {
				f, _, _ := testFactory(nil)
				root := newRootCmd(f)
				root.SetArgs(args)
				require.NoError(b, root.ExecuteContext(ctx))
			}
			records := float64(benchRecords) * float64(b.N) / 1e6
			b.ReportMetric(records/b.Elapsed().Seconds(), "Mrec/s")
			b.ReportMetric(records/(cpuSeconds(b)-before), "Mrec/cpu-s") // true on a busy machine too
		})
	}
}

// cpuSeconds is the processor time this process has had.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
