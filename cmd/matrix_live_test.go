package cmd

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// matrixRoll is after how many messages a ledger ends.
const matrixRoll = 320

// liveLog is a log to be put on a broker.
type liveLog struct {
	matrixLog
	cut  bool // the broker then loses every ledger but the last, or all that was written
	anew bool // as cut, by a topic that was deleted, made again and written on
	hole bool // the catalog's positions name an entry behind the end of the first ledger
}

// liveLogs are the logs that every command is asked about on a broker.
func liveLogs(t *testing.T) map[string]liveLog {
	out := map[string]liveLog{}
	for name, l := range matrixLogs(t) {
		out[name] = liveLog{matrixLog: l, cut: name == "trimmed" || name == "wholly trimmed"}
	}
	whole := out["clean"].matrixLog
	all := whole.ms
	out["trimmed"] = liveLog{matrixLog: matrixLog{whole.lines, all, whole.catalog}, cut: true}
	out["wholly trimmed"] = liveLog{matrixLog: matrixLog{nil, all, whole.catalog}, cut: true}
	out["made again"] = liveLog{matrixLog: matrixLog{whole.lines, all, whole.catalog}, cut: true, anew: true}
	out["made again, empty"] = liveLog{matrixLog: matrixLog{nil, all, whole.catalog}, cut: true, anew: true}
	out["positions in a hole"] = liveLog{matrixLog: whole, hole: true}
	out["nothing readable"] = liveLog{matrixLog: matrixLog{whole.lines[:1], all[:1], whole.catalog}.spoiled(0)}
	return out
}

// publish puts the log on a broker, where a line that is spoiled becomes an entry that no
// client can decode. It returns the log as the broker has it, with the ids that it gave,
// and the catalog with the ids that its positions have there.
func (l liveLog) publish(t *testing.T, b *testenv.Broker, topic string) matrixLog {
	t.Helper()
	b.CreateTopic(t, topic)
	if len(l.ms) == 0 {
		return l.matrixLog
	}
	records := make([]testenv.Record, len(l.ms))
	for i, m := range l.ms {
		props := map[string]string{}
		for _, p := range m.Props {
			props[p.Key] = p.Value
		}
		records[i] = testenv.Record{ID: m.ID, Props: props, Payload: m.Payload, Spoiled: len(l.lines) > 0 && strings.HasPrefix(l.lines[i], "{damaged")}
	}
	where := b.Publish(t, topic, records, matrixRoll)
	out := matrixLog{ms: l.ms, catalog: l.moved(t, where)}
	from := 0
	if l.cut {
		from = len(records) / matrixRoll * matrixRoll
		if len(l.lines) == 0 {
			from = len(records)
		}
		l.lose(t, b, topic, records[from:], &where, from)
	}
	for i := from; i < len(records); i++ {
		r, text := records[i], []byte("{damaged")
		if !r.Spoiled {
			var err error
			text, err = json.Marshal(line{I: int64(i - from), ID: where.Raw[i], IDs: where.IDs[i].String(), Props: where.Props(r), Payload: base64.StdEncoding.EncodeToString(r.Payload)})
			require.NoError(t, err)
		}
		out.lines = append(out.lines, string(text)+"\n")
	}
	return out
}

// lose makes the topic lose all it holds but the last records, by a trim or by making it
// again.
func (l liveLog) lose(t *testing.T, b *testenv.Broker, topic string, last []testenv.Record, where *testenv.Published, from int) {
	t.Helper()
	if !l.anew {
		if len(last) == 0 {
			b.RollLedger(t, topic)
		}
		b.Truncate(t, topic)
		return
	}
	b.DeleteTopic(t, topic)
	b.CreateTopic(t, topic)
	if len(last) > 0 {
		now := b.Publish(t, topic, last, matrixRoll)
		copy(where.IDs[from:], now.IDs)
		copy(where.Raw[from:], now.Raw)
		where.ByOld = now.ByOld // of the first topic only the catalog knows
	}
}

