package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/diagnose"
)

// Label is the word a report opens a finding with.
func Label(s diagnose.Severity) string {
	switch s {
	case diagnose.SeverityInfo:
		return "INFO"
	case diagnose.SeverityWarning:
		return "WARN"
	case diagnose.SeverityError:
		return "ERROR"
	}
	return "CRITICAL"
}

// mostFindings are shown on a terminal, but with -o wide.
const mostFindings = 6

// Findings prints findings worst first: the code and its place, what was seen,
// what it means.
//
//	ERROR  stale-writer  15/1517/0  ×87
//	       87 messages never reach a reader
func Findings(w io.Writer, s Style, findings []diagnose.Finding) error {
	sorted := slices.Clone(findings)
	slices.SortStableFunc(sorted, func(a, b diagnose.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	width := 0
	for _, f := range sorted {
		width = max(width, len(f.Code))
	}
	meant := map[string]bool{} // what a code means is said once
	for i, f := range sorted {
		if s.Terminal && !s.Wide && i == mostFindings && len(sorted) > mostFindings+1 {
			_, err := fmt.Fprintf(w, "… and %s (-o wide)\n", Plural(len(sorted)-i, "more finding"))
			return err
		}
		word := fmt.Sprintf("%-8s", Label(f.Severity))
		where := f.Where
		if s.Terminal && !s.Wide {
			where = nearest(where)
		}
		line := fmt.Sprintf("%s  %-*s  %s", s.Paint(f.Severity.String(), word), width, f.Code, place(where))
		if f.Count > 1 {
			line += "  ×" + Thousands(f.Count)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
		for n, text := range []string{f.Meaning, evidence(f.Evidence)} {
			if text == "" || n == 0 && meant[f.Code] && !s.Wide {
				continue
			}
			meant[f.Code] = true
			if _, err := fmt.Fprintf(w, "%10s%s\n", "", Clean(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// nearest leaves out of a place what another part of it names too: a vchannel's
// pchannel, a vchannel's own key, and of a key what it lies under.
func nearest(w diagnose.Where) diagnose.Where {
	switch {
	case w.VChannel != "" && strings.HasSuffix(w.Key, "/"+w.VChannel):
		w.Key = ""
	case w.VChannel != "" && strings.Contains(w.Key, w.VChannel):
		w.VChannel = ""
	}
	if w.PChannel != "" && strings.Contains(w.VChannel+" "+w.Key, w.PChannel) {
		w.PChannel = ""
	}
	if parts := strings.SplitN(w.Key, "/", 4); len(parts) == 4 { // root, kind and pchannel
		w.Key = "…/" + parts[3]
	}
	return w
}

func place(w diagnose.Where) string {
	parts := []string{}
	for _, p := range []string{w.PChannel, w.VChannel, w.Key} {
		if p != "" {
			parts = append(parts, Clean(p))
		}
	}
	switch {
	case w.ID != "" && w.To != "" && w.To != w.ID:
		parts = append(parts, w.ID+" … "+w.To)
	case w.ID != "":
		parts = append(parts, w.ID)
	}
	return strings.Join(parts, "  ")
}

func evidence(e []diagnose.Evidence) string {
	parts := make([]string, len(e))
	for i := range e {
		parts[i] = e[i].Name + " " + e[i].Value
		if e[i].Name == "what" {
			parts[i] = e[i].Value
		}
	}
	return strings.Join(parts, " · ")
}

// Next prints the commands that follow.
func Next(w io.Writer, commands []string) error {
	for _, c := range commands {
		if _, err := fmt.Fprintf(w, "Next: %s\n", Clean(c)); err != nil {
			return err
		}
	}
	return nil
}
