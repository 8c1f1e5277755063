package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// demoCauses are, for each demo that has nodes beside its log, what doctor finds first
// in the directory alone; "" = nothing above info.
func demoCauses() map[string]string {
	return map[string]string{
		"idle-collection":   "scanner-stuck",
		"partition-ddl":     "vchannel-no-schema",
		"stuck-terminating": "wal-in-recovery",
		"oom":               "growing-near-watermark",
		"reduplicates":      "channel-reduplicates",
		"unregistered":      "vchannel-missing",
		"backlog-full":      "append-not-acknowledged",
		"old-catalog":       "catalog-term-behind",

		"replication-stopped": "replicating-pchannel-missing",

		"healthy":    "",
		"idle-hours": "",
		"restarted":  "",
		"dropped":    "",
		"replaced":   "",
	}
}

// TestDoctorOnDemos: each incident is found first, in its directory alone; the
// controls have nothing. A capture of the directory, and its evidence given file by
// file, tell the same.
func TestDoctorOnDemos(t *testing.T) {
	causes := demoCauses()
	for _, d := range demo.List() {
		want, judged := causes[d.Name]
		delete(causes, d.Name)
		if !judged {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, _, errOut := run(t, nil, "demo", append([]string{d.Name}, d.Aliases...)[len(d.Aliases)], "--dir", "d")
			require.Equal(t, 0, code, errOut)

			code, a := askDoctor(t, "d")
			require.Equal(t, map[bool]int{true: 3, false: 0}[want != ""], code)
			above := slices.DeleteFunc(slices.Clone(a.Findings), func(f doctorFinding) bool { return f.Severity == "info" })
			if want == "" {
				require.Empty(t, above)
			} else {
				require.NotEmpty(t, above)
				require.Equal(t, want, a.Findings[0].Code)
				next := a.Findings[0].Next
				require.True(t, strings.Contains(next+" ", " d ") || next == "walctl explain "+want, "the next command names the directory: %q", next)
			}

			code, _, errOut = run(t, nil, "capture", "d", "--dir", "copy")
			require.Equal(t, 0, code, errOut)
			_, again := askDoctor(t, "copy")
			require.Equal(t, told(a), told(again))
			_, single := askDoctor(t, filesOf(t, "d")...)
			require.Equal(t, told(a), told(single))
		})
	}
	require.Empty(t, causes, "a demo is gone")
}

// told is what findings say, without the next command: that names what was given.
func told(a doctorAnswer) []string {
	var out []string
	for _, f := range a.Findings {
		out = append(out, fmt.Sprint(f.Code, f.Severity, f.Where, f.Evidence, f.Count))
	}
	return append(out, a.NotChecked...)
}

// filesOf lays the evidence of an archive out as files, and names each by its flag,
// beside a log that carries none.
func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	src, err := archive.Open(t.Context(), dir, archive.Options{})
	require.NoError(t, err)
	defer src.Close()
	code, _, errOut := run(t, nil, "capture", dir, "--no-catalog", "--dir", "bare")
	require.Equal(t, 0, code, errOut)
	require.NoError(t, os.RemoveAll("bare/evidence"))
	args := []string{"bare"}
	files := t.TempDir()
	for _, e := range src.Evidence() {
		text, err := src.ReadEvidence(e.Name)
		require.NoError(t, err)
		put := func(flag, name string, text []byte) {
			path := filepath.Join(files, name)
			require.NoError(t, os.WriteFile(path, text, 0o600))
			args = append(args, flag+path)
		}
		switch diagnose.KindOf(e.Name) {
		case diagnose.KindMetrics:
			put("--metrics=", e.Name, text)
		case diagnose.KindLog:
			put("--logs=", e.Provenance[source.EvidenceFile], text)
		case diagnose.KindTopicStats:
			var t0 struct{ Answers map[string]json.RawMessage }
			require.NoError(t, json.Unmarshal(text, &t0))
			put("--topic-stats="+src.Describe().PChannel+"=", "stats.json", t0.Answers[diagnose.AnswerStats])
			put("--internal-stats="+src.Describe().PChannel+"=", "internal.json", t0.Answers[diagnose.AnswerInternal])
		case diagnose.KindNone:
			if e.Name == source.EvidenceCatalog {
				put("--catalog=kvjson:", e.Name, text)
			}
		}
	}
	return args
}

// TestDoctorOnCapturedMoments: a moment of real nodes that was captured with its log
// is judged as its files are; the log, read later, adds nothing.
func TestDoctorOnCapturedMoments(t *testing.T) {
	eachMoment(t, golden.Log(t, "evidence"), func(t *testing.T, dir string, truth momentTruth) {
		wal := filepath.Join(dir, "wal.jsonl.gz")
		if _, err := os.Stat(wal); err != nil {
			t.Skip("this moment has no log")
		}
		args := append([]string{wal}, evidenceArgs(t, dir)...)
		_, a := askDoctor(t, args...)
		firstIs(t, &a, codeOf[truth.Cause], truth.PChannel)

		into := filepath.Join(t.TempDir(), "a")
		code, _, errOut := run(t, nil, append([]string{"capture", "--dir", into}, args...)...)
		require.Equal(t, 0, code, errOut)
		_, b := askDoctor(t, into)
		require.Equal(t, told(a), told(b))
		for _, f := range b.Findings {
			require.Contains(t, f.Next, into)
		}
	})
}

