package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/diagnose"
)

type scannersAnswer struct {
	Scanners   []diagnose.ScannerLook
	NotChecked []string `json:"not_checked"`
}

func scannersOf(t *testing.T, args ...string) (int, scannersAnswer) {
	t.Helper()
	code, out, errOut := run(t, nil, append([]string{"scanners", "-o", "json"}, args...)...)
	var a scannersAnswer
	require.NoError(t, json.Unmarshal([]byte(out), &a), "%s%s", out, errOut)
	return code, a
}

// held is which scanner a cause holds, "" = none.
var held = map[string]string{
	"scanner-stuck-in-catchup":      "NAMED",
	"append-not-acknowledged":       "tailing",
	"flusher-blocked-by-pipeline":   "flusher",
	"wal-stuck-in-recovery":         "recovery",
	"write-buffer-registered-twice": "flusher",
}

// TestScannersOnMoments: in moments of real nodes, exactly the scanner that is held is
// stuck, by its cause; in healthy ones none is.
func TestScannersOnMoments(t *testing.T) {
	t.Run("own", func(t *testing.T) { scannerMoments(t, "testdata/evidence") })
	t.Run("golden", func(t *testing.T) { scannerMoments(t, golden.Log(t, "evidence")) })
}

func scannerMoments(t *testing.T, root string) {
	eachMoment(t, root, func(t *testing.T, dir string, truth momentTruth) {
		code, a := scannersOf(t, evidenceArgs(t, dir)...)
		require.NotEmpty(t, a.Scanners)
		want := held[truth.Cause]
		if want == "NAMED" {
			require.Len(t, truth.Stuck, 1)
			want = truth.Stuck[0]
		}
		if truth.Cause != "none" && truth.Cause != "growing-segments-near-watermark" {
			require.Equal(t, 3, code)
		} else {
			require.Zero(t, code)
		}
		stuck := map[string]string{}
		for _, s := range a.Scanners {
			require.Equal(t, truth.PChannel, s.PChannel)
			if s.Verdict == diagnose.ScannerStuck {
				stuck[s.Name] = s.Cause
			}
		}
		if want == "" {
			require.Empty(t, stuck)
			return
		}
		require.Equal(t, codeOf[truth.Cause], stuck[want], "%v", stuck)
		for name, cause := range stuck {
			require.True(t, name == want || cause == "append-not-acknowledged", "%s is stuck too: %s", name, cause)
		}
	})
}

// TestScannersCatchUp: a scanner that works off a backlog is no stuck one, and a second
// look tells for how long.
func TestScannersCatchUp(t *testing.T) {
	dir := t.TempDir()
	look := func(name, confirmed, read string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(strings.Join([]string{
			gauge("info", `,term="4"`, "1"), gauge("last_confirmed_time_tick", "", confirmed), gauge("sync_time_tick", `,type="persistent"`, confirmed),
			gauge("scanner_total", `,scanner_model="catchup"`, "1"), gauge("scan_message_total", `,scanner_model="catchup"`, read),
		}, "")), 0o600))
		return "--metrics=" + path
	}
	stats := filepath.Join(dir, "stats.json")
	require.NoError(t, os.WriteFile(stats, []byte(`{"publishers":[],"subscriptions":{"reader-a":{"durable":false,"msgBacklog":300,"backlogSize":4096,
		"consumers":[{"consumerName":"`+fixP+`/4/1","availablePermits":0},{"consumerName":"`+fixP+`/3/9","availablePermits":0}]}}}`), 0o600))
	first, second := look("a.txt", "1000", "100"), look("b.txt", "1010", "200")
	code, a := scannersOf(t, first, second, "--topic-stats="+stats)
	require.Zero(t, code)
	require.Len(t, a.Scanners, 2)
	require.Equal(t, diagnose.ScannerLook{PChannel: fixP, Name: fixP + "/4/1", Node: "1", Term: 4, Count: 1, Mode: "catchup", LagMessages: 300, LagBytes: 4096,
		LagSeconds: -1, EndsIn: 30, Verdict: diagnose.ScannerCatchingUp}, a.Scanners[0])
	require.Equal(t, "its term is over: the newest is 4", a.Scanners[1].Cause)
	_, a = scannersOf(t, second, "--topic-stats="+stats)
	require.EqualValues(t, -1, a.Scanners[0].EndsIn)
	_, out, _ := run(t, nil, "scanners", first, second, "--topic-stats="+stats)
	require.Contains(t, out, "300 messages, 4.0 KiB\tcatching up, about 30s")
}
