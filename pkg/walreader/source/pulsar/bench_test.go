package pulsar_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
)

// BenchmarkScan reads the same topic with a bare client reader and with this
// source, in turns, and prints walctl's speed as a ratio of the bare loop's.
func BenchmarkScan(b *testing.B) {
	broker := testenv.Pulsar(b)
	for _, shape := range []struct {
		name     string
		n, bytes int
	}{{"300B", 100_000, 300}, {"100KB", 2_000, 100_000}} {
		topic := broker.Topic(b, "bench")
		broker.Publish(b, topic, numbered(shape.n, shape.bytes), shape.n/4)
		for _, parallel := range []int{1, 3} {
			b.Run(shape.name+map[int]string{1: "/one", 3: "/three"}[parallel], func(b *testing.B) {
				var bare, own time.Duration
				bareScan(b, broker, topic, shape.n) // warms the broker's cache
				b.SetBytes(int64(shape.n * shape.bytes))
				for b.Loop() {
					from := time.Now()
					bareScan(b, broker, topic, shape.n)
					bare += time.Since(from)
					from = time.Now()
					ownScan(b, broker, topic, shape.n, parallel)
					own += time.Since(from)
				}
				b.ReportMetric(float64(bare)/float64(own), "x_bare")
				b.ReportMetric(float64(shape.n*b.N)/own.Seconds(), "records/s")
			})
		}
	}
}

func bareScan(b *testing.B, broker *testenv.Broker, topic string, n int) {
	c := broker.Client(b)
	r, err := c.CreateReader(client.ReaderOptions{Topic: topic, StartMessageID: client.EarliestMessageID(), StartMessageIDInclusive: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	defer r.Close()
	for range n {
		m, err := r.Next(context.Background())
		if err != nil || len(m.Payload()) == 0 {
			b.Fatal(err)
		}
	}
}

func ownScan(b *testing.B, broker *testenv.Broker, topic string, n, parallel int) {
	cfg := config(broker, topic)
	cfg.Parallel = parallel
	s, err := pulsar.Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rd, err := s.Open(context.Background(), source.Range{Props: true, Payload: source.PayloadAll})
	if err != nil {
		b.Fatal(err)
	}
	got := 0
	for {
		if _, err = rd.Next(context.Background()); err != nil {
			break
		}
		got++
	}
	if !errors.Is(err, io.EOF) || got != n {
		b.Fatalf("%d of %d records: %v", got, n, err)
	}
}
