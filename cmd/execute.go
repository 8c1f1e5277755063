// Package cmd is walctl's command line. A command is an options struct, a function
// that makes the cobra command of its flags, and one that does the work: options, one
// call, one screen. A command of one file is a file here; one of several is a package
// below, with New(f). What several commands share, and nothing else needs, is in
// cmd/internal: a log replayed over its catalog (replay), plans and how they are shown
// (plans), the evidence that channels, doctor and scanners judge (gather).
package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
)

// Execute runs the command line and returns the exit code.
func Execute() int {
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error to handle, not a death
	f := &cli.Factory{IO: cli.SystemStreams(), Now: time.Now, Getenv: os.Getenv, Version: version, Overdue: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it goes on
		signal.Notify(signals, syscall.SIGHUP)
	}

	done := make(chan int, 1)
	go func() { done <- Run(ctx, f, os.Args[1:]) }()
	select {
	case code := <-done:
		return code
	case <-f.Overdue: // something it waits for cannot be interrupted
		fmt.Fprintf(os.Stderr, "walctl: partial result: --timeout %s is over\n", f.Timeout)
		return int(cli.CodePartial)
	case <-signals:
		cancel(cli.ErrInterrupted)
	}
	select {
	case <-done:
	case <-signals:
	case <-time.After(cli.CloseGrace):
	}
	return int(cli.CodeInterrupted)
}

// Run runs one command line and returns the exit code. What went wrong is told
// on stderr, once.
func Run(ctx context.Context, f *cli.Factory, args []string) int {
	return runRoot(ctx, f, args, nil)
}

// runRoot is Run with commands that extend adds.
func runRoot(ctx context.Context, f *cli.Factory, args []string, extend func(*cobra.Command)) int {
	root := newRootCmd(f)
	if extend != nil {
		extend(root)
	}
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		f.Completions(root)
	}
	root.SetArgs(args)
	root.SetIn(f.IO.In)
	root.SetOut(f.IO.Out)
	root.SetErr(f.IO.Err)
	err := root.ExecuteContext(ctx)
	if flushErr := f.IO.Close(); flushErr != nil && err == nil {
		err = fmt.Errorf("write the answer: %w", flushErr)
	}
	err = usage(err)
	code := cli.CodeOf(err)
	if !cli.Silent(err) && !f.Quiet {
		fmt.Fprintf(f.IO.Err, "walctl: %v\n", err)
	}
	return int(code)
}

// usage finds the errors of cobra itself, which have no type: they come before
// any command runs.
func usage(err error) error {
	var known *cli.UsageError
	if err == nil || errors.As(err, &known) {
		return err
	}
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "flag needs an argument",
		"invalid argument", "required flag", "if any flags in the group", "bad flag syntax", "accepts ", "requires at least"} {
		if strings.HasPrefix(err.Error(), start) {
			return &cli.UsageError{Err: fmt.Errorf("%s; see `walctl --help`", strings.TrimRight(err.Error(), "\n"))}
		}
	}
	return err
}

func newRootCmd(f *cli.Factory) *cobra.Command {
	root := &cobra.Command{
		Use:   "walctl COMMAND [WAL…] [flags]",
		Short: "Read, check and repair the write-ahead log of a Milvus streaming node",
		Long: `walctl reads the write-ahead log of a Milvus streaming node wherever it lies,
tells what is in it and whether it is sound, and repairs what a restart would
stumble over.

A WAL is a pchannel name (found through the context; dml_3 is enough where it is
unambiguous), pulsar://host:6650/tenant/ns/topic, a file or directory, - for
NDJSON on stdin, or archive:PATH, jsonl:PATH.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return cli.Usagef("unknown command %q%s; see `walctl --help`", args[0], didYouMean(cmd, args[0]))
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var known *cli.UsageError
		if errors.As(err, &known) {
			return err
		}
		return cli.Usagef("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.Version = f.Version
	f.Bind(root)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(commands(f)...)
	root.AddCommand(newConnectionTopic())
	root.SetUsageFunc(printUsage)
	return root
}

func didYouMean(root *cobra.Command, word string) string {
	root.SuggestionsMinimumDistance = 2
	if s := root.SuggestionsFor(word); len(s) > 0 {
		return fmt.Sprintf(" (did you mean %s?)", strings.Join(s, ", "))
	}
	return ""
}