// moved is the catalog with its positions where the broker put what they name.
func (l liveLog) moved(t *testing.T, where testenv.Published) map[string][]byte {
	t.Helper()
	there := func(raw string) string {
		old, _, err := message.ParseRaw(message.BackendPulsar, raw)
		require.NoError(t, err)
		id, ok := where.NewID(old)
		if !ok { // beyond the end
			id = where.IDs[len(where.IDs)-1]
			id.B += 100
		}
		if l.hole {
			id = where.IDs[matrixRoll-1]
			id.B += 50
		}
		return id.Raw(message.Form{Partition: 0, BatchSize: 1})
	}
	out := maps.Clone(l.catalog)
	for k, v := range l.catalog {
		switch catalog.ParseKey(k).Kind {
		case catalog.KeyCheckpoint:
			cp := &streamingpb.WALCheckpoint{}
			require.NoError(t, proto.Unmarshal(v, cp))
			cp.MessageId.Id = there(cp.MessageId.Id)
			out[k], _ = proto.Marshal(cp)
		case catalog.KeyChannelCheckpoint:
			pos := &msgpb.MsgPosition{}
			require.NoError(t, proto.Unmarshal(v, pos))
			pos.MsgID, _ = base64.StdEncoding.DecodeString(there(base64.StdEncoding.EncodeToString(pos.MsgID)))
			out[k], _ = proto.Marshal(pos)
		}
	}
	return out
}

// One log gives one truth on a broker, and in what is captured from there, as it gives in a file.
func TestOneLogGivesOneTruthLive(t *testing.T) {
	b := testenv.Pulsar(t)
	for name, l := range liveLogs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := b.Namespace(t)
			at := "public/" + ns + "/" + matrixPChannel
			moved := l.publish(t, b, "persistent://"+at)
			forms, spec := matrixForms(t, moved)
			wal := b.URL + "/" + at
			captured := filepath.Join(t.TempDir(), "archive")
			code, _, errOut := run(t, nil, "capture", wal, "--pulsar-admin", b.AdminURL, "--no-catalog", "--rate", "0", "--dir", captured)
			require.Contains(t, []int{0, 6}, code, errOut) // 6: places of the log are missing
			if l.cut && len(moved.lines) > 0 {             // as over a file: a place before the first record is none
				code, _, errOut := run(t, nil, "inspect", wal, "--pulsar-admin", b.AdminURL, "--records", "--from", "1/0/0")
				assert.Equal(t, 2, code, errOut)
				assert.Contains(t, errOut, "--from: 1/0/0 lies before the log's first record: the log holds ")
			}
			for _, q := range questions() {
				want := q.of(t, moved, forms["plain"], spec).placed()
				got := q.of(t, moved, wal, spec, "--pulsar-admin", b.AdminURL).placed()
				assert.Equal(t, want, got, "%s over Pulsar", q)
				got = q.of(t, moved, captured, spec).placed()
				assert.Equal(t, want, got, "%s over what was captured", q)
				if l.cut && !l.anew { // a trimmed position is told as one where no admin port names the ledgers
					got = q.of(t, moved, wal, spec, "--pulsar-admin", "http://127.0.0.1:1", "--topic-exists", "--touch").placed()
					assert.Equal(t, want, got, "%s over Pulsar, its admin port closed", q)
				}
			}
		})
	}
}

// damagedPlace is what names a place that can't be read: a line in a file, entries on a broker.
var damagedPlace = regexp.MustCompile(`"(line \d+ \(byte \d+\)|\d+/\d+/\d+ (up to|to the end) \d+/\d+/\d+( of persistent://[^"]*)?)"|\([^()]*(\([^()]*\))? is corrupt: [^()]*\)`)

// placed is an answer without how the log's form names a damaged place. A broker knows the
// id of an entry there, so that of what is not checked (and said at the same record) it says
// one less.
func (s said) placed() said {
	for i, f := range s.Findings {
		s.Findings[i] = damagedPlace.ReplaceAllString(f, "PLACE")
	}
	slices.Sort(s.Findings)
	s.Findings = slices.Compact(s.Findings)
	s.Applicable = damagedPlace.ReplaceAllString(s.Applicable, "PLACE")
	return s
}
