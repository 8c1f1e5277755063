// Command run starts one Pulsar broker, one Kafka broker and one etcd, runs a command with
// their addresses in its environment, and stops them when it ends:
//
//	go run ./internal/testenv/run go test ./...
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/walctl/walctl/internal/testenv"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("usage: run COMMAND [ARGUMENT…]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "walctl-services-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	broker, err := testenv.LaunchBroker(ctx, dir, nil)
	if err != nil {
		return 1, err
	}
	defer broker.Kill()
	kafka, err := testenv.LaunchKafka(ctx, dir+"/kafka")
	if err != nil {
		return 1, err
	}
	defer kafka.Kill()
	endpoint, closeEtcd, err := testenv.LaunchEtcd(ctx, dir+"/etcd")
	if err != nil {
		return 1, err
	}
	defer closeEtcd()

	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "WALCTL_TEST_PULSAR_URL="+broker.URL,
		"WALCTL_TEST_PULSAR_ADMIN_URL="+broker.AdminURL, "WALCTL_TEST_ETCD="+endpoint, "WALCTL_TEST_KAFKA="+kafka.Addr)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
