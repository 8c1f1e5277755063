package diagnose

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// LiveWAL is a WAL as one live node reports it in its metrics.
type LiveWAL struct {
	Node     string `json:"node"` // node_id
	PChannel string `json:"pchannel"`
	Term     int64  `json:"term"`
	Recovery string `json:"recovery,omitempty"` // persist-recovering, stream-recovering, working
	Flusher  string `json:"flusher,omitempty"`  // in_recovery, working, closing
}

// Reduplicate is a symptom in a Milvus log: a live process refused to register a
// channel because its own registry still holds one.
type Reduplicate struct {
	VChannel string `json:"vchannel"`
	Lines    int64  `json:"lines"`
	Last     string `json:"last,omitempty"` // the last line's time, as written
	Where    string `json:"where"`          // the file
}

// maxMetrics bounds a metrics text that is read, in bytes.
const maxMetrics = 64 << 20

// ReadLiveWALs reads Prometheus text metrics of Milvus nodes: which WALs are
// open where. What is no WAL metric is passed over; an error means the text is
// none of Prometheus, and comes with what was read before it.
func ReadLiveWALs(r io.Reader) ([]LiveWAL, error) {
	var p expfmt.TextParser
	families, err := p.TextToMetricFamilies(io.LimitReader(r, maxMetrics))
	if err != nil {
		err = fmt.Errorf("read metrics: %w", err)
	}
	at := map[[2]string]*LiveWAL{}
	wal := func(m *dto.Metric) *LiveWAL {
		key := [2]string{labelOf(m, "node_id"), labelOf(m, "channel_name")}
		if at[key] == nil {
			at[key] = &LiveWAL{Node: key[0], PChannel: key[1]}
		}
		return at[key]
	}
	for name, use := range map[string]func(*LiveWAL, *dto.Metric){
		"milvus_wal_info":          func(*LiveWAL, *dto.Metric) {},
		"milvus_wal_recovery_info": func(w *LiveWAL, m *dto.Metric) { w.Recovery = labelOf(m, "state") },
		"milvus_wal_flusher_info":  func(w *LiveWAL, m *dto.Metric) { w.Flusher = labelOf(m, "state") },
	} {
		for _, m := range families[name].GetMetric() {
			if valueOf(m) == 0 || labelOf(m, "channel_name") == "" {
				continue
			}
			w := wal(m)
			if term, err := strconv.ParseInt(labelOf(m, "term"), 10, 64); err == nil {
				w.Term = max(w.Term, term)
			}
			use(w, m)
		}
	}
	out := make([]LiveWAL, 0, len(at))
	for _, w := range at {
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b LiveWAL) int {
		return cmp.Or(cmp.Compare(a.PChannel, b.PChannel), cmp.Compare(a.Node, b.Node))
	})
	return out, err
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return m.GetUntyped().GetValue()
}

// The lines a node writes when a channel is in its registry already.
var (
	reduplicateLine = regexp.MustCompile(`channel reduplicates\[channel=([^\]\s"\\]+)\]`)
	milvusTime      = regexp.MustCompile(`^\[(\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2}\.\d+ [+-]\d{2}:\d{2})\]`)
)

// maxLogLine bounds a line of a log that is looked at, in bytes; longer ones are
// looked at as far.
const maxLogLine = 1 << 20

// ReadReduplicates finds the symptom in a Milvus log, by vchannel.
func ReadReduplicates(name string, r io.Reader) ([]Reduplicate, error) {
	by := map[string]*Reduplicate{}
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		if m := reduplicateLine.FindSubmatch(line); m != nil {
			v := string(m[1])
			if by[v] == nil {
				by[v] = &Reduplicate{VChannel: v, Where: name}
			}
			by[v].Lines++
			if t := milvusTime.FindSubmatch(line); t != nil {
				by[v].Last = string(t[1])
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			out := make([]Reduplicate, 0, len(by))
			for _, s := range by {
				out = append(out, *s)
			}
			slices.SortFunc(out, func(a, b Reduplicate) int { return cmp.Compare(a.VChannel, b.VChannel) })
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			return out, fmt.Errorf("read the log %s: %w", name, err)
		}
	}
}

// liveState says in a few words how live nodes have a pchannel open.
func (j *channelJudge) liveState(pchannel string) string {
	if !j.in.LiveKnown {
		return "unknown"
	}
	var parts []string
	for _, w := range j.in.Live {
		if w.PChannel == pchannel {
			parts = append(parts, fmt.Sprintf("node %s term %d %s", w.Node, w.Term, w.state()))
		}
	}
	if len(parts) == 0 {
		return "absent"
	}
	return strings.Join(parts, ", ")
}

