package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

var errRunning = errors.New("still running")

// residentPeak is the most memory a process has had, in KiB; 0 once it is gone. What the
// kernel adds up at its end holds the parent's peak as well.
func residentPeak(pid int) (kib int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	_, _ = fmt.Sscan(rest, &kib)
	return kib
}

// BenchmarkRecover200k is the whole command as a process of its own, from its start
// to its exit: go test ./cmd -run - -bench Recover200k
func BenchmarkRecover200k(b *testing.B) {
	dir := b.TempDir()
	e := golden.Expectations(b, "200k")[0]
	kv, err := json.Marshal(e.KVBefore)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(dir, "kv.json"), kv, 0o600))
	d, err := zstd.NewReader(bytes.NewReader(golden.Read(b, golden.WAL(b, "200k"))))
	require.NoError(b, err)
	defer d.Close()
	var plain bytes.Buffer
	if _, err := d.WriteTo(&plain); err != nil {
		plain.Write(golden.Read(b, golden.WAL(b, "200k"))) // read through already
	}
	log := filepath.Join(dir, "wal.jsonl")
	require.NoError(b, os.WriteFile(log, plain.Bytes(), 0o600))
	w, err := archive.NewWriter(filepath.Join(dir, "archive"), archive.WriterOptions{PChannel: e.PChannel, Backend: message.BackendPulsar})
	require.NoError(b, err)
	r, err := jsonl.Open(log).Open(context.Background(), source.Range{Payload: source.PayloadAll, Props: true})
	require.NoError(b, err)
	n := int64(0)
	require.NoError(b, source.Each(context.Background(), r, func(m *message.Message) error { n++; return w.Add(m, n-1) }, nil))
	require.NoError(b, r.Close())
	require.NoError(b, w.Close())
	path, err := exec.LookPath("walctl")
	require.NoError(b, err)
	for _, x := range []struct{ name, wal string }{{"archive", filepath.Join(dir, "archive")}, {"ndjson", log}} {
		b.Run(x.name, func(b *testing.B) {
			var peak int64
			var cpu time.Duration
			for b.Loop() {
				cmd := exec.Command(path, "recover", x.wal, "--catalog", "kvjson:"+filepath.Join(dir, "kv.json"))
				require.NoError(b, cmd.Start())
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				for err = errRunning; errors.Is(err, errRunning); {
					peak = max(peak, residentPeak(cmd.Process.Pid))
					select {
					case err = <-ended:
					case <-time.After(2 * time.Millisecond):
					}
				}
				require.NoError(b, err)
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			rate := float64(n) * float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(float64(n)*float64(b.N)/cpu.Seconds(), "messages/cpu-s") // true on a busy machine too
			b.ReportMetric(rate, "messages/s")
			b.ReportMetric(rate/82_000, "x-milvus")
			b.ReportMetric(float64(peak)/1024, "MiB-peak")
		})
	}
}
