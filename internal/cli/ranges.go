package cli

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// RangeHelp explains the spelling of places for a command's help.
const RangeHelp = `Places in a log (--from, --to, --until; all inclusive):
  12/345/0, 12:345, 4/8, 1234   an id (LEDGER/ENTRY[/BATCH], SEGMENT/ENTRY, offset),
                                or the base64 of a stored checkpoint
  tt:459467412668751872         a TimeTick
  @2026-11-21T03:11:02Z, @2026-11-21, @1795000000, -2h, @-2h
                                a time: RFC 3339, date, Unix seconds or
                                milliseconds, or relative to now
  earliest, latest              the ends of the log
  checkpoint, checkpoint:VCHANNEL
                                where the catalog says recovery or a vchannel starts
  +N, -N                        N records from the start, or from the end;
                                also behind a place: latest-100, 12/345/0+5`

// RangeFlags bound what is read.
type RangeFlags struct {
	From, To string
	Limit    int64
}

// Add adds --from, --to and --limit.
func (r *RangeFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&r.From, "from", "", "start reading at this `PLACE`")
	p.StringVar(&r.To, "to", "", "stop reading after this `PLACE`")
	p.Int64Var(&r.Limit, "limit", 0, "stop after this many records (0: all)")
}

// PlaceEnv is what a place may be relative to. A nil function says that the
// place cannot be had here.
type PlaceEnv struct {
	Now time.Time
	// Backend tells Pulsar's 12/345 from Woodpecker's.
	Backend func(context.Context) (message.Backend, error)
	// Bounds are the ends of the log.
	Bounds func(context.Context) (source.Bounds, error)
	// Checkpoint is where recovery (vchannel "") or a vchannel starts.
	Checkpoint func(ctx context.Context, vchannel string) (source.Bound, error)
}

// EnvOf is the PlaceEnv of an open source, without a catalog.
func (f *Factory) EnvOf(s source.Source) PlaceEnv {
	return PlaceEnv{Now: f.Now(), Bounds: s.Bounds, Backend: func(ctx context.Context) (message.Backend, error) {
		return backendOf(ctx, s)
	}}
}

// backendOf asks the source, or else its first record. A stream can be read only
// once and is not asked.
func backendOf(ctx context.Context, s source.Source) (message.Backend, error) {
	d := s.Describe()
	if d.Backend != message.BackendUnknown || d.Location == StdinName {
		return d.Backend, nil
	}
	r, err := s.Open(ctx, source.Range{Limit: 1})
	if err != nil {
		return message.BackendUnknown, err
	}
	defer r.Close()
	m, err := r.Next(ctx)
	if err != nil {
		return message.BackendUnknown, nil //nolint:nilerr // an empty or damaged log is told when it is read
	}
	return m.ID.Backend, nil
}

// StdinName is what a log on standard input is called.
const StdinName = "stdin"

// Range resolves the flags to a range.
func (r RangeFlags) Range(ctx context.Context, env PlaceEnv) (source.Range, error) {
	var out source.Range
	if r.Limit < 0 {
		return out, Usagef("--limit %d: give a number of records, or 0 for all", r.Limit)
	}
	out.Limit = r.Limit
	for _, b := range []struct {
		name, value string
		to          bool
		into        *source.Bound
	}{{"--from", r.From, false, &out.From}, {"--to", r.To, true, &out.To}} {
		if b.value == "" {
			continue
		}
		bound, err := ParsePlace(ctx, b.value, b.to, env)
		if err == nil && bound.Kind == source.AtID && plainID.MatchString(strings.TrimSpace(b.value)) {
			err = env.stands(ctx, bound.ID, b.value)
		}
		if err != nil {
			return out, wrapUsage(b.name, err)
		}
		*b.into = bound
	}
	return out, nil
}

var clock = regexp.MustCompile(`^\d{1,2}:\d{2}(:\d{2})?$`)

// stands refuses an id, written by hand, that lies outside the log: the range would
// begin or end elsewhere without a word.
func (e PlaceEnv) stands(ctx context.Context, id message.ID, typed string) error {
	if e.Bounds == nil {
		return nil
	}
	b, err := e.Bounds(ctx)
	if err != nil || b.Empty {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil // whoever reads tells of it; a stream has no ends before it is read
	}
	at := b.Standing(id)
	if !at.Gone() {
		return nil
	}
	hint := ""
	if clock.MatchString(strings.TrimSpace(typed)) {
		hint = fmt.Sprintf("; a time of day is written with its date, @%sT%s", e.Now.UTC().Format("2006-01-02"), strings.TrimSpace(typed))
	}
	return Usagef("%s %s: the log holds %s … %s%s", id, at, b.First, b.Last, hint)
}

func wrapUsage(flag string, err error) error {
	if as[*UsageError](err) {
		return Usagef("%s: %w", flag, err)
	}
	return err
}

