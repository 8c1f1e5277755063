package cmd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// matrixHalf is how many records of a log half an archive holds.
const matrixHalf = 200

// matrixPChannel is whose log it is.
const matrixPChannel = "by-dev-rootcoord-dml_0"

// matrixLog is one log as record lines, with the catalog beside it.
type matrixLog struct {
	lines   []string
	ms      []*message.Message // that the lines are of, before any was spoiled
	catalog map[string][]byte
}

func (l matrixLog) text() string { return strings.Join(l.lines, "") }

func (l matrixLog) spoiled(at int) matrixLog {
	l.lines = slices.Clone(l.lines)
	l.lines[at] = "{damaged\n"
	return l
}

// at is the log with the catalog's positions at one of its messages.
func (l matrixLog) at(i int) matrixLog {
	m := l.ms[i]
	l.catalog = maps.Clone(l.catalog)
	for k, v := range l.catalog {
		var to proto.Message
		switch catalog.ParseKey(k).Kind {
		case catalog.KeyCheckpoint:
			cp := &streamingpb.WALCheckpoint{}
			_ = proto.Unmarshal(v, cp) // written by walgen
			cp.MessageId.Id, cp.TimeTick = m.RawID(), m.TimeTick
			to = cp
		case catalog.KeyChannelCheckpoint:
			pos := &msgpb.MsgPosition{}
			_ = proto.Unmarshal(v, pos)
			pos.MsgID, _ = base64.StdEncoding.DecodeString(m.RawID())
			pos.Timestamp = m.TimeTick
			to = pos
		default:
			continue
		}
		l.catalog[k], _ = proto.Marshal(to)
	}
	return l
}

// matrixFaults are the faults that a log is written with.
func matrixFaults() []walgen.Fault {
	if testing.Short() {
		return []walgen.Fault{walgen.LostBegin, walgen.BadHeader}
	}
	return []walgen.Fault{walgen.StaleWriter, walgen.LostBegin, walgen.UnknownType, walgen.BadHeader, walgen.DroppedEntry, walgen.LostSegment, walgen.TimeTickRegression}
}

