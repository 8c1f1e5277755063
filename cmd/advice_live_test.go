package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/testenv"
)

// The advice of a refusal, followed word for word on a broker that has just come
// up, loses nothing: the ledgers stand until the capture is verified, and what is
// taken back last costs nothing that the capture does not hold.
func TestRefusalAdviceLive(t *testing.T) {
	b := testenv.PrivatePulsar(t, nil)
	ns := b.Namespace(t)
	topic := "persistent://public/" + ns + "/by-dev-rootcoord-dml_3"
	b.CreateTopic(t, topic)
	records, _ := publishGolden(t, b, topic, "small")
	b.RollLedger(t, topic)
	b.SetRetention(t, ns, 1, -1)
	require.NoError(t, b.Restart(t.Context()))
	ledger := b.InternalInfo(t, topic)["ledgers"].([]any)[0].(map[string]any)["ledgerId"]

	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns}
	code, _, errOut := run(t, env, "inspect", "dml_3")
	require.Equal(t, 5, code, errOut)
	only := strings.Index(errOut, "only after the capture is verified, because the broker then deletes this log:")
	require.Greater(t, only, strings.Index(errOut, "walctl verify"), errOut)

	home, err := filepath.Glob(filepath.Join(testenv.Home(t), "bin"))
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	t.Setenv("PATH", home[0]+string(os.PathListSeparator)+os.Getenv("PATH"))
	lines := regexp.MustCompile(`(?m)(pulsar-admin|walctl (?:capture|verify)) .*$`).FindAllString(errOut, -1)
	require.Len(t, lines, 4, errOut)
	for i, line := range lines {
		if strings.HasPrefix(line, "walctl ") {
			code, out, errOut := onceBookieIsFound(func() (int, string, string) { return run(t, nil, strings.Fields(line)[1:]...) })
			require.NotEqual(t, 1, code, "%s: %s%s", line, out, errOut)
			require.NotEqual(t, 5, code, "%s: %s%s", line, out, errOut)
		} else {
			out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
			require.NoError(t, err, "%s: %s", line, out)
		}
		if i < 3 {
			require.Equal(t, ledger, b.InternalInfo(t, topic)["ledgers"].([]any)[0].(map[string]any)["ledgerId"], "lost by %s", line)
		}
	}
	code, out, errOut := run(t, nil, "inspect", "./evidence", "--records", "-o", "ndjson")
	require.Contains(t, []int{0, 6}, code, errOut)
	require.Equal(t, len(records), strings.Count(out, "\n"))
}
