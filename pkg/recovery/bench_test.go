package recovery_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/bench"
	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// memory is a log of decoded messages.
type memory struct {
	list []*message.Message
}

func (s *memory) Describe() source.Description {
	return source.Description{Kind: "memory", Backend: message.BackendPulsar}
}
func (s *memory) Bounds(context.Context) (source.Bounds, error) {
	return source.Bounds{Records: -1}, nil
}
func (s *memory) Close() error { return nil }
func (s *memory) Open(_ context.Context, r source.Range) (source.Reader, error) {
	list := s.list
	for r.From.Kind == source.AtID && len(list) > 0 && list[0].ID.Less(r.From.ID) {
		list = list[1:]
	}
	for r.To.Kind == source.AtID && len(list) > 0 && r.To.ID.Less(list[len(list)-1].ID) {
		list = list[:len(list)-1]
	}
	return &memoryReader{list: list}, nil
}

type memoryReader struct {
	list []*message.Message
}

func (r *memoryReader) Close() error { return nil }
func (r *memoryReader) Next(context.Context) (*message.Message, error) {
	if len(r.list) == 0 {
		return nil, io.EOF
	}
	m := r.list[0]
	r.list = r.list[1:]
	return m, nil
}

func inMemory(t testing.TB, name string) *memory {
	t.Helper()
	rd, err := jsonl.Open(golden.WAL(t, name)).Open(context.Background(), source.Range{Payload: source.PayloadDDL, Props: true})
	require.NoError(t, err)
	defer rd.Close()
	s := &memory{}
	require.NoError(t, source.Each(context.Background(), rd, func(m *message.Message) error {
		s.list = append(s.list, m)
		return nil
	}, nil))
	return s
}

func last(t testing.TB, name string) golden.Expected {
	t.Helper()
	for _, e := range golden.Expectations(t, name) {
		if e.KVAfter != nil && e.File == "expected.json.zst" {
			return e
		}
	}
	t.Fatalf("%s has no kv_after", name)
	return golden.Expected{}
}

func replayed(b *testing.B, src source.Source, n int, name string) {
	e := last(b, name)
	md := load(b, e.PChannel, e.KVBefore)
	b.ReportAllocs()
	b.ResetTimer()
	used := bench.CPUTime()
	for b.Loop() {
		if _, err := recovery.Replay(context.Background(), src, md, recovery.ReplayOptions{Until: until(e.LastTimeTick)}); err != nil {
			b.Fatal(err)
		}
	}
	rate := float64(n) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(float64(n)*float64(b.N)/(bench.CPUTime()-used).Seconds()/1e6, "Mrecords/cpu-s")
	b.ReportMetric(rate, "messages/s")
	b.ReportMetric(rate/82_000, "x-milvus")
	b.ReportMetric(0, "ns/op")
}

// Milvus's own recovery of this log, in memory: 82,000 messages/s.
func BenchmarkReplayDecoded(b *testing.B) {
	s := inMemory(b, "200k")
	replayed(b, s, len(s.list), "200k")
}

func BenchmarkReplayNDJSON(b *testing.B) {
	replayed(b, jsonl.Open(golden.WAL(b, "200k")), len(inMemory(b, "200k").list), "200k")
}

func BenchmarkReplayArchive(b *testing.B) {
	e, dir := last(b, "200k"), b.TempDir()
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: e.PChannel, Backend: message.BackendPulsar})
	require.NoError(b, err)
	rd, err := jsonl.Open(golden.WAL(b, "200k")).Open(context.Background(), source.Range{Payload: source.PayloadAll, Props: true})
	require.NoError(b, err)
	n := 0
	require.NoError(b, source.Each(context.Background(), rd, func(m *message.Message) error {
		n++
		return w.Add(m, int64(n-1))
	}, nil))
	require.NoError(b, rd.Close())
	require.NoError(b, w.Close())
	s, err := archive.Open(context.Background(), dir, archive.Options{})
	require.NoError(b, err)
	defer s.Close()
	replayed(b, s, n, "200k")
}

func BenchmarkScan(b *testing.B) {
	s := inMemory(b, "200k")
	b.ReportAllocs()
	for b.Loop() {
		sc := order.NewScanner(&memoryReader{list: s.list}, order.Options{})
		for {
			if _, err := sc.Next(context.Background()); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(len(s.list))*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(0, "ns/op")
}
