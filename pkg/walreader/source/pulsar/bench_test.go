package pulsar_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
)

// BenchmarkScan reads the same topic with a bare client reader, with this source
// over one connection and over three, in turns. It prints the speed of both as
// ratios of the bare loop's, by the medians.
func BenchmarkScan(b *testing.B) {
	broker := testenv.Pulsar(b)
	for _, shape := range []struct {
		name     string
		n, bytes int
	}{{"300B", 100_000, 300}, {"3KB", 40_000, 3_000}, {"100KB", 2_000, 100_000}} {
		topic := broker.Topic(b, "bench")
		broker.Publish(b, topic, numbered(shape.n, shape.bytes), shape.n/4)
		b.Run(shape.name, func(b *testing.B) {
			var bare, one, three []time.Duration
			timed := func(to *[]time.Duration, scan func()) {
				from := time.Now()
				scan()
				*to = append(*to, time.Since(from))
			}
			bareScan(b, broker, topic, shape.n) // warms the broker's cache
			b.SetBytes(int64(shape.n * shape.bytes))
			for b.Loop() {
				timed(&bare, func() { bareScan(b, broker, topic, shape.n) })
				timed(&one, func() { ownScan(b, broker, topic, shape.n, 1) })
				timed(&three, func() { ownScan(b, broker, topic, shape.n, 3) })
			}
			b.ReportMetric(float64(median(bare))/float64(median(one)), "one/bare")
			b.ReportMetric(float64(median(bare))/float64(median(three)), "three/bare")
			b.ReportMetric(float64(shape.n)/median(one).Seconds(), "records/s")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
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
