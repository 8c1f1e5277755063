package cmd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// silent is a server that takes connections and never answers. The channel tells
// of the first.
func silent(t *testing.T) (address string, reached chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	reached = make(chan struct{}, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			select {
			case reached <- struct{}{}:
			default:
			}
		}
	}()
	return l.Addr().String(), reached
}

// Ctrl-C ends recover from every state it can wait in: connecting to a broker or an
// etcd that never answers, reading a log that never ends, replaying, planning.
func TestInterruptEndsRecover(t *testing.T) {
	dir := t.TempDir()
	x := newIncident(tester{t}, "none", false)
	x.write(tester{t}, filepath.Join(dir, "wal.jsonl"))
	x.writeKV(tester{t}, filepath.Join(dir, "kv.json"), x.mid)
	log, kv := filepath.Join(dir, "wal.jsonl"), "kvjson:"+filepath.Join(dir, "kv.json")

	stop := func(t *testing.T, cmd *exec.Cmd) {
		t.Helper()
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil { // nil: it was done before the signal came
				require.ErrorAs(t, err, &exit)
				require.Contains(t, []int{130, -1}, exit.ExitCode()) // −1: its handler was not in place yet
			}
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Fatal("did not end")
		}
	}
	t.Run("a broker that never answers", func(t *testing.T) {
		broker, reached := silent(t)
		cmd := walctl(t, "recover", "pulsar://"+broker+"/public/default/by-dev-rootcoord-dml_0", "--catalog", kv, "--topic-exists", "--touch", "--pulsar-admin", "http://"+broker)
		require.NoError(t, cmd.Start())
		<-reached
		stop(t, cmd)
	})
	t.Run("an etcd that never answers", func(t *testing.T) {
		etcd, reached := silent(t)
		cmd := walctl(t, "recover", log, "--catalog", "etcd://"+etcd+"/by-dev/meta")
		require.NoError(t, cmd.Start())
		<-reached
		stop(t, cmd)
	})
	t.Run("a stream that never ends", func(t *testing.T) {
		cmd := walctl(t, "recover", "-", "--catalog", kv)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		b, err := os.ReadFile(log)
		require.NoError(t, err)
		_, err = in.Write(b) // more than a pipe holds: it is being read
		require.NoError(t, err)
		stop(t, cmd)
		_ = in.Close()
	})
	t.Run("at any moment", func(t *testing.T) {
		for i := range 12 {
			out := filepath.Join(dir, "p.json")
			cmd := walctl(t, "recover", log, "--catalog", kv, "--out", out)
			require.NoError(t, cmd.Start())
			time.Sleep(time.Duration(40+i*20) * time.Millisecond) // a moment, not a limit
			stop(t, cmd)
			if b, err := os.ReadFile(out); err == nil {
				require.NotEmpty(t, b)
				require.Equal(t, "}\n", string(b[len(b)-2:]), "a plan is written whole or not at all")
			}
			_ = os.Remove(out)
		}
	})
}
