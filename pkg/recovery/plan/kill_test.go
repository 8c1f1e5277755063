package plan

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// killed is a catalog in a process that is killed before or after its n-th write.
type killed struct {
	catalog.Catalog
	at     int
	after  bool
	writes int
}

func (k *killed) Txn(ctx context.Context, g catalog.Guard, puts map[string][]byte, deletes []string) (catalog.Revision, error) {
	if g.Revisions[activeKey] == catalog.NeverRevision {
		return k.Catalog.Txn(ctx, g, puts, deletes)
	}
	k.writes++
	if k.writes == k.at && !k.after {
		die()
	}
	rev, err := k.Catalog.Txn(ctx, g, puts, deletes)
	if k.writes == k.at {
		die()
	}
	return rev, err
}

func die() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		_ = p.Kill()
	}
	select {} // until the signal comes
}

// TestKilledProcess is the process that is killed; alone it does nothing.
func TestKilledProcess(t *testing.T) {
	spec := os.Getenv("PLAN_TEST_KILLED")
	if spec == "" {
		return
	}
	c, err := catalog.Open(t.Context(), spec, catalog.Options{Write: true})
	require.NoError(t, err)
	at, err := strconv.Atoi(os.Getenv("PLAN_TEST_AT"))
	require.NoError(t, err)
	k := &killed{Catalog: c, at: at, after: os.Getenv("PLAN_TEST_AFTER") != ""}
	if os.Getenv("PLAN_TEST_UNDO") != "" {
		_, err = Undo(t.Context(), Latest, k, quiet, yes())
	} else {
		var p *Plan
		p, err = Read(os.Getenv("PLAN_TEST_FILE"))
		require.NoError(t, err)
		_, err = Apply(t.Context(), p, k, quiet, yes())
	}
	require.NoError(t, err)
}

// kill -9 before and after every write of apply and of undo: run again from
// another process the one reaches the target, the other the origin.
func TestKillNine(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		child := func(pl place, file string, at int, late, undo bool) (wasKilled bool) {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledProcess$")
			cmd.Env = append(os.Environ(), "PLAN_TEST_KILLED="+pl.spec, "PLAN_TEST_FILE="+file, "PLAN_TEST_AT="+strconv.Itoa(at))
			if late {
				cmd.Env = append(cmd.Env, "PLAN_TEST_AFTER=1")
			}
			if undo {
				cmd.Env = append(cmd.Env, "PLAN_TEST_UNDO=1")
			}
			out, err := cmd.CombinedOutput()
			if err == nil {
				return false
			}
			require.Contains(t, err.Error(), "signal: killed", string(out))
			return true
		}
		for at := 1; ; at++ {
			kills := 0
			for _, late := range []bool{false, true} {
				pl := fresh(t)
				c := pl.open(t)
				seed(t, c, before)
				p := build(t, c, after, nil)
				file := filepath.Join(t.TempDir(), "p.json")
				saved, err := Encode(p)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, saved, 0o600))
				if child(pl, file, at, late, false) {
					kills++
				}
				requireLoads(t, content(t, c))
				finishApply(t, p, c)
				require.Equal(t, after, content(t, c))
				if child(pl, file, at, late, true) {
					kills++
				}
				requireLoads(t, content(t, c))
				undoWhatIs(t, c)
				require.Equal(t, before, content(t, c))
			}
			if kills == 0 {
				require.Greater(t, at, 3)
				return
			}
		}
	})
}
