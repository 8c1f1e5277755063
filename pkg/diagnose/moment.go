package diagnose

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Moment is the evidence of one moment of a cluster. Any part may be missing: what
// needs it is then named as not checked.
type Moment struct {
	// Nodes are the metrics, one look a node; Before is an earlier look, by node.
	Nodes  []NodeLook
	Before map[string]NodeLook
	// Topics is what the broker says, by pchannel.
	Topics map[string]*TopicLook
	// Symptoms are those found in Milvus's logs; LogsKnown says that logs were read.
	Symptoms  []Reduplicate
	LogsKnown bool
	// Assigned is what the catalog says of each pchannel; nil: no catalog.
	Assigned map[string]AssignedChannel
	// Logs are what the logs that were read say, by pchannel.
	Logs map[string]*ChannelLog
	// WAL is the log as typed, for a next command; Several says that more than one log
	// lies there.
	WAL     string
	Several bool
}

// NodeLook is one node's metrics. High and Low are its marks for growing segments, 0
// while it has not set them; Tasks are its writes to object storage that wait.
type NodeLook struct {
	Node             string
	WALs             map[string]*WALGauges
	High, Low, Tasks float64
}

// WALGauges is what a node measures of one WAL. Times are physical seconds, 0 where
// the node does not know them (yet).
type WALGauges struct {
	LiveWAL
	Open bool // it can be written to

	Allocated, Confirmed, Flushed, Observed, Persisted float64

	CatchUp, Tailing, CatchUpRead  float64 // scanners, and messages read from the log
	Paused                         float64 // 1: new scanners wait before they begin
	Retries, TimeTicks, Violations float64 // counters
	Queued                         float64 // bytes before the consumers
	Growing, Sealed                float64 // bytes; segments sealed for the high mark
}

// A node's WAL families that are looked at, and where each belongs.
func gaugeUses() map[string]func(*WALGauges, *dto.Metric, float64) {
	in := func(field func(*WALGauges) *float64, pairs ...string) func(*WALGauges, *dto.Metric, float64) {
		return func(w *WALGauges, m *dto.Metric, v float64) {
			for i := 0; i+1 < len(pairs); i += 2 {
				if labelOf(m, pairs[i]) != pairs[i+1] {
					return
				}
			}
			*field(w) += v
		}
	}
	return map[string]func(*WALGauges, *dto.Metric, float64){
		"info": func(w *WALGauges, _ *dto.Metric, v float64) { w.Open = w.Open || v > 0 },
		"recovery_info": func(w *WALGauges, m *dto.Metric, v float64) {
			if v > 0 {
				w.Recovery = labelOf(m, "state")
			}
		},
		"flusher_info": func(w *WALGauges, m *dto.Metric, v float64) {
			if v > 0 {
				w.Flusher = labelOf(m, "state")
			}
		},
		"last_allocated_time_tick":  in(func(w *WALGauges) *float64 { return &w.Allocated }),
		"last_confirmed_time_tick":  in(func(w *WALGauges) *float64 { return &w.Confirmed }),
		"flusher_time_tick":         newest(func(w *WALGauges) *float64 { return &w.Flushed }),
		"recovery_in_mem_time_tick": newest(func(w *WALGauges) *float64 { return &w.Observed }),
		"sync_time_tick":            in(func(w *WALGauges) *float64 { return &w.Persisted }, "type", "persistent"),

		"scanner_total": func(w *WALGauges, m *dto.Metric, v float64) {
			in(func(w *WALGauges) *float64 { return &w.CatchUp }, "scanner_model", "catchup")(w, m, v)
			in(func(w *WALGauges) *float64 { return &w.Tailing }, "scanner_model", "tailing")(w, m, v)
		},
		"scanner_pause_consumption":              in(func(w *WALGauges) *float64 { return &w.Paused }),
		"scan_message_total":                     in(func(w *WALGauges) *float64 { return &w.CatchUpRead }, "scanner_model", "catchup"),
		"impls_append_message_retry_total":       in(func(w *WALGauges) *float64 { return &w.Retries }),
		"sync_total":                             in(func(w *WALGauges) *float64 { return &w.TimeTicks }),
		"scan_time_tick_violation_message_total": in(func(w *WALGauges) *float64 { return &w.Violations }),
		"scanner_pending_queue_bytes":            in(func(w *WALGauges) *float64 { return &w.Queued }),
		"growing_segment_bytes":                  in(func(w *WALGauges) *float64 { return &w.Growing }),
		"segment_assign_flushed_segment_total":   in(func(w *WALGauges) *float64 { return &w.Sealed }, "policy", "growing_bytes_hwm"),
	}
}

