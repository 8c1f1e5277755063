package cmd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/diagnose"
)

// written finds a command line in a page: indented, or between backticks.
var written = regexp.MustCompile("(?m)^ {4,}(?:\\$ )?(walctl [^\n]*)$|`(walctl [^`]*)`")

// What a page tells to type exists: the command, and each of its flags.
func TestPagesNameWhatExists(t *testing.T) {
	docs := filepath.Join("..", "docs")
	var files []string
	for _, glob := range []string{"../README.md", "../SECURITY.md", "../CHANGELOG.md", docs + "/*.md", docs + "/runbooks/*.md"} {
		found, err := filepath.Glob(glob)
		require.NoError(t, err)
		files = append(files, found...)
	}
	f, _, _ := testFactory(nil)
	root := newRootCmd(f)
	lines := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range written.FindAllStringSubmatch(string(text), -1) {
			line := strings.Join(strings.Fields(m[1]+m[2]), " ")
			line, _, _ = strings.Cut(line, " | ")
			words := strings.Fields(line)[1:]
			if len(words) == 0 || strings.ToUpper(words[0]) == words[0] {
				continue // walctl itself, or a placeholder
			}
			lines++
			cmd, _, err := root.Find(words)
			if err != nil || cmd == root {
				t.Errorf("%s: `%s` names no command", file, line)
				continue
			}
			for _, w := range words {
				name, _, _ := strings.Cut(strings.TrimPrefix(w, "--"), "=")
				if strings.HasPrefix(w, "--") && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: `%s`: %s has no --%s", file, line, cmd.CommandPath(), name)
				}
			}
		}
	}
	require.Greater(t, lines, 40)
}

// A runbook names findings by codes that exist, and links pages that do.
func TestRunbooksNameCodesAndPages(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "docs", "runbooks", "*.md"))
	require.NoError(t, err)
	require.Greater(t, len(pages), 7)
	index, err := os.ReadFile(filepath.Join("..", "docs", "runbooks", "README.md"))
	require.NoError(t, err)
	code := regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`")
	notCodes := map[string]bool{"pulsar-admin": true, "backlog-clear": true, "by-dev-rootcoord-dml": true}
	link := regexp.MustCompile(`\]\(([a-z][a-z./-]+\.md)[)#]`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if name := filepath.Base(page); name != "README.md" {
			require.Contains(t, string(index), "("+name+")", "the index lacks a page")
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			if diagnose.Lookup(m[1]) == nil && !notCodes[m[1]] {
				t.Errorf("%s: no finding is called %s", page, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), m[1]))
			require.NoError(t, err, "%s links a page that is not there", page)
		}
	}
}
