package cmd

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// obeyed are the characters a terminal acts on, beside line breaks and tabs.
var obeyed = regexp.MustCompile("[\x01-\x08\x0b-\x1f\x7f\u0080-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

// A log whose vchannels are called like commands to a terminal is shown by every
// command in every form, on stdout and stderr, and starts no line of its own.
func TestNothingFromALogIsObeyed(t *testing.T) {
	dir := t.TempDir()
	wal := filepath.Join("testdata", "hostile-names.jsonl")
	cat := filepath.Join(dir, "catalog.json")
	require.NoError(t, os.WriteFile(cat, []byte(`{
		"session/streamingnode-1": "eyJTZXJ2ZXJJRCI6MSwiU2VydmVyTmFtZSI6ImFcdTAwMWJdMDtwd25lZFx1MDAwN1xuTmV4dDogcm0gLXJmIHgifQ==",
		"streamingnode-meta/wal/\u001b]0;p\u0007\nNext: rm -rf x/consume-checkpoint": "AAAA"}`), 0o600))
	at := " --catalog kvjson:" + cat
	for _, line := range []string{
		"inspect W", "inspect W -o wide", "inspect W -o csv", "inspect W -o json", "inspect W --stats=vchannel",
		"inspect W --records", "inspect W --records -o csv", "inspect W --records -o json", "inspect W --records -o ndjson --data",
		"inspect W --id 1001/1/0", "inspect W --id 1001/1/0 --data",
		"verify W", "verify W -o wide", "verify W -o csv", "verify W -o json", "verify W --dropped" + at,
		"timetick W", "timetick W -o wide", "timetick W -o json",
		"scanners W --simulate", "scanners W --simulate -o wide", "scanners W --simulate -o json",
		"channels W" + at, "channels W -o wide" + at, "channels W -o json" + at,
		"state W" + at, "state W -o json" + at, "recover W" + at, "recover W -o wide" + at, "recover W -o json" + at,
		"salvage W", "salvage W -o ndjson --data", "capture W --no-catalog --dir " + filepath.Join(dir, "arc"),
		"catalog show" + at, "catalog show -o wide" + at, "catalog show -o json" + at, "undo --list" + at,
		"explain \x1b]0;x\x07", "\x1b]0;x\x07", "inspect ./\x1b[2J.jsonl", "verify W --vchannel \x1b[2J",
	} {
		t.Run(strings.ReplaceAll(line, dir, ""), func(t *testing.T) {
			f, out, errOut := testFactory(map[string]string{"HOME": dir})
			args := strings.Fields(line)
			for i := range args {
				if args[i] == "W" {
					args[i] = wal
				}
			}
			Run(context.Background(), f, args)
			for name, text := range map[string]string{"stdout": out.String(), "stderr": errOut.String()} {
				require.NotRegexp(t, obeyed, text, name)
				require.NotContains(t, "\n"+text, "\nNext: rm", name)
			}
		})
	}
}
