package cmd

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// moved is a golden log on a broker: where it lies and where each id went.
type moved struct {
	name      string
	namespace string
	wal       string // pulsar://…
	records   []testenv.Record
	published testenv.Published
	raw       map[string]string // the old raw id → the new one
	back      map[string]string // the new readable id → the old one
}

// move publishes a golden log under its own pchannel's name in a namespace of its own.
func move(t *testing.T, b *testenv.Broker, name, pchannel string) *moved {
	t.Helper()
	ns := b.Namespace(t)
	topic := "persistent://public/" + ns + "/" + pchannel
	b.CreateTopic(t, topic)
	m := &moved{name: name, namespace: ns, wal: b.URL + "/public/" + ns + "/" + pchannel, raw: map[string]string{}, back: map[string]string{}}
	m.records, m.published = publishGolden(t, b, topic, name)
	for i, l := range lines(t, string(golden.Read(t, golden.WAL(t, name)))) {
		m.raw[l.ID] = m.published.Raw[i]
		m.back[m.published.IDs[i].String()] = l.IDs
	}
	return m
}

// holdRecords compares what inspect printed with what was published.
func (m *moved) holdRecords(t *testing.T, out string) {
	t.Helper()
	got := lines(t, out)
	require.Len(t, got, len(m.records))
	for i, l := range got {
		require.Equal(t, int64(i), l.I)
		require.Equal(t, m.published.Raw[i], l.ID)
		require.Equal(t, m.published.IDs[i].String(), l.IDs)
		require.Equal(t, m.published.Props(m.records[i]), l.Props)
		require.Equal(t, base64.StdEncoding.EncodeToString(m.records[i].Payload), l.Payload)
	}
}

var (
	readableID = regexp.MustCompile(`\b\d+/\d+(/\d+)?\b`)
	nextRows   = regexp.MustCompile(`\./rows-[^" ]+`)
	nextWAL    = regexp.MustCompile(`("next": "walctl [a-z]+ )[^" ]+`)
)

// restored is a text with the ids the log had before it moved.
func (m *moved) restored(text string) string {
	return readableID.ReplaceAllStringFunc(text, func(id string) string {
		if old, ok := m.back[id]; ok {
			return old
		}
		return id
	})
}

// answer is a command's JSON without where the log lies.
func answer(t *testing.T, out string) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(nextRows.ReplaceAllString(nextWAL.ReplaceAllString(out, "${1}WAL"), "./rows")), &v), "%.2000s", out)
	delete(v, "wal")
	return v
}

// kv is a catalog whose checkpoint names where the log went.
func (m *moved) kv(t *testing.T, kv map[string][]byte, pchannel string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for k, v := range kv {
		out[k] = v
	}
	key := catalog.CheckpointKey(pchannel)
	if kv[key] == nil {
		return out
	}
	var cp streamingpb.WALCheckpoint
	require.NoError(t, proto.Unmarshal(kv[key], &cp))
	id, ok := m.raw[cp.MessageId.Id]
	require.True(t, ok, "the log has no message %s", cp.MessageId.Id)
	cp.MessageId.Id, cp.MessageId.WALName = id, commonpb.WALName_Pulsar
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&cp)
	require.NoError(t, err)
	out[key] = b
	return out
}

// json is an expected state with its ids moved; those of a source cluster stay.
func (m *moved) json(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			switch k {
			case "replicate_checkpoint", "replicate_config":
			case "WAL_name":
				v[k] = "Pulsar"
				if _, ok := v["id"]; !ok { // Woodpecker's first id is no byte long
					v["id"] = m.raw[""]
				}
			case "id", "last_confirmed", "messages": // elsewhere a digit is no offset
				v[k] = m.moveIDs(x)
			default:
				v[k] = m.json(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = m.json(v[i])
		}
	}
	return v
}

// moveIDs is a raw id, or a list of them, where they went.
func (m *moved) moveIDs(v any) any {
	switch v := v.(type) {
	case string:
		return cmp.Or(m.raw[v], v)
	case []any:
		for i := range v {
			v[i] = m.moveIDs(v[i])
		}
	}
	return v
}

// plain drops what proto3 JSON may leave out, and spells numbers as text.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if x = plain(x); x != nil {
				out[k] = x
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		var out []any
		for _, x := range v {
			out = append(out, plain(x))
		}
		if out == nil {
			return nil
		}
		return out
	case json.Number:
		return plain(v.String())
	case string:
		if v == "" || v == "0" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

func decodeJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v), "%.2000s", text)
	return v
}

// Every log that Milvus wrote: over a real broker and its capture it is the same
// log with the same findings, and over a real etcd the replay reaches what Milvus
// reached.
func TestGoldenLogsLive(t *testing.T) {
	b := testenv.Pulsar(t)
	_, endpoints := testenv.Etcd(t)
	for _, name := range golden.Names(t) {
		expected := golden.Expectations(t, name)
		if len(expected) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := move(t, b, name, expected[0].PChannel)
			env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL}
			dir := filepath.Join(t.TempDir(), "archive")
			code, _, errOut := run(t, env, "capture", m.wal, "--dir", dir, "--no-catalog", "--rate", "0")
			require.Equal(t, 0, code, errOut)
			code, out, errOut := run(t, nil, "inspect", dir, "--records", "-o", "ndjson", "--data")
			require.Equal(t, 0, code, errOut)
			m.holdRecords(t, out)

			t.Run("findings", func(t *testing.T) { holdFindings(t, m, env, dir) })
			t.Run("replay", func(t *testing.T) {
				for _, e := range expected {
					t.Run(e.File, func(t *testing.T) { holdReplay(t, m, env, endpoints[0], e) })
				}
			})
		})
	}
}

