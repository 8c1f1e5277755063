// Package walreader opens a WAL wherever it lies. It is the one door for every
// command: how a WAL is spelled is decided here and nowhere else.
//
//	by-dev-rootcoord-dml_3, dml_3       a pchannel of the cluster in Options
//	pulsar://host:6650/tenant/ns/topic  a Pulsar topic (also pulsar+ssl://)
//	persistent://tenant/ns/topic        a topic of the cluster's own broker
//	kafka://host:9092/topic             a topic of Kafka
//	path                                a file or directory, its kind told by content
//	-                                   NDJSON on Options.Stdin
//	archive: bookkeeper: kafka: …       an explicit kind before a path: see Backends
package walreader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/source"
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
	Kept source.KeptFile
	// Cluster resolves pchannel names and opens topics; nil where nothing is configured.
	Cluster Cluster
	// IncludeDeleted also reads what the log's owner deleted and the disk still holds.
	IncludeDeleted bool
	// Backends replace the list of Backends, in tests.
	Backends []source.Backend
}

func (o Options) backends() []source.Backend {
	if o.Backends != nil {
		return o.Backends
	}
	return Backends()
}

// Cluster is the live side of the door: the brokers a context names.
type Cluster interface {
	// PChannels lists every pchannel, whole names.
	PChannels(ctx context.Context) ([]string, error)
	// OpenPChannel opens a pchannel's log by its whole name.
	OpenPChannel(ctx context.Context, pchannel string) (source.Source, error)
	// OpenURL opens a URL of one of a backend's schemes: pulsar://, persistent://, …
	OpenURL(ctx context.Context, b source.Backend, url string) (source.Source, error)
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

// Spelling is how a WAL argument names its log.
type Spelling uint8

// The spellings.
const (
	AsPath     Spelling = iota // a file or directory, told by content
	AsPrefixed                 // KIND:path
	AsURL                      // a URL of a service
	AsPChannel                 // a name in the cluster
	AsStream                   // "-"
)

// Split tells how a WAL argument names its log, where, and which backend it says
// outright: the one of a prefix or of a URL's scheme.
func Split(spec string, all []source.Backend) (how Spelling, b source.Backend, place string) {
	if spec == "-" {
		return AsStream, b, spec
	}
	if b, ok := BackendOf(all, spec); ok { // before a prefix: kafka://HOST/TOPIC, kafka:DIR
		return AsURL, b, spec
	}
	for _, b := range all {
		if rest, ok := strings.CutPrefix(spec, b.Kind+":"); ok && len(b.Schemes) == 0 {
			return AsPrefixed, b, rest
		}
	}
	if _, err := os.Stat(spec); err == nil {
		return AsPath, b, spec
	}
	if strings.ContainsRune(spec, filepath.Separator) || strings.ContainsRune(spec, '/') || strings.HasPrefix(spec, ".") {
		return AsPath, b, spec
	}
	return AsPChannel, b, spec
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
	how, b, place := Split(spec, o.backends())
	switch how {
	case AsStream:
		return openStream(o)
	case AsURL, AsPChannel:
		return openLive(ctx, how, b, place, o)
	}
	b, err := at(spec, o)
	if err != nil {
		return nil, err
	}
	logs, err := logsAt(ctx, b, spec, place, o)
	if err != nil {
		return nil, err
	}
	opened := source.Options{PChannel: o.PChannel, IncludeDeleted: o.IncludeDeleted}
	if opened.Log, err = choose(spec, o.Log, logs); err != nil {
		return nil, err
	}
	s, err := b.Open(ctx, place, opened)
	var bad *SpecError
	if errors.As(err, &bad) {
		bad.Spec = spec
	}
	return s, err
}

// at is the backend of a path, said outright or told by content.
func at(spec string, o Options) (source.Backend, error) {
	how, b, place := Split(spec, o.backends())
	if how == AsPath {
		found, ok, err := Detect(place, o.backends())
		if err != nil {
			return b, err
		}
		if !ok {
			return b, &SpecError{Spec: spec, Reason: "is no log by its content; say archive: or jsonl: before the path if it is one"}
		}
		b = found
	}
	if place == "" {
		return b, &SpecError{Spec: spec, Reason: "names no place"}
	}
	return b, nil
}

// logsAt lists what a backend finds at a place; nil where the place is one log.
func logsAt(ctx context.Context, b source.Backend, spec, place string, o Options) ([]source.Log, error) {
	if b.Logs == nil {
		return nil, nil
	}
	logs, err := b.Logs(ctx, place, source.Options{PChannel: o.PChannel})
	if errors.Is(err, source.ErrNoLogs) {
		return nil, &SpecError{Spec: spec, Reason: err.Error()}
	}
	return logs, err
}

// choose finds the one log of a place that is meant: by its id, its whole name, or
// the end of its name.
func choose(spec, word string, logs []source.Log) (source.Log, error) {
	if word == "" {
		logs = slices.DeleteFunc(slices.Clone(logs), func(l source.Log) bool { return l.Aside })
	}
	switch {
	case len(logs) == 0:
		return source.Log{}, nil
	case word == "" && len(logs) == 1:
		return logs[0], nil
	}
	words, names := make([]string, len(logs)), []string{}
	for i, l := range logs {
		words[i] = l.String()
		if l.ID != "" && l.ID == word || l.Name != "" && l.Name == word {
			return l, nil
		}
		if l.Name != "" {
			names = append(names, l.Name)
		}
	}
	if word == "" {
		return source.Log{}, &SpecError{Spec: spec, Reason: "holds several logs; choose one with --log:", Choices: words, Several: true}
	}
	if name, err := MatchName(word, names); err == nil && len(names) > 0 {
		return logs[slices.IndexFunc(logs, func(l source.Log) bool { return l.Name == name })], nil
	}
	return source.Log{}, &SpecError{Spec: spec, Reason: "holds no log " + word + "; --log takes one of", Choices: words}
}

// Logs lists the words that choose each log of the place a WAL argument names, for
// --log; one "" where it is one log by its nature or names one already.
func Logs(ctx context.Context, spec string, o Options) ([]string, error) {
	how, _, place := Split(spec, o.backends())
	if o.Log != "" || how != AsPath && how != AsPrefixed {
		return []string{o.Log}, nil
	}
	b, err := at(spec, o)
	if err != nil {
		return nil, err
	}
	logs, err := logsAt(ctx, b, spec, place, o)
	logs = slices.DeleteFunc(logs, func(l source.Log) bool { return l.Aside })
	if err != nil || len(logs) < 2 {
		return []string{""}, err
	}
	words := make([]string, len(logs))
	for i, l := range logs {
		words[i] = l.String()
	}
	return words, nil
}

func openStream(o Options) (source.Source, error) {
	if o.Stdin == nil {
		return nil, &SpecError{Spec: "-", Reason: "there is no standard input here"}
	}
	for _, b := range o.backends() {
		if b.Stream != nil {
			return b.Stream("stdin", o.Stdin, source.Options{PChannel: o.PChannel, Kept: o.Kept}), nil
		}
	}
	return nil, &SpecError{Spec: "-", Reason: "nothing here reads a stream"}
}

func openLive(ctx context.Context, how Spelling, b source.Backend, place string, o Options) (source.Source, error) {
	if o.Cluster == nil {
		if how == AsPChannel {
			return nil, &SpecError{Spec: place, Reason: "is no file here, and no cluster is configured to find a pchannel in; give --pulsar, or `walctl context add`"}
		}
		return nil, &SpecError{Spec: place, Reason: "no way to reach a broker was given"}
	}
	if how == AsURL {
		return o.Cluster.OpenURL(ctx, b, place)
	}
	name, err := resolve(ctx, place, o.Cluster)
	if err != nil {
		return nil, err
	}
	return o.Cluster.OpenPChannel(ctx, name)
}

// called refuses a name for a log that has another one.
func called(spec string, s source.Source, o Options) (source.Source, error) {
	if o.PChannel == "" {
		return s, nil
	}
	own := s.Describe().PChannel
	if own == o.PChannel {
		return s, nil
	}
	if _, err := MatchName(o.PChannel, []string{own}); err == nil {
		return s, nil
	}
	return nil, errors.Join(&SpecError{Spec: spec, Reason: "is the log of " + own + ", not of " + o.PChannel + " (--pchannel)"}, s.Close())
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

// MatchName finds the pchannel a name means: the whole name, or its end after a
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
