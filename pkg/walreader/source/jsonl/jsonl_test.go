package jsonl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

var everything = source.Range{Props: true, Payload: source.PayloadAll}

// readAll returns a range's messages and the errors met, the clean end excepted.
func readAll(t testing.TB, s *jsonl.Source, r source.Range) ([]*message.Message, []error) {
	t.Helper()
	rd, err := s.Open(context.Background(), r)
	require.NoError(t, err)
	defer func() { require.NoError(t, rd.Close()) }()
	var out []*message.Message
	var errs []error
	for {
		m, err := rd.Next(context.Background())
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			out = append(out, m)
		case errors.Is(err, io.EOF):
			return out, errs
		default:
			errs = append(errs, err)
			if !errors.As(err, &corrupt) {
				return out, errs
			}
		}
	}
}

// fields are the parts of a line that have to come back as they were.
type fields struct {
	I       int64             `json:"i"`
	ID      string            `json:"id"`
	IDs     string            `json:"ids"`
	Props   map[string]string `json:"props"`
	Payload *string           `json:"payload"`
}

func parseFields(t testing.TB, text []byte) []fields {
	t.Helper()
	var out []fields
	for line := range bytes.Lines(text) {
		var f fields
		require.NoError(t, json.Unmarshal(line, &f))
		out = append(out, f)
	}
	return out
}

func TestGoldenLogsComeBackAsTheyWere(t *testing.T) {
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "200k" {
				t.Skip("SKIPPED: the large log is not read with -short")
			}
			ms, errs := readAll(t, jsonl.Open(golden.WAL(t, name)), everything)
			require.Empty(t, errs)
			var out bytes.Buffer
			w := jsonl.NewWriter(&out, jsonl.Options{Data: true})
			for _, m := range ms {
				require.Empty(t, m.Defects, m.TextID())
				require.NoError(t, w.Write(m))
			}
			require.NoError(t, w.Flush())
			want := parseFields(t, golden.Read(t, golden.WAL(t, name)))
			got := parseFields(t, out.Bytes())
			require.Equal(t, len(want), len(got))
			for i := range want {
				require.Equal(t, want[i], got[i])
			}
			again, errs := readAll(t, jsonl.FromReader("-", &out), everything)
			require.Empty(t, errs)
			require.Equal(t, ms, again)
		})
	}
}
