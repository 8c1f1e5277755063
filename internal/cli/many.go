package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Many is how a command answers for several logs: one line a log, worst first,
// then the detail of what is not sound.
type Many[T any] struct {
	Command   string
	Output    Output
	Columns   []render.Column // beside the state and the log's name
	Cells     func(*T) []render.Cell
	Header    func(*T) *render.Header
	Unchecked func(*T) []string // what could not be judged; nil = nothing of the kind
	Lines     func([]*T) error  // of the command's own format, Prometheus's
	Next      func(*T) string   // what follows for a log that is not sound; nil: what its findings say
	Quiet     bool              // the answer is out already: rows, one a line
	told      SharedNotes
}

// manyReport is the JSON answer for several logs. Each of logs is what the command
// answers for that log alone, or a header and the error that kept it from it.
type manyReport struct {
	render.Header
	Logs []json.RawMessage `json:"logs"`
}

// failedLog stands in the list for a log that could not be read.
type failedLog struct {
	render.Header
	Error string `json:"error"`
}

// logLine is one log's line and what its detail is made of.
type logLine struct {
	name, state string
	next        string
	rank        int
	findings    []diagnose.Finding
	err         error
	cells       []render.Cell
}

// Ask asks every log by one, jobs of them at once, and brings the answers out. w are
// the command's flags; one gets those that hold for its log.
func (m *Many[T]) Ask(ctx context.Context, f *Factory, refs []LogRef, jobs int, w WALFlags,
	one func(context.Context, LogRef, WALFlags, source.Progress) (*T, error),
) error {
	return m.Write(ctx, f, m.Answers(ctx, f, refs, jobs, w, one))
}

// Answers asks every log as ask does.
func (m *Many[T]) Answers(ctx context.Context, f *Factory, refs []LogRef, jobs int, w WALFlags,
	one func(context.Context, LogRef, WALFlags, source.Progress) (*T, error),
) []Asked[T] {
	w = w.Gently(jobs)
	w.Notes = &m.told
	show, done := f.ProgressOfMany(m.Command, len(refs))
	defer done()
	return Each(ctx, jobs, refs, func(ctx context.Context, ref LogRef) (*T, error) { return one(ctx, ref, w, show.One()) })
}

// Write brings the answers out and returns the errors their exit code comes from.
func (m *Many[T]) Write(ctx context.Context, f *Factory, answers []Asked[T]) error {
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		return context.Cause(ctx)
	}
	m.told.Tell(f)
	lines := m.judged(answers)
	code := make([]error, 0, len(answers))
	for i := range answers {
		code = append(code, answers[i].Err)
		if answers[i].Report == nil && !m.Output.IsTable() {
			f.Notef("walctl: %s: %v", lines[i].name, answers[i].Err)
		}
	}
	return errors.Join(m.writeAs(f, answers, lines), Reported(errors.Join(code...)))
}

func (m *Many[T]) writeAs(f *Factory, answers []Asked[T], lines []logLine) error {
	if m.Quiet {
		return nil
	}
	switch m.Output {
	case JSON, NDJSON:
		return m.json(f, answers, lines)
	case CSV:
		return m.table(lines).CSV(f.Out())
	case Prometheus:
		reports := []*T{}
		for i := range answers {
			if answers[i].Report != nil {
				reports = append(reports, answers[i].Report)
			}
		}
		return m.Lines(reports)
	}
	return m.screen(f, answers, lines)
}

func (m *Many[T]) json(f *Factory, answers []Asked[T], lines []logLine) error {
	out := manyReport{Header: render.NewHeader(m.Command, render.WAL{}, nil)}
	for i := range answers {
		var b bytes.Buffer
		if answers[i].Report == nil {
			wal := render.WAL{Location: answers[i].Ref.String()}
			if err := render.NDJSON(&b, failedLog{render.NewHeader(m.Command, wal, nil), answers[i].Err.Error()}); err != nil {
				return err
			}
		} else if err := render.NDJSON(&b, answers[i].Report); err != nil {
			return err
		}
		out.Logs = append(out.Logs, bytes.TrimSpace(b.Bytes()))
		out.Findings = append(out.Findings, m.placed(answers[i].Report)...)
	}
	if m.Output == JSON {
		return render.JSON(f.Out(), out)
	}
	return render.Lines(f.Out(), out.Logs)
}

