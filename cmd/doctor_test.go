package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
)

// codeOf are the causes of a moment, as its truth.json names them.
var codeOf = map[string]string{
	"none":                            "",
	"scanner-stuck-in-catchup":        "scanner-stuck",
	"append-not-acknowledged":         "append-not-acknowledged",
	"flusher-blocked-by-pipeline":     "flusher-blocked",
	"wal-stuck-in-recovery":           "wal-in-recovery",
	"write-buffer-registered-twice":   "channel-reduplicates",
	"two-writers":                     "wal-owned-twice",
	"growing-segments-near-watermark": "growing-near-watermark",
}

// codeOfLook is what the looks before and after show: mostly nothing, some the same,
// one another fault.
func codeOfLook(look, cause string) string {
	switch look {
	case "newer-term-waits", "a", "b":
		return cause
	case "in-recovery/before":
		return "flusher-blocked" // the broadcast that recovery meets later holds the flusher now
	}
	return ""
}

type doctorAnswer struct {
	Findings   []doctorFinding
	NotChecked []string `json:"not_checked"`
}

type doctorFinding struct {
	Code, Severity, Next string
	Where                struct{ PChannel, VChannel string }
	Evidence             []struct{ Name, Value string }
	Count                int64
}

func askDoctor(t *testing.T, args ...string) (int, doctorAnswer) {
	t.Helper()
	code, out, errOut := run(t, nil, append([]string{"doctor", "-o", "json"}, args...)...)
	var a doctorAnswer
	require.NoError(t, json.Unmarshal([]byte(out), &a), "%s%s", out, errOut)
	require.Empty(t, errOut)
	return code, a
}

// evidenceArgs names everything that lies in a directory, but parts that a test
// leaves out.
func evidenceArgs(t *testing.T, dir string, without ...string) []string {
	t.Helper()
	var args []string
	for pattern, flag := range map[string]string{"metrics*.txt": "--metrics=", "topic-stats.json": "--topic-stats=", "internal-stats.json": "--internal-stats=", "etcd.json": "--catalog=kvjson:", "node.log.gz": "--logs="} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, f := range files {
			if !slices.Contains(without, pattern) {
				args = append(args, flag+f)
			}
		}
	}
	slices.Sort(args)
	return args
}

// firstIs requires the worst finding to be want, and every other one to be no worse;
// nothing above info where want is "".
func firstIs(t *testing.T, a *doctorAnswer, want, pchannel string) {
	t.Helper()
	if want == "" {
		for _, f := range a.Findings {
			require.Equal(t, "info", f.Severity, f.Code)
		}
		return
	}
	require.NotEmpty(t, a.Findings)
	require.Equal(t, want, a.Findings[0].Code)
	require.Equal(t, pchannel, a.Findings[0].Where.PChannel)
	require.NotEmpty(t, a.Findings[0].Next)
	for _, f := range a.Findings[1:] {
		require.Contains(t, []string{want, "wal-term-differs"}, f.Code)
	}
}

// TestDoctorOnMoments: moments of real nodes, with what was wrong known. The
// project's own are trimmed to what is looked at; the whole ones lie elsewhere.
func TestDoctorOnMoments(t *testing.T) {
	t.Run("own", func(t *testing.T) { moments(t, "testdata/evidence") })
	t.Run("golden", func(t *testing.T) { moments(t, golden.Log(t, "evidence")) })
}

// momentTruth is what was really going on at a moment.
type momentTruth struct {
	Cause, PChannel string
	Stuck           []string `json:"scanners_stuck"`
}

// eachMoment runs a test for every moment below a directory.
func eachMoment(t *testing.T, root string, test func(t *testing.T, dir string, truth momentTruth)) {
	t.Helper()
	dirs, err := os.ReadDir(root)
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			dir := filepath.Join(root, d.Name())
			b, err := os.ReadFile(filepath.Join(dir, "truth.json"))
			require.NoError(t, err)
			var truth momentTruth
			require.NoError(t, json.Unmarshal(b, &truth))
			test(t, dir, truth)
		})
	}
}

func moments(t *testing.T, root string) {
	eachMoment(t, root, func(t *testing.T, dir string, truth momentTruth) {
		want, known := codeOf[truth.Cause]
		require.True(t, known, truth.Cause)

		_, a := askDoctor(t, evidenceArgs(t, dir)...)
		firstIs(t, &a, want, truth.PChannel)
		looksAround(t, dir, want, truth.PChannel)
		if want == "" {
			for _, part := range []string{"metrics*.txt", "topic-stats.json", "internal-stats.json", "node.log.gz"} {
				_, a := askDoctor(t, evidenceArgs(t, dir, part)...)
				firstIs(t, &a, "", "")
				require.NotEmpty(t, a.NotChecked, part)
			}
		}
	})
}

