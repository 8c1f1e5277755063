package cmd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// Every golden record comes back as it was: from its file, from an archive of it,
// and from what inspect printed.
func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, name := range golden.Names(t) {
		if name == "200k" && testing.Short() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want := lines(t, string(golden.Read(t, golden.WAL(t, name))))
			dir := t.TempDir()
			archived := filepath.Join(dir, "a")
			archiveOf(t, archived, golden.WAL(t, name))
			printed := filepath.Join(dir, "printed")
			for _, wal := range []string{golden.WAL(t, name), archived, printed} {
				code, out, errOut := run(t, nil, "inspect", wal, "--records", "-o", "ndjson", "--data")
				require.Equal(t, 0, code, errOut)
				require.Equal(t, want, lines(t, out), wal)
				require.NoError(t, os.WriteFile(printed, []byte(out), 0o600))
			}
		})
	}
}

// archiveOf writes a log into an archive.
func archiveOf(t testing.TB, dir, wal string) {
	t.Helper()
	ctx := context.Background()
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: "by-dev-rootcoord-dml_0"})
	require.NoError(t, err)
	r, err := jsonl.Open(wal).Open(ctx, source.Range{Props: true, Payload: source.PayloadAll})
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, source.Each(ctx, r, func(m *message.Message) error { return w.Add(m, m.Ordinal) }, nil))
	require.NoError(t, w.Close())
}

// A count over an archive's columns and one over a file's messages agree.
func TestOverviewsAgree(t *testing.T) {
	for _, name := range golden.Names(t) {
		if name == "200k" && testing.Short() {
			continue
		}
		dir := filepath.Join(t.TempDir(), "a")
		archiveOf(t, dir, golden.WAL(t, name))
		for _, args := range [][]string{{"-o", "csv"}, {"--stats=type,vchannel,size,term", "-o", "csv"},
			{"--stats=vchannel", "--type", "Insert,Delete", "-o", "csv"}, {"--from", "+7", "--limit", "200", "-o", "csv"}} {
			_, file, _ := run(t, nil, append([]string{"inspect", golden.WAL(t, name)}, args...)...)
			code, archived, errOut := run(t, nil, append([]string{"inspect", dir}, args...)...)
			require.Equal(t, 0, code, errOut)
			require.Equal(t, file, archived, "%s %v", name, args)
		}
	}
}
