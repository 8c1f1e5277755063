package jsonl_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// BenchmarkReadNDJSON reads the largest golden log: as a replay reads it, from
// plain text and from zstd, and as a full copy reads it.
func BenchmarkReadNDJSON(b *testing.B) {
	text := golden.Read(b, golden.WAL(b, "200k"))
	for _, c := range []struct {
		name string
		open func() *jsonl.Source
		rng  source.Range
	}{
		{"replay/plain", func() *jsonl.Source { return jsonl.FromReader("text", bytes.NewReader(text)) }, source.Range{Payload: source.PayloadDDL}},
		{"replay/zstd", func() *jsonl.Source { return jsonl.Open(golden.WAL(b, "200k")) }, source.Range{Payload: source.PayloadDDL}},
		{"everything/plain", func() *jsonl.Source { return jsonl.FromReader("text", bytes.NewReader(text)) }, everything},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r, err := c.open().Open(context.Background(), c.rng)
				if err != nil {
					b.Fatal(err)
				}
				if err := source.Each(context.Background(), r, func(*message.Message) error { n++; return nil }, nil); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
