package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// BufferLog is a log whose buffers are asked for, and who serves it.
type BufferLog struct {
	channelbuf.Log
	Md   catalog.Metadata
	Node string // server id, "" = not assigned
	Host string // where the node runs, as far as a session tells
}

// bufferLogOf takes from the catalog where each vchannel's buffer starts: at its
// channel checkpoint, or at the log's beginning where it has none.
func bufferLogOf(ctx context.Context, src source.Source, cat catalog.Catalog, pchannel string) (BufferLog, error) {
	out := BufferLog{Log: channelbuf.Log{PChannel: pchannel, Source: src, Term: 1, Starts: map[string]uint64{}}}
	md, _, err := cat.Load(ctx, pchannel)
	if err != nil {
		return out, err
	}
	out.Md = md
	cluster, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return out, err
	}
	if m := cluster.PChannels[pchannel]; m != nil {
		out.Term = max(m.GetChannel().GetTerm(), 1)
		if id := m.GetNode().GetServerId(); id != 0 {
			out.Node, out.Host = strconv.FormatInt(id, 10), m.GetNode().GetAddress()
		}
		for _, s := range cluster.Sessions {
			if s.ServerID == m.GetNode().GetServerId() && s.Host != "" {
				out.Host = s.Host
			}
		}
	}
	var from message.ID
	whole := false
	for v, meta := range md.VChannels {
		if meta.GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED {
			continue
		}
		cp := cluster.ChannelCheckpoints[v]
		id, _, err := message.ParseBytes(source.StoredBackend(cp.GetWALName(), src), cp.GetMsgID())
		if cp == nil || catalog.ChannelDropped(cp) || err != nil {
			out.Starts[v], whole = 0, true
			continue
		}
		out.Starts[v] = cp.GetTimestamp()
		if from.IsZero() || id.Less(from) {
			from = id
		}
	}
	switch {
	case len(out.Starts) == 0 && md.Checkpoint != nil:
		id, _, err := message.ParseRaw(source.StoredBackend(md.Checkpoint.GetMessageId().GetWALName(), src), md.Checkpoint.GetMessageId().GetId())
		if err == nil {
			out.From = source.Bound{Kind: source.AtID, ID: id}
		}
	case !whole && !from.IsZero():
		out.From = source.Bound{Kind: source.AtID, ID: from}
	}
	return out, nil
}

// BufferLogs opens every log that is named, all those of an archive that holds
// several, each with its catalog. The caller calls close.
func BufferLogs(ctx context.Context, f *cli.Factory, wals []string, w cli.WALFlags, c cli.CatalogFlags) (logs []BufferLog, closeAll func(), err error) {
	var sources []source.Source
	closeAll = func() {
		for _, s := range sources {
			_ = s.Close() // only read
		}
	}
	w.Parallel = 1 // logs are read at once instead of one log's ranges
	for _, wal := range wals {
		names, err := f.Logs(ctx, wal, w)
		if err != nil {
			return nil, closeAll, err
		}
		for _, name := range names {
			w.Log = name
			src, err := f.OpenWAL(ctx, wal, w)
			if err != nil {
				return nil, closeAll, err
			}
			sources = append(sources, src)
			l, err := bufferLogWith(ctx, f, src, c)
			if err != nil {
				return nil, closeAll, err
			}
			if slices.ContainsFunc(logs, func(o BufferLog) bool { return o.PChannel == l.PChannel }) {
				return nil, closeAll, cli.Usagef("%s is named twice: a cluster has one log of it", l.PChannel)
			}
			logs = append(logs, l)
		}
	}
	return logs, closeAll, nil
}

func bufferLogWith(ctx context.Context, f *cli.Factory, src source.Source, c cli.CatalogFlags) (BufferLog, error) {
	cat, err := f.OpenCatalog(ctx, c, src, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return BufferLog{}, cli.Usagef("buffers start at the catalog's checkpoints: %w", err)
	}
	if err != nil {
		return BufferLog{}, err
	}
	defer cat.Close()
	pchannel, err := cli.PChannelIn(ctx, src, cat)
	if err != nil {
		return BufferLog{}, err
	}
	return bufferLogOf(ctx, src, cat, pchannel)
}

// stateBufferBudget bounds what `state --view buffers` holds in memory; the rest
// lies in temporary files.
const stateBufferBudget = 1 << 30

// BufferViews replays the log once more, into buffers, up to where the state is.
func BufferViews(ctx context.Context, src source.Source, cat catalog.Catalog, r *Replayed, show source.Progress) ([]channelbuf.View, error) {
	l, err := bufferLogOf(ctx, src, cat, r.WAL.PChannel)
	if err != nil {
		return nil, err
	}
	out := []channelbuf.View{}
	if l.Until = r.Until.TimeTick; l.Until == 0 {
		return out, nil // nothing was delivered
	}
	budget := channelbuf.NewBudget(stateBufferBudget)
	registry := channelbuf.NewRegistry(budget, "")
	defer registry.Close()
	if _, err := channelbuf.Replay(ctx, registry, []channelbuf.Log{l.Log}, channelbuf.ReplayOptions{Progress: show, Total: -1}); err != nil {
		return nil, err
	}
	for _, b := range registry.Buffers() {
		out = append(out, b.View())
	}
	return out, nil
}

// BufferTable has one row for each buffer.
func BufferTable(views []channelbuf.View) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "vchannel"}, {Name: "term", Right: true, Wide: true}, {Name: "from"}, {Name: "from tt", Right: true, Wide: true},
		{Name: "segments", Right: true}, {Name: "rows", Right: true}, {Name: "bytes", Right: true}, {Name: "deletes", Right: true},
		{Name: "late rows", Right: true, Wide: true}, {Name: "spilled", Right: true, Wide: true}}}
	for i := range views {
		v := &views[i]
		rows, bytes, growing := uint64(0), v.DeleteSize, int64(0)
		for _, s := range v.Segments {
			bytes += s.Size
			if !s.Flushed {
				growing++
				rows += s.Rows
			}
		}
		from := render.Text("start")
		if v.Checkpoint > 1 {
			from = render.Tick(v.Checkpoint)
		}
		t.Add(render.Text(v.VChannel), render.Number(v.Term), from, render.Number(v.Checkpoint), render.Count(growing), render.Count(int64(rows)),
			render.Bytes(bytes), render.Count(v.Deletes), render.Count(v.LateRows), render.Bytes(v.Spilled))
	}
	return t
}

func hold(buffers int) string {
	if buffers == 1 {
		return "1 buffer holds"
	}
	return render.Plural(buffers, "buffer") + " hold"
}

// BufferLine sums what the buffers hold.
func BufferLine(views []channelbuf.View) string {
	rows, bytes := uint64(0), int64(0)
	var dropped []string
	for i := range views {
		bytes += views[i].DeleteSize
		for _, s := range views[i].Segments {
			bytes += s.Size
			if !s.Flushed {
				rows += s.Rows
			}
		}
		if views[i].Dropped {
			dropped = append(dropped, views[i].VChannel)
		}
	}
	line := fmt.Sprintf("%s %s, %s as logged", hold(len(views)), render.Plural(int(rows), "row"), render.HumanBytes(bytes))
	if len(dropped) > 0 {
		line += " · dropped: " + strings.Join(dropped, ", ")
	}
	return line
}
