package pulsar_test

import (
	"os"
	"testing"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// goldenRecords reads a golden log as records to publish.
func goldenRecords(t testing.TB, name string) []testenv.Record {
	t.Helper()
	src := jsonl.Open(golden.WAL(t, name))
	defer func() { _ = src.Close() }()
	var out []testenv.Record
	for _, m := range sourcetest.All(t, src, source.Range{Props: true, Payload: source.PayloadAll}) {
		props := make(map[string]string, len(m.Props))
		for _, p := range m.Props {
			props[p.Key] = p.Value
		}
		out = append(out, testenv.Record{ID: m.ID, Props: props, Payload: m.Payload})
	}
	return out
}

// wanted is what a published log must read back as.
func wanted(records []testenv.Record, p testenv.Published) []*message.Message {
	var dec message.Decoder
	out := make([]*message.Message, len(records))
	for i, r := range records {
		m := &message.Message{Ordinal: int64(i), Payload: r.Payload}
		m.SetID(p.IDs[i], message.Form{BatchSize: 1})
		for k, v := range p.Props(r) {
			m.Props = append(m.Props, message.Property{Key: k, Value: v})
		}
		m.Props.Sort()
		dec.Decode(m)
		out[i] = m
	}
	return out
}

func config(b *testenv.Broker, topic string) pulsar.Config {
	return pulsar.Config{ServiceURL: b.URL, AdminURL: b.AdminURL, Topic: topic}
}

func open(t testing.TB, cfg pulsar.Config) *pulsar.Source {
	t.Helper()
	s, err := pulsar.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A source on a real broker behaves as every other one, over one connection and
// over several.
func TestConformance(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "by-dev-rootcoord-dml_0")
	records := goldenRecords(t, "small")
	want := wanted(records, b.Publish(t, topic, records, 200))
	for name, parallel := range map[string]int{"one connection": 1, "three connections": 3} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
				cfg := config(b, topic)
				cfg.Parallel, cfg.Memory = parallel, 64<<10
				s, err := pulsar.Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}})
		})
	}
}

// Every golden log, published and read back, is the log it was, with its ids moved.
func TestGoldenLogsThroughABroker(t *testing.T) {
	b := testenv.Pulsar(t)
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "200k" {
				t.Skip("SKIPPED: 200k is long")
			}
			topic := b.Topic(t, "golden")
			records := goldenRecords(t, name)
			want := wanted(records, b.Publish(t, topic, records, max(len(records)/3, 1)))
			cfg := config(b, topic)
			cfg.Parallel = 2
			got := sourcetest.All(t, open(t, cfg), source.Range{Props: true, Payload: source.PayloadAll})
			if len(got) != len(want) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			for i := range got {
				if err := sourcetest.Equal(got[i], want[i]); err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
			}
		})
	}
}