// placed are a log's findings, each with the log's name.
func (m *Many[T]) placed(r *T) []diagnose.Finding {
	if r == nil {
		return nil
	}
	h := m.Header(r)
	out := slices.Clone(h.Findings)
	for i := range out {
		out[i].Where.PChannel = cmp.Or(out[i].Where.PChannel, h.WAL.PChannel)
	}
	return out
}

// Ranks of a log's line, worst last; between them lie the severities of findings.
const (
	rankSound = iota
	rankPartial
	rankCorrupt
	rankFindings
	rankFailed = rankFindings + int(diagnose.SeverityCritical) + 1
)

func (m *Many[T]) judged(answers []Asked[T]) []logLine {
	names := LogNames(answers, func(r *T) string { return m.Header(r).WAL.PChannel })
	lines := make([]logLine, len(answers))
	for i := range answers {
		l := logLine{name: names[i], state: "ok", err: answers[i].Err}
		if r := answers[i].Report; r == nil {
			l.state, l.rank = "FAILED", rankFailed
			l.cells = make([]render.Cell, len(m.Columns))
		} else {
			l.findings, l.cells = slices.Clone(m.Header(r).Findings), m.Cells(r)
			for j := range l.findings {
				if p := l.findings[j].Where.PChannel; p == "" || p == m.Header(r).WAL.PChannel {
					l.findings[j].Where.PChannel = l.name
				}
			}
			l.judge()
			if m.Next != nil {
				l.next = m.Next(r)
			}
		}
		lines[i] = l
	}
	return lines
}

// judge finds the worst that is to be said of a log that was read.
func (l *logLine) judge() {
	worst := diagnose.SeverityInfo
	for i := range l.findings {
		worst = max(worst, l.findings[i].Severity)
	}
	var found *FindingsError
	if errors.As(l.err, &found) {
		worst = max(worst, found.Worst)
	}
	switch code := CodeOf(l.err); {
	case worst > diagnose.SeverityInfo:
		l.state, l.rank = render.Label(worst), rankFindings+int(worst)
	case code == CodeCorrupt:
		l.state, l.rank = "CORRUPT", rankCorrupt
	case code != CodeOK:
		l.state, l.rank = "PARTIAL", rankPartial
	}
}

