package cmd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The reference in docs/ is what the commands say of themselves. After a change:
// go test ./cmd -run Docs -update
func TestDocsAreCurrent(t *testing.T) {
	f, _, _ := testFactory(nil)
	want := pages(newRootCmd(f))
	docs := filepath.Join("..", "docs")
	for name, page := range want {
		path := filepath.Join(docs, filepath.FromSlash(name))
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(page), 0o644))
		}
		have, err := os.ReadFile(path)
		if err != nil || string(have) != page {
			t.Errorf("docs/%s is not current; run: go test ./cmd -run Docs -update", name)
		}
	}
	pages, err := filepath.Glob(filepath.Join(docs, "commands", "*.md"))
	require.NoError(t, err)
	for _, p := range pages {
		if _, ok := want["commands/"+filepath.Base(p)]; !ok {
			t.Errorf("%s describes a command that does not exist: delete it", p)
		}
	}
}
