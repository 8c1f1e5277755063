package cli

import (
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/diagnose"
)

// Shown leaves information, examples and repeated meanings to wide output.
func Shown(all []diagnose.Finding, out Output) []diagnose.Finding {
	if out == Wide {
		return all
	}
	keep, told := []diagnose.Finding{}, map[string]bool{}
	for _, x := range all {
		if x.Severity == diagnose.SeverityInfo && !diagnose.SaidAlways(&x) {
			continue
		}
		if told[x.Code] {
			x.Meaning = ""
		}
		told[x.Code] = true
		x.Evidence = slices.DeleteFunc(slices.Clone(x.Evidence), func(e diagnose.Evidence) bool {
			return e.Name == "example" || e.Name == "last" || e.Name == "messages" || strings.HasPrefix(e.Name, "rows of ")
		})
		keep = append(keep, x)
	}
	return keep
}

// WorthShowing leaves information to -o wide.
func WorthShowing(all []diagnose.Finding, o Output) (out []diagnose.Finding) {
	for _, x := range all {
		if x.Severity > diagnose.SeverityInfo || o == Wide {
			out = append(out, x)
		}
	}
	return out
}

// NotCheckedLines say what could not be looked at: one line, none where all was.
func NotCheckedLines(why []string) []string {
	if len(why) == 0 {
		return nil
	}
	return []string{"NOT CHECKED  " + strings.Join(why, "; ")}
}
