package repair

import (
	"strings"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// Remedy is a repair that is not made unasked, for it loses something or decides what
// only a person can.
type Remedy struct {
	Only     plan.Kind // the kind of repair to ask for, "" = none
	AlterWAL string    // "finish" or "drop" a switch of WALs that was cut off
}

// RemedyOf returns the remedy an obstacle asks for: none for most, and for nil.
func RemedyOf(o *recovery.Issue) Remedy {
	switch {
	case o == nil:
	case o.Code == recovery.CodeAlterWALStageLost && strings.Contains(o.Detail, "ADVANCE"):
		return Remedy{AlterWAL: "finish"}
	case o.Code == recovery.CodeAlterWALStageLost:
		return Remedy{AlterWAL: "drop"}
	case o.Code == recovery.CodeCheckpointBroken,
		o.Code == recovery.CodeCatalogKey && strings.HasSuffix(o.Key, "/consume-checkpoint"):
		return Remedy{Only: plan.KindRebuild}
	}
	return Remedy{}
}

// Outlook is what stands between a plan and its apply.
type Outlook struct {
	Gaps      []plan.Gap // not accepted yet
	Hard      bool       // something stands against it that no flag takes away
	ByRestart bool       // a restart makes every change of it by itself
}

// OutlookOf judges a plan. copied says that it was made over an archive's copy of a
// catalog, which another address cures.
func OutlookOf(p *plan.Plan, copied bool) Outlook {
	out := Outlook{ByRestart: p.Applicable && onlyReplayed(p)}
	for _, g := range p.Coverage.Gaps {
		if !g.Accepted {
			out.Gaps = append(out.Gaps, g)
		}
	}
	soft := len(out.Gaps)
	if copied {
		soft++
	}
	if p.Coverage.Until != "" {
		soft++
	}
	out.Hard = len(p.NotApplicable) > soft
	return out
}
