package plans

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// Difference is a key with its values decoded.
type Difference struct {
	Key    string                     `json:"key"`
	Change recovery.Change            `json:"change"`
	Fields []recovery.FieldDifference `json:"fields,omitempty"`
	Old    *shownValue                `json:"old,omitempty"`
	New    *shownValue                `json:"new,omitempty"`
}

// shownValue is a key's value, decoded only where it is printed.
type shownValue struct {
	key   string
	value []byte
}

// MarshalJSON implements json.Marshaler.
func (v *shownValue) MarshalJSON() ([]byte, error) { return recovery.ValueJSON(v.key, v.value), nil }

// Differences are keys as JSON answers have them.
func Differences(d []recovery.Difference) []Difference {
	out := make([]Difference, len(d))
	for i, x := range d {
		out[i] = Difference{Key: x.Key, Change: x.Change, Fields: x.Fields}
		if x.Change != recovery.Added {
			out[i].Old = &shownValue{x.Key, x.Old}
		}
		if x.Change != recovery.Removed {
			out[i].New = &shownValue{x.Key, x.New}
		}
	}
	return out
}

// fieldsShown bounds the fields shown of a key that is not wide.
const fieldsShown = 6

// mark is the sign of a change, as a patch has it.
func mark(c recovery.Change) string {
	return map[recovery.Change]string{recovery.Added: "+", recovery.Removed: "-", recovery.Changed: "~"}[c]
}

// Summary counts what was added, removed and changed.
func Summary(d []recovery.Difference) string {
	if len(d) == 0 {
		return "no difference"
	}
	counts := map[recovery.Change]int{}
	for i := range d {
		counts[d[i].Change]++
	}
	return fmt.Sprintf("%s: %d added, %d removed, %d changed", render.Plural(len(d), "key"), counts[recovery.Added], counts[recovery.Removed], counts[recovery.Changed])
}

// WriteKeys lists keys with the fields that differ.
func WriteKeys(f *cli.Factory, d []recovery.Difference, limit int, wide bool) error {
	var out []string
	for _, x := range d[:min(len(d), limit)] {
		out = append(out, mark(x.Change)+" "+x.Key)
		fields := x.Fields
		if !wide && len(fields) > fieldsShown {
			fields = fields[:fieldsShown]
		}
		for _, v := range fields {
			if !wide {
				v = inWords(&x, v)
			}
			out = append(out, fmt.Sprintf("    %s  %s → %s", v.Path, fieldText(v.Old), fieldText(v.New)))
		}
		if n := len(x.Fields) - len(fields); n > 0 {
			out = append(out, fmt.Sprintf("    … and %d more fields (-o wide)", n))
		}
	}
	if n := len(d) - limit; n > 0 {
		out = append(out, fmt.Sprintf("… and %d more keys (-o wide)", n))
	}
	return cli.PrintLines(f, out)
}

// inWords is a field as people say it: an id in its parts, a TimeTick as its time.
func inWords(d *recovery.Difference, f recovery.FieldDifference) recovery.FieldDifference {
	if old, now, ok := d.Position(f); ok {
		f.Path = strings.TrimSuffix(f.Path, ".id")
		f.Old, f.New = old.Text(), now.Text()
		return f
	}
	if d.IsTick(f) {
		f.Old, f.New = ticksText(f.Old, f.New)
	}
	return f
}

// ticksText is two TimeTicks as their times, the date once. What is no time, and two
// of one millisecond, stay as they are.
func ticksText(old, now string) (string, string) {
	a, b := tickTime(old), tickTime(now)
	if a.Equal(b) {
		return old, now
	}
	if !a.IsZero() {
		old = render.HumanTime(a)
	}
	if !b.IsZero() {
		now = render.HumanTime(b)
	}
	if day, rest, ok := strings.Cut(now, " "); ok && strings.HasPrefix(old, day+" ") {
		now = rest
	}
	return old, now
}

func tickTime(s string) time.Time {
	tick, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return render.TickTime(tick)
}

func fieldText(s string) string {
	if s == "" {
		return "(not set)"
	}
	return render.Clean(s)
}

// BlastLines say what is left out, and what that means.
func BlastLines(all []plan.Blast, wide bool) []string {
	lines, named := []string{}, 0
	unknown := 0
	hidden := plan.Blast{}
	for _, b := range all {
		if b.Unknown {
			unknown++
		}
		if b.Rows+b.Deletes+b.DDL+b.Txns == 0 {
			continue
		}
		if named == costsShown && !wide {
			hidden.Rows, hidden.Txns = hidden.Rows+b.Rows, hidden.Txns+1
			continue
		}
		line := fmt.Sprintf("Cost       %s: %s left out", b.VChannel, counts(b))
		if named++; named == 1 {
			line += ": in the log, not in the state a restart reaches"
		}
		lines = append(lines, line)
	}
	if hidden.Txns > 0 {
		lines = append(lines, fmt.Sprintf("           %s, %s (-o wide)", render.Plural(int(hidden.Txns), "more vchannel"), render.Plural(int(hidden.Rows), "row")))
	}
	if unknown > 0 {
		lines = append(lines, fmt.Sprintf("Cost       up to %s can lose more than is counted here: what would tell is gone", render.Plural(unknown, "vchannel")))
	}
	return lines
}

// counts names what is not zero.
func counts(b plan.Blast) string {
	var parts []string
	for _, x := range []struct {
		n    int64
		what string
	}{{b.Rows, "row"}, {b.Deletes, "delete"}, {b.DDL, "definition"}, {b.Txns, "transaction"}} {
		if x.n > 0 {
			parts = append(parts, render.Plural(int(x.n), x.what))
		}
	}
	return strings.Join(parts, ", ")
}

// KeyLines are the plan's keys and, where there is room, their fields.
func KeyLines(pchannel string, d []recovery.Difference, room int) []string {
	var out []string
	room = min(max(room, 1), KeysShown)
	if len(d) > room {
		room--
	}
	for i, x := range d {
		if i == room {
			break
		}
		line := "  " + mark(x.Change) + " " + catalog.ShortKey(pchannel, x.Key)
		if len(x.Fields) > 0 {
			v := inWords(&x, x.Fields[0])
			line += fmt.Sprintf("  %s %s → %s", v.Path, fieldText(v.Old), fieldText(v.New))
			if n := len(x.Fields) - 1; n > 0 {
				line += fmt.Sprintf(" +%d", n)
			}
		}
		out = append(out, line)
	}
	if n := len(d) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("  … %d more keys (-o wide)", n))
	}
	return out
}

// DifferencesOf are a plan's changes in key order, whatever the order they are written in.
func DifferencesOf(changes []plan.Change) []recovery.Difference {
	out := make([]recovery.Difference, 0, len(changes))
	for _, c := range changes {
		if c.Old != nil && c.New != nil && bytes.Equal(c.Old, c.New) || c.Old == nil && c.New == nil {
			continue
		}
		out = append(out, recovery.DifferenceOf(c.Key, c.Old, c.New))
	}
	slices.SortFunc(out, func(a, b recovery.Difference) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// What the first screen shows of a plan or a difference.
const (
	costsShown = 3 // vchannels
	KeysShown  = 8
)
