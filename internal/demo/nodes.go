package demo

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// What a streaming node serves at /metrics of its WALs, as one of 2.6 does: the
// families that tell a healthy WAL from a sick one, with Milvus's own names, labels
// and units. A time that is not set is 0 there, as in a node that does not know it yet.

// nodeMetrics is one node at one look.
type nodeMetrics struct {
	id        int64
	high, low float64 // marks of its growing segments, 0 in its first minute
	tasks     int     // writes to object storage that wait
	wals      []walMetrics
}

// walMetrics is one of a node's WALs.
type walMetrics struct {
	pchannel          string
	term              int64
	open              bool
	recovery, flusher string // states; "" = there is none

	allocated, confirmed, flushed, observed, saved time.Time
	persisted, memory                              time.Time // the newest TimeTick in the log, and in memory alone
	oldest                                         time.Time // of the write-ahead buffer

	catchUp, tailing, readCatchUp, readTailing int // scanners, and what they have read
	appended, retries, ticks, memoryTicks      int
	queued, growing, rows, sealed, tooLate     int
}

// later is the same WAL some time on with nothing written: TimeTicks go on in memory.
func (w walMetrics) later(d time.Duration) walMetrics {
	for _, t := range []*time.Time{&w.allocated, &w.confirmed, &w.flushed, &w.observed, &w.memory} {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
	if w.open {
		w.memoryTicks += int(d / (200 * time.Millisecond))
	}
	return w
}

// text is what the node answers.
func (n *nodeMetrics) text() []byte {
	s := samples{}
	id := label("node_id", strconv.FormatInt(n.id, 10))
	s.add("growing_segment_hwm_bytes", n.high, id)
	s.add("growing_segment_lwm_bytes", n.low, id)
	s.add("flusher_sync_dispatcher_pending_tasks", float64(n.tasks), id)
	for i := range n.wals {
		n.wals[i].samples(s, id)
	}
	return s.text()
}

func (w *walMetrics) samples(s samples, id string) {
	of := []string{label("channel_name", w.pchannel), id}
	with := func(pairs ...string) []string {
		out := slices.Clone(of)
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, label(pairs[i], pairs[i+1]))
		}
		return out
	}
	term := strconv.FormatInt(w.term, 10)
	if w.open {
		s.add("info", 1, with("term", term, "wal_name", "pulsar")...)
		s.add("last_allocated_time_tick", unix(w.allocated), of...)
		s.add("last_confirmed_time_tick", unix(w.confirmed), of...)
		s.add("sync_time_tick", unix(w.memory), with("type", "memory")...)
		s.add("sync_time_tick", unix(w.persisted), with("type", "persistent")...)
		s.add("sync_total", float64(w.memoryTicks), with("type", "memory")...)
		s.add("sync_total", float64(w.ticks), with("type", "persistent")...)
		s.add("append_message_total", float64(w.appended), with("message_type", "Insert", "status", "ok")...)
		s.add("append_message_total", float64(w.ticks), with("message_type", "TimeTick", "status", "ok")...)
		s.add("impls_append_message_retry_total", float64(w.retries), of...)
		s.add("growing_segment_bytes", float64(w.growing), with("lv", "L1")...)
		s.add("growing_segment_rows_total", float64(w.rows), with("lv", "L1")...)
	}
	if w.sealed > 0 {
		s.add("segment_assign_flushed_segment_total", float64(w.sealed), with("policy", "growing_bytes_hwm")...)
	}
	if w.recovery != "" {
		s.add("recovery_info", 1, with("state", w.recovery, "term", term)...)
		s.add("recovery_in_mem_time_tick", unix(w.observed), with("term", term)...)
		s.add("recovery_persisted_time_tick", unix(w.saved), with("term", term)...)
	}
	if w.flusher != "" {
		s.add("flusher_info", 1, with("state", w.flusher, "term", term)...)
		s.add("flusher_time_tick", unix(w.flushed), with("term", term)...)
	}
	if w.tooLate > 0 {
		s.add("scan_time_tick_violation_message_total", float64(w.tooLate), with("message_type", "Insert", "scanner_model", "catchup")...)
	}
	s.add("scanner_total", float64(w.catchUp), with("scanner_model", "catchup")...)
	s.add("scanner_total", float64(w.tailing), with("scanner_model", "tailing")...)
	s.add("scan_message_total", float64(w.readCatchUp), with("message_type", "Insert", "scanner_model", "catchup")...)
	s.add("scan_message_total", float64(w.readTailing), with("message_type", "Insert", "scanner_model", "tailing")...)
	s.add("scanner_pause_consumption", 0, of...)
	s.add("scanner_pending_queue_bytes", float64(w.queued), of...)
	s.add("write_ahead_buffer_capacity_bytes", 64<<20, of...)
	s.add("write_ahead_buffer_earliest_time_tick", unix(w.oldest), of...)
	s.add("write_ahead_buffer_latest_time_tick", unix(w.memory), of...)
}

// unix is a time as a node measures it.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func label(name, value string) string { return fmt.Sprintf("%s=%q", name, value) }

// samples are lines by family.
type samples map[string][]string

func (s samples) add(family string, v float64, labels ...string) {
	slices.Sort(labels)
	var b bytes.Buffer
	for i, l := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l)
	}
	s[family] = append(s[family], fmt.Sprintf("milvus_wal_%s{%s} %s\n", family, b.String(), strconv.FormatFloat(v, 'g', -1, 64)))
}

func (s samples) text() []byte {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	var b bytes.Buffer
	for _, name := range names {
		kind := "gauge"
		if len(name) > 6 && name[len(name)-6:] == "_total" && name != "scanner_total" && name != "growing_segment_rows_total" {
			kind = "counter"
		}
		fmt.Fprintf(&b, "# TYPE milvus_wal_%s %s\n", name, kind)
		for _, line := range s[name] {
			b.WriteString(line)
		}
	}
	return b.Bytes()
}
