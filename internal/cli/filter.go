package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// FilterFlags choose messages. Values of one flag are alternatives, different
// flags must all hold.
type FilterFlags struct {
	Types       []string
	VChannels   []string
	Collections []string
}

// Add adds --type, --vchannel and --collection.
func (f *FilterFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringSliceVar(&f.Types, "type", nil, "only messages of this type, repeatable (`TYPE`; \"list\" prints the names)")
	p.StringSliceVar(&f.VChannels, "vchannel", nil, "only messages of this vchannel, repeatable; the whole `NAME`, or its end after - or _")
	p.StringSliceVar(&f.Collections, "collection", nil, "only messages of this collection, by `ID or name`, repeatable")
	CompleteWords(cmd, "type", typeNames())
}

func typeNames() []string {
	names := []string{}
	for _, t := range message.Types() {
		names = append(names, t.String())
	}
	return names
}

// ListsTypes reports whether the names were asked for.
func (f *FilterFlags) ListsTypes() bool { return slices.Contains(f.Types, "list") }

// PrintTypes prints number and name of every type.
func PrintTypes(w io.Writer) error {
	for _, t := range message.Types() {
		if _, err := fmt.Fprintf(w, "%d\t%s\n", int(t), t); err != nil {
			return err
		}
	}
	return nil
}

// Filter is FilterFlags, read.
type Filter struct {
	types       map[message.Type]bool
	vchannels   []string
	collections map[int64]bool

	seen    map[string]bool // vchannels met while none of those wanted was
	seenIDs map[int64]bool  // collections likewise
	hit     struct{ vchannel, collection bool }
}

// maxSeen bounds what is kept of what a filter did not want.
const maxSeen = 10_000

// Unmatched is the error of a vchannel or collection that nothing which was read
// has, with those there are; nil where each was met, or nothing was read.
func (f *Filter) Unmatched() error {
	var errs []error
	if len(f.vchannels) > 0 && !f.hit.vchannel && len(f.seen) > 0 {
		errs = append(errs, Usagef("--vchannel %s: nothing in the log is of it; there are %s", strings.Join(f.vchannels, ","), walreader.Few(slices.Sorted(maps.Keys(f.seen)))))
	}
	if f.collections != nil && !f.hit.collection && len(f.seenIDs) > 0 {
		errs = append(errs, Usagef("--collection %s: nothing in the log is of it; there are %s", numbers(f.collections), walreader.Few(strings.Split(numbers(f.seenIDs), ","))))
	}
	return errors.Join(errs...)
}

func numbers(set map[int64]bool) string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(set)) {
		out = append(out, strconv.FormatInt(id, 10))
	}
	return strings.Join(out, ",")
}

// Filter reads the flags.
func (f *FilterFlags) Filter() (*Filter, error) {
	out := &Filter{vchannels: f.VChannels}
	for _, name := range f.Types {
		t, err := parseType(name)
		if err != nil {
			return nil, err
		}
		if out.types == nil {
			out.types = map[message.Type]bool{}
		}
		out.types[t] = true
	}
	for _, c := range f.Collections {
		id, err := strconv.ParseInt(c, 10, 64)
		if err != nil {
			return nil, Usagef("--collection %q: no such id", c)
		}
		if out.collections == nil {
			out.collections = map[int64]bool{}
		}
		out.collections[id] = true
	}
	return out, nil
}

func parseType(name string) (message.Type, error) {
	if n, err := strconv.ParseUint(name, 10, 16); err == nil {
		return message.Type(n), nil
	}
	for _, t := range message.Types() {
		if strings.EqualFold(t.String(), name) {
			return t, nil
		}
	}
	return 0, Usagef("--type %q: no such type; --type list prints the names", name)
}

// Empty reports whether the filter lets everything pass.
func (f *Filter) Empty() bool {
	return f.types == nil && len(f.vchannels) == 0 && f.collections == nil
}

// MatchType reports whether messages of a type can pass.
func (f *Filter) MatchType(t message.Type) bool { return f.types == nil || f.types[t] }

// MatchCollection reports whether messages of a collection can pass.
func (f *Filter) MatchCollection(id int64) bool {
	if f.collections == nil {
		return true
	}
	if f.collections[id] {
		f.hit.collection = true
		return true
	}
	if id > 0 && !f.hit.collection && len(f.seenIDs) < maxSeen {
		if f.seenIDs == nil {
			f.seenIDs = map[int64]bool{}
		}
		f.seenIDs[id] = true
	}
	return false
}

// MatchesVChannel reports whether messages of a vchannel can pass: its whole
// name, or its end after - or _.
func (f *Filter) MatchesVChannel(v string) bool {
	if len(f.vchannels) == 0 {
		return true
	}
	for _, want := range f.vchannels {
		rest, ok := strings.CutSuffix(v, want)
		if v == want || ok && want != "" && (strings.HasSuffix(rest, "-") || strings.HasSuffix(rest, "_")) {
			f.hit.vchannel = true
			return true
		}
	}
	if v != "" && !f.hit.vchannel && len(f.seen) < maxSeen && !f.seen[v] {
		if f.seen == nil {
			f.seen = map[string]bool{}
		}
		f.seen[strings.Clone(v)] = true
	}
	return false
}

// Has reports whether a message passes.
func (f *Filter) Has(m *message.Message) bool {
	v, c := f.MatchesVChannel(m.VChannel), f.MatchCollection(m.Collection) // both, so that what is met is known
	return v && c && f.MatchType(m.Type)
}
