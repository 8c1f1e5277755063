package source

import (
	"context"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Ending says how the copying of a log ended, as its manifest keeps it.
type Ending string

// The endings. Only EndedComplete holds everything up to the end that the origin
// named when the copy was begun; "" is a copy that does not tell (made by a
// walctl before endings were kept).
const (
	EndedComplete    Ending = "complete"
	EndedLimited     Ending = "limited"     // by a range, --limit or a filter that was asked for
	EndedInterrupted Ending = "interrupted" // by a signal, --timeout or a kill
	EndedDiskFull    Ending = "disk-full"
	EndedSourceLost  Ending = "source-lost" // the origin could not be read on
	EndedFollowing   Ending = "following"   // it was told to wait for more; stopped by hand
)

// Extent is how much of its origin a source holds. The origin's own end is what
// proves that nothing is missing there; the last record met proves nothing.
type Extent struct {
	Whole  bool       // everything from Start to End is held
	Ended  Ending     // how the copying ended
	Start  message.ID // where it was meant to begin; zero = the origin's first record
	End    message.ID // the origin's last id when the copy was begun; zero = not known
	Last   message.ID // the last id held; zero = none
	Detail string     // why it is not whole, in words for a screen; "" where it is
	Resume string     // the command line that goes on with it, without connection flags; "" where none does
}

// ExtentSource is a source that is a copy of another: an archive. A source without
// it is its own origin, and its Bounds name its end.
type ExtentSource interface {
	Source
	Extent(ctx context.Context) (Extent, error)
}

// ExtentOf asks a source how whole it is. One that is its own origin is whole.
func ExtentOf(ctx context.Context, s Source) (Extent, error) {
	if e, ok := As[ExtentSource](s); ok {
		return e.Extent(ctx)
	}
	b, err := s.Bounds(ctx)
	if err != nil {
		return Extent{}, err
	}
	return Extent{Whole: true, Ended: EndedComplete, End: b.Last, Last: b.Last}, nil
}

// ShellWord spells a word so that a shell takes it for one, as it stands.
func ShellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@=,+%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
