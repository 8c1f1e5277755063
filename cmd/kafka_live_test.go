package cmd

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
)

// A log on a real Kafka broker: the records are those that were written, it is sound,
// recovery reaches Milvus's state, a capture is the log, and nothing but the log is there
// afterwards. What retention took is refused by name.
func TestKafkaTopic(t *testing.T) {
	k := testenv.SharedKafka(t)
	const topic = "by-dev-rootcoord-dml_0"
	code, want, errOut := run(t, nil, "inspect", golden.WAL(t, "kafka-small"), "--records", "-o", "ndjson", "--data")
	require.Equal(t, 0, code, errOut)
	var records []testenv.Record
	for _, l := range lines(t, want) {
		payload, err := base64.StdEncoding.DecodeString(l.Payload)
		require.NoError(t, err)
		records = append(records, testenv.Record{Props: l.Props, Payload: payload})
	}
	k.Publish(t, topic, records)
	wal, topics := k.URL()+"/"+topic, k.Topics(t)

	code, out, errOut := run(t, nil, "inspect", wal, "--records", "-o", "ndjson", "--data")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, want, out)
	code, out, errOut = run(t, nil, "verify", wal)
	require.Equal(t, 0, code, "%s%s", out, errOut)

	dir := t.TempDir()
	code, _, errOut = run(t, nil, "capture", wal, "--dir", filepath.Join(dir, "evidence"), "--no-catalog")
	require.Equal(t, 0, code, errOut)
	code, out, errOut = run(t, nil, "inspect", filepath.Join(dir, "evidence"), "--records", "-o", "ndjson", "--data")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, want, out)

	all := golden.Expectations(t, "kafka-small")
	e := all[slices.IndexFunc(all, func(e golden.Expected) bool { return e.KVAfter != nil })]
	before, after := filepath.Join(dir, "before.json"), filepath.Join(dir, "after.json")
	text, err := json.Marshal(e.KVBefore)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(before, text, 0o600))
	recover := []string{"recover", wal, "--catalog", "kvjson:" + before, "--until", "tt:" + itoa(e.LastTimeTick), "-o", "json"}
	code, _, errOut = run(t, nil, append(recover, "--write-to", "kvjson:"+after)...)
	require.Equal(t, 0, code, errOut)
	text, err = os.ReadFile(after)
	require.NoError(t, err)
	var kv map[string][]byte
	require.NoError(t, json.Unmarshal(text, &kv))
	require.Equal(t, e.KVAfter, kv)

	k.Trim(t, topic, 300)
	code, _, errOut = run(t, nil, "inspect", wal, "--from", "50")
	require.Equal(t, 2, code)
	require.Contains(t, errOut, "50 lies before the log's first record: the log holds 300 … 530")
	code, out, _ = run(t, nil, recover...)
	require.Equal(t, 3, code)
	require.Contains(t, out, "position-gone")

	code, _, errOut = run(t, nil, "inspect", k.URL()+"/by-dev-rootcoord-dml_12")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "has no topic by-dev-rootcoord-dml_12, and walctl creates none")
	require.Contains(t, errOut, topic)
	require.Equal(t, topics, k.Topics(t))
}

// A URL that names no topic of Kafka's says how one is written.
func TestKafkaURL(t *testing.T) {
	for _, wal := range []string{"kafka://127.0.0.1", "kafka://127.0.0.1/", "kafka:///dml_0", "kafka://me:secret@127.0.0.1/dml_0", "kafka://127.0.0.1/a/b"} {
		code, _, errOut := run(t, nil, "inspect", wal)
		require.Equal(t, 2, code, wal)
		require.Contains(t, errOut, "kafka://HOST:9092/TOPIC")
		require.NotContains(t, errOut, "secret")
	}
}
