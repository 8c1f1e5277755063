package recovercmd

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader"
)

// Of --memory, in eighths: what the buffers get. Beside them lie pages being read and
// garbage, which the runtime is held to --memory for (cli.BoundMemory). The process's
// own code comes on top.
const (
	minMemory    = 16 << 20
	buffersShare = 5
)

// memoryPart is what a replay into write buffers took and left, in JSON answers.
type memoryPart struct {
	Memory  channelbuf.Usage      `json:"memory"`
	Logs    []channelbuf.Replayed `json:"logs"`
	Buffers []channelbuf.View     `json:"buffers"`
	// Digest is over everything the buffers hold and count, wherever it lies:
	// the same at any budget.
	Digest  string  `json:"digest"`
	Records int64   `json:"records"`
	Rows    uint64  `json:"rows"`
	RSS     int64   `json:"peak_rss_bytes,omitempty"` // of this process
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"records_per_second"`
}

// MemoryReport is the JSON answer of recover --memory over several logs.
type MemoryReport struct {
	render.Header
	Succeeds bool         `json:"succeeds"` // every log's restart
	Restarts []logRestart `json:"restarts"`
	*memoryPart
}

// logRestart is whether a restart gets one of several logs open.
type logRestart struct {
	PChannel string          `json:"pchannel"`
	Succeeds bool            `json:"succeeds"`
	Obstacle *recovery.Issue `json:"obstacle,omitempty"`
	Meaning  string          `json:"meaning,omitempty"`
}

// severalLogs reports whether the arguments mean more than one log.
func (o *options) severalLogs() bool {
	n := 0
	for _, w := range o.wals {
		names, err := walreader.Logs(context.Background(), w, walreader.Options{Log: o.replay.Source.Log}) // a listing of one directory
		n += max(len(names), 1)
		if err != nil {
			return false // told when it is opened
		}
	}
	return n > 1
}

func runRecoverMemory(ctx context.Context, f *cli.Factory, o *options) error {
	logs, closeAll, err := replay.BufferLogs(ctx, f, o.wals, o.replay.Source, o.replay.Catalog)
	defer closeAll()
	if err != nil {
		return err
	}
	out := MemoryReport{Header: f.Header("recover", render.WAL{}, nil), Succeeds: true}
	settings, err := f.Config()
	if err != nil {
		return err
	}
	for i := range logs {
		l := &logs[i]
		r := replay.Replayed{Metadata: l.Md, Line: recovery.LineOf(settings.MilvusVersion), WAL: render.WAL{PChannel: l.PChannel}}
		if r.Result, err = recovery.Replay(ctx, l.Source, l.Md, recovery.ReplayOptions{State: recovery.Options{ClusterPrefix: o.replay.Cluster}}); err != nil {
			return err
		}
		restart := logRestart{PChannel: l.PChannel, Succeeds: true}
		if i := r.Obstacle(); i != nil {
			restart.Succeeds, restart.Obstacle, restart.Meaning, out.Succeeds = false, i, i.Consequence(), false
		}
		out.Restarts = append(out.Restarts, restart)
	}
	if out.memoryPart, err = intoBuffers(ctx, f, o, logs); err != nil {
		return err
	}
	if err := writeMemory(f, o, &out); err != nil {
		return err
	}
	var fails error
	if !out.Succeeds {
		fails = cli.Reported(&cli.FindingsError{Count: 1, Worst: diagnose.SeverityCritical})
	}
	return errors.Join(out.damage(), fails)
}

// bufferOne is the buffers' share of a recover over one log, which stopped where
// until says.
func bufferOne(ctx context.Context, f *cli.Factory, o *options, until uint64) (*memoryPart, error) {
	logs, closeAll, err := replay.BufferLogs(ctx, f, o.wals, o.replay.Source, o.replay.Catalog)
	defer closeAll()
	if err != nil {
		return nil, err
	}
	for i := range logs {
		logs[i].Until = until
	}
	return intoBuffers(ctx, f, o, logs)
}

// intoBuffers replays the logs into buffers within --memory.
func intoBuffers(ctx context.Context, f *cli.Factory, o *options, logs []replay.BufferLog) (*memoryPart, error) {
	limit := int64(o.mem.memory)
	budget := channelbuf.NewBudget(limit / 8 * buffersShare)
	registry := channelbuf.NewRegistry(budget, f.Getenv("TMPDIR"))
	defer registry.Close()
	show, done := f.Progress("recover")
	defer done()
	list, total := plainLogs(ctx, logs)
	start := f.Now()
	out := &memoryPart{Buffers: []channelbuf.View{}}
	var err error
	out.Logs, err = channelbuf.Replay(ctx, registry, list, channelbuf.ReplayOptions{Parallel: o.mem.parallel(), Progress: show, Total: total})
	out.Seconds = f.Now().Sub(start).Seconds()
	if err != nil {
		return nil, err
	}
	if err := out.sum(registry); err != nil {
		return nil, err
	}
	out.Memory, out.RSS = budget.Usage(), peakRSS()
	if out.Seconds > 0 {
		out.Rate = float64(out.Records) / out.Seconds
	}
	return out, nil
}

// damage is the exit code's share of what could not be read.
func (r *memoryPart) damage() error {
	damaged := int64(0)
	for i := range r.Logs {
		damaged += r.Logs[i].Corrupt
	}
	if damaged == 0 {
		return nil
	}
	return fmt.Errorf("%d places of the logs could not be read; everything else was replayed: %w", damaged, cli.ErrCorrupt)
}

func (r *memoryPart) sum(registry *channelbuf.Registry) error {
	h := xxhash.New()
	for _, b := range registry.Buffers() {
		v := b.View()
		r.Buffers = append(r.Buffers, v)
		for _, s := range v.Segments {
			r.Rows += s.Rows
		}
		d, err := b.Digest()
		if err != nil {
			return err
		}
		_, _ = h.WriteString(v.VChannel)
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, d))
	}
	for i := range r.Logs {
		r.Records += r.Logs[i].Records
	}
	r.Digest = fmt.Sprintf("%016x", h.Sum64())
	return nil
}

func writeMemory(f *cli.Factory, o *options, r *MemoryReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	var lines []string
	for _, l := range r.Restarts {
		if !l.Succeeds {
			lines = append(lines, fmt.Sprintf("Milvus would %s at %s: %s at %s", l.Obstacle.Outcome(), l.PChannel, l.Obstacle.Code, cmp.Or(l.Obstacle.ID, l.Obstacle.Key)), "           "+l.Meaning)
		}
	}
	if r.Succeeds {
		lines = append(lines, fmt.Sprintf("Milvus would recover all %d logs", len(r.Restarts)))
	}
	for _, l := range append(lines, r.lines()...) {
		if _, err := fmt.Fprintln(f.Out(), render.Clean(l)); err != nil {
			return err
		}
	}
	return replay.BufferTable(r.Buffers).Write(f.Out(), f.Style(o.output))
}

// lines are the buffers' share of a first screen.
func (r *memoryPart) lines() []string {
	if r == nil {
		return nil
	}
	return []string{
		fmt.Sprintf("Replayed   %s, %s, %s in %.1f s: %s records/s", render.Plural(len(r.Logs), "log"), render.Plural(int(r.Records), "record"), render.Plural(int(r.Rows), "row"), r.Seconds, render.Thousands(int64(r.Rate))),
		fmt.Sprintf("Memory     buffers' peak %s of %s, %s spilled; the process's %s", render.HumanBytes(r.Memory.Peak), render.HumanBytes(r.Memory.Limit),
			render.HumanBytes(r.Memory.Spilled), render.HumanBytes(r.RSS)),
		"Buffers    " + replay.BufferLine(r.Buffers), "Digest     " + r.Digest,
	}
}
