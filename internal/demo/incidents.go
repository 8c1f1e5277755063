package demo

import (
	"fmt"
	"time"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// well is the moment of a node that is well, so long after the log's end.
func (s *story) well(after time.Duration) {
	w := s.sound(after)
	at := w.confirmed
	s.watch(&moment{
		at: at, looks: [][]nodeMetrics{{on(1, w.later(-min(between, after)))}, {on(1, w)}}, topic: s.topicNow(),
		log: opened(at.Add(-after-time.Hour), w.pchannel, w.term), named: "streamingnode-1.log",
	})
}

func idleCollection(s *story) error {
	if err := idleLog(s); err != nil {
		return err
	}
	const idle = 10 * time.Minute
	w := s.sound(idle)
	w.catchUp, w.readCatchUp = 1, 7
	t := s.topicNow()
	name := fmt.Sprintf("%s/%d/7", w.pchannel, w.term)
	t.readers = []reader{{subscription: "reader-fdrna", consumer: name, permits: 128, next: behind(t.end), waits: true}}
	at := w.confirmed
	s.watch(&moment{at: at, looks: [][]nodeMetrics{{on(1, w.later(-between))}, {on(1, w)}}, topic: t, named: "streamingnode-1.log",
		log: append(opened(at.Add(-idle-time.Hour), w.pchannel, w.term),
			line(at.Add(-5*time.Minute), "INFO", "adaptor/scanner_adaptor.go:97", "start catching up state", "module", "streamingnode", "component", "scanner", "name", name))})
	last := s.ms[len(s.ms)-1]
	s.tell("Three times nobody wrote for five hours: no TimeTick stands in the log for as long, and nothing was lost.")
	s.tell("Then a collection was loaded. Its scanner %s began after %s, the log's last TimeTick,", name, last.ID)
	s.tell("and waits for another one. An idle log gets none, so the load hangs until something is written.")
	return nil
}

func idleLog(s *story) error {
	cfg := shop(3)
	cfg.Messages, cfg.IdleStretches, cfg.Idle, cfg.Terms = 6000, 3, 5*time.Hour, 2
	return s.write(cfg)
}

func idleHours(s *story) error {
	if err := idleLog(s); err != nil {
		return err
	}
	s.well(6 * time.Hour)
	s.tell("Nobody has written for six hours. TimeTicks go on in the node's memory; everyone tails.")
	return nil
}

// stuckTerminating: an opening that does not end holds the pod, and the term behind it.
func stuckTerminating(s *story) error {
	cfg := shop(8)
	cfg.Messages, cfg.IdleStretches, cfg.Terms, cfg.DDLRatio = 9000, -1, 3, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	s.cutAtOpening()
	if err := s.persist(len(s.ms) * 2 / 3); err != nil {
		return err
	}
	p, term := s.gen.PChannel(), s.term()
	if err := s.assigning(term, 1, 2); err != nil {
		return err
	}
	replayed := len(s.ms) - s.saved
	took := replayed / 3
	t := s.topicNow()
	t.readers = []reader{{subscription: "reader-wtuny", consumer: "recovery", out: int64(took), backlog: int64(replayed - took), next: s.ms[s.saved+took].ID}}
	full := s.sound(4 * time.Minute)
	w := walMetrics{pchannel: p, term: term, recovery: "stream-recovering", saved: full.persisted.Add(-time.Minute), catchUp: 1, readCatchUp: took, queued: 23_923}
	at := full.confirmed
	open := at.Add(-4 * time.Minute)
	s.watch(&moment{at: at, looks: [][]nodeMetrics{{on(1, w)}, {on(1, w)}}, topic: t, named: "streamingnode-1.log",
		log: append(opened(open, p, term),
			line(open.Add(30*time.Second), "INFO", "streamingnode/service.go:101", "stop streamingnode service", "module", "streamingnode"),
			line(open.Add(30*time.Second), "INFO", "walmanager/wal_lifetime.go:119", "expected state changed, do a life cycle", "module", "streamingnode", "component", "wal-manager", "channel", p, "expected", fmt.Sprintf("(%d,false)", term)))})
	s.tell("Node 1 opened %s with term %d and recovers it; after %d messages it takes no more.", p, term, took)
	s.tell("Its pod was told to end and waits for the opening. Term %d, on node 2, waits until it is done.", term+1)
	return nil
}

// outOfMemory: collections with a partition key on many shards, more than the node
// has memory for. The node is a thousandth of a real one, so that a small log fills it.
func outOfMemory(s *story) error {
	cfg := shop(9)
	cfg.Messages, cfg.IdleStretches, cfg.Terms, cfg.DDLRatio = 3500, -1, 1, -1
	cfg.Collections, cfg.PartitionKey, cfg.Partitions, cfg.Shards = 2, true, 16, 16
	cfg.VectorDim, cfg.RowsPerInsert, cfg.SegmentBytes, cfg.Rate = 32, 24, 1<<30, 200
	if err := s.write(cfg); err != nil {
		return err
	}
	w := s.sound(300 * time.Millisecond)
	memory := float64(w.growing) * 4
	node := func(growing int) nodeMetrics {
		w := w
		w.growing = growing
		n := on(1, w)
		n.high, n.low = highMark*memory, lowest*memory
		return n
	}
	s.watch(&moment{at: w.confirmed, looks: [][]nodeMetrics{{node(w.growing * 3 / 4)}, {node(w.growing)}}, topic: s.topicNow(), named: "streamingnode-1.log",
		log: opened(w.confirmed.Add(-time.Hour), w.pchannel, w.term)})
	s.memory = fmt.Sprintf("%dMiB", int(memory)>>20)
	s.tell("Two collections of 16 shards with 16 partitions each: %d growing segments in this WAL alone hold %d MB.", len(s.walKeys(catalog.KeySegment)), w.growing/1_000_000)
	if err := s.persist(len(s.ms) / 10); err != nil { // little of it was flushed
		return err
	}
	s.tell("The node has %s (a thousandth of a real one, as the log is), of which a fifth is its mark: it is past it.", s.memory)
	return nil
}

// refused: the lines of a node whose flusher registers a vchannel that is registered.
func refused(at time.Time, p string, term int64, vchannel string) (lines []string) {
	for i := range 22 {
		at := at.Add(time.Duration(i) * 3 * time.Second)
		cause := fmt.Sprintf("\"channel reduplicates[channel=%s]\"", vchannel)
		lines = append(lines,
			line(at, "WARN", "pipeline/data_sync_service.go:320", "failed to register channel buffer", "channel", vchannel, "error", cause),
			line(at.Add(time.Millisecond), "WARN", "flusherimpl/flusher_components.go:232", "retry func failed", "pchannel", fmt.Sprintf("%s:rw@%d", p, term), "retried", fmt.Sprint(i), "error", cause))
	}
	return lines
}

// panicked: the lines of a node that loads a catalog with a vchannel without schema.
func panicked(at time.Time, p, vchannel string) []string {
	return []string{
		line(at, "INFO", "pulsar/wal.go:70", "pulsar create producer done", "channel", p),
		line(at.Add(20*time.Millisecond), "PANIC", "recovery/vchannel_recovery_info.go:41", "vchannel has no schemas", "module", "streamingnode", "vchannel", vchannel),
	}
}

// crashLoop is the moment of a node that does not come up: it serves no metrics, and
// the topic has no publisher.
func (s *story) crashLoop(vchannel string) {
	t := s.topicNow()
	t.publishers = nil
	at := s.sound(2 * time.Minute).confirmed
	var log []string
	for i := range 4 {
		log = append(log, panicked(at.Add(time.Duration(i-4)*20*time.Second), s.gen.PChannel(), vchannel)...)
	}
	s.watch(&moment{at: at, topic: t, log: log, named: "streamingnode-1.log"})
}

// registeredTwice is the moment of a node that refuses a vchannel its registry holds.
func (s *story) registeredTwice(vchannel string) {
	w := s.sound(90 * time.Second)
	at := w.confirmed
	w.flusher, w.flushed, w.observed, w.tailing = "in_recovery", time.Time{}, at.Add(-90*time.Second), 1
	before := w.later(-between)
	before.observed = w.observed
	s.watch(&moment{at: at, looks: [][]nodeMetrics{{on(1, before)}, {on(1, w)}}, topic: s.topicNow(), named: "streamingnode-1.log",
		log: append(opened(at.Add(-80*time.Second), w.pchannel, w.term), refused(at.Add(-75*time.Second), w.pchannel, w.term, vchannel)...)})
}

// restarted: a node that opened its WAL a moment ago and knows little of itself yet.
func restarted(s *story) error {
	cfg := shop(10)
	cfg.Messages, cfg.DDLRatio = 6000, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	s.cutAtOpening()
	if err := s.persist(len(s.ms)); err != nil {
		return err
	}
	w := s.sound(2 * time.Second)
	w.ticks, w.memoryTicks, w.appended, w.retries = 1, 9, 0, 0
	w.allocated, w.oldest, w.readTailing = time.Time{}, time.Time{}, 4
	n := on(1, w)
	n.high, n.low = 0, 0
	s.watch(&moment{at: w.confirmed, looks: [][]nodeMetrics{{n}}, topic: s.topicNow(), named: "streamingnode-1.log", log: opened(w.confirmed.Add(-2*time.Second), w.pchannel, w.term)})
	s.tell("A node opened the log two seconds ago. Marks and buffers are not measured yet; nothing was written under the new term.")
	return nil
}

// replaced: the pchannel went to another node, and the old one is still there.
func replaced(s *story) error {
	cfg := shop(11)
	cfg.Messages, cfg.NodeID = 6000, 2
	if err := s.write(cfg); err != nil {
		return err
	}
	w := s.sound(3 * time.Second)
	w.catchUp, w.readCatchUp = 1, 400
	w.persisted = w.confirmed.Add(-300 * time.Millisecond)
	before := w.later(-2 * time.Second)
	before.persisted, before.readCatchUp = before.confirmed.Add(-300*time.Millisecond), 100
	t := s.topicNow()
	last := len(s.ms) - 1
	t.readers = []reader{{subscription: "reader-qkzpx", consumer: fmt.Sprintf("%s/%d/3", w.pchannel, w.term), permits: 40, out: 400, backlog: 120, next: s.ms[last-120].ID}}
	gone := walMetrics{pchannel: w.pchannel, term: w.term - 1} // its counters stay until the process ends
	s.watch(&moment{at: w.confirmed, looks: [][]nodeMetrics{{on(1, gone), on(2, before)}, {on(1, gone), on(2, w)}}, topic: t, named: "streamingnode-2.log",
		log: opened(w.confirmed.Add(-time.Minute), w.pchannel, w.term)})
	s.tell("Node 2 took the pchannel over from node 1, which still runs; a reader catches up and comes on.")
	return nil
}

// droppedAway: collections come and go, and what is left of those that went is in order.
func droppedAway(s *story) error {
	cfg := shop(12)
	cfg.Messages, cfg.DDLRatio, cfg.Collections = 9000, 0.02, 6
	if err := s.write(cfg); err != nil {
		return err
	}
	s.well(300 * time.Millisecond)
	s.tell("Collections and partitions were created and dropped all along; log, catalog and RootCoord agree on what is left.")
	return nil
}
