package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/spf13/cobra"
)

// DefaultMemory is how much a command holds at once where --memory says nothing.
const DefaultMemory Size = 2 << 30

// MemoryFlag bounds what a command holds of a log.
type MemoryFlag struct{ Size Size }

// Add adds --memory.
func (m *MemoryFlag) Add(cmd *cobra.Command) {
	cmd.Flags().Var(&m.Size, "memory", "hold no more than this at once, such as 512MiB, and stop where a log needs more (2GiB unless given)")
}

// Bound holds the process to --memory, which the logs that are read at once share: the
// collector works harder near it, and what still outgrows it ends ctx. The caller calls what it returns with the
// command's error, once, and gets the error to return.
func (m *MemoryFlag) Bound(ctx context.Context, logs int) (context.Context, func(error) error) {
	return BoundMemory(ctx, int64(cmp.Or(m.Size, DefaultMemory)), logs)
}

// Of a bound, in eighths: where the collector begins to work without rest.
const collectorShare = 7

// What is taken beside --memory: by the process before it has read a record, and by
// each log more that is read at the same time, for its pages and its decoding.
const (
	ownMemory    = 24 << 20
	readerMemory = 16 << 20
)

// ErrMemoryBound means that a log needs more than --memory.
var ErrMemoryBound = errors.New("what must be held at once outgrows --memory")

// BoundMemory is MemoryFlag.Bound for a number of bytes and of logs read at once.
func BoundMemory(ctx context.Context, limit int64, logs int) (context.Context, func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	before := debug.SetMemoryLimit(limit / 8 * collectorShare)
	beside := heldBefore()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		every := time.NewTicker(10 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-stop:
				return
			case <-every.C:
				if outgrown(limit, ownMemory+int64(max(logs, 1)-1)*readerMemory, beside) {
					cancel(fmt.Errorf("%w, %d MiB: raise it, or read a part of the log with --from and --to, --until or --vchannel, where the command takes them", ErrMemoryBound, limit>>20))
					return
				}
			}
		}
	}()
	return ctx, func(err error) error {
		close(stop)
		<-stopped
		cause := context.Cause(ctx)
		cancel(nil)
		debug.SetMemoryLimit(before)
		if err != nil && errors.Is(cause, ErrMemoryBound) {
			return cause
		}
		return err
	}
}

// heldBefore is what who calls a command holds beyond what walctl takes itself:
// nothing where a process runs one command, much where one runs a thousand tests.
func heldBefore() held {
	before := holding()
	if before.mapped <= ownMemory {
		return held{}
	}
	runtime.GC()
	before = holding()
	return held{max(before.live-ownMemory/2, 0), max(before.mapped-ownMemory, 0)}
}

// held is memory in bytes: what was alive when the collector ran last, and what is mapped.
type held struct{ live, mapped int64 }

func holding() held {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return held{bytesOf(s[0]), bytesOf(s[1]) - bytesOf(s[2])}
}

// outgrown reports whether what is alive does not fit beside what the process takes
// itself, garbage aside; beside was held before the command began.
func outgrown(limit, own int64, beside held) bool {
	now := holding()
	live, mapped := now.live-beside.live, now.mapped-beside.mapped
	// Where the collector does not keep up, what is alive is not known.
	late := mapped > limit/2*3+2*own
	if !late && live <= limit+own/2 && (mapped <= limit+limit/8+own || live <= limit/2+own/2) {
		return false
	}
	// What was asked for and never written to takes nothing: a client library
	// believes the length of a frame that is noise.
	bytes, ok := resident()
	return !ok || bytes > limit
}

func bytesOf(s metrics.Sample) int64 {
	if s.Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(min(s.Value.Uint64(), math.MaxInt64))
}
