package walreader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func TestMatchName(t *testing.T) {
	all := []string{"by-dev-rootcoord-dml_1", "by-dev-rootcoord-dml_10", "by-dev-rootcoord-dml_3", "prod-rootcoord-dml_3", "dml_7"}
	for name, want := range map[string]string{
		"dml_1": "by-dev-rootcoord-dml_1", "dml_10": "by-dev-rootcoord-dml_10", "by-dev-rootcoord-dml_3": "by-dev-rootcoord-dml_3", "dml_7": "dml_7", "10": "by-dev-rootcoord-dml_10",
	} {
		got, err := MatchName(name, all)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	var spec *SpecError
	_, err := MatchName("dml_3", all)
	require.ErrorAs(t, err, &spec)
	require.Len(t, spec.Choices, 2)
	for _, name := range []string{"dml", "ml_1", "by-dev", "dml_", ""} {
		_, err = MatchName(name, all)
		require.ErrorIs(t, err, source.ErrNotFound, name)
	}
}

type cluster struct {
	names  []string
	opened string
	err    error
}

func (c *cluster) PChannels(context.Context) ([]string, error) { return c.names, c.err }
func (c *cluster) OpenPChannel(_ context.Context, p string) (source.Source, error) {
	c.opened = p
	return nil, nil
}
func (c *cluster) OpenURL(_ context.Context, _ source.Backend, u string) (source.Source, error) {
	c.opened = u
	return nil, nil
}

// moreNames knows a log beside those it lists.
type moreNames struct{ *cluster }

func (moreNames) Unlisted(context.Context) ([]string, error) {
	return []string{"by-dev-rootcoord-dml_15"}, nil
}

// A pchannel nobody serves is found by its name, and by nothing else.
func TestOpenUnlisted(t *testing.T) {
	c := moreNames{&cluster{names: []string{"by-dev-rootcoord-dml_1"}}}
	for name, want := range map[string]string{"dml_15": "by-dev-rootcoord-dml_15", "by-dev-rootcoord-dml_15": "by-dev-rootcoord-dml_15"} {
		got, err := resolve(t.Context(), name, c)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := resolve(t.Context(), "dml_16", c)
	require.ErrorIs(t, err, source.ErrNotFound)
}

func TestOpenLive(t *testing.T) {
	ctx := context.Background()
	c := &cluster{names: []string{"by-dev-rootcoord-dml_3"}}
	_, err := Open(ctx, "dml_3", Options{Cluster: c})
	require.NoError(t, err)
	require.Equal(t, "by-dev-rootcoord-dml_3", c.opened)
	_, err = Open(ctx, "pulsar://h:6650/t/n/x", Options{Cluster: c})
	require.NoError(t, err)
	require.Equal(t, "pulsar://h:6650/t/n/x", c.opened)

	c = &cluster{err: source.ErrUnavailable} // the admin port is closed: the name is taken whole
	_, err = Open(ctx, "by-dev-rootcoord-dml_3", Options{Cluster: c})
	require.NoError(t, err)
	require.Equal(t, "by-dev-rootcoord-dml_3", c.opened)

	_, err = Open(ctx, "dml_3", Options{Cluster: &cluster{err: errors.New("bad token")}})
	require.ErrorContains(t, err, "bad token")
	var spec *SpecError
	_, err = Open(ctx, "dml_3", Options{})
	require.ErrorAs(t, err, &spec)
}

// kindOf is the backend a path's content tells, "" for none.
func kindOf(path string) (string, error) {
	b, _, err := Detect(path, Backends())
	return b.Kind, err
}

func TestKindIsToldByContent(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o700))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o600))
		return p
	}
	record := `{"i":0,"id":"CAUQABgAIAAwAQ==","ids":"5/0/0","props":{},"payload":""}` + "\n"
	for _, c := range []struct {
		name, content string
		want          string
	}{
		{"a.parquet", record, "jsonl"}, // never by name
		{"empty", "", "jsonl"},
		{"damaged", "X" + record[1:], "jsonl"},
		{"cutgz", "\x1f\x8b\x08", "jsonl"},
		{"prose", "The quick brown fox.", ""},
		{"000.txn", "BKLG\x00\x00\x00\x06", "bookkeeper"},
		{"0.log", "BKLO\x00\x00\x00\x01", "bookkeeper"},
		{"data.log", "\x5a\xde\x30\xbb\x01\x10\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00HDR\x01", "woodpecker"},
	} {
		got, err := kindOf(write(c.name, c.content))
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got, c.name)
	}
	_, err := kindOf(write("p", "PAR1xxxx"))
	require.ErrorContains(t, err, "directory")
	_, err = kindOf(write("meta.db", strings.Repeat("\x00", 16)+"\xed\xda\x0c\xed"))
	require.ErrorContains(t, err, "--catalog")
	_, err = kindOf(filepath.Join(dir, "nothing"))
	require.ErrorIs(t, err, source.ErrNotFound)

	write("wp/1/0/data.log", "")
	got, err := kindOf(filepath.Join(dir, "wp"))
	require.NoError(t, err)
	require.Equal(t, "woodpecker", got)
}

func TestSeveralLogsInADirectory(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	record := `{"i":0,"id":"CAUQABgAIAAwAQ==","ids":"5/0/0","props":{},"payload":""}` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "one"), []byte(record), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "note.txt"), []byte("x"), 0o600))
	s, err := Open(ctx, dir, Options{})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "one"), s.Describe().Location)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "two"), []byte(record), 0o600))
	var spec *SpecError
	_, err = Open(ctx, dir, Options{})
	require.ErrorAs(t, err, &spec)
	require.Equal(t, []string{"one", "two"}, spec.Choices)
	s, err = Open(ctx, dir, Options{Log: "two"})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "two"), s.Describe().Location)
	_, err = Open(ctx, dir, Options{Log: "three"})
	require.ErrorAs(t, err, &spec)
}

func TestGoldenDirectoriesOpen(t *testing.T) {
	for _, name := range golden.Names(t) {
		kind, err := kindOf(filepath.Dir(golden.WAL(t, name)))
		require.NoError(t, err, name)
		require.Equal(t, "jsonl", kind, name)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("BKLO"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xff})
	f.Add([]byte(`{"props":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(p, b, 0o600))
		_, _ = kindOf(p)
	})
}
