package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// fuzzBound is when a command over an input of a few kilobytes counts as hung: long
// after the slowest machine has ended it.
const fuzzBound = 2 * time.Minute

// fuzzMemory is how many bytes one command may allocate in all over such an input:
// a length that was trusted takes more at once.
const fuzzMemory = 256 << 20

// fuzzInput caps an input: what is larger only makes a run slow.
const fuzzInput = 256 << 10

// fuzzSeed caps the logs that are begun with, cut behind a record.
const fuzzSeed = 48 << 10

// fuzzCommands are the commands that read a log, as they are typed.
func fuzzCommands() []string {
	return []string{
		"inspect WAL -o json", "inspect WAL --stats -o json", "verify WAL --dropped -o json CAT", "timetick WAL -o json", "scanners WAL --simulate -o json",
		"state WAL -o json CAT", "recover WAL -o json CAT", "channels WAL -o json CAT", "salvage WAL -o json CAT",
	}
}

// fuzzCommand runs one of them: Go's engine takes an input for hung after ten seconds,
// which all of them together can need on a busy machine. It may not panic, hang, end
// with a code that is not documented, or print JSON that is none.
func fuzzCommand(t *testing.T, which uint8, wal, catalog string) {
	t.Helper()
	line := fuzzCommands()[int(which)%len(fuzzCommands())]
	var args []string
	for _, a := range strings.Fields(line) {
		switch {
		case a == "WAL":
			args = append(args, wal)
		case a == "CAT" && catalog != "":
			args = append(args, "--catalog", "kvjson:"+catalog)
		case a != "CAT":
			args = append(args, a)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), fuzzBound)
	f, out, errOut := testFactory(map[string]string{"HOME": t.TempDir()})
	before := allocated()
	code := Run(ctx, f, args)
	late := ctx.Err()
	cancel()
	if took := allocated() - before; took > fuzzMemory {
		t.Fatalf("%s allocates %d MiB", line, took>>20)
	}
	if late != nil {
		t.Fatalf("%s does not end within %s", line, fuzzBound)
	}
	if !slices.Contains([]cli.Code{cli.CodeOK, cli.CodeFailure, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial}, cli.Code(code)) {
		t.Fatalf("%s: exit code %d\n%s", line, code, errOut)
	}
	if out.Len() > 0 && !json.Valid(out.Bytes()) {
		t.Fatalf("%s: no JSON:\n%.2000s", line, out)
	}
	if code != int(cli.CodeOK) && out.Len() == 0 && errOut.Len() == 0 {
		t.Fatalf("%s: exit code %d without a word", line, code)
	}
}

// addForEach begins with an input for every command.
func addForEach(f *testing.F, input ...any) {
	f.Helper()
	for i := range fuzzCommands() {
		f.Add(append([]any{uint8(i)}, input...)...)
	}
}

// allocated is how many bytes the process allocated until now, freed ones too.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// fuzzFile writes an input for commands to read.
func fuzzFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fuzzLog is a small log as NDJSON, and the catalog before it.
func fuzzLog(f *testing.F, cfg walgen.Config, fault walgen.Fault) (log, catalog []byte) {
	f.Helper()
	g := walgen.New(cfg)
	ms := g.Messages()
	if fault != "" {
		var err error
		if ms, _, err = walgen.Inject(ms, fault, 1); err != nil {
			f.Fatal(err)
		}
	}
	var b bytes.Buffer
	w := jsonl.NewWriter(&b, jsonl.Options{Data: true})
	for _, m := range ms {
		if err := w.Write(m); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		f.Fatal(err)
	}
	catalog, err := json.Marshal(g.CatalogBefore())
	if err != nil {
		f.Fatal(err)
	}
	log = b.Bytes()
	if len(log) > fuzzSeed {
		log = log[:bytes.LastIndexByte(log[:fuzzSeed], '\n')+1]
	}
	return log, catalog
}

// FuzzLog: whatever bytes stand in a log, every command ends well.
func FuzzLog(f *testing.F) {
	small := walgen.Config{Seed: 5, Messages: 300, Collections: 2, RowsPerInsert: 2}
	clean, catalog := fuzzLog(f, small, "")
	addForEach(f, clean)
	for _, fault := range []walgen.Fault{walgen.BadHeader, walgen.StaleWriter, walgen.TimeTickRegression} {
		broken, _ := fuzzLog(f, walgen.Config{Seed: 5, Messages: 400, Terms: 2, Collections: 2, RowsPerInsert: 2}, fault)
		addForEach(f, broken)
	}
	addForEach(f, []byte(nil))
	addForEach(f, clean[:len(clean)-7])
	addForEach(f, bytes.ReplaceAll(clean, []byte(`"_tt"`), []byte(`"_xx"`)))
	f.Fuzz(func(t *testing.T, which uint8, log []byte) {
		if len(log) <= fuzzInput {
			fuzzCommand(t, which, "jsonl:"+fuzzFile(t, "wal.jsonl", log), fuzzFile(t, "catalog.json", catalog))
		}
	})
}

// FuzzCatalog: whatever bytes stand in a catalog, every command ends well.
func FuzzCatalog(f *testing.F) {
	log, catalog := fuzzLog(f, walgen.Config{Seed: 5, Messages: 300, Collections: 2, RowsPerInsert: 2}, "")
	addForEach(f, catalog)
	addForEach(f, []byte(`{}`))
	addForEach(f, catalog[:len(catalog)/2])
	f.Fuzz(func(t *testing.T, which uint8, catalog []byte) {
		if len(catalog) <= fuzzInput {
			fuzzCommand(t, which, "jsonl:"+fuzzFile(t, "wal.jsonl", log), fuzzFile(t, "catalog.json", catalog))
		}
	})
}

// FuzzArchiveIndex: whatever bytes stand in one file of an archive, every command
// ends well. file chooses which one.
func FuzzArchiveIndex(f *testing.F) {
	whole := f.TempDir()
	if _, err := demo.Build(context.Background(), demo.List()[0].Name, filepath.Join(whole, "demo")); err != nil {
		f.Fatal(err)
	}
	var files []string
	err := filepath.WalkDir(filepath.Join(whole, "demo"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "catalog.db" {
			files = append(files, path)
			if b, err := os.ReadFile(path); err == nil && len(b) <= fuzzInput {
				addForEach(f, uint8(len(files)-1), b)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		f.Fatal("the demo has no files", err)
	}
	f.Fuzz(func(t *testing.T, which, file uint8, b []byte) {
		if len(b) > fuzzInput {
			return
		}
		dir := filepath.Join(t.TempDir(), "archive")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(whole, "demo"))); err != nil {
			t.Fatal(err)
		}
		at, err := filepath.Rel(filepath.Join(whole, "demo"), files[int(file)%len(files)])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, at), b, 0o600); err != nil {
			t.Fatal(err)
		}
		fuzzCommand(t, which, "archive:"+dir, "")
	})
}