func newest(field func(*WALGauges) *float64) func(*WALGauges, *dto.Metric, float64) {
	return func(w *WALGauges, _ *dto.Metric, v float64) { *field(w) = max(*field(w), v) }
}

// ReadNodes reads Prometheus text metrics of Milvus nodes, sorted by node. An error
// means the text is none of Prometheus, and comes with what was read before it.
func ReadNodes(r io.Reader) ([]NodeLook, error) {
	var p expfmt.TextParser
	families, err := p.TextToMetricFamilies(io.LimitReader(r, maxMetrics))
	var bad expfmt.ParseError
	if errors.As(err, &bad) {
		err = fmt.Errorf("line %d is no metric as Prometheus reads them; what stands before it was read", bad.Line)
	}
	at := map[string]*NodeLook{}
	node := func(m *dto.Metric) *NodeLook {
		name := labelOf(m, "node_id")
		if at[name] == nil {
			at[name] = &NodeLook{Node: name, WALs: map[string]*WALGauges{}}
		}
		return at[name]
	}
	uses := gaugeUses()
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		for _, m := range families["milvus_wal_"+name].GetMetric() {
			n, channel := node(m), labelOf(m, "channel_name")
			if channel == "" {
				continue
			}
			w := n.WALs[channel]
			if w == nil {
				w = &WALGauges{LiveWAL: LiveWAL{Node: n.Node, PChannel: channel}}
				n.WALs[channel] = w
			}
			if term, err := strconv.ParseInt(labelOf(m, "term"), 10, 64); err == nil && valueOf(m) > 0 {
				w.Term = max(w.Term, term)
			}
			uses[name](w, m, valueOf(m))
		}
	}
	for name, field := range map[string]func(*NodeLook) *float64{
		"growing_segment_hwm_bytes":             func(n *NodeLook) *float64 { return &n.High },
		"growing_segment_lwm_bytes":             func(n *NodeLook) *float64 { return &n.Low },
		"flusher_sync_dispatcher_pending_tasks": func(n *NodeLook) *float64 { return &n.Tasks },
	} {
		for _, m := range families["milvus_wal_"+name].GetMetric() {
			at := field(node(m))
			*at = max(*at, valueOf(m))
		}
	}
	out := make([]NodeLook, 0, len(at))
	for _, name := range slices.Sorted(maps.Keys(at)) {
		out = append(out, *at[name])
	}
	return out, err
}

// AddNodes adds one scrape. A node that was looked at before keeps both looks, the
// earlier one in Before.
func (m *Moment) AddNodes(nodes []NodeLook) {
	for _, n := range nodes {
		i := slices.IndexFunc(m.Nodes, func(o NodeLook) bool { return o.Node == n.Node })
		if i < 0 {
			m.Nodes = append(m.Nodes, n)
			continue
		}
		earlier, later := m.Nodes[i], n
		if latest(later) != 0 && latest(later) < latest(earlier) {
			earlier, later = later, earlier
		}
		if m.Before == nil {
			m.Before = map[string]NodeLook{}
		}
		m.Before[n.Node], m.Nodes[i] = earlier, later
	}
}

// latest is the newest time a node's metrics speak of.
func latest(n NodeLook) float64 {
	t := 0.0
	for _, w := range n.WALs {
		t = max(t, w.Allocated, w.Confirmed)
	}
	return t
}

// TopicLook is what the broker says of one topic.
type TopicLook struct {
	Stats, Internal bool // which of the two answers is there
	Publishers      []string
	Readers         []TopicReader
	Cursors         map[string]TopicCursor
	End             string // the last entry, LEDGER:ENTRY
}

// TopicReader is a reader of a topic: a consumer of a subscription that is not durable.
type TopicReader struct {
	Subscription, Consumer string
	Permits, Out, Backlog  int64
	Bytes                  int64 // of the backlog; −1: the broker does not say
}

// TopicCursor is where a subscription reads. Waiting says that it has been given
// everything there is.
type TopicCursor struct {
	Read    string
	Waiting bool
}

