package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// WALFlags are what a command that reads a WAL takes beside its argument.
type WALFlags struct {
	Log          string
	PChannel     string
	Parallel     int
	Rate         int64 // MiB/s
	Touch        bool
	TopicExists  bool
	Subscription string
	Wait         time.Duration
	Deleted      bool         // also read what the owner deleted and the disk still holds
	Silent       bool         // set by the command: it tells itself what keeps a live log
	Notes        *SharedNotes // set by the command: gathers what is told of each log, to say it once
	Again        bool         // set by the command: it reads the log more than once, also standard input
}

// Add adds the flags.
func (w *WALFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&w.Log, "log", "", "which log, by `NAME` or id, where a place holds several")
	p.StringVar(&w.PChannel, "pchannel", "", "the pchannel's whole `NAME`, for a log that cannot tell it itself")
	if p.Lookup("include-deleted") == nil { // salvage has one of its own, which asks for these too
		p.BoolVar(&w.Deleted, "include-deleted", false, "disk: also read messages that retention deleted and whose bytes still stand there")
	}
	p.IntVar(&w.Parallel, "parallel", 1, "live: ledger ranges read at once, each its own connection")
	p.Int64Var(&w.Rate, "rate", 64, "live: read at most this many `MiB/s` (0: no limit)")
	p.BoolVar(&w.Touch, "touch", false, "live: go on although loading the topic may let the broker delete expired ledgers")
	p.BoolVar(&w.TopicExists, "topic-exists", false, "live: the topic exists for sure, where the admin port cannot say")
	p.DurationVar(&w.Wait, "broker-wait", 2*time.Minute, "live: wait this long for a broker that went away or delivers nothing (one that never answered: 30s at most)")
	p.StringVar(&w.Subscription, "subscription-prefix", "", "live: prefix of the reader's non-durable subscription name")
}

// OpenWAL opens the log a WAL argument names. The caller closes it.
func (f *Factory) OpenWAL(ctx context.Context, spec string, w WALFlags) (source.Source, error) {
	o := walreader.Options{Log: w.Log, PChannel: w.PChannel, IncludeDeleted: w.Deleted, Stdin: f.IO.In}
	how, _, _ := walreader.Split(spec, walreader.Backends())
	if how == walreader.AsStream && w.Again {
		if kept := keptFile(); kept != nil {
			o.Kept = kept
		}
	}
	if how == walreader.AsURL || how == walreader.AsPChannel {
		c, err := f.Config()
		if err != nil {
			return nil, err
		}
		if c.Pulsar != "" || len(c.Etcd) > 0 || how == walreader.AsURL {
			o.Cluster = newCluster(f, c, w)
		}
	}
	s, err := walreader.Open(ctx, spec, o)
	var bad *walreader.SpecError
	if errors.As(err, &bad) {
		return nil, &UsageError{err}
	}
	if err != nil {
		return nil, err
	}
	f.watch(s)
	if w.Notes != nil {
		f.noteShared(s, w.Notes)
		return s, nil
	}
	if words := protected(s, f.Now()); words != "" && !w.Silent {
		f.Notef("%s", words)
	}
	if words := source.Partitioned(s); words != "" && !w.Silent {
		f.Notef("note: %s", words)
	}
	if !w.Silent {
		f.noteHeld(s)
	}
	return s, nil
}

// keptFile is a temporary file that goes away with the process, however that ends;
// nil where there is no room for one, or a name cannot be taken from an open file.
func keptFile() *os.File {
	f, err := os.CreateTemp("", "walctl-stdin-*") // mode 0600
	if err != nil {
		return nil
	}
	if os.Remove(f.Name()) != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil
	}
	return f
}

// Logs lists what --log takes for each log that a WAL argument means: all those of a
// place that holds several, unless one was chosen.
func (f *Factory) Logs(ctx context.Context, spec string, w WALFlags) ([]string, error) {
	words, err := walreader.Logs(ctx, spec, walreader.Options{Log: w.Log})
	if as[*walreader.SpecError](err) {
		return nil, &UsageError{err}
	}
	return words, err
}

// PChannels lists the pchannels of the context, for commands without a WAL argument.
func (f *Factory) PChannels(ctx context.Context, w WALFlags) ([]string, error) {
	c, err := f.Config()
	if err != nil {
		return nil, err
	}
	if c.Pulsar == "" && len(c.Etcd) == 0 {
		return nil, Usagef("name a WAL: no cluster is configured whose pchannels could be listed; give --pulsar or --etcd, or `walctl context add`")
	}
	return newCluster(f, c, w).PChannels(ctx)
}

// DescribeWAL is a source as an answer names it.
func DescribeWAL(s source.Source) render.WAL {
	d := s.Describe()
	w := render.WAL{PChannel: d.PChannel, Kind: d.Kind, Location: d.Location}
	if d.Backend != 0 {
		w.Backend = d.Backend.String()
	}
	w.Held = HeldOf(s)
	return w
}
