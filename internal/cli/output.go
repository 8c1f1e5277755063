package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Output is a value of -o.
type Output string

// The output formats. Prometheus is offered by a few commands only.
const (
	Table      Output = "table"
	Wide       Output = "wide"
	JSON       Output = "json"
	NDJSON     Output = "ndjson"
	CSV        Output = "csv"
	Prometheus Output = "prometheus"
)

// AddOutput adds -o with the formats a command offers, the first by default.
// Without any: table, wide, json, ndjson, csv.
func AddOutput(cmd *cobra.Command, o *Output, offered ...Output) {
	if len(offered) == 0 {
		offered = []Output{Table, Wide, JSON, NDJSON, CSV}
	}
	*o = offered[0]
	cmd.Flags().VarP(&outputFlag{o, offered}, "output", "o", "output: "+join(offered))
	CompleteWords(cmd, "output", strings.Split(join(offered), "|"))
}

type outputFlag struct {
	o       *Output
	offered []Output
}

func (f *outputFlag) String() string { return string(*f.o) }
func (f *outputFlag) Type() string   { return "format" }
func (f *outputFlag) Set(s string) error {
	if !slices.Contains(f.offered, Output(s)) {
		return Usagef("%q is not offered here; choose one of %s", s, join(f.offered))
	}
	*f.o = Output(s)
	return nil
}

func join(o []Output) string {
	s := make([]string, len(o))
	for i := range o {
		s[i] = string(o[i])
	}
	return strings.Join(s, "|")
}

// IsTable reports whether the output is for reading: table or wide.
func (o Output) IsTable() bool { return o == Table || o == Wide }
