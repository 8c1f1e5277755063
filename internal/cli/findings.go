package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/pkg/diagnose"
)

// FailOn is --fail-on: the severity from which findings make a command exit 3.
type FailOn struct {
	severity diagnose.Severity
	never    bool
}

// failOnWords are the values, lowest first.
var failOnWords = [...]string{"info", "warning", "error", "critical", "never"}

// Add adds the flag; without it errors fail.
func (o *FailOn) Add(cmd *cobra.Command) {
	o.severity = diagnose.SeverityError
	cmd.Flags().Var(o, "fail-on", "exit 3 from this severity on: info|warning|error|critical|never")
	CompleteWords(cmd, "fail-on", failOnWords[:])
}

// String implements pflag.Value.
func (o *FailOn) String() string {
	if o.never {
		return "never"
	}
	return o.severity.String()
}

// Type implements pflag.Value.
func (o *FailOn) Type() string { return "severity" }

// Set implements pflag.Value.
func (o *FailOn) Set(s string) error {
	i := slices.Index(failOnWords[:], s)
	if i < 0 {
		return Usagef("%q: want info, warning, error, critical or never", s)
	}
	o.never = s == "never"
	if !o.never {
		o.severity = diagnose.Severity(i)
	}
	return nil
}

// Check returns a *FindingsError, already reported, where findings reach the
// severity. Join it with the command's other errors.
func (o *FailOn) Check(findings []diagnose.Finding) error {
	e := &FindingsError{}
	for _, f := range findings {
		if !o.never && f.Severity >= o.severity {
			e.Count++
			e.Worst = max(e.Worst, f.Severity)
		}
	}
	if e.Count == 0 {
		return nil
	}
	return Reported(e)
}
