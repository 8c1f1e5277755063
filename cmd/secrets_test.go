package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// planted are the credentials of testdata/credentials.jsonl and its catalog.
var planted = [...]string{"TOPSECRETTOKEN", "SECRETHASHVALUE", "BOBSECRET", "deadbeefSHA"}

// leaks finds planted credentials in text, as they are and inside base64, wherever
// in its groups of three they begin.
func leaks(b []byte) []string {
	var out []string
	for _, s := range planted {
		for shift := range 3 {
			e := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))
			inner := e[(shift*8+5)/6 : len(e)-4] // without the characters a neighbour shares
			if bytes.Contains(b, []byte(s)) || bytes.Contains(b, []byte(inner)) {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

// unpacked is what stands in a file, its zstd frames opened.
func unpacked(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	d, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer d.Close()
	for at := b; ; {
		k := bytes.Index(at, []byte{0x28, 0xb5, 0x2f, 0xfd})
		if k < 0 {
			return b
		}
		plain, err := d.DecodeAll(at[k:], nil)
		if err == nil || len(plain) > 0 {
			b = append(b, plain...)
		}
		at = at[k+4:]
	}
}

// No command shows a credential that stands in a log or a catalog, and none writes
// one beside a log: the archive's payload/ is where rows and passwords lie.
func TestNoCredentialIsShown(t *testing.T) {
	dir := t.TempDir()
	arc, cat := filepath.Join(dir, "arc"), "kvjson:"+filepath.Join("testdata", "credentials-catalog.json")
	require.NotEmpty(t, leaks([]byte("x"+planted[0])))
	require.NotEmpty(t, leaks([]byte(base64.StdEncoding.EncodeToString([]byte("root:"+planted[0]+"!!")))), "the test finds them in base64")
	run := func(line string) {
		f, out, errOut := testFactory(map[string]string{"HOME": dir})
		args := strings.Fields(strings.NewReplacer("WAL", filepath.Join("testdata", "credentials.jsonl"), "ARC", arc, "CAT", cat, "DIR", dir).Replace(line))
		Run(context.Background(), f, args)
		require.NotEmpty(t, out.String()+errOut.String(), line)
		require.Empty(t, leaks(out.Bytes()), "%s: stdout", line)
		require.Empty(t, leaks(errOut.Bytes()), "%s: stderr", line)
	}
	for _, line := range []string{
		"capture WAL --catalog CAT --dir ARC",
		"inspect W", "inspect WAL --records -o ndjson", "inspect WAL --records -o json", "inspect WAL --records -o wide",
		"inspect WAL --id 2001/12/0", "inspect WAL --id 2001/12/0 -o json", "inspect WAL --id 2001/9/0 -o ndjson", "inspect WAL --id 2001/10/0",
		"inspect ARC --records -o ndjson", "inspect ARC --id 2001/12/0 -o json",
		"verify WAL --catalog CAT -o json", "timetick WAL -o json", "positions WAL --catalog CAT -o json", "channels WAL --catalog CAT -o json",
		"state WAL --catalog CAT", "state WAL --catalog CAT -o json", "state WAL --catalog CAT --view all -o json", "state ARC -o json",
		"recover WAL --catalog CAT", "recover WAL --catalog CAT -o wide", "recover WAL --catalog CAT -o json", "recover ARC -o json",
		"recover WAL --catalog CAT -o json --milvus-version 2.6.14 --out DIR/p.json",
		"diff WAL CAT --catalog CAT", "diff CAT kvjson:testdata/empty-catalog.json -o json", "diff CAT kvjson:testdata/empty-catalog.json -o wide",
		"catalog show --catalog CAT -o json", "catalog get streamingnode-meta/ --catalog CAT", "catalog get streamingnode-meta/ --raw --catalog CAT",
		"catalog get root-coord/ --catalog CAT", "catalog get root-coord/ --raw --catalog CAT", "salvage WAL -o json", "salvage ARC --dir DIR/rows",
	} {
		run(line)
	}
	var files int
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/payload/") || filepath.Base(path) == "p.json" {
			return err // a plan holds the values it writes; it is 0600 and says so
		}
		files++
		require.Empty(t, leaks(unpacked(t, path)), path)
		return nil
	}))
	require.Greater(t, files, 3)

	// What was kept back is there for whoever asks for data.
	f, out, _ := testFactory(nil)
	require.Zero(t, Run(context.Background(), f, []string{"inspect", arc, "--records", "-o", "ndjson", "--data"}))
	g, same, _ := testFactory(nil)
	require.Zero(t, Run(context.Background(), g, []string{"inspect", filepath.Join("testdata", "credentials.jsonl"), "--records", "-o", "ndjson", "--data"}))
	require.Equal(t, same.String(), out.String())
	require.Len(t, leaks(out.Bytes()), len(planted))
}
