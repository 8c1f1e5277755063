package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Plural counts a thing: 1 key, 2 keys.
func Plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return Thousands(int64(n)) + " " + thing
}

// Thousands prints a count with separators: 1,204,331.
func Thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return sign + b.String()
}

// HumanBytes prints a size with a binary unit: 8.1 GiB.
func HumanBytes(n int64) string {
	if n < 1024 && n > -1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if v /= 1024; math.Abs(v) < 1023.95 {
			break
		}
	}
	if math.Abs(v) < 9.95 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// HumanDuration prints at most two units: 2h10m, 14m3s, 1.2s, 38ms, 3d4h.
func HumanDuration(d time.Duration) string {
	if d < 0 {
		return "-" + HumanDuration(-max(d, -math.MaxInt64)) // the smallest has no positive
	}
	switch {
	case d == math.MaxInt64:
		return "over 292 years"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Seconds makes a duration of seconds, the longest there is where they are more.
func Seconds(s float64) time.Duration {
	d := s * float64(time.Second)
	switch {
	case d >= math.MaxInt64:
		return math.MaxInt64
	case d <= math.MinInt64:
		return math.MinInt64
	}
	return time.Duration(d)
}

// HumanTime prints a moment in UTC as short as the day allows.
func HumanTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}

// RFC3339 prints a moment for programs, UTC with milliseconds; "" for none.
func RFC3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// maxTSO is the tick DataCoord stores for a dropped channel: no time at all.
const maxTSO = math.MaxUint64

// TickTime returns the physical part of a TimeTick (Unix milliseconds << 18 | logical).
func TickTime(tso uint64) time.Time {
	if tso == 0 || tso == maxTSO {
		return time.Time{}
	}
	return message.TimeOf(tso)
}

// HumanSpan prints a stretch of time, the date once.
func HumanSpan(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	from, to = from.UTC(), to.UTC()
	layout := "2006-01-02 15:04:05Z"
	if from.Format("2006-01-02") == to.Format("2006-01-02") {
		return from.Format(layout) + " … " + to.Format("15:04:05Z")
	}
	return from.Format(layout) + " … " + to.Format(layout)
}
