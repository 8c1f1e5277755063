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

	"github.com/walctl/walctl/pkg/check"
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

// AddLive adds what one more scrape says. Of two looks at the same WAL of a node the
// later counts: it knows the higher term, or was taken last.
func AddLive(have, more []LiveWAL) []LiveWAL {
	for _, w := range more {
		i := slices.IndexFunc(have, func(o LiveWAL) bool { return o.Node == w.Node && o.PChannel == w.PChannel })
		switch {
		case i < 0:
			have = append(have, w)
		case w.Term >= have[i].Term:
			have[i] = w
		}
	}
	return have
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
			j.add(ChannelFault{Finding: Found(walOpeningFails, Where{PChannel: p}, Evidence{"terms tried", terms(a.Histories)}, Evidence{"term now", strconv.FormatInt(a.Term, 10)}), Cure: CureRestart})
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
		f := Found(catalogTermBehind, Where{PChannel: p, ID: l.TermAt.String()}, Evidence{"term in the log", strconv.FormatInt(l.Term, 10)}, Evidence{"term in the catalog", strconv.FormatInt(a.Term, 10)})
		f.Meaning = "the log was opened by a later term than the catalog knows, as where the catalog was restored from an older copy: the next opening gives a term out again"
		if j.in.WAL != "" {
			f.Next = "walctl recover " + j.in.WAL
		}
		j.add(ChannelFault{Finding: f, Cure: CureDecision})
	}
	for i := range j.in.Catalog {
		if c := &j.in.Catalog[i]; c.PChannel == p && (c.VChannel == "" || !slices.Contains(j.seen, c.VChannel)) {
			j.add(ChannelFault{Finding: catalogFinding(c), Cure: CureDecision})
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
		j.add(ChannelFault{Finding: Found(walOwnedTwice, Where{PChannel: p}, e...), Cure: CureRestart})
	}
	for _, w := range owners {
		if a.Term != 0 && w.Term != 0 && w.Term != a.Term {
			j.add(ChannelFault{Finding: Found(walTermDiffers, Where{PChannel: p}, Evidence{"node " + w.Node, fmt.Sprintf("term %d", w.Term)}, Evidence{"catalog", fmt.Sprintf("term %d", a.Term)}), Cure: CureRestart})
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
		f := Found(channelReduplicates, Where{VChannel: s.VChannel}, e...)
		f.Count = s.Lines
		j.add(ChannelFault{Finding: f, Cure: CureRestart})
		for i := range j.out.Channels {
			if j.out.Channels[i].VChannel == s.VChannel {
				j.out.Channels[i].Faults = append(j.out.Channels[i].Faults, f.Code)
			}
		}
	}
}

var catalogTermBehind = &Check{
	Code: "catalog-term-behind", Severity: SeverityError, Invariant: 7, Needs: check.NeedCatalog,
	Title:   "the log was opened by a later term than the catalog knows",
	Meaning: "Terms that were used already are given out again: what was written under them cannot be told from what comes, and every other position in the catalog is as old.",
	Cause:   "An etcd restored from an older copy, or a catalog of another cluster beside the log.",
	Do:      "Make sure that log and catalog belong together. Do not restart before diff and recover have shown what the older catalog makes of the log.",
}

var walOwnedTwice = &Check{
	Code: "wal-owned-twice", Severity: SeverityCritical, Needs: check.NeedMetrics,
	Title:   "two live nodes have one WAL open",
	Says:    "two live nodes have the WAL open and register its channels; what the older one writes is lost",
	Meaning: "Both register the WAL's channels and write to it; what the one with the older term writes comes too late for a TimeTick and is lost.",
	Cause:   "A node that was cut off from the coordinator and did not notice.",
	Do:      "Stop the node with the older term; then run verify.",
	Threads: []string{"milvus#53368"},
}

var walTermDiffers = &Check{
	Code: "wal-term-differs", Severity: SeverityWarning, Needs: check.NeedCatalog | check.NeedMetrics,
	Title:   "a live node serves another term than was assigned",
	Says:    "the live node serves another term than the coordinator assigned",
	Meaning: "Requests to it are refused, or it is about to be closed. Lasting, it is a node that missed its reassignment.",
	Cause:   "A reassignment under way, or a node that hangs.",
	Do:      "Look again after a minute; restart the node if it stays.",
}

var walOpeningFails = &Check{
	Code: "wal-opening-fails", Severity: SeverityWarning, Needs: check.NeedCatalog,
	Title:   "a WAL is handed from node to node without opening",
	Says:    "the coordinator has handed the WAL on again and again: no node got it open",
	Meaning: "Nothing is read from or written to the pchannel. Each try adds to the coordinator's key of the pchannel, up to etcd's limit.",
	Cause:   "Whatever stops the opening: a panic over the log, a position that is gone, a channel refused as a duplicate.",
	Do:      "Ask recover what a restart makes of the log; look for channel-reduplicates.",
	Threads: []string{"milvus#45210", "milvus#45606"},
}

var channelReduplicates = &Check{
	Code: "channel-reduplicates", Severity: SeverityCritical, Needs: check.NeedMilvusLog,
	Else:    check.Else{Severity: SeverityError, Where: "only the metrics tell of it: a flusher that never gets its channels"},
	Title:   "a live process refuses a channel it still holds",
	Says:    "a live process still holds the channel's buffer of an earlier opening and refuses the new one; no edit of the catalog clears that",
	Meaning: "Recovery of the WAL repeats for ever and its checkpoint does not move. The duplicate sits in the memory of the process.",
	Cause:   "A buffer that was not released when its pipeline closed or its recovery was cancelled (fixed by milvus#41715 and milvus#41719).",
	Do:      "Restart the process that wrote the line: nothing else clears it. Look with recover first whether the restart succeeds.",
	Threads: []string{"milvus#41495", "milvus#41496", "milvus#41715", "milvus#41719"},
}
