package cmd

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"
)

// onTerminal runs a command line as on a terminal of 80 columns and returns what it
// shows.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	f, out, errOut := testFactory(map[string]string{"HOME": t.TempDir()})
	f.IO.OutTTY, f.IO.Width, f.NoColor = true, 80, true
	code := Run(context.Background(), f, args)
	require.Contains(t, []int{0, 3, 4, 6}, code, "%s", errOut)
	return out.String()
}

// unread is what no person reads: ids as the wire has them, TimeTicks as numbers.
var unread = regexp.MustCompile(`\bCO[A-Za-z0-9+/]*[a-z][A-Za-z0-9+/]{6,}=*|\b46\d{16}\b`)

// What commands show first on a terminal of 80 columns is no wider, and its ids and
// times are as people say them. A line that holds a command may be longer: it is
// there to be pasted.
func TestFirstScreens(t *testing.T) {
	for _, demo := range []string{"healthy", "stale-writer", "crash", "partition-ddl", "reduplicate", "trimmed"} {
		dir := filepath.Join(t.TempDir(), demo)
		require.NotEmpty(t, onTerminal(t, "demo", demo, "--dir", dir))
		for _, command := range []string{"inspect", "verify", "timetick", "recover", "channels", "doctor", "salvage", "state"} {
			t.Run(demo+"/"+command, func(t *testing.T) {
				text := onTerminal(t, command, dir)
				require.LessOrEqual(t, strings.Count(text, "\n"), screenMost, text)
				for line := range strings.Lines(text) {
					line = strings.TrimSuffix(line, "\n")
					if strings.Contains(line, "walctl ") {
						continue
					}
					words := strings.Fields(line)
					require.True(t, ansi.StringWidth(line) <= 80 || len(words) <= 3, "wider than the terminal: %s", line)
					if !strings.Contains(line, "/schema/") { // a key names its TimeTick
						require.NotRegexp(t, unread, line)
					}
				}
			})
		}
	}
}

// screenMost is a little more than a terminal of 24 lines shows: a plan beside its
// findings.
const screenMost = 32