// codes names a log's findings, worst first.
func (l *logLine) codes() string {
	worst := slices.Clone(l.findings)
	slices.SortStableFunc(worst, func(a, b diagnose.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	codes := []string{}
	for i := range worst {
		if worst[i].Severity > diagnose.SeverityInfo && !slices.Contains(codes, worst[i].Code) {
			codes = append(codes, worst[i].Code)
		}
	}
	return walreader.Few(codes)
}

func worstFirst(lines []logLine) []logLine {
	sorted := slices.Clone(lines)
	slices.SortStableFunc(sorted, func(a, b logLine) int { return cmp.Compare(b.rank, a.rank) })
	return sorted
}

func (m *Many[T]) table(lines []logLine) *render.Table {
	t := &render.Table{Columns: slices.Concat([]render.Column{{Name: "state"}, {Name: "log"}}, m.Columns, []render.Column{{Name: "findings"}})}
	for _, l := range worstFirst(lines) {
		what := l.codes()
		if l.rank == rankFailed {
			what, _, _ = strings.Cut(l.err.Error(), "\n")
		}
		t.Add(slices.Concat([]render.Cell{render.Text(l.state), render.Text(l.name)}, l.cells, []render.Cell{render.Text(what)})...)
	}
	return t
}

func (m *Many[T]) screen(f *Factory, answers []Asked[T], lines []logLine) error {
	sound, failed := 0, 0
	for i := range lines {
		switch lines[i].rank {
		case rankSound:
			sound++
		case rankFailed:
			failed++
		}
	}
	head := fmt.Sprintf("%s · %d sound, %d not", render.Plural(len(lines), "log"), sound, len(lines)-sound-failed)
	if failed > 0 {
		head += fmt.Sprintf(", %d could not be read", failed)
	}
	if _, err := fmt.Fprintln(f.Out(), head); err != nil {
		return err
	}
	for _, words := range m.notChecked(answers, lines) {
		if _, err := fmt.Fprintln(f.Out(), "NOT CHECKED  "+render.Clean(words)); err != nil {
			return err
		}
	}
	if err := m.table(lines).Write(f.Out(), f.Style(m.Output)); err != nil {
		return err
	}
	return m.detail(f, worstFirst(lines))
}

// notChecked says what could not be judged, each reason once.
func (m *Many[T]) notChecked(answers []Asked[T], lines []logLine) (out []string) {
	if m.Unchecked == nil {
		return nil
	}
	why, of, read := []string{}, map[string][]string{}, 0
	for i := range answers {
		if answers[i].Report == nil {
			continue
		}
		read++
		for _, w := range m.Unchecked(answers[i].Report) {
			if of[w] == nil {
				why = append(why, w)
			}
			of[w] = append(of[w], lines[i].name)
		}
	}
	for _, w := range why {
		if len(of[w]) < read {
			w += " (" + walreader.Few(of[w]) + ")"
		}
		out = append(out, w)
	}
	return out
}

// shared makes one of the findings that several logs have in common: the same was seen
// at the same place of each.
func shared(all []diagnose.Finding) (out []diagnose.Finding) {
	type same struct{ code, where, seen string }
	at, logs := map[same]int{}, map[same][]string{}
	for i := range all {
		x := all[i]
		where := x.Where
		where.PChannel = ""
		k := same{x.Code, fmt.Sprint(where, x.Count), fmt.Sprint(x.Evidence)}
		if _, met := at[k]; !met {
			at[k] = len(out)
			out = append(out, x)
		}
		if !slices.Contains(logs[k], x.Where.PChannel) {
			logs[k] = append(logs[k], x.Where.PChannel)
		}
		out[at[k]].Where.PChannel = walreader.Few(logs[k])
	}
	return out
}

// sameCode is how many findings of one code the detail shows; the lines above name
// every log that has it.
const sameCode = 3

// nextShown is how many commands follow an answer for several logs.
const nextShown = 2

// detail shows what was found, worst first, and one code's meaning once.
func (m *Many[T]) detail(f *Factory, lines []logLine) error {
	all, next := []diagnose.Finding{}, []string{}
	for _, l := range lines {
		all = append(all, l.findings...)
	}
	slices.SortStableFunc(all, func(a, b diagnose.Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code))
	})
	told := shared(Shown(all, m.Output))
	keep, count := []diagnose.Finding{}, map[string]int{}
	for _, x := range told {
		if count[x.Code]++; count[x.Code] <= sameCode || m.Output == Wide {
			keep = append(keep, x)
		}
	}
	if err := render.Findings(f.Out(), f.Style(m.Output), keep); err != nil {
		return err
	}
	for _, x := range told {
		if n := count[x.Code]; n > sameCode && m.Output != Wide {
			if _, err := fmt.Fprintf(f.Out(), "%10sand %d more of %s; -o wide shows them\n", "", n-sameCode, x.Code); err != nil {
				return err
			}
		}
		count[x.Code] = 0
		if m.Next == nil && x.Severity >= diagnose.SeverityError && x.Next != "" {
			next = append(next, x.Next)
		}
	}
	for _, l := range lines {
		if l.rank > rankSound && strings.HasPrefix(l.next, "walctl ") {
			next = append(next, l.next)
		}
	}
	return f.Next(next[:min(len(next), nextShown)]...)
}
