package rocksmq_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb/rockstest"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/rocksmq"
)

// BenchmarkRead reads 1 KB messages off a warm log file and off a table.
func BenchmarkRead(b *testing.B) {
	const n = 32 << 10
	body := strings.Repeat("x", 1024)
	ops := make([]rockstest.Op, n)
	for i := range ops {
		ops[i] = row("dml_0", int64(i+1), uint64(i+1))
		ops[i].Value += "\x1a\x80\x08" + body // a field that Milvus passes over, as a payload's bytes
	}
	log, _ := logOf(1, ops...)
	for name, file := range map[string][]byte{"log": log, "table": rockstest.Table(60, false, ops...), "zstd": rockstest.Table(60, true, ops...)} {
		dir := b.TempDir()
		if name == "log" {
			write(b, dir, "000005.log", file)
		} else {
			write(b, dir, "000005.sst", file)
		}
		for want, payload := range map[string]source.Payload{"none": source.PayloadNone, "all": source.PayloadAll} {
			b.Run(name+"/"+want, func(b *testing.B) {
				s, err := rocksmq.Open(b.Context(), dir, "dml_0", rocksmq.Options{})
				require.NoError(b, err)
				defer s.Close()
				b.SetBytes(int64(len(log)))
				b.ReportAllocs()
				for b.Loop() {
					r, err := s.Open(b.Context(), source.Range{Payload: payload, Props: payload == source.PayloadAll})
					require.NoError(b, err)
					got := 0
					require.NoError(b, source.Each(b.Context(), r, func(*message.Message) error { got++; return nil }, nil))
					require.Equal(b, n, got)
					require.NoError(b, r.Close())
				}
			})
		}
		b.Run(name+"/scan", func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			for b.Loop() {
				_, err := rocksmq.Topics(b.Context(), dir)
				require.NoError(b, err)
			}
		})
	}
}