// withoutContiguity is an answer of verify but for the rule that no entry is missing,
// which a log of offsets cannot be held to before it moves to Pulsar.
func withoutContiguity(v any) any {
	const number = 16
	m := v.(map[string]any)
	delete(m, "hold")
	delete(m, "not_checked")
	for _, list := range []string{"findings", "invariants"} {
		entries, _ := m[list].([]any)
		m[list] = slices.DeleteFunc(entries, func(x any) bool {
			e := x.(map[string]any)
			text, _ := json.Marshal(e["evidence"])
			return e["number"] == float64(number) || e["code"] == "not-checked" && strings.Contains(string(text), "invariant 16 ")
		})
	}
	return m
}

// withoutFields is an answer of verify but for the note that an archive's payloads were
// not read for the fields of inserts: they are where a schema dropped one.
func withoutFields(v any) any {
	m := v.(map[string]any)
	findings, _ := m["findings"].([]any)
	m["findings"] = slices.DeleteFunc(findings, func(x any) bool {
		text, _ := json.Marshal(x)
		return strings.Contains(string(text), "the fields of inserts: no schema of the log drops a field")
	})
	return m
}

// holdFindings compares verify and timetick over the log as it was, the broker and the archive.
func holdFindings(t *testing.T, m *moved, env map[string]string, dir string) {
	for _, command := range []string{"verify", "timetick"} {
		wantCode, out, errOut := run(t, nil, command, golden.WAL(t, m.name), "-o", "json")
		require.Contains(t, []int{0, 3}, wantCode, errOut)
		seen := withoutFields
		if strings.Contains(out, "need not be contiguous") {
			seen = func(v any) any { return withoutFields(withoutContiguity(v)) }
		}
		want := seen(answer(t, out))
		for _, wal := range []string{dir, m.wal} {
			code, out, errOut := run(t, env, command, wal, "-o", "json", "--rate", "0")
			require.Equal(t, wantCode, code, errOut)
			require.Equal(t, want, seen(answer(t, m.restored(out))), "%s %s", command, wal)
		}
	}
}

// holdReplay compares one state Milvus reached with what recover and state reach
// over broker and etcd.
func holdReplay(t *testing.T, m *moved, env map[string]string, endpoint string, e golden.Expected) {
	spec := "etcd://" + endpoint + "/" + m.namespace + "-" + e.File + "/meta"
	cat, err := catalog.Open(t.Context(), spec, catalog.Options{Write: true})
	require.NoError(t, err)
	defer func() { _ = cat.Close() }()
	before := m.kv(t, e.KVBefore, e.PChannel)
	_, err = cat.Txn(t.Context(), catalog.Guard{}, before, nil)
	require.NoError(t, err)

	until := []string{"--catalog", spec, "--until", "tt:" + itoa(e.LastTimeTick), "--rate", "0"}
	for view, want := range map[string]json.RawMessage{"snapshot": e.Snapshot, "all": e.All} {
		if len(want) == 0 {
			continue
		}
		code, out, errOut := run(t, env, append([]string{"state", m.wal, "--view", view, "-o", "json", "--fail-on", "never"}, until...)...)
		require.Equal(t, 0, code, errOut)
		got := decodeJSON(t, []byte(out)).(map[string]any)
		require.Equal(t, plain(m.json(decodeJSON(t, want))), plain(got[view]), view)
		require.Equal(t, plain(m.json(decodeJSON(t, e.UncommittedTxns))), plain(got["uncommitted_txns"]))
		require.Equal(t, plain(decodeJSON(t, e.AlterWAL)), plain(got["alter_wal"]))
	}
	if e.KVAfter == nil {
		return
	}
	file := filepath.Join(t.TempDir(), "after.json")
	code, _, errOut := run(t, env, append([]string{"recover", m.wal, "--write-to", "kvjson:" + file}, until...)...)
	require.Equal(t, 0, code, errOut)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var after map[string][]byte
	require.NoError(t, json.Unmarshal(text, &after))
	require.Equal(t, m.kv(t, e.KVAfter, e.PChannel), after)
	kv, err := catalog.Export(t.Context(), cat, "")
	require.NoError(t, err)
	require.Equal(t, before, kv, "recover wrote to a live catalog")
}

// Several logs captured at once lie whole beside each other.
func TestCaptureSeveralLive(t *testing.T) {
	b := testenv.Pulsar(t)
	ns := b.Namespace(t)
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns}
	dir := filepath.Join(t.TempDir(), "archive")
	args := []string{"capture", "--dir", dir, "--no-catalog"}
	var logs []*moved
	for i, name := range []string{"small", "live-pulsar", "3k-secondary", "v3-small", "5k-faults"} {
		pchannel := "by-dev-rootcoord-dml_" + itoa(uint64(i))
		topic := "persistent://public/" + ns + "/" + pchannel
		b.CreateTopic(t, topic)
		m := &moved{name: name, wal: pchannel}
		m.records, m.published = publishGolden(t, b, topic, name)
		logs, args = append(logs, m), append(args, pchannel)
	}
	for range 2 { // the second finds nothing new
		code, _, errOut := run(t, env, args...)
		require.Equal(t, 0, code, errOut)
		for _, m := range logs {
			code, out, errOut := run(t, nil, "inspect", dir, "--log", m.wal, "--records", "-o", "ndjson", "--data")
			require.Equal(t, 0, code, errOut)
			m.holdRecords(t, out)
		}
	}
}