// matrixLogs are the logs that every command is asked about in every form.
func matrixLogs(t *testing.T) map[string]matrixLog {
	g := walgen.New(walgen.Config{Seed: 7, Messages: 600, Terms: 2, LedgerEntries: 200})
	all := g.Messages()
	kv := g.ClusterKeys(all[0])
	maps.Copy(kv, g.CatalogBefore())
	render := func(ms []*message.Message) matrixLog {
		var b bytes.Buffer
		w := jsonl.NewWriter(&b, jsonl.Options{Data: true})
		for _, m := range ms {
			require.NoError(t, w.Write(m))
		}
		require.NoError(t, w.Flush())
		return matrixLog{strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n"), ms, kv}
	}
	clean := render(all)
	n := len(all)
	out := map[string]matrixLog{
		"clean":                            clean,
		"empty, nothing named":             {catalog: map[string][]byte{}},
		"wholly trimmed":                   {catalog: kv},
		"trimmed":                          {clean.lines[n/2:], all[n/2:], kv},
		"damaged at the end":               clean.spoiled(n - 1),
		"positions beyond a damaged end":   clean.at(n - 1).spoiled(n - 1),
		"positions before a damaged start": clean.at(0).spoiled(0),
	}
	for k, v := range kv { // a cluster that knows the pchannel, and no position
		switch catalog.ParseKey(k).Kind {
		case catalog.KeyCheckpoint, catalog.KeyChannelCheckpoint:
		default:
			out["empty, nothing named"].catalog[k] = v
		}
	}
	for _, f := range matrixFaults() {
		ms, _, err := walgen.Inject(slices.Clone(all), f, 5)
		require.NoError(t, err)
		out[string(f)] = render(ms)
	}
	if !testing.Short() {
		out["damaged at the start"] = clean.at(n / 2).spoiled(0)
		out["damaged in the middle"] = clean.spoiled(n / 2)
		out["positions in the middle"] = clean.at(n / 2)
		out["positions at a damaged place"] = clean.at(n / 2).spoiled(n / 2)
		out["positions beyond the end"] = matrixLog{clean.lines[:n/2], all[:n/2], clean.at(n - 1).catalog}
	}
	return out
}

// questions are what every form of a log is asked, with whether the answer needs
// payloads and whether it is given over a catalog.
func questions() []question {
	return []question{
		{args: []string{"verify", "--fields"}, catalog: true}, {args: []string{"timetick"}, catalog: true}, {args: []string{"positions"}, catalog: true},
		{args: []string{"state"}, payload: true, catalog: true}, {args: []string{"recover"}, payload: true, catalog: true},
		{args: []string{"channels"}, catalog: true},
		{args: []string{"inspect"}}, {args: []string{"inspect", "--stats"}}, {args: []string{"salvage"}, payload: true, catalog: true},
	}
}

type question struct {
	args    []string
	payload bool
	catalog bool
}

// said is what a command said of a log: what must not depend on the form.
type said struct {
	Code       int
	Findings   []string
	Damage     int
	Counts     string // what was counted
	Empty      bool   // the log has no record
	Verdicts   string
	Applicable string
	NotChecked []string
	NoFields   bool // the fields of inserts were not checked
}

// ofForm is what names the form of a log itself: its path, and in an archive the place's
// in what was captured.
var ofForm = regexp.MustCompile(`( of )?(/[^ "]+/(log|gz|zst|archive|no-payload|half)|stdin)(: )?`)

// ask asks one question of one form. What a form itself has no answer to, with the
// reason it gives, is left to the caller.
func ask(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	f, out, errOut := testFactory(map[string]string{"XDG_CONFIG_HOME": t.TempDir()})
	f.IO.In = strings.NewReader(stdin)
	a := said{Code: Run(context.Background(), f, args), Findings: []string{}}
	var r struct {
		Findings []struct {
			Code, Severity string
			Where          json.RawMessage
			Count          int64
			Evidence       []struct{ Name, Value string }
		}
		Damage   []struct{ Lost int64 }
		Records  *int64
		Rows     *int64
		RowsIn   *int64 `json:"rows_in"`
		RowsOut  *int64 `json:"rows_out"`
		Verdicts []struct {
			Milvus, Meaning string
			Succeeds        bool
		}
		NotChecked any `json:"not_checked"`
		Plan       *struct {
			Applicable    bool
			NotApplicable []string `json:"not_applicable"`
			Keys          int
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), "%v\n%s\n%s", args, out, errOut)
	for _, x := range r.Findings {
		if len(x.Evidence) > 0 && strings.HasPrefix(x.Evidence[0].Value, "the fields of inserts: ") {
			a.NoFields = true // they need payloads, which a form can lack
			continue
		}
		a.Findings = append(a.Findings, fmt.Sprintf("%s %s ×%d %s", x.Severity, x.Code, x.Count, ofForm.ReplaceAllString(strings.Join(strings.Fields(string(x.Where)), " "), "")))
	}
	slices.Sort(a.Findings)
	a.Damage = len(r.Damage)
	if list, ok := r.NotChecked.([]any); ok {
		for _, x := range list {
			a.NotChecked = append(a.NotChecked, fmt.Sprint(x))
		}
	}
	for name, n := range map[string]*int64{"records": r.Records, "rows": r.Rows, "rows in": r.RowsIn, "rows out": r.RowsOut} {
		if n != nil {
			a.Counts += fmt.Sprintf("%s %d ", name, *n)
		}
	}
	words := strings.Fields(a.Counts)
	slices.Sort(words)
	a.Counts = strings.Join(words, " ")
	a.Verdicts = fmt.Sprintf("%+v", r.Verdicts)
	if r.Plan != nil {
		a.Applicable = fmt.Sprintf("%v: %s", r.Plan.Applicable, ofForm.ReplaceAllString(strings.Join(r.Plan.NotApplicable, "; "), ""))
	}
	return a
}

// matrixForms writes a log down in every form.
func matrixForms(t *testing.T, l matrixLog) (forms map[string]string, catalogSpec string) {
	t.Helper()
	dir := t.TempDir()
	at := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, b, 0o600))
		return p
	}
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, err := z.Write([]byte(l.text()))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	kv := map[string]string{}
	for k, v := range l.catalog {
		kv[k] = base64.StdEncoding.EncodeToString(v)
	}
	b, err := json.Marshal(kv)
	require.NoError(t, err)
	forms = map[string]string{
		"plain": at("log", []byte(l.text())), "gzip": at("gz", gz.Bytes()), "zstd": at("zst", enc.EncodeAll([]byte(l.text()), nil)), "stdin": "-",
	}
	for form, more := range map[string][]string{"archive": nil, "no payload": nil, "half": {"--limit", strconv.Itoa(matrixHalf)}} {
		forms[form] = filepath.Join(dir, strings.ReplaceAll(form, " ", "-"))
		code, _, errOut := run(t, nil, append([]string{"capture", forms["plain"], "--no-catalog", "--pchannel", matrixPChannel, "--dir", forms[form]}, more...)...)
		require.Contains(t, []int{0, 6}, code, errOut) // 6: places of the log are missing
	}
	require.NoError(t, os.RemoveAll(filepath.Join(forms["no payload"], "payload")))
	return forms, "kvjson:" + at("catalog.json", b)
}

