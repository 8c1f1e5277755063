// Package cli is what every command shares: streams, exit codes, progress, the
// opening of logs and catalogs, and the spelling of ranges and filters.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/walctl/walctl/internal/outfile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Code is a process exit code. The numbers are a contract with scripts.
type Code int

// The exit codes; docs/exit-codes.md.
const (
	CodeOK          Code = 0
	CodeFailure     Code = 1
	CodeUsage       Code = 2
	CodeFindings    Code = 3
	CodeCorrupt     Code = 4
	CodeRefused     Code = 5
	CodePartial     Code = 6
	CodeDeclined    Code = 7
	CodeInterrupted Code = 130
)

// Sentinels that carry an exit code. Wrap them to say what happened.
var (
	// ErrPrecondition: a live owner, or a catalog that changed since the plan.
	ErrPrecondition = errors.New("precondition refused")
	// ErrPartial: the result is true but not whole.
	ErrPartial = errors.New("partial result")
	// ErrDeclined: the user said no.
	ErrDeclined = errors.New("declined")
	// ErrCorrupt: data that could not be read or decoded.
	ErrCorrupt = errors.New("corrupt or undecodable data")
	// ErrInterrupted is the cause of a context ended by a signal.
	ErrInterrupted = errors.New("interrupted")
)

// UsageError is a command line that cannot be obeyed.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, a ...any) error { return &UsageError{fmt.Errorf(format, a...)} }

// FindingsError says that findings reached --fail-on. The report has shown them.
type FindingsError struct {
	Count int
	Worst diagnose.Severity
}

// Error implements error.
func (e *FindingsError) Error() string {
	if e.Count == 1 {
		return fmt.Sprintf("1 finding (%s) at or above --fail-on", e.Worst)
	}
	return fmt.Sprintf("%d findings at or above --fail-on, worst %s", e.Count, e.Worst)
}

// Reported wraps an error that the command's own output has already told; only
// its exit code is left to give. Reported(nil) is nil.
func Reported(err error) error {
	if err == nil {
		return nil
	}
	return &reportedError{err}
}

type reportedError struct{ error }

func (e *reportedError) Unwrap() error { return e.error }

type exitRow struct {
	code    Code
	meaning string
	match   func(error) bool
}

func isAny(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

func as[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// exitTable is the one table from error to exit code. Of several errors joined
// the first row that matches counts. It is read only.
var exitTable = [...]exitRow{
	{CodeOK, "clean", func(err error) bool { return err == nil }},
	{CodeInterrupted, "interrupted", isAny(ErrInterrupted, context.Canceled)},
	{CodeUsage, "wrong usage, a file that is not replaced, or a confirmation that could not be asked for", func(err error) bool {
		return as[*UsageError](err) || isAny(plan.ErrNotConfirmed, outfile.ErrTaken)(err)
	}},
	{CodeDeclined, "you said no", isAny(ErrDeclined)},
	{CodeRefused, "refused: credentials, a live owner, a changed catalog, or looking would destroy", func(err error) bool {
		return isAny(ErrPrecondition, source.ErrRefused, source.ErrDenied, catalog.ErrDenied, catalog.ErrReadOnly, plan.ErrRefused)(err) || as[*catalog.ConflictError](err)
	}},
	{CodeCorrupt, "corrupt or undecodable data; everything else was read", func(err error) bool {
		return isAny(ErrCorrupt, catalog.ErrCorrupt, plan.ErrCorrupt, source.ErrTornTail)(err) || damagedBytes(err)
	}},
	{CodeFindings, "findings at or above --fail-on", as[*FindingsError]},
	{CodePartial, "partial result", isAny(ErrPartial)},
	{CodeFailure, "failed: not found, not reachable, or an I/O error", func(error) bool { return true }},
}

// damagedBytes reports a place whose bytes are damaged. One that the machine would
// not let us read (no permission, no space, too many open files) is a failure: the
// bytes may be sound.
func damagedBytes(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return false
	case *source.CorruptError:
		return !errors.Is(e, fs.ErrPermission) && !isAny(syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EDQUOT)(e)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), damagedBytes)
	}
	return damagedBytes(errors.Unwrap(err))
}

// CodeOf returns the exit code of a command's error.
func CodeOf(err error) Code {
	for i := range exitTable {
		if exitTable[i].match(err) {
			return exitTable[i].code
		}
	}
	return CodeFailure
}

// Silent reports whether nothing more has to be printed about err: the report
// told it, or the reader of our output has gone.
func Silent(err error) bool {
	return err == nil || as[*reportedError](err) || errors.Is(err, syscall.EPIPE)
}

// Meaning returns what a code says.
func (c Code) Meaning() string {
	for i := range exitTable {
		if exitTable[i].code == c {
			return exitTable[i].meaning
		}
	}
	return ""
}

// Codes lists every exit code in numeric order.
func Codes() []Code {
	return []Code{CodeOK, CodeFailure, CodeUsage, CodeFindings, CodeCorrupt, CodeRefused, CodePartial, CodeDeclined, CodeInterrupted}
}

// exitHelp is the exit code section of a help page.
func exitHelp(codes []Code) string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "  %-4d %s\n", c, c.Meaning())
	}
	return strings.TrimRight(b.String(), "\n")
}
