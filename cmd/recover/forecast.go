package recovercmd

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
)

// memoryFlags ask how much memory a restart takes, or bound what a replay takes.
type memoryFlags struct {
	forecast   bool
	nodeMemory cli.Size
	watermark  float64
	syncAt     cli.Size
	memory     cli.Size
	parallel   func() int // logs at once
}

func (m *memoryFlags) add(cmd *cobra.Command) {
	policy := channelbuf.DefaultPolicy()
	m.watermark, m.syncAt = policy.ForceSyncWatermark, cli.Size(policy.InsertBufSize)
	p := cmd.Flags()
	p.BoolVar(&m.forecast, "forecast", false, "say how much memory a restart takes, by node, pchannel, vchannel and segment; several WALs may be named")
	p.Var(&m.nodeMemory, "node-memory", "with --forecast: a streaming node's memory, such as 16GiB")
	p.Float64Var(&m.watermark, "watermark", m.watermark, "with --forecast: dataNode.memory.forceSyncWatermark (0.2 in a standalone)")
	p.Var(&m.syncAt, "insert-buf-size", "with --forecast: dataNode.segment.insertBufSize, at which a segment's rows are synced")
	p.Var(&m.memory, "memory", "hold no more than this at once (2GiB unless given), and replay into write buffers within it, spilling to temporary files; several WALs may be named")
	m.parallel = func() int {
		if f := p.Lookup("parallel"); f != nil && f.Changed {
			n, _ := p.GetInt("parallel")
			return max(n, 1)
		}
		return min(4, runtime.NumCPU())
	}
}

// logsAtOnce is how many logs the command reads at the same time.
func (m *memoryFlags) logsAtOnce(o *options) int {
	if m.forecast || m.memory > 0 && o.severalLogs() {
		return m.parallel()
	}
	if len(o.wals) == 1 {
		return 1
	}
	return o.jobs.Of(max(len(o.wals), 1))
}

func (m *memoryFlags) check(o *options) error {
	switch {
	case m.forecast && m.memory > 0:
		return cli.Usagef("--forecast and --memory are two questions: ask one")
	case len(o.wals) == 0 && (m.forecast || m.memory > 0):
		return cli.Usagef("name the WALs whose buffers are asked about, or leave out --forecast and --memory")
	case (m.forecast || m.memory > 0 && o.severalLogs()) && (o.writeTo != "" || o.plan.out != "" || o.replay.Until != "" || len(o.plan.only)+len(o.plan.gaps) > 0):
		return cli.Usagef("a forecast, and a replay of several logs, make no plan and write no catalog; leave out --out, --write-to, --until, --only and --accept-gap")
	case (m.forecast || m.memory > 0) && slices.Contains(o.wals, "-"):
		return cli.Usagef("standard input can be read only once; save the log to a file for --forecast and --memory")
	case m.watermark <= 0 || m.watermark > 1:
		return cli.Usagef("--watermark %g: a share of the node's memory, above 0 and up to 1", m.watermark)
	case m.memory > 0 && m.memory < minMemory:
		return cli.Usagef("--memory %s: at least %s", render.HumanBytes(int64(m.memory)), render.HumanBytes(minMemory))
	}
	return nil
}

// ForecastReport is the JSON answer.
type ForecastReport struct {
	render.Header
	Verdict   channelbuf.Verdict            `json:"verdict"` // of the worst node
	Policy    forecastPolicy                `json:"policy"`
	Nodes     []nodeReport                  `json:"nodes"`
	PChannels []channelbuf.PChannelForecast `json:"pchannels"`
}

type forecastPolicy struct {
	NodeMemory    int64   `json:"node_memory_bytes,omitempty"`
	InsertBufSize int64   `json:"insert_buf_size"`
	Watermark     float64 `json:"force_sync_watermark"`
	GrowingHWM    float64 `json:"growing_segment_bytes_hwm_threshold"`
}

type nodeReport struct {
	channelbuf.NodeForecast
	Host string `json:"host,omitempty"`
}

