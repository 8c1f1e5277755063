package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// completeWithin bounds what a shell waits for while a word is completed: a
// cluster that does not answer in time offers nothing.
const completeWithin = 2 * time.Second

// wordsOf is the annotation of a flag that takes one of a few words.
const wordsOf = "walctl_words"

// CompleteWords says what words a flag of cmd takes.
func CompleteWords(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.Flags().SetAnnotation(flag, wordsOf, words) // fails only for a flag that is not there
}

// Completions gives every command below root what its shell completes: pchannels and
// files where a WAL stands, contexts, journals, and the words of every flag whose
// usage lists them. It is called once, when the tree is
// whole, and only where a shell asks: cobra keeps what it is given for as long as the
// process lives.
func (f *Factory) Completions(root *cobra.Command) {
	f.completeFlags(root, root.PersistentFlags())
	f.completeBelow(root)
}

func (f *Factory) completeBelow(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		f.completeFlags(c, c.LocalFlags())
		if c.ValidArgsFunction == nil {
			c.ValidArgsFunction = f.argsOf(c)
		}
		f.completeBelow(c)
	}
}

// argsOf is what completes a command's arguments; nil = files, the shell's default.
func (f *Factory) argsOf(c *cobra.Command) cobra.CompletionFunc {
	switch {
	case strings.Contains(c.Use, "ID|latest"):
		return f.completeJournal
	case strings.Contains(c.Use, "WAL"):
		return f.completeWAL
	case c.HasParent() && c.Parent().Name() == "context" && strings.Contains(c.Use, "NAME"):
		return f.completeContext
	}
	return nil
}

func (f *Factory) completeFlags(c *cobra.Command, flags *pflag.FlagSet) {
	flags.VisitAll(func(fl *pflag.Flag) {
		if _, done := c.GetFlagCompletionFunc(fl.Name); done {
			return
		}
		var complete cobra.CompletionFunc
		name, _ := pflag.UnquoteUsage(fl)
		switch {
		case fl.Annotations[wordsOf] != nil:
			complete = cobra.FixedCompletions(fl.Annotations[wordsOf], cobra.ShellCompDirectiveNoFileComp)
		case fl.Name == "context":
			complete = f.completeContext
		case fl.Name == "catalog":
			complete = cobra.FixedCompletions([]string{"etcd://", "etcds://", "file:", "kvjson:", "snapshot:"}, cobra.ShellCompDirectiveNoSpace)
		case strings.Contains(name, ":PATH"):
			complete = cobra.FixedCompletions(prefixes(name), cobra.ShellCompDirectiveNoSpace)
		case strings.Contains(name, "|"):
			complete = cobra.FixedCompletions(strings.Split(name, "|"), cobra.ShellCompDirectiveNoFileComp)
		default:
			return
		}
		_ = c.RegisterFlagCompletionFunc(fl.Name, complete) // fails only for a flag that is not there
	})
}

// prefixes are the kinds of places a usage lists: file:, kvjson:.
func prefixes(usage string) []string {
	out := strings.Split(usage, "|")
	for i := range out {
		out[i] = strings.TrimSuffix(out[i], "PATH")
	}
	return out
}

// completeWAL offers the context's pchannels beside files. It tells nothing of a
// cluster that does not answer: the line being typed is the operator's.
func (f *Factory) completeWAL(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.ContainsAny(typed, "/.") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	f.Quiet = true // a shell shows whatever is said
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	names, err := f.PChannels(ctx, WALFlags{Silent: true})
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return names, cobra.ShellCompDirectiveDefault
}

func (f *Factory) completeContext(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	path, err := config.Path(cmd.Flags(), f.Getenv)
	if err != nil || path == "" || len(args) > 0 && strings.Contains(cmd.Use, "NAME") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	file, err := config.ReadFile(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return file.Names(), cobra.ShellCompDirectiveNoFileComp
}

// completeJournal offers the journals of the catalog named so far.
func (f *Factory) completeJournal(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	f.Quiet = true // a shell shows whatever is said
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	spec, _ := cmd.Flags().GetString("catalog")
	offered := []string{"latest"}
	cat, err := f.OpenCatalog(ctx, CatalogFlags{Spec: spec, AnyRoot: true}, nil, false)
	if err != nil {
		return offered, cobra.ShellCompDirectiveNoFileComp
	}
	defer cat.Close()
	all, err := plan.Journals(ctx, cat)
	if err != nil {
		return offered, cobra.ShellCompDirectiveNoFileComp
	}
	for _, j := range slices.Backward(all) {
		offered = append(offered, j.ID+"\t"+string(j.State)+" "+j.PChannel)
	}
	return offered, cobra.ShellCompDirectiveNoFileComp
}