// TestCaptureKeepsEvidence: everything is named by the manifest, nothing of it holds a
// credential, nodes are found by their sessions, and a second capture leaves no
// piece of the first one beside its own.
func TestCaptureKeepsEvidence(t *testing.T) {
	t.Chdir(t.TempDir())
	code, _, errOut := run(t, nil, "demo", "crash", "--dir", "d")
	require.Equal(t, 0, code, errOut)
	const secret = "S3CRET"
	log := "[2026/01/05 23:01:45.000 +00:00] [WARN] [a.go:1] [\"retry\"] [minio.secretAccessKey=" + secret + "] [error=\"channel reduplicates[channel=by-dev-rootcoord-dml_0_450000000000000001v0]\"]\n"
	require.NoError(t, os.WriteFile("node.log", []byte(log), 0o600))
	require.NoError(t, os.WriteFile("stats.json", []byte(`{"publishers":[],"subscriptions":{}}`), 0o600))
	served := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served++
		fmt.Fprintf(w, "milvus_wal_info{channel_name=\"by-dev-rootcoord-dml_0\",node_id=\"1\",term=\"3\"} %d\n", served)
	}))
	t.Cleanup(s.Close)
	url := s.URL + "/metrics?token=" + secret

	code, out, errOut := run(t, nil, "capture", "d", "--dir", "a", "--evidence", "--second-look", "5ms", "--metrics", url, "--logs", "node.log", "--topic-stats", "stats.json")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "Next: walctl doctor a")
	require.Equal(t, 2, served, "two looks")
	require.Equal(t, []string{"catalog.json", "metrics-1.prom", "metrics-2.prom", "milvus-log-1.gz", "topic-stats.json"}, evidenceNames(t, "a"))
	require.NotContains(t, errOut+everything(t, "a"), secret)
	require.Contains(t, everything(t, "a"), "channel reduplicates[channel=by-dev-rootcoord-dml_0_450000000000000001v0]")
	_, found := askDoctor(t, "a")
	require.Equal(t, "channel-reduplicates", found.Findings[0].Code)

	code, _, errOut = run(t, nil, "capture", "d", "--dir", "a", "--metrics", url)
	require.Equal(t, 0, code, errOut)
	require.Equal(t, []string{"catalog.json", "metrics-1.prom", "milvus-log-1.gz", "topic-stats.json"}, evidenceNames(t, "a"))

	for _, bad := range [][]string{{"--logs", "none.log"}, {"--topic-stats", "node.log"}, {"--internal-stats", "stats.json"}} {
		code, _, errOut = run(t, nil, append([]string{"capture", "d", "--dir", "b"}, bad...)...)
		require.Equal(t, 1, code, bad)
		require.Contains(t, errOut, bad[0]+" "+bad[1])
	}
}

// TestDoctorOnDamagedEvidence: what lies in an archive and cannot be read is told, and
// the answer is no clean one; what never was captured is not checked.
func TestDoctorOnDamagedEvidence(t *testing.T) {
	t.Chdir(t.TempDir())
	code, _, errOut := run(t, nil, "demo", "restarted", "--dir", "d")
	require.Equal(t, 0, code, errOut)
	files, err := filepath.Glob("d/evidence/*/metrics-1.prom")
	require.NoError(t, err)
	require.Len(t, files, 1)
	flipByte(t, files[0], 40)
	code, out, errOut := run(t, nil, "doctor", "d")
	require.Equal(t, 6, code, errOut)
	require.Contains(t, errOut, "metrics-1.prom of the archive")
	require.Contains(t, out, "NOT CHECKED  metrics-1.prom of the archive")
	require.Contains(t, out, "wal-in-recovery")

	code, _, errOut = run(t, nil, "capture", "d", "--dir", "again", "--metrics", "http://127.0.0.1:1/metrics")
	require.NotEqual(t, 0, code, "damaged evidence is not copied: "+errOut)

	code, _, errOut = run(t, nil, "demo", "crash", "--dir", "bare")
	require.Equal(t, 0, code, errOut)
	code, _, errOut = run(t, nil, "capture", "bare", "--dir", "none", "--metrics", "http://127.0.0.1:1/metrics")
	require.Equal(t, 0, code, errOut)
	code, out, errOut = run(t, nil, "doctor", "none")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "NOT CHECKED  metrics-1.prom of the archive (GET http://127.0.0.1:1/metrics")
}

func evidenceNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	src, err := archive.Open(t.Context(), dir, archive.Options{})
	require.NoError(t, err)
	defer src.Close()
	for _, e := range src.Evidence() {
		names = append(names, e.Name)
		_, err := src.ReadEvidence(e.Name)
		require.NoError(t, err)
	}
	slices.Sort(names)
	return names
}

// everything is the text of every file of evidence, unpacked, and of the manifest.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !regexp.MustCompile(`evidence|manifest`).MatchString(path) {
			return err
		}
		file, err := os.Open(path)
		require.NoError(t, err)
		defer file.Close()
		plain, err := gather.Plain(file)
		require.NoError(t, err)
		_, err = io.Copy(&all, plain)
		return err
	}))
	return all.String()
}
