package salvage_test

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// benchLog is a log in memory, so that the figures are salvage's own.
func benchLog(b *testing.B, cfg walgen.Config) source.Source {
	g := walgen.New(cfg)
	var ms []*message.Message
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		ms = append(ms, m)
	}
	return walgen.SliceSource("by-dev-rootcoord-dml_0", ms)
}

// BenchmarkSalvage reports payload bytes of Inserts a second, both passes
// included. Files are synced, so Parquet's figure has the disk's in it.
func BenchmarkSalvage(b *testing.B) {
	embeddings := walgen.Config{Seed: 1, Messages: 4000, VectorDim: 256, RowsPerInsert: 100, FixedRows: true, Schemas: []walgen.SchemaKind{walgen.SchemaBasic}}
	mixed := walgen.Config{Seed: 1, Messages: 8000, VectorDim: 64, RowsPerInsert: 100, FixedRows: true}
	for _, c := range []struct {
		name string
		src  func(b *testing.B) source.Source
	}{
		{"embeddings", func(b *testing.B) source.Source { return benchLog(b, embeddings) }},
		{"mixed", func(b *testing.B) source.Source { return benchLog(b, mixed) }},
		{"200k", func(b *testing.B) source.Source { return jsonl.Open(golden.WAL(b, "200k")) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			src := c.src(b)
			b.Run("ndjson", func(b *testing.B) {
				benchSalvage(b, src, func() (salvage.Sink, func(*salvage.Report)) {
					return salvage.NewNDJSON(io.Discard), func(*salvage.Report) {}
				})
			})
			b.Run("parquet", func(b *testing.B) {
				n := 0
				dir := b.TempDir()
				benchSalvage(b, src, func() (salvage.Sink, func(*salvage.Report)) {
					n++
					d, err := salvage.NewDir(filepath.Join(dir, string(rune('a'+n))), salvage.DirOptions{})
					require.NoError(b, err)
					return d, func(r *salvage.Report) { require.NoError(b, d.Close(r)) }
				})
			})
		})
	}
}

func benchSalvage(b *testing.B, src source.Source, sink func() (salvage.Sink, func(*salvage.Report))) {
	b.ReportAllocs()
	bytesOut, n, used := int64(0), 0, cpuTime()
	for b.Loop() {
		s, done := sink()
		r, err := salvage.Run(context.Background(), src, s, salvage.Options{})
		require.NoError(b, err)
		done(r)
		bytesOut = r.Bytes
		n++
	}
	b.SetBytes(bytesOut)
	b.ReportMetric(float64(bytesOut)*float64(n)/(cpuTime()-used).Seconds()/1e6, "MB/cpu-s")
}