func runForecast(ctx context.Context, f *cli.Factory, o *options) error {
	logs, closeAll, err := replay.BufferLogs(ctx, f, o.wals, o.replay.Source, o.replay.Catalog)
	defer closeAll()
	if err != nil {
		return err
	}
	policy := channelbuf.DefaultPolicy()
	policy.NodeMemory, policy.ForceSyncWatermark, policy.InsertBufSize = int64(o.mem.nodeMemory), o.mem.watermark, int64(o.mem.syncAt)
	show, done := f.Progress("forecast")
	defer done()
	list, total := plainLogs(ctx, logs)
	ps, err := channelbuf.ForecastLogs(ctx, list, policy, channelbuf.ReplayOptions{Parallel: o.mem.parallel(), Progress: show, Total: total})
	if err != nil {
		return err
	}
	report := ForecastReport{Verdict: channelbuf.VerdictUnknown, PChannels: ps, Nodes: forNodes(logs, ps, policy),
		Policy: forecastPolicy{policy.NodeMemory, policy.InsertBufSize, policy.ForceSyncWatermark, policy.GrowingHWM}}
	gone, err := goneFindings(ctx, logs)
	if err != nil {
		return err
	}
	findings := append(gone, forecastFindings(&report)...)
	wal := render.WAL{}
	if len(logs) == 1 {
		wal = cli.DescribeWAL(logs[0].Source)
		wal.PChannel = logs[0].PChannel
	}
	report.Header = f.Header("recover", wal, findings)
	if err := writeForecast(f, o, &report); err != nil {
		return err
	}
	if report.Verdict == channelbuf.VerdictExceeds || len(gone) > 0 {
		return cli.Reported(&cli.FindingsError{Count: 1, Worst: diagnose.SeverityCritical})
	}
	return nil
}

// goneFindings are the checkpoints a restart cannot begin at: what a forecast
// counts from there is not what a restart replays.
func goneFindings(ctx context.Context, logs []replay.BufferLog) ([]diagnose.Finding, error) {
	var out []diagnose.Finding
	for i := range logs {
		b, err := logs[i].Source.Bounds(ctx)
		if err != nil {
			return nil, fmt.Errorf("find the ends of %s: %w", logs[i].PChannel, err)
		}
		issue := recovery.CheckpointIssue(logs[i].Md, b)
		if issue == nil {
			continue
		}
		f := diagnose.FoundIssue(issue, logs[i].PChannel, issue.Obstacle())
		f.Count, f.Where = 1, diagnose.Where{PChannel: logs[i].PChannel, ID: issue.ID}
		out = append(out, f)
	}
	return out, nil
}

// plainLogs are the logs alone, and how many records they hold together, −1 =
// not known.
func plainLogs(ctx context.Context, logs []replay.BufferLog) (list []channelbuf.Log, total int64) {
	for i := range logs {
		list = append(list, logs[i].Log)
		b, err := logs[i].Source.Bounds(ctx)
		if err != nil || b.Records < 0 || total < 0 {
			total = -1
			continue
		}
		total += b.Records
	}
	return list, total
}

// forNodes groups the pchannels by the node the catalog assigned them to.
func forNodes(logs []replay.BufferLog, ps []channelbuf.PChannelForecast, p channelbuf.Policy) []nodeReport {
	by, hosts := map[string][]channelbuf.PChannelForecast{}, map[string]string{}
	for i := range logs {
		node := cmp.Or(logs[i].Node, "unassigned")
		by[node] = append(by[node], ps[i])
		hosts[node] = cmp.Or(hosts[node], logs[i].Host)
	}
	var out []nodeReport
	for node, list := range by {
		out = append(out, nodeReport{channelbuf.ForNode(node, list, p), hosts[node]})
	}
	slices.SortFunc(out, func(a, b nodeReport) int {
		return cmp.Or(cmp.Compare(b.Stalled, a.Stalled), cmp.Compare(a.Node, b.Node))
	})
	return out
}