func (w *LiveWAL) state() string {
	for _, s := range []string{w.Recovery, w.Flusher} {
		if s != "" && s != "working" {
			return s
		}
	}
	return "working"
}

// pchannels judges who has each WAL open.
func (j *channelJudge) pchannels() {
	for _, p := range j.in.PChannels {
		a := j.in.Assigned[p]
		if !a.Assigned && len(a.Histories) > 1 {
			j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: Finding{Code: "wal-opening-fails", Severity: SeverityWarning, Where: Where{PChannel: p},
				Evidence: []Evidence{{"terms tried", terms(a.Histories)}, {"term now", strconv.FormatInt(a.Term, 10)}},
				Meaning:  "the coordinator has handed the WAL on again and again: no node got it open"}, Cure: CureRestart}))
		}
		j.catalogOf(p, a)
		j.owners(p, a)
	}
}

// termBehind reports whether a log was opened by a later term than the catalog
// knows; 0 = it knows none.
func termBehind(log, catalog int64) bool { return catalog != 0 && log > catalog }

// catalogOf judges what the catalog says of a pchannel as a whole.
func (j *channelJudge) catalogOf(p string, a AssignedChannel) {
	if l := j.in.Logs[p]; l != nil && termBehind(l.Term, a.Term) {
		j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: Finding{Code: "catalog-term-behind", Severity: SeverityError, Where: Where{PChannel: p, ID: l.TermAt.String()},
			Evidence: []Evidence{{"term in the log", strconv.FormatInt(l.Term, 10)}, {"term in the catalog", strconv.FormatInt(a.Term, 10)}},
			Meaning:  "the log was opened by a later term than the catalog knows, as where the catalog was restored from an older copy: the next opening gives a term out again"}, Cure: CureDecision}))
	}
	for i := range j.in.Catalog {
		if c := &j.in.Catalog[i]; c.PChannel == p && (c.VChannel == "" || !slices.Contains(j.seen, c.VChannel)) {
			j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: catalogFinding(c), Cure: CureDecision}))
		}
	}
}

func terms(ts []int64) string {
	out := make([]string, len(ts))
	for i, t := range ts {
		out[i] = strconv.FormatInt(t, 10)
	}
	return strings.Join(out, ", ")
}

func (j *channelJudge) owners(p string, a AssignedChannel) {
	var owners []LiveWAL
	for _, w := range j.in.Live {
		if w.PChannel == p {
			owners = append(owners, w)
		}
	}
	if len(owners) > 1 {
		var e []Evidence
		for _, w := range owners {
			e = append(e, Evidence{"node " + w.Node, fmt.Sprintf("term %d, %s", w.Term, w.state())})
		}
		j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: Finding{Code: "wal-owned-twice", Severity: SeverityCritical, Where: Where{PChannel: p}, Evidence: e,
			Meaning: "two live nodes have the WAL open and register its channels; what the older one writes is lost"}, Cure: CureRestart}))
	}
	for _, w := range owners {
		if a.Term != 0 && w.Term != 0 && w.Term != a.Term {
			j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: Finding{Code: "wal-term-differs", Severity: SeverityWarning, Where: Where{PChannel: p},
				Evidence: []Evidence{{"node " + w.Node, fmt.Sprintf("term %d", w.Term)}, {"catalog", fmt.Sprintf("term %d", a.Term)}},
				Meaning:  "the live node serves another term than the coordinator assigned"}, Cure: CureRestart}))
		}
	}
}

func (j *channelJudge) symptoms() {
	for _, s := range j.in.Symptoms {
		p := message.PChannelOf(s.VChannel)
		if len(j.in.PChannels) > 0 && !slices.Contains(j.in.PChannels, p) {
			continue
		}
		e := []Evidence{{"log", s.Where}}
		if s.Last != "" {
			e = append(e, Evidence{"last", s.Last})
		}
		if a := j.in.Assigned[p]; a.Node != "" {
			e = append(e, Evidence{"assigned to", a.Node})
		}
		j.out.Faults = append(j.out.Faults, j.told(ChannelFault{Finding: Finding{Code: "channel-reduplicates", Severity: SeverityCritical, Count: s.Lines,
			Where: Where{VChannel: s.VChannel}, Evidence: e,
			Meaning: "a live process still holds the channel's buffer of an earlier opening and refuses the new one; no edit of the catalog clears that"}, Cure: CureRestart}))
		for i := range j.out.Channels {
			if j.out.Channels[i].VChannel == s.VChannel {
				j.out.Channels[i].Faults = append(j.out.Channels[i].Faults, "channel-reduplicates")
			}
		}
	}
}
