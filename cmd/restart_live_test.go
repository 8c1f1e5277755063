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

// heldBroker is a broker of the test's own behind a proxy, which is its listener
// "held": what reads through it can be met in the middle for sure.
func heldBroker(t *testing.T) (*testenv.Broker, *testenv.Proxy) {
	t.Helper()
	proxy := testenv.NewProxy(t, "")
	b := testenv.PrivatePulsar(t, map[string]string{"internalListenerName": "inside",
		"advertisedListeners": "inside:pulsar://127.0.0.1:${brokerServicePort},held:pulsar://" + proxy.Addr()})
	proxy.Serve(strings.TrimPrefix(b.URL, "pulsar://"))
	return b, proxy
}

// through is a log of the broker as it is read through the proxy.
func through(proxy *testenv.Proxy, b *testenv.Broker, wal string) string {
	return strings.Replace(wal, strings.TrimPrefix(b.URL, "pulsar://"), proxy.Addr(), 1)
}

// A broker killed and started again in the middle costs a capture and a scan
// time, and nothing else: the same segments, the same answer.
func TestBrokerKilledDuringCommands(t *testing.T) {
	b, proxy := heldBroker(t)
	m := move(t, b, "10k-persist", "by-dev-rootcoord-dml_0")
	dir := t.TempDir()
	commands := func(name string) map[string][]string {
		live := []string{through(proxy, b, m.wal), "--pulsar-admin", b.AdminURL, "--pulsar-listener", "held",
			"--broker-wait", "3m"} // a busy machine starts a broker slowly
		return map[string][]string{
			"capture": append([]string{"capture", "--dir", filepath.Join(dir, name), "--no-catalog", "--segment-rows", "2000"}, live...),
			"verify":  append([]string{"verify", "-o", "json"}, live...),
			"inspect": append([]string{"inspect", "--records", "-o", "ndjson", "--data"}, live...),
		}
	}
	want := map[string]string{}
	for name, args := range commands("calm") {
		code, out, errOut := run(t, nil, args...)
		require.Equal(t, 0, code, errOut)
		want[name] = out
	}
	type end struct {
		name, out, errOut string
		code              int
	}
	killed := commands("killed")
	proxy.Hold(1 << 20) // a quarter of the log
	ended := make(chan end, len(killed))
	for name, args := range killed {
		f, out, errOut := testFactory(map[string]string{"XDG_CONFIG_HOME": dir})
		go func() {
			code := Run(context.Background(), f, args)
			ended <- end{name, out.String(), errOut.String(), code}
		}()
	}
	require.Eventually(t, func() bool { return proxy.Held() == len(killed) || len(ended) > 0 }, 5*time.Minute, 20*time.Millisecond)
	require.Empty(t, ended, "ended before the broker was killed")
	b.Kill()
	proxy.Release()
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