var (
	offsetTail = regexp.MustCompile(`^(.+?)([+-]\d+)$`)
	relative   = regexp.MustCompile(`^-(\d+(?:\.\d+)?)(ms|s|m|h|d)$`)
	dateLike   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}`)
	plainID    = regexp.MustCompile(`^\d+([/:]\d+){0,2}$`)
)

// ParsePlace reads one place. to says that it ends a range instead of starting
// it. Errors of spelling are *UsageError.
func ParsePlace(ctx context.Context, s string, to bool, env PlaceEnv) (source.Bound, error) {
	s = strings.TrimSpace(s)
	if t, ok, err := parseTime(s, env.Now); ok || err != nil {
		return source.Bound{Kind: source.AtTime, Time: t}, err
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && (s[0] == '+' || s[0] == '-') {
		if n < 0 {
			// the last N records begin N−1 before the last one
			return end(ctx, env, to, n+1)
		}
		if to { // the first N records end N−1 after the first one
			return start(ctx, env, n-1)
		}
		return source.Bound{Offset: n}, nil
	}
	place, offset := s, int64(0)
	if m := offsetTail.FindStringSubmatch(s); m != nil && (named(m[1]) || plainID.MatchString(m[1])) {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return source.Bound{}, Usagef("%q: the offset does not fit", s)
		}
		place, offset = m[1], n
	}
	b, err := parseNamed(ctx, place, to, offset, env)
	b.Offset += offset
	return b, err
}

func named(s string) bool {
	return s == "earliest" || s == "latest" || s == "checkpoint" || strings.HasPrefix(s, "tt:")
}

func parseNamed(ctx context.Context, place string, to bool, offset int64, env PlaceEnv) (source.Bound, error) {
	name, arg, _ := strings.Cut(place, ":")
	switch {
	case place == "earliest" && !to:
		return source.Bound{}, nil
	case place == "earliest":
		return start(ctx, env, 0)
	case place == "latest":
		return end(ctx, env, to && offset == 0, 0)
	case name == "checkpoint":
		if env.Checkpoint == nil {
			return source.Bound{}, Usagef("%q: no catalog is known here; give --catalog", place)
		}
		return env.Checkpoint(ctx, arg)
	case name == "tt":
		tt, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return source.Bound{}, Usagef("%q: a TimeTick is a decimal number", place)
		}
		return source.Bound{Kind: source.AtTimeTick, TimeTick: tt}, nil
	}
	backend := message.BackendUnknown
	if env.Backend != nil {
		var err error
		if backend, err = env.Backend(ctx); err != nil {
			return source.Bound{}, err
		}
	}
	id, err := message.ParseText(backend, place)
	if err != nil {
		return source.Bound{}, Usagef("%w; or tt:TSO, @TIME, earliest, latest, checkpoint, ±N", err)
	}
	return source.Bound{Kind: source.AtID, ID: id}, nil
}

// start is the log's first record.
func start(ctx context.Context, env PlaceEnv, offset int64) (source.Bound, error) {
	b, err := env.bounds(ctx)
	if err != nil || b.Empty {
		return source.Bound{}, err
	}
	return source.Bound{Kind: source.AtID, ID: b.First, Offset: offset}, nil
}

// end is the log's last record; as the end of a range nothing has to be asked.
func end(ctx context.Context, env PlaceEnv, to bool, offset int64) (source.Bound, error) {
	if to && offset == 0 {
		return source.Bound{}, nil
	}
	b, err := env.bounds(ctx)
	if err != nil || b.Empty {
		return source.Bound{}, err
	}
	return source.Bound{Kind: source.AtID, ID: b.Last, Offset: offset}, nil
}

func (e PlaceEnv) bounds(ctx context.Context) (source.Bounds, error) {
	if e.Bounds == nil {
		return source.Bounds{}, Usagef("the ends of the log are not known here")
	}
	return e.Bounds(ctx)
}

// parseTime reads a time; ok tells whether s is meant as one.
func parseTime(s string, now time.Time) (time.Time, bool, error) {
	t, at := strings.CutPrefix(s, "@")
	if m := relative.FindStringSubmatch(t); m != nil {
		if m[2] == "d" {
			days, _ := strconv.ParseFloat(m[1], 64)
			return now.Add(-time.Duration(days * 24 * float64(time.Hour))), true, nil
		}
		d, err := time.ParseDuration(m[1] + m[2])
		if err != nil {
			return time.Time{}, true, Usagef("%q: %w", s, err)
		}
		return now.Add(-d), true, nil
	}
	if !at && !dateLike.MatchString(t) {
		return time.Time{}, false, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if v, err := time.Parse(layout, t); err == nil {
			return v.UTC(), true, nil
		}
	}
	if t == "now" {
		return now, true, nil
	}
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		switch len(t) {
		case 10:
			return time.Unix(n, 0).UTC(), true, nil
		case 13:
			return time.UnixMilli(n).UTC(), true, nil
		}
	}
	return time.Time{}, true, Usagef("%q: not a time; write RFC 3339, a date, 10 or 13 digits, or -2h", s)
}
