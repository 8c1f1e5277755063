package kafka_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

const topic = "by-dev-rootcoord-dml_0"

// old is a time at which no file changes any more.
var old = time.Unix(1_700_000_000, 0)

func disk(t testing.TB) string {
	return sourcetest.Unpack(t, golden.File(t, "kafka-small", "kafka-logdir.tar.zst"))
}

// open opens the log of a topic; "" is the only one.
func open(t testing.TB, place, topic string, o kafka.Options) *kafka.Disk {
	t.Helper()
	logs, err := kafka.Files().Logs(t.Context(), place, source.Options{})
	require.NoError(t, err)
	for _, l := range logs {
		if l.Name == topic || l.ID == topic || topic == "" && len(logs) == 1 {
			s, err := kafka.Open(t.Context(), place, l, "", o)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			return s
		}
	}
	require.FailNow(t, "no such log", "%s among %v", topic, logs)
	return nil
}

// A broker's disk gives what a reader got of the broker, however it is named, and nothing
// on it changes.
func TestGoldenDisk(t *testing.T) {
	dir := disk(t)
	before := sourcetest.Sums(t, dir)
	want := sourcetest.Records(t, golden.WAL(t, "kafka-small"))
	part := filepath.Join(dir, topic+"-0")
	for place, log := range map[string]string{dir: topic, part: "", filepath.Join(part, "00000000000000000000.log"): ""} {
		s := open(t, place, log, kafka.Options{})
		require.Equal(t, topic, s.Describe().PChannel)
		sourcetest.Whole(t, place, s, want)
	}
	require.Equal(t, before, sourcetest.Sums(t, dir))
}

// A directory whose name says nothing is called as its messages say.
func TestNameOfMessages(t *testing.T) {
	dir := disk(t)
	require.NoError(t, os.Rename(filepath.Join(dir, topic+"-0"), filepath.Join(dir, "saved")))
	s := open(t, filepath.Join(dir, "saved"), "", kafka.Options{})
	require.Equal(t, topic, s.Describe().PChannel)
}

// The suite every source passes.
func TestConformance(t *testing.T) {
	dir := disk(t)
	want, _, _ := sourcetest.Read(t, open(t, dir, topic, kafka.Options{}), sourcetest.Everything())
	sourcetest.Run(t, sourcetest.Suite{Want: want, OrdinalsFromStart: true, Open: func(t testing.TB) source.Source {
		s, err := kafka.Open(t.Context(), dir, source.Log{ID: topic + "-0"}, "", kafka.Options{})
		require.NoError(t, err)
		return s
	}})
}