// forecastFindings sets the verdict and says what it rests on.
func forecastFindings(r *ForecastReport) []diagnose.Finding {
	var out []diagnose.Finding
	rank := []channelbuf.Verdict{channelbuf.VerdictUnknown, channelbuf.VerdictFits, channelbuf.VerdictTight, channelbuf.VerdictExceeds}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if slices.Index(rank, n.Verdict) > slices.Index(rank, r.Verdict) {
			r.Verdict = n.Verdict
		}
		seen := []diagnose.Evidence{
			{Name: "node", Value: strings.TrimSpace(n.Node + " " + n.Host)}, {Name: "pchannels", Value: fmt.Sprint(len(n.PChannels))},
			{Name: "memory", Value: render.HumanBytes(n.Memory)}, {Name: "peak with syncs", Value: render.HumanBytes(n.Peak)},
			{Name: "if no sync finishes", Value: render.HumanBytes(n.Stalled)}}
		if c := n.Verdict.Check(); c != nil {
			out = append(out, diagnose.Found(c, diagnose.Where{}, seen...))
		}
	}
	return out
}

// offendersShown bounds the vchannels on the first screen.
const offendersShown = 5

func writeForecast(f *cli.Factory, o *options, r *ForecastReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	rows, held := uint64(0), int64(0)
	for i := range r.PChannels {
		rows += r.PChannels[i].Rows
		held += r.PChannels[i].Held
	}
	if _, err := fmt.Fprintf(f.Out(), "%s · %s · %s after the channel checkpoints, %s in buffers at once\n",
		render.Plural(len(r.Nodes), "node"), render.Plural(len(r.PChannels), "pchannel"), render.Plural(int(rows), "row"), render.HumanBytes(held)); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), r.Findings); err != nil {
		return err
	}
	t := &render.Table{Columns: []render.Column{{Name: "node"}, {Name: "host"}, {Name: "pchannels", Right: true}, {Name: "buffered", Right: true}, {Name: "with syncs", Right: true},
		{Name: "no sync", Right: true}, {Name: "watermark", Right: true}, {Name: "growing hwm", Right: true, Wide: true}, {Name: "verdict"}}}
	var levers []string
	for i := range r.Nodes {
		n := &r.Nodes[i]
		t.Add(render.Text(n.Node), render.Text(n.Host), render.Count(int64(len(n.PChannels))), render.Bytes(n.Held), render.Bytes(n.Peak), render.Bytes(n.Stalled),
			render.Bytes(n.Watermark), render.Bytes(n.GrowingHWM), render.Text(string(n.Verdict)))
		levers = append(levers, n.Levers...)
	}
	if err := t.Write(f.Out(), f.Style(o.output)); err != nil {
		return err
	}
	if err := offenderTable(r, o.output == cli.Wide).Write(f.Out(), f.Style(o.output)); err != nil {
		return err
	}
	slices.Sort(levers)
	for _, l := range slices.Compact(levers) {
		if _, err := fmt.Fprintln(f.Out(), "Lower it:  "+l); err != nil {
			return err
		}
	}
	if r.Verdict == channelbuf.VerdictUnknown {
		_, err := fmt.Fprintln(f.Out(), "No verdict: give a node's memory with --node-memory")
		return err
	}
	return nil
}

// offenderTable lists the largest vchannels, in wide all of them with their segments.
func offenderTable(r *ForecastReport, wide bool) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "vchannel"}, {Name: "segment", Right: true}, {Name: "partition", Right: true}, {Name: "rows", Right: true}, {Name: "bytes", Right: true}, {Name: "from"}}}
	var all []channelbuf.VChannelForecast
	for i := range r.PChannels {
		all = append(all, r.PChannels[i].VChannels...)
	}
	slices.SortFunc(all, func(a, b channelbuf.VChannelForecast) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.VChannel, b.VChannel))
	})
	for i := range all {
		v := &all[i]
		if !wide && i == offendersShown {
			break
		}
		from := render.Text("start")
		if v.Checkpoint > 1 {
			from = render.Tick(v.Checkpoint)
		}
		t.Add(render.Text(v.VChannel), render.Text(fmt.Sprintf("%d segments", len(v.Segments))), render.Text(""), render.Count(int64(v.Rows)), render.Bytes(v.Bytes), from)
		for _, s := range v.Segments {
			if wide {
				t.Add(render.Text(""), render.Number(s.Segment), render.Number(s.Partition), render.Count(int64(s.Rows)), render.Bytes(s.Bytes), render.Text(""))
			}
		}
	}
	return t
}
