package outfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/outfile"
)

func rule() *outfile.Rule {
	return &outfile.Rule{What: "plan", ForceFlag: "--force", Own: func(head []byte) bool { return bytes.HasPrefix(head, []byte("PLAN")) }}
}

func TestWhatIsReplaced(t *testing.T) {
	for name, x := range map[string]struct {
		stands string // "" = nothing
		force  bool
		refuse string // "" = written
	}{
		"nothing":           {},
		"a plan":            {stands: "PLAN 1"},
		"a note":            {stands: "dear diary", refuse: "no plan of walctl's"},
		"a note, forced":    {stands: "dear diary", force: true},
		"a plan, forced":    {stands: "PLAN 1", force: true},
		"nothing, forced":   {force: true},
		"half of the magic": {stands: "PLA", refuse: "--force"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.json")
			if x.stands != "" {
				require.NoError(t, os.WriteFile(path, []byte(x.stands), 0o600))
			}
			r := rule()
			r.Force = x.force
			err := r.Write(path, []byte("PLAN 2"))
			if x.refuse != "" {
				require.ErrorIs(t, err, outfile.ErrTaken)
				require.ErrorContains(t, err, x.refuse)
				require.Equal(t, x.stands, read(t, path))
			} else {
				require.NoError(t, err)
				require.Equal(t, "PLAN 2", read(t, path))
			}
			left, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, left, 1, "nothing is left behind")
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestNeverThroughALinkOrOverADirectory(t *testing.T) {
	dir := t.TempDir()
	r := rule()
	r.Force = true
	target := filepath.Join(dir, "target")
	require.NoError(t, os.WriteFile(target, []byte("PLAN 1"), 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("target", link))
	require.ErrorContains(t, r.Write(link, []byte("PLAN 2")), "a symbolic link to target")
	require.Equal(t, "PLAN 1", read(t, target))

	dangling := filepath.Join(dir, "dangling")
	require.NoError(t, os.Symlink("nowhere", dangling))
	require.ErrorIs(t, r.Write(dangling, nil), outfile.ErrTaken)

	require.ErrorContains(t, r.Write(dir, nil), "a directory stands there")
	require.ErrorContains(t, r.Write(filepath.Join(dir, "new")+"/", nil), "names a directory")
	require.ErrorContains(t, r.Write(filepath.Join(dir, "no", "p"), nil), "there is no directory")
	require.NotErrorIs(t, r.Write(filepath.Join(dir, "no", "p"), nil), outfile.ErrTaken)
	require.ErrorContains(t, r.Write(filepath.Join(target, "p"), nil), "target")
}

func TestNeverOverWhatItWasMadeFrom(t *testing.T) {
	dir := t.TempDir()
	at := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	log := at("log.jsonl", "{}")
	other := filepath.Join(dir, "other-name")
	require.NoError(t, os.Link(log, other))
	manifest := at("arch/manifest.json", "{}")
	old := at("arch/p.json", "PLAN 1")
	r := rule()
	r.Force, r.From = true, []string{log, filepath.Join(dir, "arch"), "a-pchannel"}
	for _, path := range []string{log, other, manifest} {
		before := read(t, path)
		require.ErrorContains(t, r.Write(path, []byte("PLAN 2")), "made from", path)
		require.Equal(t, before, read(t, path))
	}
	require.NoError(t, r.Write(old, []byte("PLAN 2")), "a plan that lies beside the archive's files")
	require.NoError(t, r.Write(filepath.Join(dir, "arch", "new.json"), []byte("PLAN 2")))
}

func TestStreams(t *testing.T) {
	r := rule()
	require.ErrorIs(t, r.Write("-", []byte("PLAN")), outfile.ErrTaken)
	var out bytes.Buffer
	r.Stdout = &out
	for _, name := range []string{"-", "/dev/stdout", "/dev/fd/1", "/dev//stdout"} {
		out.Reset()
		require.NoError(t, r.Write(name, []byte("PLAN")))
		require.Equal(t, "PLAN", out.String(), name)
	}
	require.NoError(t, r.Write("/dev/null", []byte("PLAN")))
	if info, err := os.Lstat("/dev/null"); err == nil {
		require.NotZero(t, info.Mode()&os.ModeCharDevice, "the machine still has its own")
	}
}