// One log gives one truth, whatever it lies in.
func TestOneLogGivesOneTruthInEveryForm(t *testing.T) {
	for name, l := range matrixLogs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forms, spec := matrixForms(t, l)
			for _, q := range questions() {
				with := func(form string) said { return q.of(t, l, forms[form], spec) }
				want := with("plain")
				want.Empty = len(l.lines) == 0
				for _, form := range []string{"gzip", "zstd", "stdin", "archive"} {
					got := with(form)
					got.Empty = want.Empty
					assert.Equal(t, want, got, "%s over %s", q, form)
				}
				bare := with("no payload")
				bare.Empty = want.Empty
				holdBare(t, q, want, bare)
				if len(l.lines) > matrixHalf {
					holdPart(t, q, want, with("half"), "over half an archive")
				}
			}
		})
	}
}

// of asks the question of one form.
func (q question) of(t *testing.T, l matrixLog, wal, catalog string, more ...string) said {
	t.Helper()
	args := append(append(slices.Clone(q.args), wal, "-o", "json", "--pchannel", matrixPChannel), more...)
	if q.catalog {
		args = append(args, "--catalog", catalog)
	}
	return ask(t, l.text(), args...)
}

// String is the question as it is typed.
func (q question) String() string { return strings.Join(q.args, " ") }

// holdBare: without payloads the answer is the same where it needs none. Where it does,
// they are missed, no plan is made, and nothing critical is told that is not so.
func holdBare(t *testing.T, q question, want, got said) {
	t.Helper()
	if !q.payload || want.Empty {
		if q.args[0] == "verify" {
			assert.Equal(t, !want.Empty, got.NoFields, "%s without payloads says that fields were not checked", q)
			got.NoFields = want.NoFields
		}
		assert.Equal(t, want, got, "%s without payloads", q)
		return
	}
	holdPart(t, q, want, got, "without payloads")
}

// holdPart: of a part of the log nothing is told that is not so of the whole, and what
// it lacks is no all-clear.
func holdPart(t *testing.T, q question, want, got said, what string) {
	t.Helper()
	if q.args[0] != "inspect" { // which counts what is held, and says how much that is
		assert.Contains(t, []int{3, 4, 6}, got.Code, "%s %s", q, what)
	}
	assert.NotContains(t, got.Applicable, "true", "%s %s makes no plan", q, what)
	for _, f := range got.Findings {
		if code := strings.Join(strings.Fields(f)[:2], " "); strings.HasPrefix(code, "critical") {
			assert.True(t, slices.ContainsFunc(want.Findings, func(w string) bool { return strings.HasPrefix(w, code+" ") }), "%s %s: %s", q, what, f)
		}
	}
}
