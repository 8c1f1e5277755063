package salvage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// python returns a Python with pyarrow, or skips.
func python(t *testing.T) string {
	t.Helper()
	if testing.Short() && os.Getenv("WALCTL_TEST_SERVICES") == "" {
		t.Skip("SKIPPED: a second Parquet reader is fetched; not with -short")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join("..", "..", "scripts", "fetch-pyarrow")).Output()
	if err == nil {
		return strings.TrimSpace(string(out))
	}
	if os.Getenv("WALCTL_TEST_SERVICES") != "" {
		t.Fatalf("pyarrow is demanded by WALCTL_TEST_SERVICES but can't be had: %v", err)
	}
	t.Skipf("SKIPPED: pyarrow can't be had (%v); that Parquet reads back elsewhere is not proven by this run", err)
	return ""
}

// columnTypes tells the script what the columns of every collection are.
func columnTypes(t *testing.T, src source.Source) map[string]map[string][2]string {
	r, err := src.Open(t.Context(), source.Range{Props: true, Payload: source.PayloadAll})
	require.NoError(t, err)
	defer r.Close()
	out := map[string]map[string][2]string{}
	require.NoError(t, source.Each(t.Context(), r, func(m *message.Message) error {
		if m.Type != message.TypeCreateCollection && m.Type != message.TypeAlterCollection && m.Type != message.TypeSchemaChange {
			return nil
		}
		s, err := m.Schema()
		if err != nil || s == nil {
			return err
		}
		of := map[string][2]string{}
		for _, f := range s.Fields {
			if f.FieldID >= 100 && !f.AutoID {
				of[f.Name] = [2]string{f.DataType.String(), f.ElementType.String()}
			}
		}
		for _, f := range s.StructArrayFields {
			of[f.Name] = [2]string{schemapb.DataType_ArrayOfStruct.String(), ""}
		}
		out[strconv.FormatInt(m.Collection, 10)] = of
		return nil
	}, nil))
	return out
}

// TestParquetReadsBackElsewhere reads the files with pyarrow and holds them to
// NDJSON, whose rows the golden test holds to the model.
func TestParquetReadsBackElsewhere(t *testing.T) {
	py := python(t)
	sources := map[string]source.Source{
		"every type": walgen.NewSource(walgen.Config{Seed: 7, Messages: 3000, Collections: 8}),
		"row based":  walgen.NewSource(walgen.Config{Seed: 8, Messages: 600, RowBased: true}),
	}
	for _, name := range golden.Names(t) {
		if name != "200k" {
			sources[name] = jsonl.Open(golden.WAL(t, name))
		}
	}
	for name, src := range sources {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			dir, lines, types := filepath.Join(tmp, "rows"), filepath.Join(tmp, "rows.ndjson"), filepath.Join(tmp, "types.json")
			d, err := salvage.NewDir(dir, salvage.DirOptions{FileBytes: 64 << 10, MaxOpen: 3}) // files roll and close
			require.NoError(t, err)
			report, err := salvage.Run(t.Context(), src, d, salvage.Options{})
			require.NoError(t, err)
			require.NoError(t, d.Close(report))

			var out bytes.Buffer
			_, err = salvage.Run(t.Context(), src, salvage.NewNDJSON(&out), salvage.Options{})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(lines, out.Bytes(), 0o600))
			b, err := json.Marshal(columnTypes(t, src))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(types, b, 0o600))

			said, err := exec.CommandContext(context.Background(), py, filepath.Join("testdata", "compare.py"), dir, lines, types).CombinedOutput()
			require.NoError(t, err, "%s", said)
			require.Equal(t, fmt.Sprintf("%d rows 0 differ\n", report.RowsOut), string(said))
			require.NotZero(t, report.RowsOut)
			require.FileExists(t, filepath.Join(dir, salvage.SummaryName))
		})
	}
}
