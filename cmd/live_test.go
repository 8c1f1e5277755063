package cmd

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
)

type line struct {
	I       int64             `json:"i"`
	ID      string            `json:"id"`
	IDs     string            `json:"ids"`
	Props   map[string]string `json:"props"`
	Payload string            `json:"payload"`
}

func lines(t *testing.T, text string) []line {
	t.Helper()
	var out []line
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		var v line
		require.NoError(t, json.Unmarshal([]byte(l), &v), l)
		out = append(out, v)
	}
	return out
}

// run runs one command line in this process.
func run(t *testing.T, env map[string]string, args ...string) (code int, out, errOut string) {
	t.Helper()
	if env == nil {
		env = map[string]string{}
	}
	if env["XDG_CONFIG_HOME"] == "" {
		env["XDG_CONFIG_HOME"] = t.TempDir()
	}
	f, o, e := testFactory(env)
	code = Run(context.Background(), f, args)
	return code, o.String(), e.String()
}

// publishGolden puts a log that Milvus wrote on a broker.
func publishGolden(t *testing.T, b *testenv.Broker, topic, name string) ([]testenv.Record, testenv.Published) {
	t.Helper()
	var records []testenv.Record
	for _, l := range lines(t, string(golden.Read(t, golden.WAL(t, name)))) {
		id, err := message.ParseText(message.BackendUnknown, l.IDs)
		require.NoError(t, err)
		payload, err := base64.StdEncoding.DecodeString(l.Payload)
		require.NoError(t, err)
		records = append(records, testenv.Record{ID: id, Props: l.Props, Payload: payload})
	}
	return records, b.Publish(t, topic, records, 0)
}

// A log on a real broker reads as it was written, by URL, by name and by the end
// of a name; nothing is left behind.
func TestInspectLive(t *testing.T) {
	b := testenv.Pulsar(t)
	ns := b.Namespace(t)
	const pchannel = "by-dev-rootcoord-dml_3"
	topic := "persistent://public/" + ns + "/" + pchannel
	b.CreateTopic(t, topic)
	records, published := publishGolden(t, b, topic, "live-pulsar")

	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns}
	before := footprint(t, b, ns, topic)
	for _, wal := range []string{b.URL + "/public/" + ns + "/" + pchannel, pchannel, "dml_3"} {
		code, out, errOut := run(t, env, "inspect", wal, "--records", "-o", "ndjson", "--data")
		require.Equal(t, 0, code, errOut)
		got := lines(t, out)
		require.Len(t, got, len(records))
		for i, l := range got {
			require.Equal(t, published.Raw[i], l.ID)
			require.Equal(t, published.IDs[i].String(), l.IDs)
			require.Equal(t, published.Props(records[i]), l.Props)
			require.Equal(t, base64.StdEncoding.EncodeToString(records[i].Payload), l.Payload)
		}
	}
	last := published.IDs[len(records)-1].String()
	code, out, errOut := run(t, env, "inspect")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, pchannel+"\t")
	require.Contains(t, out, last)
	code, out, errOut = run(t, env, "inspect", "dml_3", "--id", last, "-o", "json")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, `"ids": "`+last+`"`)
	require.Contains(t, errOut, "retention")
	code, _, errOut = run(t, env, "inspect", "dml_4")
	require.Equal(t, 1, code, errOut)
	require.Equal(t, before, footprint(t, b, ns, topic))
}

// What keeps the log is told in the overview, and of every pchannel in the table.
func TestInspectTellsOfRetention(t *testing.T) {
	b := testenv.Pulsar(t)
	ns := b.Namespace(t)
	b.SetRetention(t, ns, 3*24*60, -1)
	for _, name := range []string{"by-dev-rootcoord-dml_1", "by-dev-rootcoord-dml_2"} {
		topic := "persistent://public/" + ns + "/" + name
		b.CreateTopic(t, topic)
		publishGolden(t, b, topic, "small")
		b.RollLedger(t, topic)
	}
	b.CreateTopic(t, "persistent://public/"+ns+"/other") // is no pchannel by its name
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns}
	code, out, errOut := run(t, env, "inspect", "dml_1")
	require.Equal(t, 0, code, errOut)
	require.Regexp(t, `(?m)^retention 3d.* · oldest expires in `, out)
	code, out, errOut = run(t, env, "inspect", "-o", "json")
	require.Equal(t, 0, code, errOut)
	var all struct {
		PChannels []struct {
			PChannel, First, Last string
			Protection            struct {
				LostAt string `json:"lost_at"`
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all.PChannels, 2)
	for i, p := range all.PChannels {
		require.Equal(t, fmt.Sprintf("by-dev-rootcoord-dml_%d", i+1), p.PChannel)
		require.NotEmpty(t, p.Protection.LostAt)
		require.NotEmpty(t, p.Last)
	}
	code, out, errOut = run(t, env, "inspect")
	require.Equal(t, 0, code, errOut)
	table, _, _ := strings.Cut(out, "WARN")
	require.Equal(t, 3, strings.Count(table, "\n"), out)
	require.Equal(t, 2, strings.Count(table, "oldest expires in"), out)
	require.Equal(t, 2, strings.Count(out, "position-soon"), out)
	require.Equal(t, 2, strings.Count(out, "Next: walctl capture by-dev-rootcoord-dml_"), out)
}

// footprint is what a look must leave as it was.
func footprint(t *testing.T, b *testenv.Broker, ns, topic string) string {
	t.Helper()
	stats, internal := b.Stats(t, topic), b.InternalStats(t, topic)
	j, err := json.Marshal(map[string]any{
		"topics": b.Topics(t, ns), "publishers": stats["publishers"], "subscriptions": stats["subscriptions"],
		"cursors": internal["cursors"], "ledgers": internal["ledgers"],
	})
	require.NoError(t, err)
	return string(j)
}

// Following shows what is written later, and ends when it is told to.
func TestFollowLive(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := "persistent://public/" + b.Namespace(t) + "/by-dev-rootcoord-dml_5"
	b.CreateTopic(t, topic)
	records, _ := publishGolden(t, b, topic, "small")
	cmd := walctl(t, "inspect", strings.Replace(topic, "persistent://", b.URL+"/", 1), "-f", "--records", "-o", "ndjson", "--pulsar-admin", b.AdminURL)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	in := bufio.NewScanner(out)
	read := func(n int) {
		for range n {
			require.True(t, in.Scan(), "the output ended")
		}
	}
	read(len(records))
	b.Publish(t, topic, records[:3], 0)
	read(3)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 130, exit.ExitCode())
}
