package demo

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// moment is the evidence of a story's end: two looks at the nodes, the broker's
// answers and a node's log. Nothing of it comes from a cluster.
type moment struct {
	at    time.Time
	looks [][]nodeMetrics // earlier first
	topic *topic
	log   []string // lines of the node's log, whole
	named string   // the log's file
}

// between is the time from the first look to the second.
const between = 15 * time.Second

// memory of the nodes of a demo, and the shares of it that mark their growing segments.
const (
	nodeMemory       = 16 << 30
	highMark, lowest = 0.2, 0.1
)

// lastTick is the log's last TimeTick.
func (s *story) lastTick() *message.Message {
	for i := len(s.ms) - 1; ; i-- {
		if m := s.ms[i]; m.Type == message.TypeTimeTick || i == 0 {
			return m
		}
	}
}

// term is the one that the coordinator gave out last.
func (s *story) term() int64 {
	var m streamingpb.PChannelMeta
	_ = proto.Unmarshal(s.kv["streamingcoord-meta/pchannel/"+s.gen.PChannel()], &m) // this program wrote it
	return m.GetChannel().GetTerm()
}

// assign has the coordinator give the log to a node under a term.
func (s *story) assign(term, node int64) error {
	return s.assignment(&streamingpb.PChannelMeta{State: streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNED, Node: streamingNode(node)}, term)
}

// assigning has the coordinator take the log from a node that has a term, and give the
// next term to another, which has not opened it yet.
func (s *story) assigning(term, from, to int64) error {
	return s.assignment(&streamingpb.PChannelMeta{State: streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNING, Node: streamingNode(to),
		Histories: []*streamingpb.PChannelAssignmentLog{{Term: term, Node: streamingNode(from)}}}, term+1)
}

func (s *story) assignment(m *streamingpb.PChannelMeta, term int64) error {
	m.Channel = &streamingpb.PChannelInfo{Name: s.gen.PChannel(), Term: term}
	b, err := proto.Marshal(m)
	s.kv["streamingcoord-meta/pchannel/"+s.gen.PChannel()] = b
	return err
}

func streamingNode(id int64) *streamingpb.StreamingNodeInfo {
	return &streamingpb.StreamingNodeInfo{ServerId: id, Address: fmt.Sprintf("streamingnode-%d:22222", id)}
}

// cutAtOpening lets the log end where its last node opened it.
func (s *story) cutAtOpening() {
	for i, m := range slices.Backward(s.ms) {
		if m.OpensTerm() {
			s.ms = s.ms[:i+1]
			return
		}
	}
}

// sound is the log's WAL on a node that is well, so long after the log's end.
func (s *story) sound(after time.Duration) walMetrics {
	last := message.TimeOf(s.lastTick().TimeTick)
	at := last.Add(after)
	w := walMetrics{
		pchannel: s.gen.PChannel(), term: s.term(), open: true, recovery: "working", flusher: "working",
		allocated: at, confirmed: at, memory: at, flushed: at.Add(-200 * time.Millisecond), observed: at.Add(-600 * time.Millisecond),
		saved: at.Add(-min(after+5*time.Second, 195*time.Second)), persisted: last, oldest: last, tailing: 3,
		memoryTicks: 1200 + int(after/(200*time.Millisecond)),
	}
	for _, m := range s.ms {
		if m.Type == message.TypeTimeTick {
			w.ticks++
		} else {
			w.appended++
		}
	}
	w.readTailing = 3 * (w.appended + w.ticks)
	md, _ := catalog.Decode(w.pchannel, s.kv)
	for _, seg := range md.Segments {
		w.growing += int(seg.GetStat().GetModifiedBinarySize())
		w.rows += int(seg.GetStat().GetModifiedRows())
	}
	return w
}

// on is a node with its WALs.
func on(id int64, wals ...walMetrics) nodeMetrics {
	return nodeMetrics{id: id, high: highMark * nodeMemory, low: lowest * nodeMemory, wals: wals}
}

// topicNow is what the broker says of the log while one node writes it and every
// scanner tails: no reader is seen.
func (s *story) topicNow() *topic {
	t := &topic{messages: len(s.ms), end: s.ms[len(s.ms)-1].ID, publishers: []string{"standalone-0-6"}}
	for _, m := range s.ms {
		t.bytes += int64(len(m.Payload))
	}
	return t
}

// watch keeps a moment of nodes that were looked at twice.
func (s *story) watch(m *moment) { s.moment = m }

// line is a line of a node's log.
func line(at time.Time, level, place, text string, pairs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] [%s] [%s] [%q]", at.Format("2006/01/02 15:04:05.000 -07:00"), level, place, text)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, " [%s=%s]", pairs[i], pairs[i+1])
	}
	return b.String()
}

// opened are the lines of a node that opens a WAL.
func opened(at time.Time, p string, term int64) []string {
	channel := fmt.Sprintf("%s:rw@%d", p, term)
	return []string{
		line(at, "INFO", "pulsar/wal.go:70", "pulsar create producer done", "channel", channel),
		line(at.Add(15*time.Millisecond), "INFO", "adaptor/initializing.go:75", "sync first time tick done", "module", "streamingnode", "channel", channel),
		line(at.Add(20*time.Millisecond), "INFO", "recovery/recovery_persisted.go:45", "recover checkpoint done", "module", "streamingnode", "component", "recovery-storage", "channel", channel),
	}
}

// store puts the moment beside the log.
func (m *moment) store(w *archive.Writer, pchannel string) error {
	from := map[string]string{"from": "walctl demo"}
	n := 0
	for i, look := range m.looks {
		at := m.at.Add(-between * time.Duration(len(m.looks)-1-i))
		for j := range look {
			n++
			e := archive.Evidence{Name: fmt.Sprintf("%s-%d.prom", source.EvidenceMetrics, n), CapturedAt: at, Provenance: from}
			if err := w.AddEvidence(e, look[j].text()); err != nil {
				return err
			}
		}
	}
	if m.topic != nil {
		b, err := m.topic.answers(pchannel, m.at)
		if err != nil {
			return err
		}
		if err := w.AddEvidence(archive.Evidence{Name: source.EvidenceTopicStats, CapturedAt: m.at, Provenance: from}, b); err != nil {
			return err
		}
	}
	if len(m.log) == 0 {
		return nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(strings.Join(m.log, "\n") + "\n")) // a buffer takes everything
	if err := z.Close(); err != nil {
		return err
	}
	return w.AddEvidence(archive.Evidence{Name: source.EvidenceLog + "-1.gz", CapturedAt: m.at,
		Provenance: map[string]string{"from": "walctl demo", source.EvidenceFile: m.named}}, packed.Bytes())
}
