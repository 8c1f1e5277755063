package cmd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/diagnose"
)

// TestProblemsAreSeen: every problem of the page has its row in order; each code it
// names is a check that a test makes happen; a row without one says so; and each
// incident's demo exists and begins with the code that its row names first.
func TestProblemsAreSeen(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "problems.md"))
	require.NoError(t, err)
	code := regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`")
	happens := map[string]bool{}
	for _, r := range fixtures() {
		happens[r.code] = true
	}
	commands := map[string]bool{}
	f, _, _ := testFactory(nil)
	for _, c := range newRootCmd(f).Commands() {
		commands[c.Name()] = true
	}
	causes := demoCauses()
	seen, problems, incidents := 0, 0, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) < 4 || strings.Contains(line, "---") || strings.TrimSpace(cells[0]) == "" {
			continue
		}
		id, by := strings.TrimSpace(cells[0]), cells[2]
		codes := code.FindAllStringSubmatch(by, -1)
		for _, m := range codes {
			c := diagnose.Lookup(m[1])
			require.NotNil(t, c, "%s: %s is no check", id, m[1])
			if c.Kind == check.Finding {
				require.True(t, happens[m[1]] || elsewhere[m[1]] != "", "%s: no test makes %s happen", id, m[1])
			}
		}
		require.Equal(t, len(codes) == 0, strings.HasPrefix(by, "no check: "), "%s: %s", id, by)
		for _, m := range regexp.MustCompile("`([a-z]+)(?: --?[a-z-]+)?`").FindAllStringSubmatch(by, -1) {
			require.True(t, commands[m[1]] || diagnose.Lookup(m[1]) != nil, "%s: %s is no command", id, m[1])
		}
		if n, ok := strings.CutPrefix(id, "I"); ok {
			incidents++
			require.Equal(t, strconv.Itoa(incidents), n)
			name := strings.Trim(strings.TrimSpace(cells[4]), "` ")
			require.True(t, slices.ContainsFunc(demo.List(), func(d demo.Demo) bool { return d.Name == name }), "%s: no demo %s", id, name)
			require.Equal(t, causes[name], codes[0][1], id)
			continue
		}
		problems++
		require.Equal(t, strconv.Itoa(problems), id)
		if len(codes) > 0 {
			seen++
		}
	}
	require.Equal(t, []int{5, 24}, []int{incidents, problems})
	require.GreaterOrEqual(t, seen, 20)
}
