package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	recovercmd "github.com/walctl/walctl/cmd/recover"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// TestOverload replays the shape that takes streaming nodes out of memory: 16
// shards on 16 pchannels of two nodes, a partition key over 16 partitions. Within
// a budget that is too small for it the replay ends, in memory and with the
// result of one without bounds; the forecast is what the buffers really took.
// WALCTL_TEST_FULL=1 runs it at its own size, 6,680,000 rows within 512 MiB.
func TestOverload(t *testing.T) {
	rows, dim, memory := uint64(240_000), 32, int64(24<<20)
	if os.Getenv("WALCTL_TEST_FULL") != "" {
		rows, memory = 6_680_000, 512<<20
	}
	dir := t.TempDir()
	nodeOf := overload(t, dir, rows, dim)

	bounded := recoverMemory(t, dir, memory)
	t.Logf("%d rows within %d MiB: %.1f s, %.0f records/s, budget's peak %d MiB, spilled %d MiB, RSS %d MiB",
		bounded.Rows, memory>>20, bounded.Seconds, bounded.Rate, bounded.Memory.Peak>>20, bounded.Memory.Spilled>>20, bounded.RSS>>20)
	require.Equal(t, rows, bounded.Rows)
	require.Positive(t, bounded.Memory.Spilled, "the shape must not fit the budget")
	require.LessOrEqual(t, bounded.Memory.Peak, bounded.Memory.Limit)
	if runtime.GOOS == "linux" {
		require.Positive(t, bounded.RSS)
		require.LessOrEqual(t, bounded.RSS, memory+128<<20)
	}

	whole := recoverMemory(t, dir, 1<<40)
	t.Logf("without bounds: %.1f s, budget's peak %d MiB, RSS %d MiB", whole.Seconds, whole.Memory.Peak>>20, whole.RSS>>20)
	require.Equal(t, whole.Digest, bounded.Digest)
	require.Zero(t, whole.Memory.Spilled)

	var sides struct{ Channels, Faults []json.RawMessage }
	require.NoError(t, json.Unmarshal(asProcess(t, "channels", dir, "-o", "json"), &sides))
	require.Len(t, sides.Channels, 16, "every log of the archive")
	require.Empty(t, sides.Faults)

	took := map[string]int64{}
	for _, b := range whole.Buffers {
		took[nodeOf[b.VChannel]] += b.Held
	}
	var forecast recovercmd.ForecastReport
	require.NoError(t, json.Unmarshal(asProcess(t, "recover", dir, "--forecast", "--node-memory", "16GiB", "-o", "json"), &forecast))
	require.Len(t, forecast.Nodes, 2)
	for _, n := range forecast.Nodes {
		t.Logf("node %s: forecast %d MiB, took %d MiB, verdict %s", n.Node, n.Held>>20, took[n.Node]>>20, n.Verdict)
		require.InEpsilon(t, took[n.Node], n.Held, 0.2)
		require.Len(t, n.PChannels, 8)
	}
}

// overload writes the logs into one archive and returns the node of each vchannel.
func overload(t *testing.T, dir string, rows uint64, dim int) map[string]string {
	t.Helper()
	ctx, nodes := context.Background(), map[string]string{}
	for i, cfg := range walgen.Overload(1, rows, dim) {
		cfg.NodeID = int64(1 + i%2)
		g := walgen.New(cfg)
		w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: cfg.PChannel, Backend: message.BackendPulsar, Source: "test"})
		if err == nil {
			err = writeLog(ctx, w, g, nodes, cfg.NodeID)
		}
		require.NoError(t, err)
	}
	return nodes
}

func writeLog(_ context.Context, w *archive.Writer, g *walgen.Generator, nodes map[string]string, node int64) error {
	first, ok := g.Next()
	if !ok {
		return fmt.Errorf("an empty log")
	}
	n := int64(0)
	for m := first; ok; m, ok = g.Next() {
		if err := w.Add(m, n); err != nil {
			return err
		}
		if m.VChannel != "" {
			nodes[m.VChannel] = strconv.FormatInt(node, 10)
		}
		n++
	}
	kv := g.ClusterKeys(first)
	maps.Copy(kv, g.CatalogBefore())
	b, err := json.Marshal(kv)
	if err != nil {
		return err
	}
	if err := w.AddEvidence(archive.Evidence{Name: source.EvidenceCatalog, CapturedAt: time.UnixMilli(first.PublishTime).UTC()}, b); err != nil {
		return err
	}
	return w.Close()
}

func recoverMemory(t *testing.T, dir string, memory int64) (r struct {
	Memory  channelbuf.Usage
	Buffers []channelbuf.View
	Digest  string
	Rows    uint64
	Seconds float64
	Rate    float64 `json:"records_per_second"`
	RSS     int64   `json:"peak_rss_bytes"`
}) {
	t.Helper()
	out := asProcess(t, "recover", dir, "--memory", strconv.FormatInt(memory, 10), "--parallel", "4", "-o", "json")
	require.NoError(t, json.Unmarshal(out, &r))
	return r
}

// asProcess runs this test's binary as the command, in a process of its own.
func asProcess(t *testing.T, args ...string) []byte {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	var out, errOut bytes.Buffer
	c := exec.Command(self)
	c.Args = append([]string{"walctl"}, args...)
	c.Stdout, c.Stderr = &out, &errOut
	require.NoError(t, c.Run(), errOut.String())
	return out.Bytes()
}
