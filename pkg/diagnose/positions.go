package diagnose

import (
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// StoredPosition is a position in the log that the catalog names: the consume
// checkpoint's, or a vchannel's flush position.
type StoredPosition struct {
	Key      string
	VChannel string // "" = the consume checkpoint
	catalog.FlushPosition
}

func (p *StoredPosition) what() string {
	if p.VChannel == "" {
		return "the checkpoint"
	}
	return "the flush position"
}

// goneFinding tells of a stored position that nobody can read on from. log are the
// log's ends, nil where they are not known.
func goneFinding(p StoredPosition, at source.Standing, log *source.Bounds) Finding {
	f := Finding{Code: CodePositionGone, Severity: SeverityCritical, Where: Where{VChannel: p.VChannel, TimeTick: p.TimeTick, Key: p.Key},
		Evidence: []Evidence{{p.what(), at.String()}}, Meaning: goneMeaning(at)}
	if p.VChannel == "" {
		f.Meaning = Lookup(CodePositionGone).Meaning
	}
	if p.HasID {
		f.Where.ID = p.ID.String()
	}
	if p.Unread != "" {
		f.Evidence = append(f.Evidence, Evidence{"the stored id cannot be read", p.Unread})
	}
	if log != nil && !log.Empty {
		f.Evidence = append(f.Evidence, Evidence{"log", log.First.String() + " … " + log.Last.String()})
	}
	return f
}

// CodePositionGone is the one code of a stored position that nobody can read on
// from, whatever command asks and wherever the log lies.
const CodePositionGone = "position-gone"

// goneMeaning says what a flusher makes of a position that is gone.
func goneMeaning(at source.Standing) string {
	switch at {
	case source.BeforeFirst:
		return "a flusher that starts there begins, without a word, at the first record that survives: what lay between was not flushed and is lost"
	case source.BehindEnd:
		return "a flusher that starts there waits for what is not there, or skips what is written next"
	case source.EmptyLog:
		return "what lay behind it was not flushed and is lost: the log was trimmed, or made again"
	case source.OtherWAL:
		return "it is a position in another WAL: nobody can start there in this one"
	}
	return "nobody can read on from it: a node that seeks there can panic"
}
