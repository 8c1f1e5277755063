package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// A command that walctl tells somebody to type answers for the cluster, the log
// and the catalog that its own command was given: it carries every flag that said
// which. Left out, the line would answer for the current context.

// carriedFlags are the flags beside the connection's that say what was looked at.
var carriedFlags = [...]string{"catalog", "log", "pchannel", "cluster", "topic-exists"}

// speaksOfNoCluster are the commands that need no such flag.
var speaksOfNoCluster = [...]string{"explain", "demo", "version", "completion", "context", "help"}

// Carry completes a command line that is told to the person: it gets each flag of
// the running command that says which cluster, log or catalog is meant, where the
// command it names has that flag and the line does not set it. A line that names
// no command of this walctl comes back as "".
func (f *Factory) Carry(line string) string { return f.carry(line, "") }

// CarryTo is Carry for one log of several: the command chooses it.
func (f *Factory) CarryTo(ref LogRef, line string) string { return f.carry(line, ref.Log) }

// carry is Carry for a log that was chosen without --log, as one of a place's many;
// "" = none was.
func (f *Factory) carry(line, log string) string {
	f.carrying.Lock()
	defer f.carrying.Unlock()
	line, comment, said := strings.Cut(line, "  # ")
	if said {
		comment = "  # " + comment
	}
	words := strings.Fields(line)
	if f.running == nil || len(words) < 2 || words[0] != "walctl" {
		return line + comment
	}
	target, _, err := f.running.Root().Find(words[1:])
	if err != nil || target == target.Root() || target.Hidden {
		return ""
	}
	for c := target; c.HasParent(); c = c.Parent() {
		if slices.Contains(speaksOfNoCluster[:], c.Name()) {
			return line + comment
		}
	}
	f.running.Flags().Visit(func(flag *pflag.Flag) {
		if !config.IsConnectionFlag(flag.Name) && !slices.Contains(carriedFlags[:], flag.Name) {
			return
		}
		if known := target.Flag(flag.Name) != nil || target.InheritedFlags().Lookup(flag.Name) != nil; known && !sets(words, flag.Name) {
			line += " " + SpellFlag(flag)
		}
	})
	if known := target.Flag("log") != nil; known && log != "" && !sets(words, "log") && f.running.Flags().Lookup("log") != nil && !f.running.Flags().Changed("log") {
		line += " --log " + SpellWord(log)
	}
	return line + comment
}

// sets reports whether a line's words set a flag.
func sets(words []string, name string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return w == "--"+name || strings.HasPrefix(w, "--"+name+"=") })
}

// SpellFlag is a flag as it is typed, once for each of its values.
func SpellFlag(flag *pflag.Flag) string {
	values := []string{flag.Value.String()}
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		values = list.GetSlice()
	}
	words := make([]string, len(values))
	for i, v := range values {
		switch {
		case flag.Value.Type() == "bool" && v == "true":
			words[i] = "--" + flag.Name
		case flag.Value.Type() == "bool":
			words[i] = "--" + flag.Name + "=" + v
		default:
			words[i] = "--" + flag.Name + " " + SpellWord(v)
		}
	}
	return strings.Join(words, " ")
}

// userinfo is what an address may carry of a person's credentials.
var userinfo = regexp.MustCompile(`://[^/@\s]*@`)

// SpellWord is an argument as it is typed in a shell, without user and password
// where it is an address.
func SpellWord(s string) string { return source.ShellWord(userinfo.ReplaceAllString(s, "://")) }

// Complete returns the commands that follow, each once and complete (Carry).
func (f *Factory) Complete(commands ...string) []string {
	lines := []string{}
	for _, c := range commands {
		if c = f.Carry(c); c != "" && !slices.Contains(lines, c) {
			lines = append(lines, c)
		}
	}
	return lines
}

// Next prints what Complete returns.
func (f *Factory) Next(commands ...string) error {
	return render.Next(f.Out(), f.Complete(commands...))
}

// Header opens a command's answer, the next commands of its findings complete.
func (f *Factory) Header(command string, wal render.WAL, findings []diagnose.Finding) render.Header {
	return f.HeaderOf(LogRef{}, command, wal, findings)
}

// HeaderOf is Header for one log of several: the next commands choose it.
func (f *Factory) HeaderOf(ref LogRef, command string, wal render.WAL, findings []diagnose.Finding) render.Header {
	for i := range findings {
		if findings[i].Next != "" {
			findings[i].Next = f.carry(findings[i].Next, ref.Log)
		}
	}
	return render.NewHeader(command, wal, findings)
}

// Running tells the Factory which command runs. Finish calls it.
func (f *Factory) Running(cmd *cobra.Command) { f.running = cmd }
