package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/testenv"
)

// segments is the digest of every segment of an archive, by its path.
func segments(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = hex.EncodeToString(sum[:])
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

// waitForReaders waits until so many read the topic.
func waitForReaders(t *testing.T, b *testenv.Broker, topic string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return len(b.Stats(t, topic)["subscriptions"].(map[string]any)) >= n
	}, time.Minute, 20*time.Millisecond, "too few came to read")
}

// A broker killed and started again in the middle costs a capture and a scan
// time, and nothing else: the same segments, the same answer.
func TestBrokerKilledDuringCommands(t *testing.T) {
	b := testenv.PrivatePulsar(t, nil)
	m := move(t, b, "10k-persist", "by-dev-rootcoord-dml_0")
	topic := "persistent://public/" + m.namespace + "/by-dev-rootcoord-dml_0"
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL}
	dir := t.TempDir()
	commands := func(name string, rate string) map[string][]string {
		live := []string{m.wal, "--rate", rate, "--broker-wait", "3m"} // a busy machine starts a broker slowly
		return map[string][]string{
			"capture": append([]string{"capture", "--dir", filepath.Join(dir, name), "--no-catalog", "--segment-rows", "2000"}, live...),
			"verify":  append([]string{"verify", "-o", "json"}, live...),
			"inspect": append([]string{"inspect", "--records", "-o", "ndjson", "--data"}, live...),
		}
	}
	want := map[string]string{}
	for name, args := range commands("calm", "0") {
		code, out, errOut := run(t, env, args...)
		require.Equal(t, 0, code, errOut)
		want[name] = out
	}
	type end struct {
		name, out, errOut string
		code              int
	}
	killed := commands("killed", "1") // slow enough to be met half-way
	ended := make(chan end, len(killed))
	for name, args := range killed {
		f, out, errOut := testFactory(map[string]string{"XDG_CONFIG_HOME": dir, "WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL})
		go func() {
			code := Run(context.Background(), f, args)
			ended <- end{name, out.String(), errOut.String(), code}
		}()
	}
	waitForReaders(t, b, topic, len(killed))
	require.Empty(t, ended, "ended before the broker was killed")
	require.NoError(t, b.Restart(t.Context()))
	for range killed {
		select {
		case e := <-ended:
			require.Equal(t, 0, e.code, "%s: %s", e.name, e.errOut)
			if e.name != "capture" {
				require.Equal(t, want[e.name], e.out, e.name)
			}
		case <-time.After(5 * time.Minute):
			t.Fatal("did not end")
		}
	}
	require.Equal(t, segments(t, filepath.Join(dir, "calm")), segments(t, filepath.Join(dir, "killed")))
	_, out, _ := run(t, nil, "inspect", filepath.Join(dir, "killed"), "--records", "-o", "ndjson", "--data")
	m.holdRecords(t, out)
}
