package cli

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Factory gives a command everything it needs from outside. Tests build one
// with buffers, a fixed clock and a map for the environment.
type Factory struct {
	IO      *Streams
	Now     func() time.Time
	Getenv  func(string) string
	Version string // of walctl itself

	Quiet      bool
	NoColor    bool
	NoProgress bool
	Pager      bool
	Timeout    time.Duration

	// Overdue is closed where a command has not ended a while after its --timeout;
	// nil = nobody waits for it.
	Overdue chan struct{}

	flags   *pflag.FlagSet // the persistent flags, for the configuration
	loading sync.Mutex     // several logs may ask at once
	loaded  *config.Config
	watched []source.ProgressSource // what the progress line is about
	once    once                    // what was told and tried already

	running  *cobra.Command // for what a next command has to carry
	carrying sync.Mutex     // cobra and pflag sort their lists when asked
}

// Bind adds the flags every command has to the root command.
func (f *Factory) Bind(root *cobra.Command) {
	p := root.PersistentFlags()
	p.BoolVarP(&f.Quiet, "quiet", "q", false, "print nothing; the exit code answers")
	p.BoolVar(&f.NoColor, "no-color", false, "no colour (also: NO_COLOR)")
	p.BoolVar(&f.NoProgress, "no-progress", false, "no progress on stderr")
	p.BoolVar(&f.Pager, "pager", false, "show a long answer a screen at a time, with WALCTL_PAGER, PAGER or less")
	p.DurationVar(&f.Timeout, "timeout", 0, "end the command after this time (0: never)")
	config.AddFlags(p)
	f.flags = p
}

// Config returns the connection settings: flags, then WALCTL_*, then the context
// file. It is read when first asked for.
func (f *Factory) Config() (*config.Config, error) {
	f.loading.Lock()
	defer f.loading.Unlock()
	if f.loaded != nil {
		return f.loaded, nil
	}
	c, err := config.Load(f.flags, f.Getenv)
	if err != nil {
		return nil, &UsageError{err}
	}
	f.loaded = c
	return c, nil
}

// CloseGrace is how long a command may take to end once it was told to.
const CloseGrace = 900 * time.Millisecond

// Context bounds a command's context by --timeout.
func (f *Factory) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	err := fmt.Errorf("%w: --timeout %s is over", ErrPartial, f.Timeout)
	if f.Overdue != nil {
		time.AfterFunc(f.Timeout+CloseGrace, sync.OnceFunc(func() { close(f.Overdue) }))
	}
	return context.WithTimeoutCause(ctx, f.Timeout, err)
}

// Out returns where data goes: nowhere with -q.
func (f *Factory) Out() io.Writer {
	if f.Quiet {
		return io.Discard
	}
	return f.IO.Out
}

// Style says how tables and reports look on the output.
func (f *Factory) Style(o Output) render.Style {
	return render.Style{
		Terminal: f.IO.OutTTY,
		Wide:     o == Wide,
		Color:    f.IO.OutTTY && f.color(),
		Width:    f.IO.Width,
		Now:      f.Now(),
	}
}

func (f *Factory) color() bool { return !f.NoColor && f.Getenv("NO_COLOR") == "" }

// Notef tells the person at the terminal something that is no data.
func (f *Factory) Notef(format string, a ...any) {
	if !f.Quiet {
		fmt.Fprintf(f.IO.Err, format+"\n", a...)
	}
}

// Flush brings buffered data out, as a following command does after each record.
func (f *Factory) Flush() error { return f.IO.Flush() }
