package diagnose

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// The names under which an archive keeps the broker's answers for a topic. Earlier
// archives and the broker's own client spell the second as one word.
const (
	AnswerStats    = "stats"
	AnswerInternal = "internal stats"
)

// EvidenceKind is which part of a moment a file beside a log is.
type EvidenceKind int

// The parts. KindNone is a file that no moment has.
const (
	KindNone EvidenceKind = iota
	KindMetrics
	KindTopicStats
	KindLog
)

// KindOf tells by its name which part of a moment a file beside a log is.
func KindOf(name string) EvidenceKind {
	switch {
	case strings.HasPrefix(name, source.EvidenceMetrics):
		return KindMetrics
	case name == source.EvidenceTopicStats:
		return KindTopicStats
	case strings.HasPrefix(name, source.EvidenceLog):
		return KindLog
	}
	return KindNone
}

// AddEvidence takes in one file that was captured beside the log of a pchannel, of
// the kind that KindOf tells. An error comes with what was understood before it.
func (m *Moment) AddEvidence(pchannel string, e source.Evidence, content []byte) error {
	switch KindOf(e.Name) {
	case KindMetrics:
		nodes, err := ReadNodes(bytes.NewReader(content))
		m.AddNodes(nodes)
		return err
	case KindTopicStats:
		return m.addAnswers(pchannel, content)
	case KindLog:
		return m.addLog(e, content)
	case KindNone:
	}
	return nil
}

// addAnswers takes in the broker's answers for the topic of a pchannel.
func (m *Moment) addAnswers(pchannel string, content []byte) error {
	var t struct {
		Answers map[string]json.RawMessage `json:"answers"`
	}
	if err := json.Unmarshal(content, &t); err != nil {
		return errors.New("not the JSON that a capture writes")
	}
	look := &TopicLook{}
	var err error
	for name, answer := range t.Answers {
		add := look.AddStats
		switch name {
		case AnswerStats:
		case AnswerInternal, "internal-stats", "internalStats":
			add = look.AddInternal
		default:
			continue
		}
		if e := add(bytes.NewReader(answer)); e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	}
	if look.Stats || look.Internal {
		m.AddTopic(pchannel, look)
	}
	return err
}

// AddTopic takes in what the broker says of the topic of a pchannel; what it says
// anew replaces what it said before.
func (m *Moment) AddTopic(pchannel string, t *TopicLook) {
	have := m.Topics[pchannel]
	if have == nil {
		have = &TopicLook{}
		if m.Topics == nil {
			m.Topics = map[string]*TopicLook{}
		}
		m.Topics[pchannel] = have
	}
	if t.Stats {
		have.Stats, have.Publishers, have.Readers = true, t.Publishers, t.Readers
	}
	if t.Internal {
		have.Internal, have.Cursors, have.End = true, t.Cursors, t.End
	}
}

// addLog looks for symptoms in a log of Milvus that was packed.
func (m *Moment) addLog(e source.Evidence, content []byte) error {
	name := e.Provenance[source.EvidenceFile]
	if name == "" {
		name = e.Name
	}
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return errors.New("a log that cannot be unpacked")
	}
	return m.AddLog(name, z)
}

// AddLog looks for symptoms in a log of Milvus.
func (m *Moment) AddLog(name string, r io.Reader) error {
	found, err := ReadReduplicates(name, r)
	m.Symptoms = append(m.Symptoms, found...)
	m.LogsKnown = true
	return err
}

// Settle leaves out of what a log's checks found against the catalog what the moment
// explains: a log that was read later than the catalog knows terms that were given
// out in between.
func (m *Moment) Settle(findings []Finding) []Finding {
	return slices.DeleteFunc(findings, func(f Finding) bool {
		return f.Code == catalogTermBehind.Code && m.takenOverLater(f.Where.PChannel)
	})
}

// takenOverLater reports whether the log of a pchannel was opened by its highest term
// after the moment: the broker's last entry lies before that; or a live node still
// has the catalog's term, and the log was not opened again behind the higher one, as
// it would be where the catalog is an older copy.
func (m *Moment) takenOverLater(p string) bool {
	l := m.Logs[p]
	if l == nil {
		return false
	}
	if t := m.Topics[p]; t != nil && t.before(l.TermAt) {
		return true
	}
	term := m.Assigned[p].Term
	return !l.Reopened && slices.ContainsFunc(m.of(p), func(w *WALGauges) bool { return w.Term == term })
}

// before reports whether the topic ended before an entry when the broker was asked.
func (t *TopicLook) before(id message.ID) bool {
	ledger, entry, ok := strings.Cut(t.End, ":")
	a, err := strconv.ParseInt(ledger, 10, 64)
	b, err2 := strconv.ParseInt(entry, 10, 64)
	if !ok || err != nil || err2 != nil || id.Backend != message.BackendPulsar {
		return false
	}
	return cmp.Or(cmp.Compare(a, id.A), cmp.Compare(b, id.B)) < 0
}
