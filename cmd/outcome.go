package cmd

import (
	"errors"
	"strings"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// outcome spells the one command that follows an apply or an undo.
type outcome struct {
	again   string // the command itself, as it was typed
	out     string // the plan's file; "" for undo
	wal     string // "" = the plan names no log
	catalog string
	milvus  string
}

// proof shows what a restart makes of what stands there now.
func (o *outcome) proof() string {
	if o.wal == "" {
		return "walctl catalog show --catalog " + shellQuote(o.catalog)
	}
	line := "walctl recover " + shellQuote(o.wal) + " --catalog " + shellQuote(o.catalog)
	if o.milvus != "" {
		line += " --milvus-version " + shellQuote(o.milvus)
	}
	return line
}

// next is what leads on from err: nothing failed, it was refused, or there was
// nothing to take back. "" where the error itself says how to go on.
func (o *outcome) next(f *cli.Factory, err error) string {
	var refused *plan.RefusedError
	switch {
	case err == nil:
		return f.Carry(o.proof())
	case errors.Is(err, plan.ErrNoJournal):
		return f.Carry("walctl undo --list --catalog " + shellQuote(o.catalog))
	case !errors.As(err, &refused):
		return ""
	}
	switch refused.Cure() {
	case plan.CureLook:
		return f.Carry(o.proof())
	case plan.CureJournals:
		return f.Carry("walctl undo --list --catalog " + shellQuote(o.catalog))
	case plan.CureVersion:
		return f.Carry(o.again + " --milvus-version 2.6  # or the version that will open it")
	case plan.CureLost:
		return f.Carry("walctl verify " + shellQuote(o.wal) + " --catalog " + shellQuote(o.catalog) + "  # what is gone; only if it stays gone, make a new plan")
	case plan.CureAddress:
		return f.Carry("walctl inspect " + shellQuote(o.wal) + "  # which log is this? then give the address of the plan's own")
	case plan.CureReplan:
		line := o.proof()
		if o.wal != "" && o.out != "" {
			line += " --out " + shellQuote(o.out)
		}
		return f.Carry(line)
	}
	return f.Carry(o.again)
}

// again spells a command as it was given, its confirmation included.
func (w *writeFlags) again(f *cli.Factory, words ...string) string {
	line := "walctl"
	for _, word := range words {
		if word != "" {
			line += " " + shellQuote(word)
		}
	}
	line += strings.Replace(confirmation(f), "'why'", shellQuote(w.reason), 1)
	if w.stopped {
		line += " --i-know-it-is-stopped"
	}
	return line
}
