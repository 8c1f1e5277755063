package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
)

// looks are command lines that touch a live log.
type looks struct {
	wal     string // pulsar://…
	catalog string // kvjson:…, of the log
	plan    string // a saved plan
	journal string // kvjson:… with an applied plan
	dir     string // for what is written
}

// ofCommand are command lines of one command: those listed, or one made from the
// flags it has, so that a new command is held as well.
func (l looks) ofCommand(path string, has func(flag string) bool) [][]string {
	at := func(name string) string { return filepath.Join(l.dir, strings.ReplaceAll(path, " ", "-")+name) }
	yes := []string{"--yes", "--reason", "test", "--milvus-version", "2.6.14"}
	known := map[string][][]string{
		"inspect": {{"inspect", l.wal}, {"inspect"}, {"inspect", l.wal, "--stats"},
			{"inspect", l.wal, "--records", "--limit", "5"}, {"inspect", l.wal, "--id", "latest"},
			{"inspect", l.wal, "--records", "-f"}},
		"capture": {{"capture", l.wal, "--dir", at("a"), "--catalog", l.catalog}, {"capture", l.wal, "--dir", at("f"), "-f", "--no-catalog"}},
		"state":   {{"state", l.wal, "--catalog", l.catalog}, {"state", l.wal, "--catalog", l.catalog, "--view", "all"}, {"state", l.wal, "--catalog", l.catalog, "--view", "buffers"}},
		"diff":    {{"diff", l.wal, "--catalog", l.catalog}, {"diff", l.catalog, l.wal, "--catalog", l.catalog}},
		"recover": {{"recover", l.wal, "--catalog", l.catalog}, {"recover", l.wal, "--catalog", l.catalog, "--forecast"},
			{"recover", l.wal, "--catalog", l.catalog, "--memory", "64MiB"},
			{"recover", l.wal, "--catalog", l.catalog, "--out", at(".json"), "--milvus-version", "2.6.14"}},
		"scanners": {{"scanners", l.wal, "--simulate"}}, // beside evidence the log itself is not read
		"apply":    {append([]string{"apply", l.plan, l.wal}, yes...)},
		"undo":     {append([]string{"undo", "latest", l.wal, "--catalog", l.journal}, yes...)},
	}
	if lines, ok := known[path]; ok {
		return lines
	}
	line := append(strings.Fields(path), l.wal)
	for flag, value := range map[string]string{"catalog": l.catalog, "out": at(".json"), "dir": at("d"), "milvus-version": "2.6.14"} {
		if has(flag) {
			line = append(line, "--"+flag, value)
		}
	}
	return [][]string{line}
}

// lookers are the command lines of all commands that can open a live log, by path.
func (l looks) lookers() map[string][][]string {
	f, _, _ := testFactory(nil)
	out := map[string][][]string{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && c.Flags().Lookup("touch") != nil {
			_, path, _ := strings.Cut(c.CommandPath(), " ")
			out[path] = l.ofCommand(path, func(flag string) bool {
				return c.Flags().Lookup(flag) != nil || c.InheritedFlags().Lookup(flag) != nil
			})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCmd(f))
	return out
}

// prepare makes plan, journal and catalog of a golden log moved to a broker.
func prepare(t *testing.T, m *moved, e golden.Expected) looks {
	t.Helper()
	l := looks{wal: m.wal, dir: t.TempDir()}
	write := func(name string, kv map[string][]byte) string {
		text, err := json.Marshal(kv)
		require.NoError(t, err)
		file := filepath.Join(l.dir, name)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return "kvjson:" + file
	}
	l.catalog = write("moved.json", m.kv(t, e.KVBefore, e.PChannel))
	open, applied := write("open.json", e.KVBefore), write("applied.json", e.KVBefore)
	for _, at := range []string{open, applied} {
		l.plan = filepath.Join(l.dir, filepath.Base(at)+".plan")
		code, _, errOut := run(t, nil, "recover", golden.WAL(t, m.name), "--catalog", at, "--out", l.plan, "--milvus-version", "2.6.14")
		require.Equal(t, 0, code, errOut)
	}
	code, _, errOut := run(t, nil, "apply", l.plan, "--yes", "--reason", "test")
	require.Equal(t, 0, code, errOut)
	l.journal, l.plan = applied, filepath.Join(l.dir, "open.json.plan")
	return l
}

// look runs a command line for at most a few seconds.
func look(t *testing.T, env map[string]string, args []string) (code int, errOut string) {
	t.Helper()
	ctx := t.Context()
	if slices.Contains(args, "-f") {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, 2*time.Second)
		defer stop()
	}
	env = maps.Clone(env)
	env["XDG_CONFIG_HOME"] = t.TempDir()
	f, _, e := testFactory(env)
	code = Run(ctx, f, args)
	return code, e.String()
}

