package cmd

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/cmd/capture"
	"github.com/walctl/walctl/cmd/channels"
	"github.com/walctl/walctl/cmd/doctor"
	"github.com/walctl/walctl/cmd/inspect"
	"github.com/walctl/walctl/cmd/internal/plans"
	recovercmd "github.com/walctl/walctl/cmd/recover"
	"github.com/walctl/walctl/cmd/scanners"
	"github.com/walctl/walctl/internal/demo"
)

// reports are the JSON answers by the name of their schema, docs/schemas/NAME.json,
// and a command line that gives one; DEMO is a demo's directory.
var reports = []struct {
	name string
	of   any
	line string
}{
	{"inspect", inspect.Report{}, "inspect DEMO"},
	{"inspect-stats", inspect.StatsReport{}, "inspect DEMO --stats=vchannel"},
	{"inspect-id", inspect.RecordReport{}, "inspect DEMO --id 1001/0/0"},
	{"inspect-pchannels", inspect.PChannelsReport{}, ""}, // needs a broker
	{"verify", verifyReport{}, "verify DEMO"},
	{"positions", positionsReport{}, "positions DEMO"},
	{"timetick", timetickReport{}, "timetick DEMO"},
	{"channels", channels.Report{}, "channels DEMO"},
	{"doctor", doctor.Report{}, "doctor DEMO"},
	{"scanners", scanners.LookReport{}, "scanners DEMO"},
	{"scanners-simulate", scanners.SimulateReport{}, "scanners DEMO --simulate"},
	{"channels-repair", channels.RepairReport{}, "channels repair DEMO --catalog file:DEMO/catalog.db --milvus-version 2.6.14 --out DIR/c.json"},
	{"state", stateReport{}, "state DEMO"},
	{"diff", diffReport{}, "diff DEMO file:DEMO/catalog.db --catalog file:DEMO/catalog.db"},
	{"recover", recovercmd.Report{}, "recover DEMO --catalog file:DEMO/catalog.db --milvus-version 2.6.14 --out DIR/p.json"},
	{"recover-forecast", recovercmd.ForecastReport{}, "recover DEMO --forecast"},
	{"recover-memory", recovercmd.MemoryReport{}, "recover DEMO --memory 512MiB --all"},
	{"salvage", salvageReport{}, "salvage DEMO"},
	{"capture", capture.Report{}, "capture DEMO --dir DIR/copy"},
	{"apply", plans.Report{}, "apply DIR/p.json --yes --reason test"},
	{"undo", plans.Report{}, "undo latest --catalog file:DEMO/catalog.db --yes --reason test"},
	{"undo-list", journalsReport{}, "undo --list --catalog file:DEMO/catalog.db"},
	{"catalog-show", catalogReport{}, "catalog show --catalog file:DEMO/catalog.db"},
	{"explain", explainReport{}, "explain stale-writer"},
	{"explain-all", codesReport{}, "explain"},
	{"demo", demoReport{}, "demo healthy --dir DIR/another"},
	{"version", versionReport{}, "version"},
}

// Each report's schema stands in docs/schemas, made of the type it is printed from.
// After a change: go test ./cmd -run Docs -update
func TestDocsSchemas(t *testing.T) {
	dir := filepath.Join("..", "docs", "schemas")
	want := map[string]bool{}
	for _, r := range reports {
		s := schemaOf(reflect.TypeOf(r.of), 0)
		s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", "walctl "+strings.ReplaceAll(r.name, "-", " ")
		b, err := json.MarshalIndent(s, "", "  ")
		require.NoError(t, err)
		path := filepath.Join(dir, r.name+".json")
		want[r.name+".json"] = true
		if *update {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			require.NoError(t, os.WriteFile(path, append(b, '\n'), 0o644))
		}
		have, err := os.ReadFile(path)
		if err != nil || string(have) != string(b)+"\n" {
			t.Errorf("docs/schemas/%s.json is not current; run: go test ./cmd -run Docs -update", r.name)
		}
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		require.True(t, want[f.Name()], "%s is the schema of no report: delete it", f.Name())
	}
}

// What every command prints with -o json is what its schema says, on every demo.
func TestReportsKeepTheirSchemas(t *testing.T) {
	compiler, checked := jsonschema.NewCompiler(), 0
	for _, d := range demo.List() {
		dir := t.TempDir()
		f, _, errOut := testFactory(map[string]string{"HOME": dir})
		at := filepath.Join(dir, "demo")
		require.Zero(t, Run(context.Background(), f, []string{"demo", d.Name, "--dir", at}), errOut.String())
		for _, r := range reports {
			if r.line == "" {
				continue
			}
			f, out, errOut := testFactory(map[string]string{"HOME": dir})
			line := strings.NewReplacer("DEMO", at, "DIR", dir).Replace(r.line) + " -o json"
			code := Run(context.Background(), f, strings.Fields(line))
			if out.Len() == 0 && code != 0 {
				continue // a demo that has nothing to apply
			}
			schema, err := compiler.Compile(filepath.Join("..", "docs", "schemas", r.name+".json"))
			require.NoError(t, err)
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
			require.NoError(t, err, "%s\n%s", line, errOut.String())
			require.NoError(t, schema.Validate(value), "%s\n%.600s", line, out.String())
			checked++
		}
	}
	require.Greater(t, checked, 4*len(reports))
}

type schema = map[string]any

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// schemaOf is the JSON schema of what encoding/json makes of a type.
func schemaOf(t reflect.Type, depth int) schema {
	switch {
	case depth > 12:
		return schema{}
	case t.Kind() == reflect.Pointer:
		s := schemaOf(t.Elem(), depth+1)
		if kind, ok := s["type"].(string); ok {
			s["type"] = []string{kind, "null"}
		}
		return s
	case t == reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case t.Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler):
		return schema{} // spells itself; formats.md says how
	case t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(textMarshaler):
		return schema{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return schema{"type": []string{"array", "null"}, "items": schemaOf(t.Elem(), depth+1)}
	case reflect.Map:
		return schema{"type": []string{"object", "null"}, "additionalProperties": schemaOf(t.Elem(), depth+1)}
	case reflect.Struct:
		s := schema{"type": "object", "additionalProperties": false, "properties": schema{}}
		var required []string
		fieldsOf(t, depth, false, s["properties"].(schema), &required)
		if len(required) > 0 {
			s["required"] = required
		}
		return s
	case reflect.Interface:
		return schema{}
	}
	return schema{"type": "integer"}
}

func fieldsOf(t reflect.Type, depth int, optional bool, into schema, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			fieldsOf(inner, depth, optional || f.Type.Kind() == reflect.Pointer, into, required)
		case !f.IsExported():
		default:
			if name == "" {
				name = f.Name
			}
			s := schemaOf(f.Type, depth+1)
			if strings.Contains(opts, "string") {
				s = schema{"type": "string"}
			}
			into[name] = s
			if !strings.Contains(opts, "omitempty") && !strings.Contains(opts, "omitzero") && !optional {
				*required = append(*required, name)
			}
		}
	}
}
