package scanners

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
)

// LookReport is the JSON answer of a look at scanners.
type LookReport struct {
	render.Header
	PChannels  []string               `json:"pchannels"`
	Scanners   []diagnose.ScannerLook `json:"scanners"`
	NotChecked []string               `json:"not_checked"`
}

// lookAtScanners judges the scanners by the evidence of a moment, as doctor takes it.
func lookAtScanners(ctx context.Context, f *cli.Factory, o *options) error {
	e := &gather.Examined{Factory: f, Flags: &gather.MomentFlags{EvidenceFlags: o.EvidenceFlags, Source: o.source, Catalog: o.catalog}}
	if err := e.GatherBeside(ctx, o.wal); err != nil {
		return err
	}
	judged := diagnose.JudgeMoment(&e.Moment)
	r := &LookReport{PChannels: judged.PChannels, Scanners: diagnose.Scanners(&e.Moment, judged.Findings), NotChecked: append(e.Unknown, judged.NotChecked...)}
	if p := e.Described.PChannel; p != "" {
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
	r.Header = f.Header("scanners", e.Described, judged.Findings)
	return errors.Join(writeScanners(f, o, r), e.Unread, o.failOn.Check(judged.Findings))
}

func writeScanners(f *cli.Factory, o *options, r *LookReport) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	lines := []string{fmt.Sprintf("%s · %s", render.Plural(len(r.PChannels), "pchannel"), render.Plural(len(r.Scanners), "line")+" of scanners")}
	if err := cli.PrintLines(f, append(lines, cli.NotCheckedLines(r.NotChecked)...)); err != nil {
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
	told := cli.Shown(r.Header.Findings, o.output)
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
