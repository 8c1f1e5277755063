package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func TestCodeOf(t *testing.T) {
	corrupt := &source.CorruptError{Source: "f", Place: "line 2", Cause: errors.New("bad")}
	findings := &FindingsError{Count: 1, Worst: diagnose.SeverityError}
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{source.ErrNotFound, 1},
		{Usagef("bad flag"), 2},
		{findings, 3},
		{corrupt, 4},
		{&source.CorruptError{Source: "d", Cause: fmt.Errorf("open: %w", syscall.EACCES)}, 1},
		{&source.CorruptError{Source: "d", Cause: fmt.Errorf("write: %w", syscall.ENOSPC)}, 1},
		{errors.Join(&source.CorruptError{Cause: syscall.EACCES}, fmt.Errorf("x: %w", corrupt)), 4},
		{fmt.Errorf("x: %w", source.ErrTornTail), 4},
		{catalog.ErrCorrupt, 4},
		{fmt.Errorf("x: %w", ErrPrecondition), 5},
		{fmt.Errorf("x: %w", source.ErrRefused), 5},
		{&catalog.ConflictError{}, 5},
		{fmt.Errorf("x: %w", ErrPartial), 6},
		{ErrDeclined, 7},
		{context.Canceled, 130},
		{ErrInterrupted, 130},
		// of several the first of 4, 3, 6 counts
		{errors.Join(fmt.Errorf("x: %w", ErrPartial), findings, corrupt), 4},
		{errors.Join(ErrPartial, findings), 3},
		{errors.Join(errors.New("any"), ErrPartial), 6},
		{Reported(findings), 3},
	} {
		require.Equal(t, c.want, CodeOf(c.err), "%v", c.err)
	}
}

func TestEveryCodeHasAMeaning(t *testing.T) {
	for _, c := range Codes() {
		require.NotEmpty(t, c.Meaning(), "%d", c)
	}
}

func TestSilent(t *testing.T) {
	require.True(t, Silent(Reported(errors.New("told"))))
	require.True(t, Silent(fmt.Errorf("write: %w", syscall.EPIPE)))
	require.False(t, Silent(errors.New("not told")))
	require.NoError(t, Reported(nil))
}