// looksAround judges the moments before and after alone, and as two looks with the one
// between them.
func looksAround(t *testing.T, dir, cause, pchannel string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "metrics.txt"))
	require.NoError(t, err)
	for _, f := range files {
		sub := filepath.Dir(f)
		look := filepath.Base(sub)
		if look == "before" {
			look = filepath.Base(dir) + "/" + look
			if look != "in-recovery/before" {
				look = "before"
			}
		}
		_, a := askDoctor(t, evidenceArgs(t, sub)...)
		firstIs(t, &a, codeOfLook(look, cause), pchannel)
		if strings.HasSuffix(look, "before") {
			_, a := askDoctor(t, append([]string{"--metrics=" + f}, evidenceArgs(t, dir)...)...)
			firstIs(t, &a, cause, pchannel)
		}
	}
}

// TestDoctorFromMetricsAlone: what one look at the metrics tells, and what only the
// second.
func TestDoctorFromMetricsAlone(t *testing.T) {
	at := func(p string) string { return "--metrics=" + filepath.Join("testdata/evidence", p, "metrics.txt") }
	for _, c := range []struct {
		args           []string
		code, severity string
	}{
		{[]string{at("stuck-before-41345")}, "scanner-stuck", "warning"},
		{[]string{at("stuck-before-41345"), at("stuck-before-41345")}, "scanner-stuck", "error"}, // nothing moved
		{[]string{at("append-not-acked")}, "", ""},
		{[]string{at("flusher-blocked")}, "flusher-blocked", "error"},
		{[]string{at("channel-reduplicates")}, "channel-reduplicates", "error"},
		{[]string{at("in-recovery")}, "wal-in-recovery", "info"},
		{[]string{at("in-recovery"), at("in-recovery/newer-term-waits")}, "wal-in-recovery", "error"},
		{[]string{at("healthy-busy"), at("healthy-busy")}, "", ""},
	} {
		_, a := askDoctor(t, c.args...)
		if c.code == "" {
			require.Empty(t, a.Findings, c.args)
			continue
		}
		require.Len(t, a.Findings, 1, c.args)
		require.Equal(t, []string{c.code, c.severity}, []string{a.Findings[0].Code, a.Findings[0].Severity}, c.args)
	}
}

// TestDoctorScreen: a screen of at most fifteen lines that ends with the next command.
func TestDoctorScreen(t *testing.T) {
	code, out, _ := run(t, nil, append([]string{"doctor"}, evidenceArgs(t, "testdata/evidence/channel-reduplicates")...)...)
	require.Equal(t, 3, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.LessOrEqual(t, len(lines), 15)
	require.Contains(t, lines[1], "NOT CHECKED")
	require.Contains(t, lines[2], "CRITICAL  channel-reduplicates  by-dev-rootcoord-dml_22")
	require.Contains(t, lines[len(lines)-1], "Next: walctl recover by-dev-rootcoord-dml_22")
}

// TestDoctorBadEvidence: what cannot be read is told with its place, the rest judged.
func TestDoctorBadEvidence(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.txt")
	require.NoError(t, os.WriteFile(bad, []byte("{{ nothing of this"), 0o600))
	good := "--metrics=testdata/evidence/flusher-blocked/metrics.txt"
	for _, flag := range []string{"--metrics=", "--topic-stats=", "--internal-stats=", "--logs=" + filepath.Join(dir, "none")} {
		arg := flag
		if strings.HasSuffix(flag, "=") {
			arg += bad
		}
		code, out, errOut := run(t, nil, "doctor", good, arg)
		require.Equal(t, 3, code)
		require.Contains(t, out, "flusher-blocked")
		require.Contains(t, errOut, strings.TrimSuffix(strings.SplitN(flag, "=", 2)[0], "="))
		require.NotContains(t, errOut, "invalid character")
	}
	code, _, errOut := run(t, nil, "doctor", "--metrics=testdata/evidence/healthy-busy/metrics.txt", "--topic-stats="+bad)
	require.Equal(t, 6, code, errOut)
	code, _, errOut = run(t, nil, "doctor")
	require.Equal(t, 2, code, errOut)
	require.Contains(t, errOut, "no evidence was named")
	_, out, _ := run(t, nil, "doctor", "--metrics=http://127.0.0.1:1/metrics", good)
	require.Contains(t, out, "NOT CHECKED  metrics (GET http://127.0.0.1:1/metrics")
}
