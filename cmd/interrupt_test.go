package cmd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// walctl starts this test binary as walctl: testscript's Main puts it on PATH.
func walctl(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("walctl")
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	return cmd
}

const oneRecord = `{"i":0,"id":"CAUQABgAIAAwAQ==","ids":"5/0/0","props":{"_v":"1","_t":"1","_tt":"3hcmbxj4u4u8","_lcs":"","_h":""},"payload":""}` + "\n"

// A command that waits for input that never comes ends with 130 on Ctrl-C, when it is
// told to end, and when its terminal goes away.
func TestInterruptEndsAWaitingCommand(t *testing.T) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	if signal.Ignored(syscall.SIGHUP) { // under nohup commands go on, as they should
		t.Log("SIGHUP is not tried: it is ignored here")
		signals = signals[:2]
	}
	for _, sig := range signals {
		cmd := walctl(t, "inspect", "-", "--records")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		go func() { _, _ = io.WriteString(in, strings.Repeat(oneRecord, 20000)) }()
		_, err = out.Read(make([]byte, 1)) // it works: its handler is in place
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, out) }()
		require.NoError(t, cmd.Process.Signal(sig))
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err = <-ended:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Fatal("did not end")
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 130, exit.ExitCode())
		in.Close()
	}
}

// A reader that goes away, as head does, is no message and no success.
func TestClosedPipe(t *testing.T) {
	cmd := walctl(t, "inspect", "-", "--records", "-o", "ndjson")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	cmd.Stdin = strings.NewReader(strings.Repeat(oneRecord, 20000))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReaderSize(out, 16).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, out.Close())
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Empty(t, errOut.String())
}

// Every code leaves a command as the number the table says.
func TestRunReturnsTheTablesCode(t *testing.T) {
	for want, give := range map[int]error{
		0: nil, 1: errors.New("x"), 2: cli.Usagef("x"), 3: cli.Reported(&cli.FindingsError{Count: 1}),
		4: &source.CorruptError{Cause: errors.New("x")}, 5: cli.ErrPrecondition, 6: cli.ErrPartial, 7: cli.ErrDeclined, 130: cli.ErrInterrupted,
	} {
		f, _, errOut := testFactory(nil)
		code := runRoot(context.Background(), f, []string{"give"}, func(root *cobra.Command) {
			root.AddCommand(cli.Finish(f, &cobra.Command{Use: "give", RunE: func(*cobra.Command, []string) error { return give }}))
		})
		require.Equal(t, want, code)
		told := errOut.Len() > 0
		require.Equal(t, want != 0 && want != 3, told, "%d: %s", want, errOut)
	}
}

// --timeout ends a command as a partial result.
func TestTimeout(t *testing.T) {
	f, _, errOut := testFactory(nil)
	code := runRoot(context.Background(), f, []string{"wait", "--timeout", "1ms"}, func(root *cobra.Command) {
		root.AddCommand(cli.Finish(f, &cobra.Command{Use: "wait", RunE: func(cmd *cobra.Command, _ []string) error {
			<-cmd.Context().Done()
			return cmd.Context().Err()
		}}))
	})
	require.Equal(t, 6, code)
	require.Contains(t, errOut.String(), "--timeout 1ms is over")
}