// scannerName is what a scanner calls itself at the broker: pchannel, term, number.
var scannerName = regexp.MustCompile(`^(.+)/(\d+)/(\d+)$`)

// maxTopic bounds what the broker says of a topic, in bytes.
const maxTopic = 16 << 20

// AddStats takes in the answer of `pulsar-admin topics stats`.
func (t *TopicLook) AddStats(r io.Reader) error {
	var s struct {
		Publishers    []struct{ ProducerName string }
		Subscriptions map[string]struct {
			Durable     *bool
			MsgBacklog  int64
			BacklogSize *int64
			Consumers   []struct {
				ConsumerName                    string
				AvailablePermits, MsgOutCounter int64
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(r, maxTopic)).Decode(&s); err != nil || s.Subscriptions == nil && s.Publishers == nil {
		return notTheAnswer(err, "publishers and subscriptions", "stats")
	}
	t.Stats, t.Publishers, t.Readers = true, nil, nil
	for _, p := range s.Publishers {
		t.Publishers = append(t.Publishers, p.ProducerName)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Subscriptions)) {
		sub := s.Subscriptions[name]
		if sub.Durable == nil || *sub.Durable {
			continue
		}
		size := int64(-1)
		if sub.BacklogSize != nil {
			size = *sub.BacklogSize
		}
		for _, c := range sub.Consumers {
			t.Readers = append(t.Readers, TopicReader{name, c.ConsumerName, c.AvailablePermits, c.MsgOutCounter, sub.MsgBacklog, size})
		}
	}
	return nil
}

// AddInternal takes in the answer of `pulsar-admin topics stats-internal`.
func (t *TopicLook) AddInternal(r io.Reader) error {
	var s struct {
		LastConfirmedEntry string
		Cursors            map[string]struct {
			ReadPosition  string
			WaitingReadOp bool
		}
	}
	if err := json.NewDecoder(io.LimitReader(r, maxTopic)).Decode(&s); err != nil || s.Cursors == nil {
		return notTheAnswer(err, "cursors", "stats-internal")
	}
	t.Internal, t.Cursors, t.End = true, map[string]TopicCursor{}, s.LastConfirmedEntry
	for name, c := range s.Cursors {
		t.Cursors[name] = TopicCursor{c.ReadPosition, c.WaitingReadOp}
	}
	return nil
}

// notTheAnswer says of a file that it is not what the broker answers. What failed
// to be read, rather than to be understood, stays itself.
func notTheAnswer(err error, lacks, command string) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON from byte %d on; want the answer of pulsar-admin topics %s", syntax.Offset, command)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it ends too early; want the whole answer of pulsar-admin topics %s", command)
	case !errors.As(err, &kind):
		return err
	}
	return fmt.Errorf("no %s in it; want the answer of pulsar-admin topics %s", lacks, command)
}

// PChannel is the pchannel that the scanners name, "" where none does.
func (t *TopicLook) PChannel() string {
	for _, r := range t.Readers {
		if m := scannerName.FindStringSubmatch(r.Consumer); m != nil {
			return m[1]
		}
	}
	return ""
}

// PChannels lists every pchannel the evidence speaks of.
func (m *Moment) PChannels() []string {
	names := map[string]bool{}
	for _, n := range m.Nodes {
		for p := range n.WALs {
			names[p] = true
		}
	}
	for p := range m.Topics {
		names[p] = true
	}
	for p := range m.Assigned {
		names[p] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// of lists the WALs of a pchannel that nodes speak of, newest term first.
func (m *Moment) of(p string) []*WALGauges {
	var out []*WALGauges
	for _, n := range m.Nodes {
		if w := n.WALs[p]; w != nil && (w.Open || w.Recovery != "" || w.Flusher != "") {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b *WALGauges) int { return cmp.Compare(b.Term, a.Term) })
	return out
}

// PChannelOf is the pchannel a finding speaks of, "" where it speaks of none.
func PChannelOf(w Where) string {
	if w.PChannel != "" {
		return w.PChannel
	}
	return message.PChannelOf(w.VChannel)
}

// node is the look at a node, the zero value where there is none.
func (m *Moment) node(name string) NodeLook {
	for _, n := range m.Nodes {
		if n.Node == name {
			return n
		}
	}
	return NodeLook{}
}
