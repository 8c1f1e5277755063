package cmd

import (
	"encoding/json"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// growth SHAPE RECORDS writes wal.jsonl, a log that is hostile to whoever reads it, and
// catalog.json to replay it from.
func growth(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: growth SHAPE RECORDS")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.Create(ts.MkAbs("wal.jsonl"))
	ts.Check(err)
	w := jsonl.NewWriter(f, jsonl.Options{Data: true, Plain: true})
	ts.Check(walgen.Grow(walgen.Shape(args[0]), n, w.Write))
	ts.Check(w.Flush())
	ts.Check(f.Close())
	kv, err := json.Marshal(walgen.GrowthCatalog())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("catalog.json"), kv, 0o600))
}
