package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// hangs is how long a test waits for a command that was interrupted; the bar, one
// second, is logged, not tested.
const hangs = 30 * time.Second

// endsOnInterrupt presses Ctrl-C on a command that works, and tells how long it took.
func endsOnInterrupt(t *testing.T, cmd *exec.Cmd, errOut *bytes.Buffer) {
	t.Helper()
	from := time.Now()
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%v: it ended before Ctrl-C came: %v %s", cmd.Args, err, errOut)
		}
		require.Equal(t, 130, exit.ExitCode(), "%v: %s", cmd.Args, errOut)
		t.Logf("ended %s after Ctrl-C: %s", time.Since(from).Round(time.Millisecond), strings.Join(cmd.Args[1:], " "))
	case <-time.After(hangs):
		_ = cmd.Process.Kill()
		t.Fatalf("%v did not end", cmd.Args)
	}
}

// Every command that reads a log ends on Ctrl-C while its input does not.
func TestInterruptEveryReaderOfAStream(t *testing.T) {
	dir := t.TempDir()
	cp, err := proto.Marshal(&streamingpb.WALCheckpoint{TimeTick: 1, RecoveryMagic: 1,
		MessageId: &commonpb.MessageID{WALName: commonpb.WALName_Pulsar, Id: "CAUQABgAIAAwAQ=="}})
	require.NoError(t, err)
	kv, err := json.Marshal(map[string][]byte{catalog.CheckpointKey("by-dev-rootcoord-dml_0"): cp})
	require.NoError(t, err)
	file := filepath.Join(dir, "catalog.json")
	require.NoError(t, os.WriteFile(file, kv, 0o600))
	for path, commands := range (looks{wal: "-", catalog: "kvjson:" + file, dir: dir}).lookers() {
		for _, args := range commands {
			if path == "apply" || path == "undo" || path == "capture" || slices.ContainsFunc(args, func(a string) bool {
				return a == "-f" || a == "--limit" || a == "--id" || a == "--forecast" || a == "--memory"
			}) || !slices.Contains(args, "-") {
				continue // they read no stream, or not to its end
			}
			t.Run(strings.ReplaceAll(strings.Join(args, " "), dir, ""), func(t *testing.T) {
				cmd := walctl(t, args...)
				var errOut bytes.Buffer
				cmd.Stdout, cmd.Stderr = io.Discard, &errOut
				in, err := cmd.StdinPipe()
				require.NoError(t, err)
				defer func() { _ = in.Close() }()
				require.NoError(t, cmd.Start())
				written := make(chan error, 1)
				go func() {
					_, err := io.WriteString(in, strings.Repeat(oneRecord, 20000)) // more than a pipe holds: it reads
					written <- err
				}()
				select {
				case <-written:
				case <-time.After(hangs):
					t.Fatalf("it does not read: %s", &errOut)
				}
				endsOnInterrupt(t, cmd, &errOut)
			})
		}
	}
}

// Every command that reads a live log ends on Ctrl-C in the middle of it, and its
// reader is gone from the broker.
func TestInterruptEveryReaderLive(t *testing.T) {
	b, proxy := heldBroker(t)
	e := expectation(t, "10k-persist")
	m := move(t, b, "10k-persist", e.PChannel)
	topic := "persistent://public/" + m.namespace + "/" + e.PChannel
	l := looks{wal: through(proxy, b, m.wal), dir: t.TempDir()}
	text, err := json.Marshal(m.kv(t, e.KVBefore, e.PChannel))
	require.NoError(t, err)
	l.catalog = "kvjson:" + filepath.Join(l.dir, "moved.json")
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, "moved.json"), text, 0o600))
	before := traces(t, b, m.namespace, topic)
	for path, commands := range l.lookers() {
		args := append(commands[0], "--pulsar-listener", "held", "--pulsar-admin", b.AdminURL)
		switch path {
		case "apply", "undo": // they read no more than the end
			continue
		case "inspect":
			args = append(args, "--records")
		}
		t.Run(path, func(t *testing.T) {
			proxy.Hold(64 << 10)
			defer proxy.Release()
			cmd := walctl(t, args...)
			var errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = io.Discard, &errOut
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool { return proxy.Held() > 0 }, 2*time.Minute, 20*time.Millisecond, "nobody reads")
			endsOnInterrupt(t, cmd, &errOut)
			require.Eventually(t, func() bool { return traces(t, b, m.namespace, topic) == before }, time.Minute, 100*time.Millisecond, "%v left traces", args)
		})
	}
}
