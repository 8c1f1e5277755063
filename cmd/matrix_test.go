package cmd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// matrixLog is one log as record lines, with the catalog beside it.
type matrixLog struct {
	lines   []string
	catalog map[string][]byte
}

func (l matrixLog) text() string { return strings.Join(l.lines, "") }

func (l matrixLog) spoiled(at int) matrixLog {
	l.lines = slices.Clone(l.lines)
	l.lines[at] = "{damaged\n"
	return l
}

// matrixLogs are the logs that every command is asked about in every form.
func matrixLogs(t *testing.T) map[string]matrixLog {
	g := walgen.New(walgen.Config{Seed: 7, Messages: 600, Terms: 2})
	clean := g.Messages()
	render := func(ms []*message.Message) matrixLog {
		var b bytes.Buffer
		w := jsonl.NewWriter(&b, jsonl.Options{Data: true})
		for _, m := range ms {
			require.NoError(t, w.Write(m))
		}
		require.NoError(t, w.Flush())
		return matrixLog{strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n"), g.CatalogBefore()}
	}
	out := map[string]matrixLog{"clean": render(clean)}
	for _, f := range []walgen.Fault{walgen.StaleWriter, walgen.LostBegin, walgen.UnknownType, walgen.BadHeader} {
		ms, _, err := walgen.Inject(slices.Clone(clean), f, 5)
		require.NoError(t, err)
		out[string(f)] = render(ms)
	}
	n := len(out["clean"].lines)
	out["damaged at the start"] = out["clean"].spoiled(0)
	out["damaged in the middle"] = out["clean"].spoiled(n / 2)
	out["damaged at the end"] = out["clean"].spoiled(n - 1)
	return out
}

// said is what a command said of a log: what must not depend on the form.
type said struct {
	Code     int
	Findings []string
	Damage   int
	NoFields bool // the fields of inserts were not checked
}

func ask(t *testing.T, stdin string, args ...string) said {
	f, out, errOut := testFactory(map[string]string{"XDG_CONFIG_HOME": t.TempDir()})
	f.IO.In = strings.NewReader(stdin)
	a := said{Code: Run(context.Background(), f, args), Findings: []string{}}
	var r struct {
		Findings []struct {
			Code, Severity string
			Count          int64
			Evidence       []struct{ Name, Value string }
		}
		Damage []struct{ Lost int64 }
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), "%v\n%s\n%s", args, out, errOut)
	for _, x := range r.Findings {
		if len(x.Evidence) > 0 && strings.HasPrefix(x.Evidence[0].Value, "the fields of inserts: ") {
			a.NoFields = true // they need payloads, which a form can lack
			continue
		}
		a.Findings = append(a.Findings, fmt.Sprintf("%s %s ×%d", x.Severity, x.Code, x.Count))
	}
	slices.Sort(a.Findings)
	a.Damage = len(r.Damage)
	return a
}

// One log gives one truth, whatever it lies in.
func TestOneLogGivesOneTruthInEveryForm(t *testing.T) {
	for name, l := range matrixLogs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
			catalog := "kvjson:" + at("catalog.json", b)
			plain := at("log", []byte(l.text()))
			arc, bare, half := filepath.Join(dir, "arc"), filepath.Join(dir, "bare"), filepath.Join(dir, "half")
			for _, a := range []string{arc, bare} {
				code, _, errOut := run(t, nil, "capture", plain, "--no-catalog", "--dir", a)
				require.Contains(t, []int{0, 6}, code, errOut) // 6: places of the log are missing
			}
			require.NoError(t, os.RemoveAll(filepath.Join(bare, "payload")))
			code, _, errOut := run(t, nil, "capture", plain, "--no-catalog", "--dir", half, "--limit", "200")
			require.Contains(t, []int{0, 6}, code, errOut)

			forms := map[string]string{"gzip": at("gz", gz.Bytes()), "zstd": at("zst", enc.EncodeAll([]byte(l.text()), nil)), "stdin": "-", "archive": arc}
			require.True(t, ask(t, "", "verify", arc, "-o", "json").NoFields, "an archive's payloads are read where that is asked for")
			for _, q := range [][]string{{"verify", "--fields"}, {"timetick"}, {"state"}, {"recover"}} {
				with := func(wal string) said {
					return ask(t, l.text(), append(slices.Clone(q), wal, "-o", "json", "--catalog", catalog)...)
				}
				want := with(plain)
				if strings.HasPrefix(name, "damaged") && (q[0] == "verify" || q[0] == "timetick") {
					require.Equal(t, 4, want.Code, q[0])
				}
				for form, wal := range forms {
					require.Equal(t, want, with(wal), "%s over %s", q[0], form)
				}
				if q[0] == "verify" || q[0] == "timetick" { // what needs no payload
					got := with(bare)
					require.Equal(t, q[0] == "verify", got.NoFields)
					got.NoFields = want.NoFields
					require.Equal(t, want, got, "%s without payloads", q[0])
				}
				got := with(half)
				require.Contains(t, []int{3, 4, 6}, got.Code, "%s over half an archive", q[0])
				for _, f := range got.Findings { // what was not captured is not gone
					require.True(t, !strings.Contains(f, "position-gone") || slices.Contains(want.Findings, f), f)
				}
			}
		})
	}
}
