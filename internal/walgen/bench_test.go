package walgen

import "testing"

func benchmark(b *testing.B, cfg Config) {
	cfg.Messages = b.N
	g := New(cfg)
	b.ReportAllocs()
	b.ResetTimer()
	var size int64
	n := 0
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		size += m.PayloadSize
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(size)/float64(n), "payload-B/record")
}

func BenchmarkCheap(b *testing.B)   { benchmark(b, Config{Cheap: true, RowsPerInsert: 2}) }
func BenchmarkColumns(b *testing.B) { benchmark(b, Config{}) }
