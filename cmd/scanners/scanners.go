// Package scanners is walctl scanners: a look at them, and their simulation.
package scanners

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/scanner"
)

type options struct {
	wal           string
	simulate      bool
	policy, start string
	capacity      cli.Bytes
	ask           scanner.Options
	gather.EvidenceFlags
	catalog cli.CatalogFlags
	source  cli.WALFlags
	place   cli.RangeFlags
	output  cli.Output
	failOn  cli.FailOn
}

// SimulateReport is the JSON answer of a simulation.
type SimulateReport struct {
	render.Header
	*scanner.Result
	*diagnose.CatchUp
	Torn   string         `json:"torn_tail,omitempty"`
	Damage []cli.BadPlace `json:"damage,omitempty"`
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	o := &options{capacity: scanner.DefaultCapacity}
	cmd := &cobra.Command{
		Use:   "scanners [WAL]",
		Short: "Say who reads a pchannel's log, how far, and who is stuck; --simulate: whether a scanner would hang",
		Long: `Say who reads a pchannel's log, how far each is, and who is stuck and why, from the
evidence doctor takes: --metrics (a second look tells what moves), --topic-stats,
--internal-stats, --logs, --catalog, each a file or missing. Of a WAL that is an archive,
what was captured with it counts. The lag is against the log's last record: an idle log
is no lag. A scanner that tails has no reader at the broker: the metrics count it.

With --simulate: say whether a scanner that opens on this log gets over to the node's
write-ahead buffer, or hangs: an idle collection is loaded and its queries never end
(milvus#41062).

A scanner first reads the log (catch-up) and gets over to the buffer (tailing) at a
TimeTick it reads there; new TimeTicks of an idle log are in the buffer alone. --simulate
runs Milvus's own rules of buffer, eviction and scanner over the log, under a virtual
clock: the log is written at its own times, --idle passes, and the scanner opens.

--policy says how the release keeps its buffer, by the change that brought it:
  before-41109   eviction may empty the buffer
  41109          its last entry always stays
  41201          a TimeTick equal to the last entry is taken up
  41345          each new scanner has a TimeTick written for it
  41470          persisted TimeTicks without a message are kept: every 2.6 and 3.0

--start says where the scanner begins: all, latest, from-opening, from-last-confirmed,
after-last-confirmed, from-last, after-last (last: the log's last TimeTick), from:ID,
after:ID. With --pause-after the scanner opens with the WAL and follows it; its consumer
stops after that record and goes on when the log has grown to record --resume-at.

The answer is for the log as it was read: nothing is written, and no node is asked.`,
		Example: `walctl scanners --metrics node7.txt --topic-stats stats.json --internal-stats internal.json
walctl scanners ./evidence
walctl scanners dml_3 --simulate --start after-last
walctl scanners dml_3 --simulate --start after-last --policy before-41109 --idle 5m
walctl scanners ./evidence --simulate --trimmed --policy 41201
walctl scanners wal.jsonl.gz --simulate --pause-after 50/145/0 --idle 1m --trimmed -o json`,
		Args: cli.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.wal = args[0]
			}
			if err := o.check(); err != nil {
				return err
			}
			return run(cmd.Context(), f, o)
		},
	}
	o.addFlags(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

func (o *options) addFlags(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVar(&o.simulate, "simulate", false, "run buffer, eviction and scanner over the log, under a virtual clock")
	p.StringVar(&o.policy, "policy", scanner.Policy41470.String(), "how the buffer is kept: "+strings.Join(scanner.Policies(), "|"))
	p.StringVar(&o.start, "start", scanner.Start{}.String(), "where the scanner begins: all|latest|from-opening|from-last-confirmed|after-last-confirmed|from-last|after-last|from:ID|after:ID")
	p.Var(&o.capacity, "capacity", "streaming.walWriteAheadBuffer.capacity of the node, in bytes")
	p.DurationVar(&o.ask.Keepalive, "keepalive", scanner.DefaultKeepalive, "streaming.walWriteAheadBuffer.keepalive of the node")
	p.DurationVar(&o.ask.Idle, "idle", 0, "nothing is written for so long before the scanner opens, or its consumer goes on")
	p.BoolVar(&o.ask.Trimmed, "trimmed", false, "by then retention has removed the log up to its last TimeTick")
	p.StringVar(&o.ask.PauseAfter, "pause-after", "", "slow consumer: it stops after the record with this `ID`")
	p.Int64Var(&o.ask.ResumeAt, "resume-at", -1, "slow consumer: it goes on when the log holds record `I` (-1: its last one)")
	o.Add(cmd)
	cli.AddOutput(cmd, &o.output, cli.Table, cli.Wide, cli.JSON)
	o.failOn.Add(cmd)
	o.place.Add(cmd)
	o.catalog.Add(cmd)
	o.source.Add(cmd)
}

// check reads the words of the command line.
func (o *options) check() (err error) {
	if o.ask.Policy, err = scanner.ParsePolicy(o.policy); err != nil {
		return cli.Usagef("--policy: %w", err)
	}
	if o.ask.Start, err = scanner.ParseStart(o.start); err != nil {
		return cli.Usagef("--start: %w", err)
	}
	switch {
	case o.simulate && o.wal == "":
		return cli.Usagef("--simulate: say over which log, WAL")
	case o.ask.Keepalive < 0 || o.ask.Idle < 0:
		return cli.Usagef("--keepalive %s --idle %s: no duration is negative", o.ask.Keepalive, o.ask.Idle)
	case o.ask.ResumeAt >= 0 && o.ask.PauseAfter == "":
		return cli.Usagef("--resume-at %d: say after which record the consumer stops, with --pause-after ID", o.ask.ResumeAt)
	}
	o.ask.Capacity = int64(o.capacity)
	return nil
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	if !o.simulate {
		return lookAtScanners(ctx, f, o)
	}
	s, err := f.OpenWAL(ctx, o.wal, o.source)
	if err != nil {
		return err
	}
	defer s.Close()
	rng, err := o.place.Range(ctx, f.EnvOf(s))
	if err != nil {
		return err
	}
	rng.Props = true
	r, err := s.Open(ctx, rng)
	if err != nil {
		return err
	}
	defer r.Close()
	bad := &cli.Damage{Factory: f}
	var done func()
	o.ask.Progress, done = f.Progress("scanners")
	defer done()
	o.ask.ReadError = bad.See
	result, err := scanner.Simulate(ctx, r, o.ask)
	if err != nil {
		return errors.Join(bad.Err(), simulateError(err))
	}
	done()
	words := diagnose.JudgeCatchUp(result, o.wal, s.Describe().PChannel)
	report := &SimulateReport{f.Header("scanners", cli.DescribeWAL(s), words.Findings), result, words, bad.Torn, bad.Places}
	return errors.Join(writeSimulation(f, o, report), bad.Err(), o.failOn.Check(words.Findings), cli.NotWhole(s, rng))
}

// simulateError says which errors of a simulation are of the command line.
func simulateError(err error) error {
	var id *scanner.IDError
	var never *scanner.NotReachedError
	if errors.As(err, &id) || errors.As(err, &never) {
		return cli.Usagef("%w", err)
	}
	return err
}

func writeSimulation(f *cli.Factory, o *options, r *SimulateReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	word, colour := "MEETS", "ok"
	if r.Outcome == scanner.Hangs {
		word, colour = "HANGS", "error"
	}
	style := f.Style(o.output)
	lines := []string{
		style.Paint(colour, word) + "  " + render.Clean(strings.TrimPrefix(r.Verdict, "meets ")),
		render.Clean(fmt.Sprintf("       %s", r.Why)),
		fmt.Sprintf("policy %s · start %s%s · idle %s · keepalive %s · capacity %s", r.Policy, render.Clean(r.Start.String()), trimmedWords(r.Trimmed),
			render.HumanDuration(render.Seconds(r.Idle)), render.HumanDuration(render.Seconds(r.Keepalive)), render.HumanBytes(r.Capacity)),
		fmt.Sprintf("%s · buffer born at %s, holds %s, %s %s", render.Plural(int(r.Records), "record"), render.Clean(r.Born.IDs),
			render.Plural(r.Buffer.Entries, "message"), render.HumanBytes(r.Buffer.Bytes), heldWhen(r.Pause)),
	}
	for _, l := range append(lines, render.CatchUp(style, r.Result)...) {
		if _, err := fmt.Fprintln(f.Out(), l); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintln(f.Out(), "note: "+render.Clean(n)); err != nil {
			return err
		}
	}
	if r.Unblock != "" {
		if _, err := fmt.Fprintln(f.Out(), "Frees it: "+r.Unblock); err != nil {
			return err
		}
	}
	return f.Next(r.CatchUp.Next)
}

func heldWhen(pause string) string {
	if pause != "" {
		return "when the consumer goes on"
	}
	return "when the scanner opens"
}

func trimmedWords(trimmed bool) string {
	if trimmed {
		return " · log trimmed"
	}
	return ""
}
