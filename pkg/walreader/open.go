// Package walreader opens a WAL wherever it lies. It is the one door for every
// command: how a WAL is spelled is decided here and nowhere else.
//
//	by-dev-rootcoord-dml_3, dml_3       a pchannel of the cluster in Options
//	pulsar://host:6650/tenant/ns/topic  a Pulsar topic (also pulsar+ssl://)
//	persistent://tenant/ns/topic        a topic of the cluster's own broker
//	path                                a file or directory, its kind told by content
//	-                                   NDJSON on Options.Stdin
//	archive: jsonl: woodpecker: bookkeeper:  an explicit kind before a path
package walreader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// Options say what a WAL argument alone does not.
type Options struct {
	// Log chooses one log, by name or id, where a place holds several.
	Log string
	// PChannel names the log where it cannot name itself.
	PChannel string
	// Stdin is what "-" reads.
	Stdin io.Reader
	// Kept is a file of its own that keeps what "-" brings, for a question that
	// takes more than one pass; nil: standard input is read once only.
	Kept jsonl.KeptFile
	// Cluster resolves pchannel names and opens topics; nil where nothing is configured.
	Cluster Cluster
}

// Cluster is the live side of the door: the brokers a context names.
type Cluster interface {
	// PChannels lists every pchannel, whole names.
	PChannels(ctx context.Context) ([]string, error)
	// OpenPChannel opens a pchannel's log by its whole name.
	OpenPChannel(ctx context.Context, pchannel string) (source.Source, error)
	// OpenURL opens a pulsar://, pulsar+ssl:// or persistent:// topic URL.
	OpenURL(ctx context.Context, url string) (source.Source, error)
}

// MoreNames is a Cluster that knows names beside those it lists: of logs that lie on
// the broker, though nobody serves them.
type MoreNames interface {
	// Unlisted lists them, whole names.
	Unlisted(ctx context.Context) ([]string, error)
}

// SpecError is a WAL argument that cannot be obeyed as it stands. Choices lists
// what would be possible, where that is known.
type SpecError struct {
	Spec    string
	Reason  string
	Choices []string
	Several bool // the place holds several logs and none was chosen: Choices are their names
}

// Error implements error.
func (e *SpecError) Error() string {
	s := fmt.Sprintf("WAL %q: %s", e.Spec, e.Reason)
	if len(e.Choices) > 0 {
		s += "\n  " + strings.Join(e.Choices, "\n  ")
	}
	return s
}

// Kind is what a place holds.
type Kind string

// The kinds of places.
const (
	KindArchive    Kind = "archive"
	KindJSONL      Kind = "jsonl"
	KindWoodpecker Kind = "woodpecker"
	KindBookKeeper Kind = "bookkeeper"
	KindPulsar     Kind = "pulsar"
	KindPChannel   Kind = "pchannel"
	KindStdin      Kind = "stdin"
	KindUnknown    Kind = ""
)

// Split tells what kind of place a WAL argument names and where. A path's kind
// stays KindUnknown until its content is looked at.
func Split(spec string) (kind Kind, place string) {
	if spec == "-" {
		return KindStdin, spec
	}
	for _, k := range []Kind{KindArchive, KindJSONL, KindWoodpecker, KindBookKeeper} {
		if rest, ok := strings.CutPrefix(spec, string(k)+":"); ok {
			return k, rest
		}
	}
	for _, scheme := range []string{"pulsar://", "pulsar+ssl://", "persistent://", "non-persistent://"} {
		if strings.HasPrefix(spec, scheme) {
			return KindPulsar, spec
		}
	}
	if _, err := os.Stat(spec); err == nil {
		return KindUnknown, spec
	}
	if strings.ContainsRune(spec, filepath.Separator) || strings.ContainsRune(spec, '/') || strings.HasPrefix(spec, ".") {
		return KindUnknown, spec
	}
	return KindPChannel, spec
}

// Open opens the WAL spec names. The error is a *SpecError where the argument is
// at fault, wraps source.ErrNotFound where nothing is there, source.ErrRefused
// where looking would destroy something.
func Open(ctx context.Context, spec string, o Options) (source.Source, error) {
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	return called(spec, s, o)
}

func open(ctx context.Context, spec string, o Options) (source.Source, error) {
	kind, place := Split(spec)
	switch kind {
	case KindStdin:
		return openStdin(o)
	case KindPulsar, KindPChannel:
		return openLive(ctx, kind, place, o)
	case KindUnknown:
		var err error
		if kind, err = Detect(place); err != nil {
			return nil, err
		}
	}
	if place == "" {
		return nil, &SpecError{Spec: spec, Reason: "names no place"}
	}
	switch kind {
	case KindArchive:
		return openArchive(ctx, spec, place, o)
	case KindJSONL:
		return openJSONL(spec, place, o)
	case KindWoodpecker, KindBookKeeper:
		return nil, &SpecError{Spec: spec, Reason: fmt.Sprintf("%s disks are not supported in this version; read the live log, or an archive of it", kind)}
	}
	return nil, &SpecError{Spec: spec, Reason: "is no log by its content; say archive: or jsonl: before the path if it is one"}
}

func openLive(ctx context.Context, kind Kind, place string, o Options) (source.Source, error) {
	if o.Cluster == nil {
		if kind == KindPChannel {
			return nil, &SpecError{Spec: place, Reason: "is no file here, and no cluster is configured to find a pchannel in; give --pulsar, or `walctl context add`"}
		}
		return nil, &SpecError{Spec: place, Reason: "no way to reach a broker was given"}
	}
	if kind == KindPulsar {
		return o.Cluster.OpenURL(ctx, place)
	}
	name, err := resolve(ctx, place, o.Cluster)
	if err != nil {
		return nil, err
	}
	return o.Cluster.OpenPChannel(ctx, name)
}

// resolve finds the one pchannel a name means. Where the cluster cannot list
// its channels the name is taken as a whole one.
func resolve(ctx context.Context, name string, c Cluster) (string, error) {
	all, err := c.PChannels(ctx)
	if err != nil {
		if errors.Is(err, source.ErrUnavailable) {
			return name, nil
		}
		return "", fmt.Errorf("list pchannels to find %q: %w", name, err)
	}
	found, err := MatchName(name, all)
	more, ok := c.(MoreNames)
	if err == nil || !ok || !errors.Is(err, source.ErrNotFound) {
		return found, err
	}
	others, merr := more.Unlisted(ctx)
	if merr != nil || len(others) == 0 {
		return "", errors.Join(err, merr)
	}
	if found, merr = MatchName(name, others); errors.Is(merr, source.ErrNotFound) {
		return "", err
	}
	return found, merr
}

// MatchName finds the pchannel a name means: the whole name, or its end behind a
// "-" or "_" where only one channel ends so. dml_1 never means dml_10.
func MatchName(name string, all []string) (string, error) {
	var hits []string
	for _, c := range all {
		if c == name {
			return c, nil
		}
		if rest, ok := strings.CutSuffix(c, name); ok && (strings.HasSuffix(rest, "-") || strings.HasSuffix(rest, "_")) {
			hits = append(hits, c)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		if len(all) == 0 {
			return name, nil
		}
		return "", fmt.Errorf("%w: no file and no pchannel is called %q; there are %s", source.ErrNotFound, name, Few(all))
	}
	return "", &SpecError{Spec: name, Reason: "means several pchannels; write one out:", Choices: hits}
}

// Few lists names for a screen, the first ones of many.
func Few(all []string) string {
	if len(all) > 6 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
