package kafka_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// What Milvus wrote, published to a real broker, comes back record by record: over the
// wire, and off the broker's disk while it runs and after it was killed.
func TestBrokerGivesTheLog(t *testing.T) {
	k := testenv.PrivateKafka(t)
	log, want := records(t)
	k.Publish(t, topic, log)
	s := connect(t, k, topic)
	got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
	sourcetest.Same(t, "the broker", got, want)
	require.Empty(t, gaps)
	require.False(t, torn)
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, [2]string{"0", want[len(want)-1].IDs}, [2]string{b.First.String(), b.Last.String()})

	off := func(what string) {
		disk := open(t, k.Disk(), topic, kafka.Options{})
		got, gaps, torn := sourcetest.Read(t, disk, sourcetest.Everything())
		sourcetest.Same(t, what, got, want)
		require.Empty(t, gaps)
		require.False(t, torn)
	}
	off("the disk of a broker that runs")
	k.Kill()
	off("the disk of a broker that was killed")
	require.NoError(t, k.Restart(t.Context()))
	off("the disk of a broker that was started again")
	got, _, _ = sourcetest.Read(t, connect(t, k, topic), sourcetest.Everything())
	sourcetest.Same(t, "the broker, started again", got, want)
}

// digest is what a log is, in one word.
func digest(messages []*message.Message) string {
	h := sha256.New()
	for _, m := range messages {
		_, _ = fmt.Fprintln(h, spell(m))
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// A broker that is killed while it is read, and started again, gives the same log.
func TestBrokerKilledWhileItIsRead(t *testing.T) {
	k := testenv.PrivateKafka(t)
	var log []testenv.Record // 36 MB that do not shrink: several fetches
	noise := rand.New(rand.NewPCG(1, 2))
	for i := range 60_000 {
		r := row(int64(i))
		for range 75 {
			r.value = binary.LittleEndian.AppendUint64(r.value, noise.Uint64())
		}
		log = append(log, testenv.Record{Payload: r.value, Props: r.headers})
	}
	k.Publish(t, topic, log)
	s := connect(t, k, topic)
	all, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
	require.Len(t, all, len(log))

	rd, err := s.Open(t.Context(), sourcetest.Everything())
	require.NoError(t, err)
	var got []*message.Message
	for range log {
		if len(got) == 100 {
			k.Kill()
			restarted := make(chan error, 1)
			go func() { restarted <- k.Restart(t.Context()) }()
			defer func() { require.NoError(t, <-restarted) }()
		}
		m, err := rd.Next(t.Context())
		require.NoError(t, err)
		got = append(got, m)
	}
	require.NoError(t, rd.Close())
	require.Equal(t, digest(all), digest(got))
}

// A start that was trimmed is refused by name, a missing topic is not made.
func TestBrokerTrimmedAndMissing(t *testing.T) {
	k := testenv.SharedKafka(t)
	name := "by-dev-rootcoord-dml_7"
	log, _ := records(t)
	k.Publish(t, name, log)
	s := connect(t, k, name)
	rd, err := s.Open(t.Context(), source.Range{From: source.Bound{Kind: source.AtID, ID: message.ID{Backend: message.BackendKafka, A: 50}}})
	require.NoError(t, err)
	k.Trim(t, name, 300)
	_, err = rd.Next(t.Context())
	require.ErrorContains(t, err, "offset 50 is not there any more")
	require.ErrorContains(t, err, "begins with offset 300 now")
	require.NoError(t, rd.Close())
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, source.BeforeFirst, b.Standing(message.ID{Backend: message.BackendKafka, A: 50}))
	got, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
	require.Len(t, got, len(log)-300)

	before := k.Topics(t)
	_, err = kafka.Connect(t.Context(), "by-dev-rootcoord-dml_99", source.Live{Service: k.URL()})
	require.ErrorIs(t, err, source.ErrNotFound)
	require.Equal(t, before, k.Topics(t))
	require.NotContains(t, before, "__consumer_offsets")
}

// What was trimmed and still stands on the disk is read when asked for, and only then.
func TestBrokerTrimmedDisk(t *testing.T) {
	k := testenv.PrivateKafka(t)
	log, _ := records(t)
	k.Publish(t, topic, log)
	k.Trim(t, topic, 300)
	k.Stop(t)
	part := filepath.Join(k.Disk(), topic+"-0")
	got, _, _ := sourcetest.Read(t, open(t, part, "", kafka.Options{}), sourcetest.Everything())
	require.Len(t, got, len(log)-300)
	require.EqualValues(t, 300, got[0].ID.A)
	got, _, _ = sourcetest.Read(t, open(t, part, "", kafka.Options{IncludeDeleted: true}), sourcetest.Everything())
	require.Len(t, got, len(log))
	for _, m := range got {
		require.Equal(t, m.ID.A < 300, m.Has(message.Deleted))
	}
}
