package cmd

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	recovercmd "github.com/walctl/walctl/cmd/recover"
	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// shell types a line as a person does, in a directory of theirs.
func shell(t *testing.T, dir, line string) (code int, out string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "XDG_CONFIG_HOME="+dir)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

var nextLine = regexp.MustCompile(`(?m)^(?:Next|First|Then|Undo|Proof):?\s+(walctl .*)$`)

// nextOf are the commands an answer says to type.
func nextOf(out string) (lines []string) {
	for _, m := range nextLine.FindAllStringSubmatch(out, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// What a demo says to type next works when it is typed, in its order.
func TestDemosNextCommandsWork(t *testing.T) {
	for _, d := range demo.List() {
		t.Run(d.Name, func(t *testing.T) {
			dir := t.TempDir()
			code, out := shell(t, dir, "walctl demo "+d.Name+" --dir ./demo")
			require.Equal(t, 0, code, out)
			lines := nextOf(out)
			require.NotEmpty(t, lines, out)
			for _, line := range lines {
				code, out = shell(t, dir, line)
				require.Contains(t, []int{0, 3}, code, "%s\n%s", line, out)
			}
		})
	}
}

// What any answer over a demo says to type next works when it is typed; a plan
// that is offered can be applied, and taken back.
func TestNextCommandsWork(t *testing.T) {
	for _, d := range demo.List() {
		if d.Sound {
			continue // as healthy is
		}
		t.Run(d.Name, func(t *testing.T) {
			dir := t.TempDir()
			code, out := shell(t, dir, "walctl demo "+d.Name+" --dir demo")
			require.Equal(t, 0, code, out)
			queue := []string{"walctl inspect demo", "walctl recover demo", "walctl recover demo --catalog file:demo/catalog.db",
				"walctl recover demo --catalog file:demo/catalog.db --out p.json",
				"walctl capture demo --dir copy", "walctl channels demo", "walctl channels demo --catalog file:demo/catalog.db --milvus-version 2.6.14", "walctl explain stale-writer"}
			for _, command := range []string{"verify", "timetick", "state", "recover", "inspect", "channels"} {
				code, out := shell(t, dir, "walctl "+command+" demo -o json 2>/dev/null")
				require.Contains(t, []int{0, 3}, code, "%s: %s", command, out)
				var answer struct{ Findings []struct{ Next string } }
				require.NoError(t, json.Unmarshal([]byte(out), &answer), command)
				for _, f := range answer.Findings {
					if f.Next != "" {
						queue = append(queue, f.Next)
					}
				}
			}
			times := map[string]int{} // a proof may name what was typed before
			for len(queue) > 0 {
				line := queue[0]
				queue = queue[1:]
				once := strings.HasPrefix(line, "walctl salvage") // never into a directory that holds rows
				if times[line]++; times[line] > 2 || strings.Contains(line, recovercmd.UnknownCatalog) || once && times[line] > 1 {
					continue
				}
				code, out := shell(t, dir, line)
				t.Logf("exit %d: %s", code, line)
				require.Contains(t, []int{0, 3}, code, "%s\n%s", line, out)
				queue = append(nextOf(out), queue...) // as a person would: at once
			}
		})
	}
}

// catalogKeys is every key of a catalog, named as typed in dir, but walctl's own.
func catalogKeys(t *testing.T, dir, spec string) map[string][]byte {
	t.Helper()
	file := filepath.Join(dir, "keys.json")
	_ = os.Remove(file)
	code, out := shell(t, dir, "walctl catalog export --catalog "+spec+" --to kvjson:keys.json")
	require.Equal(t, 0, code, out)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var kv map[string][]byte
	require.NoError(t, json.Unmarshal(text, &kv))
	maps.DeleteFunc(kv, func(k string, _ []byte) bool { return strings.HasPrefix(k, catalog.JournalPrefix) })
	return kv
}

// The tour: an incident is planned, applied, found clean and taken back, and the
// catalog has every byte it had.
func TestTourOnBbolt(t *testing.T) {
	for _, name := range []string{"crash", "partition-ddl", "trimmed"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			enter := func(line string, exits ...int) string {
				t.Helper()
				code, out := shell(t, dir, line)
				require.Contains(t, exits, code, "%s\n%s", line, out)
				return out
			}
			const at = " --catalog file:incident/catalog.db"
			keys := func() map[string][]byte { return catalogKeys(t, dir, "file:incident/catalog.db") }
			enter("walctl demo "+name+" --dir incident", 0)
			before := keys()
			plan := "walctl recover incident" + at + " --milvus-version 2.6.14 --out p.json"
			if gap := regexp.MustCompile(`--accept-gap \S+`).FindString(enter(plan, 0, 3)); gap != "" {
				plan += " " + gap
			}
			for range 2 { // the way back leads forth again
				enter(plan, 0, 3)
				enter("walctl apply p.json --yes --reason 'the tour'", 0)
				require.NotEqual(t, before, keys())
				out := enter("walctl recover incident"+at, 0)
				require.Contains(t, out, "would recover")
				require.Contains(t, out, "no difference")
				enter("walctl undo latest"+at+" --yes --reason 'the tour'", 0)
				require.Equal(t, before, keys())
			}
		})
	}
}
