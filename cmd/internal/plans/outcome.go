package plans

import (
	"errors"
	"strings"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Outcome spells the one command that follows an apply or an undo.
type Outcome struct {
	Again   string // the command itself, as it was typed
	Out     string // the plan's file; "" for undo
	WAL     string // "" = the plan names no log
	Catalog string
	Milvus  string
}

// proof shows what a restart makes of what stands there now.
func (o *Outcome) proof() string {
	if o.WAL == "" {
		return "walctl catalog show --catalog " + source.ShellWord(o.Catalog)
	}
	line := "walctl recover " + source.ShellWord(o.WAL) + " --catalog " + source.ShellWord(o.Catalog)
	if o.Milvus != "" {
		line += " --milvus-version " + source.ShellWord(o.Milvus)
	}
	return line
}

// Next is what leads on from err: nothing failed, it was refused, or there was
// nothing to take back. "" where the error itself says how to go on.
func (o *Outcome) Next(f *cli.Factory, err error) string {
	var refused *plan.RefusedError
	switch {
	case err == nil:
		return f.Carry(o.proof())
	case errors.Is(err, plan.ErrNoJournal):
		return f.Carry("walctl undo --list --catalog " + source.ShellWord(o.Catalog))
	case !errors.As(err, &refused):
		return ""
	}
	switch refused.Cure() {
	case plan.CureLook:
		return f.Carry(o.proof())
	case plan.CureJournals:
		return f.Carry("walctl undo --list --catalog " + source.ShellWord(o.Catalog))
	case plan.CureVersion:
		return f.Carry(o.Again + " --milvus-version 2.6  # or the version that will open it")
	case plan.CureLost:
		return f.Carry("walctl verify " + source.ShellWord(o.WAL) + " --catalog " + source.ShellWord(o.Catalog) + "  # what is gone; only if it stays gone, make a new plan")
	case plan.CureAddress:
		return f.Carry("walctl inspect " + source.ShellWord(o.WAL) + "  # which log is this? then give the address of the plan's own")
	case plan.CureReplan:
		line := o.proof()
		if o.WAL != "" && o.Out != "" {
			line += " --out " + source.ShellWord(o.Out)
		}
		return f.Carry(line)
	}
	return f.Carry(o.Again)
}

// Again spells a command as it was given, its confirmation included.
func (w *WriteFlags) Again(f *cli.Factory, words ...string) string {
	line := "walctl"
	for _, word := range words {
		if word != "" {
			line += " " + source.ShellWord(word)
		}
	}
	line += strings.Replace(Confirmation(f), "'why'", source.ShellWord(w.reason), 1)
	if w.stopped {
		line += " --i-know-it-is-stopped"
	}
	return line
}
