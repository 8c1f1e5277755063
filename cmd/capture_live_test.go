package cmd

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/cmd/inspect"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// metricsServer answers /metrics, and refuses everything else.
func metricsServer(t *testing.T, text string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	return s
}

// A capture of a whole cluster takes the evidence of the moment: what a broker
// and the metrics say, and of what does not answer, why. No secret is in it.
func TestCaptureTakesEvidenceLive(t *testing.T) {
	const secret = "s3cr3t"
	b := testenv.Pulsar(t)
	ns := b.Namespace(t)
	b.SetRetention(t, ns, 2880, 512) // shorter, and first contact refuses
	pchannels := []string{"by-dev-rootcoord-dml_0", "by-dev-rootcoord-dml_1"}
	topic := func(p string) string { return "persistent://public/" + ns + "/" + p }
	for _, p := range pchannels {
		b.CreateTopic(t, topic(p))
		publishGolden(t, b, topic(p), "small")
	}
	metrics := metricsServer(t, "# TYPE up gauge\nup 1\n")
	env := map[string]string{
		"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns, "WALCTL_PULSAR_TOKEN": secret + "-token",
		"WALCTL_ETCD": "127.0.0.1:1", "WALCTL_ETCD_USER": "root", "WALCTL_ETCD_PASSWORD": secret + "-etcd",
		"WALCTL_METRICS": metrics.URL + "," + metrics.URL + "/other?token=" + secret + ",127.0.0.1:1/metrics?token=" + secret,
	}
	before := footprint(t, b, ns, topic(pchannels[0]))
	dir := filepath.Join(t.TempDir(), "archive")
	code, out, errOut := run(t, env, "capture", "--dir", dir)
	require.Equal(t, 6, code, errOut)
	require.Contains(t, errOut, "partial result: the catalog is not captured: ")
	require.Equal(t, before, footprint(t, b, ns, topic(pchannels[0])))
	for _, p := range pchannels {
		require.Contains(t, out, p+": 531 records in 1 segment")
		at := filepath.Join(dir, "evidence", "pchannel="+p)
		holdTopicEvidence(t, at, topic(p))
		for name, want := range map[string]string{
			"metrics-1.prom": "# TYPE up gauge\nup 1\n",
			"metrics-2.prom": "# not captured: GET " + metrics.URL + "/other: HTTP 418\n",
			"metrics-3.prom": "# not captured: GET http://127.0.0.1:1/metrics: dial tcp",
		} {
			got, err := os.ReadFile(filepath.Join(at, name))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(got), want), "%s", got)
		}
		require.FileExists(t, filepath.Join(at, source.EvidenceCatalogError))
		code, out, errOut := run(t, nil, "inspect", dir, "--log", p, "-o", "json")
		require.Equal(t, 0, code, errOut)
		var r inspect.Report
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		require.EqualValues(t, 172800, r.Protection.RetentionSeconds)
		require.NotEmpty(t, r.Protection.CapturedAt)
		for _, command := range []string{"inspect", "timetick", "recover"} {
			_, _, errOut = run(t, nil, command, dir, "--log", p)
			require.Contains(t, errOut, p+": as of 20", command)
			require.Contains(t, errOut, "retention ", command)
			require.Contains(t, errOut, "oldest ledger ", command)
		}
	}
	requireNoSecret(t, dir, secret)

	// Once the catalog answers, it is there, and the error is not.
	catalogFile := filepath.Join(t.TempDir(), "catalog.json")
	require.NoError(t, os.WriteFile(catalogFile, []byte(`{"root-coord/credential/users/root":"`+base64.StdEncoding.EncodeToString([]byte(secret))+`","streamingnode-meta/x":"AA=="}`), 0o600))
	code, out, errOut = run(t, env, "capture", pchannels[0], "--dir", dir, "--catalog", "kvjson:"+catalogFile)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "catalog 1 key")
	at := filepath.Join(dir, "evidence", "pchannel="+pchannels[0])
	require.NoFileExists(t, filepath.Join(at, source.EvidenceCatalogError))
	got, err := os.ReadFile(filepath.Join(at, "catalog.json"))
	require.NoError(t, err)
	require.JSONEq(t, `{"streamingnode-meta/x":"AA=="}`, string(got))
	requireNoSecret(t, dir, secret)
	code, _, errOut = run(t, nil, "verify", dir, "--log", pchannels[0])
	require.Equal(t, 0, code, errOut)
}

func holdTopicEvidence(t *testing.T, dir, topic string) {
	t.Helper()
	for name, want := range map[string][]string{
		"topic.json":       {"internal-info", "retention applied", "retention topic", "retention namespace", "message TTL applied"},
		"topic-stats.json": {"stats", "internal stats"},
	} {
		var e cli.TopicEvidence
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &e))
		require.Equal(t, topic, e.Topic)
		require.Empty(t, e.Errors)
		for _, call := range want {
			require.NotEmpty(t, e.Answers[call], call)
		}
		require.Len(t, e.Answers, len(want))
		if name == "topic.json" {
			require.EqualValues(t, 512<<20, e.Protection.RetentionBytes)
			require.Contains(t, string(e.Answers["internal-info"]), "ledgerId")
		} else {
			require.Contains(t, string(e.Answers["internal stats"]), "lastConfirmedEntry")
		}
	}
}

// requireNoSecret reads every byte below a directory.
func requireNoSecret(t *testing.T, dir, secret string) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		b, err := os.ReadFile(p)
		require.NotContains(t, string(b), secret, p)
		require.NotContains(t, string(b), base64.StdEncoding.EncodeToString([]byte(secret)), p)
		return err
	}))
	require.Greater(t, n, 4)
}
