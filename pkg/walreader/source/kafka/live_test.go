package kafka_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fake starts a Kafka of Go's own, without the topics it would make for whoever asks.
func fake(t testing.TB) *testenv.Kafka {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &testenv.Kafka{Addr: c.ListenAddrs()[0]}
}

// connect opens a topic.
func connect(t testing.TB, k *testenv.Kafka, topic string) *kafka.Live {
	t.Helper()
	s, err := kafka.Connect(t.Context(), topic, source.Live{Service: k.URL(), Patience: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// records are those of a golden log, and the messages they are.
func records(t testing.TB) (out []testenv.Record, want []sourcetest.Record) {
	t.Helper()
	all, _, _ := sourcetest.Read(t, open(t, disk(t), topic, kafka.Options{}), sourcetest.Everything())
	for _, m := range all {
		r := testenv.Record{ID: m.ID, Payload: m.Payload, Props: map[string]string{}}
		for _, p := range m.Props {
			r.Props[p.Key] = p.Value
		}
		out = append(out, r)
	}
	return out, sourcetest.Records(t, golden.WAL(t, "kafka-small"))
}

// The suite every source passes, over a fake broker.
func TestLiveConformance(t *testing.T) {
	k := fake(t)
	log, _ := records(t)
	k.Publish(t, topic, log)
	want, gaps, torn := sourcetest.Read(t, connect(t, k, topic), sourcetest.Everything())
	require.Empty(t, gaps)
	require.False(t, torn)
	require.Len(t, want, len(log))
	sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
		s, err := kafka.Connect(t.Context(), topic, source.Live{Service: k.URL()})
		require.NoError(t, err)
		return s
	}})
}

// A topic that is missing is named with those that look like pchannels, and not made; a
// broker that is not there is named.
func TestLiveMissing(t *testing.T) {
	k := fake(t)
	k.Publish(t, topic, []testenv.Record{{Payload: []byte("x")}})
	k.Publish(t, "orders", []testenv.Record{{Payload: []byte("x")}})
	before := k.Topics(t)
	_, err := kafka.Connect(t.Context(), "by-dev-rootcoord-dml_9", source.Live{Service: k.URL()})
	require.ErrorIs(t, err, source.ErrNotFound)
	require.ErrorContains(t, err, "has no topic by-dev-rootcoord-dml_9, and walctl creates none; those called like a pchannel are "+topic)
	require.Equal(t, before, k.Topics(t))
	_, err = kafka.Connect(t.Context(), topic, source.Live{Service: "kafka://127.0.0.1:1"})
	require.ErrorIs(t, err, source.ErrUnavailable)
}

// An offset that retention takes after a reading began fails it, by its number; a bound
// that lies before the first offset is judged by the topic's ends.
func TestLiveTrimmed(t *testing.T) {
	k := fake(t)
	log, _ := records(t)
	k.Publish(t, topic, log)
	s := connect(t, k, topic)
	rd, err := s.Open(t.Context(), sourcetest.Everything())
	require.NoError(t, err)
	k.Trim(t, topic, 300)
	_, err = rd.Next(t.Context())
	var gone *kafka.GoneError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, [2]int64{0, 300}, [2]int64{gone.Offset, gone.First})
	require.NoError(t, rd.Close())
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, source.BeforeFirst, b.Standing(message.ID{Backend: message.BackendKafka, A: 50}))
	require.Equal(t, source.Within, b.Standing(message.ID{Backend: message.BackendKafka, A: 300}))
}

// A reading ends at the end it began with; one that follows goes on and ends with its context.
func TestLiveFollow(t *testing.T) {
	k := fake(t)
	log, _ := records(t)
	k.Publish(t, topic, log[:100])
	s := connect(t, k, topic)
	bounded, err := s.Open(t.Context(), sourcetest.Everything())
	require.NoError(t, err)
	follow, err := s.Follow(t.Context(), sourcetest.Everything())
	require.NoError(t, err)
	k.Publish(t, topic, log[100:120])
	n := 0
	for ; ; n++ {
		if _, err = bounded.Next(t.Context()); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 100, n)
	for i := range 120 {
		m, err := follow.Next(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, i, m.ID.A)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = follow.Next(ctx)
	require.True(t, errors.Is(err, context.DeadlineExceeded), "%v", err)
	require.NoError(t, errors.Join(bounded.Close(), follow.Close()))
}

// A broker sees a reader ask what answers a question, and nothing else: no group, no
// commit, no topic, no record.
func TestLiveFootprint(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	k := &testenv.Kafka{Addr: c.ListenAddrs()[0]}
	log, _ := records(t)
	k.Publish(t, topic, log)
	harmless := map[int16]bool{1: true, 2: true, 3: true, 18: true, 23: true} // fetch, list offsets, metadata, versions, epoch ends
	var seen []int16
	c.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if seen = append(seen, r.Key()); !harmless[r.Key()] {
			t.Errorf("a reader asks for %s", kmsg.NameForKey(r.Key()))
		}
		if m, ok := r.(*kmsg.MetadataRequest); ok && m.AllowAutoTopicCreation {
			t.Error("a reader lets the broker make a topic")
		}
		return nil, nil, false
	})
	got, _, _ := sourcetest.Read(t, connect(t, k, topic), sourcetest.Everything())
	require.Len(t, got, len(log))
	require.Contains(t, seen, int16(1))
}
