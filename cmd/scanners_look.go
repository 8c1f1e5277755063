package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// scannersReport is the JSON answer of a look at scanners.
type scannersReport struct {
	render.Header
	PChannels  []string               `json:"pchannels"`
	Scanners   []diagnose.ScannerLook `json:"scanners"`
	NotChecked []string               `json:"not_checked"`
}

// lookAtScanners judges the scanners by the evidence of a moment, as doctor takes it.
func lookAtScanners(ctx context.Context, f *cli.Factory, o *scannersOptions) error {
	e := &examined{f: f, o: &doctorOptions{evidenceFlags: o.evidenceFlags, source: o.source, catalog: o.catalog}}
	if err := e.gatherBeside(ctx, o.wal); err != nil {
		return err
	}
	judged := diagnose.JudgeMoment(&e.moment)
	r := &scannersReport{PChannels: judged.PChannels, Scanners: diagnose.Scanners(&e.moment, judged.Findings), NotChecked: append(e.unknown, judged.NotChecked...)}
	if p := e.described.PChannel; p != "" {
		if others := slices.DeleteFunc(r.PChannels, func(o string) bool { return o == p }); len(others) > 0 {
			r.NotChecked = append(r.NotChecked, "evidence that is not of this log: "+strings.Join(others, ", "))
		}
		r.PChannels = []string{p}
		r.Scanners = slices.DeleteFunc(r.Scanners, func(s diagnose.ScannerLook) bool { return s.PChannel != p })
		judged.Findings = slices.DeleteFunc(judged.Findings, func(x diagnose.Finding) bool { return diagnose.PChannelOf(x.Where) != p })
	}
	if r.PChannels == nil {
		r.PChannels = []string{}
	}
	r.Header = f.Header("scanners", e.described, judged.Findings)
	return errors.Join(writeScanners(f, o, r), e.unread, o.failOn.Check(judged.Findings))
}

// gatherBeside is gather for a log of which only what was captured with it is looked at.
func (e *examined) gatherBeside(ctx context.Context, wal string) error {
	if wal == "" {
		return e.gather(ctx)
	}
	s, err := e.f.OpenWAL(ctx, wal, e.o.source)
	if err != nil {
		return err
	}
	defer s.Close()
	e.moment.WAL, e.described = cli.SpellWord(wal), cli.DescribeWAL(s)
	settings, err := e.f.Config()
	if err != nil {
		return err
	}
	e.bad.f, e.unknown = e.f, []string{}
	if err := e.scrapes(ctx, settings.Metrics); err != nil {
		return err
	}
	e.archived(s)
	if err := e.assignments(ctx, s); err != nil {
		return err
	}
	for _, path := range e.o.logs {
		e.milvusLog(ctx, path)
	}
	if p := e.described.PChannel; p != "" {
		e.wals = []string{p}
	}
	e.topics()
	if len(e.moment.Topics) == 0 {
		e.capturedStats(s)
	}
	return context.Cause(ctx)
}

// capturedStats are the topic statistics an archive carries, where none were named.
func (e *examined) capturedStats(s source.Source) {
	with, ok := source.As[source.EvidenceSource](s)
	p := e.described.PChannel
	if !ok || p == "" {
		return
	}
	b, err := with.ReadEvidence(source.EvidenceTopicStats)
	if errors.Is(err, source.ErrNotFound) {
		return
	}
	var t cli.TopicEvidence
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	look := &diagnose.TopicLook{}
	for call, add := range map[string]func(io.Reader) error{"stats": look.AddStats, "internal-stats": look.AddInternal} {
		if answer := t.Answers[call]; err == nil && len(answer) > 0 {
			err = add(strings.NewReader(string(answer)))
		}
	}
	if err != nil {
		e.unknown = append(e.unknown, "captured topic statistics ("+err.Error()+")")
		return
	}
	e.moment.Topics[p] = look
}

func writeScanners(f *cli.Factory, o *scannersOptions, r *scannersReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	lines := []string{fmt.Sprintf("%s · %s", render.Plural(len(r.PChannels), "pchannel"), render.Plural(len(r.Scanners), "line")+" of scanners")}
	if err := printLines(f, append(lines, notCheckedLines(r.NotChecked)...)); err != nil {
		return err
	}
	table := render.Table{Columns: []render.Column{{Name: "pchannel"}, {Name: "scanner"}, {Name: "mode"}, {Name: "reads next"}, {Name: "lag", Right: true}, {Name: "verdict"}, {Name: "cause"}}}
	for i := range r.Scanners {
		s := &r.Scanners[i]
		table.Add(render.Text(s.PChannel), render.Text(scannerWords(s)), render.Text(s.Mode), render.Text(s.Position), render.Text(lagWords(s)), render.Text(verdictWords(s)), render.Text(s.Cause))
	}
	if len(table.Rows) == 0 {
		if _, err := fmt.Fprintln(f.Out(), "no scanner was seen: one that tails has no reader at the broker, --metrics counts it"); err != nil {
			return err
		}
	} else {
		if err := table.Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	told := shown(r.Header.Findings, o.output)
	if err := render.Findings(f.Out(), f.Style(o.output), told); err != nil {
		return err
	}
	if len(told) == 0 {
		return nil
	}
	return f.Next(told[0].Next)
}

func scannerWords(s *diagnose.ScannerLook) string {
	name := s.Name
	if s.Count > 1 {
		name = fmt.Sprintf("%s ×%d", name, s.Count)
	}
	if s.Node != "" {
		name += " on node " + s.Node
	}
	return name
}

func lagWords(s *diagnose.ScannerLook) string {
	var parts []string
	if s.LagMessages >= 0 {
		parts = append(parts, render.Plural(int(s.LagMessages), "message"))
	}
	if s.LagBytes > 0 {
		parts = append(parts, render.HumanBytes(s.LagBytes))
	}
	if s.LagSeconds > 0 || s.LagSeconds == 0 && s.LagMessages < 0 {
		parts = append(parts, render.HumanDuration(render.Seconds(s.LagSeconds)))
	}
	return strings.Join(parts, ", ")
}

func verdictWords(s *diagnose.ScannerLook) string {
	if s.EndsIn >= 0 {
		return s.Verdict + ", about " + render.HumanDuration(render.Seconds(s.EndsIn))
	}
	return s.Verdict
}
