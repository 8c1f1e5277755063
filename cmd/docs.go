package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
)

func newDocsCmd(f *cli.Factory) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "docs",
		Short:   "Write the command reference as Markdown into a directory",
		Hidden:  true,
		Args:    cli.Args(cobra.NoArgs),
		Example: "walctl docs --dir docs",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, page := range pages(cmd.Root()) {
				path := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return fmt.Errorf("write the reference: %w", err)
				}
				if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
					return fmt.Errorf("write the reference: %w", err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "docs", "where the pages go")
	return cli.Finish(f, cmd)
}

// pages is the reference: file name → Markdown. One page a command, so that a new
// command touches no other's.
func pages(root *cobra.Command) map[string]string {
	out := map[string]string{"exit-codes.md": exitCodesPage()}
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		var b strings.Builder
		section(&b, c, "#")
		for _, s := range c.Commands() {
			section(&b, s, "##")
		}
		out["commands/"+c.Name()+".md"] = b.String()
	}
	return out
}

func section(b *strings.Builder, c *cobra.Command, level string) {
	fmt.Fprintf(b, "%s walctl %s\n\n%s.\n", level, strings.TrimPrefix(c.CommandPath(), "walctl "), c.Short)
	block := func(title, text string) {
		if text = strings.Trim(text, "\n"); text != "" {
			fmt.Fprintf(b, "\n%s```text\n%s\n```\n", title, text)
		}
	}
	if c.Runnable() {
		c.LocalFlags() // brings in those of the commands above, which the line tells of
		block("", "  "+c.UseLine())
	}
	block("", c.Long)
	block("Examples:\n\n", c.Example)
	own, _ := flagSets(c)
	block("Flags:\n\n", own.FlagUsagesWrapped(helpWidth))
	if level == "##" {
		return
	}
	if c.HasSubCommands() {
		b.WriteString("\n")
	}
}

func exitCodesPage() string {
	var b strings.Builder
	b.WriteString(`# Exit codes

Scripts may depend on them: they do not change. Each help page lists those its
command can return.

| Code | Meaning |
|---|---|
`)
	for _, c := range cli.Codes() {
		fmt.Fprintf(&b, "| %d | %s |\n", c, c.Meaning())
	}
	b.WriteString(`
- Of several the first of 4, 3, 6 counts.
- A log whose last record was cut off in the middle, as after a crash, is no failure:
  everything before it is read, the tail is told, the code is 0.
- ` + "`--timeout`" + ` that is over makes a partial result: 6.
- Where the reader of walctl's output goes away (` + "`| head`" + `), walctl ends without a
  word with 1: it cannot know whether all was seen.
- ` + "`-q`" + ` prints nothing; only the code answers.
`)
	return b.String()
}