// traces is what a look must leave as it was: topics, publishers, subscriptions,
// every cursor's position, every ledger.
func traces(t *testing.T, b *testenv.Broker, ns, topic string) string {
	t.Helper()
	stats, internal := b.Stats(t, topic), b.InternalStats(t, topic)
	cursors := map[string]any{}
	for name, c := range internal["cursors"].(map[string]any) {
		c := c.(map[string]any)
		cursors[name] = []any{c["markDeletePosition"], c["readPosition"], c["individuallyDeletedMessages"]}
	}
	j, err := json.MarshalIndent(map[string]any{"topics": b.Topics(t, ns), "publishers": stats["publishers"],
		"subscriptions": slices.Sorted(maps.Keys(stats["subscriptions"].(map[string]any))),
		"cursors":       cursors, "ledgers": internal["ledgers"], "last": internal["lastConfirmedEntry"]}, "", " ")
	require.NoError(t, err)
	return string(j)
}

// Every command that can open a live log leaves nothing behind on it.
func TestEveryCommandsFootprintLive(t *testing.T) {
	b := testenv.Pulsar(t)
	e := expectation(t, "live-pulsar")
	m := move(t, b, "live-pulsar", e.PChannel)
	topic := "persistent://public/" + m.namespace + "/" + e.PChannel
	b.Subscribe(t, topic, "backlog-clear")
	l := prepare(t, m, e)
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": m.namespace}
	before := traces(t, b, m.namespace, topic)
	for _, commands := range l.lookers() {
		for _, args := range commands {
			code, errOut := look(t, env, args)
			t.Logf("exit %d: %s", code, strings.Join(args, " "))
			if args[0] != "apply" && args[0] != "undo" && !slices.Contains(args, "-f") {
				require.Contains(t, []int{0, 3}, code, "%v: %s", args, errOut)
			}
			after := traces(t, b, m.namespace, topic)
			for range 100 { // a busy broker lets go of a closed connection a moment later
				if after == before {
					break
				}
				time.Sleep(100 * time.Millisecond)
				after = traces(t, b, m.namespace, topic)
			}
			require.Equal(t, before, after, "%v", args)
		}
	}
}

func expectation(t *testing.T, name string) golden.Expected {
	t.Helper()
	for _, e := range golden.Expectations(t, name) {
		if e.File == "expected.json.zst" {
			return e
		}
	}
	t.Fatalf("%s has no expected.json", name)
	return golden.Expected{}
}

// onceBookieIsFound asks again while a standalone that was killed does not find its
// own bookie.
func onceBookieIsFound(ask func() (code int, out, errOut string)) (code int, out, errOut string) {
	for range 20 {
		if code, out, errOut = ask(); !strings.Contains(errOut, "bookies available") {
			break
		}
		time.Sleep(3 * time.Second)
	}
	return code, out, errOut
}

// Ledgers past their retention live on while their topic is not loaded, and the
// first contact of every command leaves them. The control is a command told to
// --touch: its ledgers go, so retention was at work.
func TestEveryCommandsFirstContactLive(t *testing.T) {
	b := testenv.PrivatePulsar(t, map[string]string{"retentionCheckIntervalInSeconds": "2",
		"managedLedgerMinLedgerRolloverTimeMinutes": "0"})
	e := expectation(t, "live-pulsar")
	m := move(t, b, "live-pulsar", e.PChannel) // for plan and journal only
	l := prepare(t, m, e)
	paths := slices.Sorted(maps.Keys(l.lookers()))
	namespace := func(i int) string { return fmt.Sprintf("first%d", i) }
	topic := func(i int) string { return "persistent://public/" + namespace(i) + "/" + e.PChannel }
	const held = 2
	for i := range len(paths) + 1 { // the last is the control
		require.NoError(t, b.Call(t.Context(), "PUT", "namespaces/public/"+namespace(i), nil, nil))
		b.CreateTopic(t, topic(i))
		b.Publish(t, topic(i), m.records[:held*10], 10)
		b.Subscribe(t, topic(i), "backlog-clear")
	}
	b.Kill()
	require.NoError(t, b.Restart(t.Context()))
	for i := range len(paths) + 1 {
		b.SetRetention(t, namespace(i), 0, 0)
	}
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL}
	for i, path := range paths {
		l.wal, l.dir = b.URL+"/public/"+namespace(i)+"/"+e.PChannel, t.TempDir()
		env["WALCTL_NAMESPACE"] = namespace(i)
		for _, args := range l.lookers()[path] {
			code, errOut := look(t, env, args)
			t.Logf("exit %d: %s", code, strings.Join(args, " "))
			require.Equal(t, 5, code, "%v: %s", args, errOut)
			require.Contains(t, errOut, "--touch", "%v", args)
		}
	}
	touch := []string{"inspect", b.URL + "/public/" + namespace(len(paths)) + "/" + e.PChannel, "--touch"}
	code, _, errOut := onceBookieIsFound(func() (int, string, string) {
		code, errOut := look(t, env, touch)
		return code, "", errOut
	})
	require.Contains(t, []int{0, 3, 4}, code, errOut) // what it came to read may go under its eyes, or soon (3)
	ledgers := func(i int) int { return len(b.InternalInfo(t, topic(i))["ledgers"].([]any)) }
	require.Eventually(t, func() bool { return ledgers(len(paths)) < held }, time.Minute, time.Second,
		"the control lost nothing: the guard is not proven")
	time.Sleep(5 * time.Second) // two more checks of retention
	for i, path := range paths {
		require.GreaterOrEqual(t, ledgers(i), held, "%s let the broker delete ledgers", path)
	}
}
