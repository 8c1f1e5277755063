package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// An apply or an undo that ends half-way says how far it came, in which journal, and
// the two commands that lead on; JSON has both numbers and the first of the commands.
func TestHalfDoneSaysHowFar(t *testing.T) {
	onward := [][2]string{{"Finish", "walctl apply p.json --yes --reason 'why'"}, {"Go back", "walctl undo J1 --catalog file:c.db --yes --reason 'why'"}}
	const ways = "Finish     walctl apply p.json --yes --reason 'why'\nGo back    walctl undo J1 --catalog file:c.db --yes --reason 'why'\n"
	for name, c := range map[string]struct {
		err     error
		written int
		want    string
		next    string
	}{
		"interrupted":       {context.Canceled, 3, "Half done  3 of 1,200 keys written · journal J1\n" + ways, onward[0][1]},
		"timed out":         {context.DeadlineExceeded, 1, "Half done  1 of 1,200 keys written · journal J1\n" + ways, onward[0][1]},
		"Milvus came up":    {&plan.RefusedError{Reasons: []plan.Refusal{{Code: plan.CodeLiveSession}}, Journal: "J1", Written: 1}, 400, "Half done  400 of 1,200 keys written · journal J1\n" + ways, onward[0][1]},
		"nobody answered":   {fmt.Errorf("commit: %w", plan.ErrUnknownOutcome), 0, "Half done  0 of 1,200 keys written · journal J1; the last transaction may have been written too\n" + ways, onward[0][1]},
		"nothing was begun": {context.Canceled, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, out, _ := testFactory(nil)
			report := func() *plans.Report {
				return &plans.Report{Header: f.Header("apply", render.WAL{}, nil), Journal: "J1", Keys: 1200, KeysWritten: c.written}
			}
			require.ErrorIs(t, report().Write(f, cli.Table, c.err, onward...), c.err)
			require.NoError(t, f.Flush())
			require.Equal(t, c.want, out.String())
			out.Reset()
			require.ErrorIs(t, report().Write(f, cli.JSON, c.err, onward...), c.err)
			require.NoError(t, f.Flush())
			var answer struct {
				Keys    int
				Written int `json:"keys_written"`
				Journal string
				Next    string
			}
			require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
			require.Equal(t, []any{1200, c.written, "J1", c.next}, []any{answer.Keys, answer.Written, answer.Journal, answer.Next})
		})
	}
}
