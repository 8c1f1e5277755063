package diagnose

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update rewrites docs/findings.md: go test ./pkg/diagnose -run Findings -update
var update = flag.Bool("update", false, "rewrite docs/findings.md")

// TestFindingsPage keeps docs/findings.md equal to the table of codes.
func TestFindingsPage(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "findings.md")
	want := Page()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "docs/findings.md differs from the code table: go test ./pkg/diagnose -run Findings -update")
}

// TestCodes: each once, whole, and spelled as scripts expect.
func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Checks() {
		require.False(t, seen[e.Code], e.Code)
		seen[e.Code] = true
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, e.Code)
		for _, text := range []string{e.Title, e.Meaning, e.Cause, e.Do} {
			require.NotEmpty(t, text, e.Code)
		}
		require.True(t, strings.HasSuffix(e.Meaning, "."), e.Code)
		for _, thread := range e.Threads {
			require.Regexp(t, `^(milvus|birdwatcher)#\d+$`, thread, e.Code)
		}
	}
}
