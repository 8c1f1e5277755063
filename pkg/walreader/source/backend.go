package source

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNoLogs means that a place holds none of the logs it was said to hold.
var ErrNoLogs = errors.New("holds no record files")

// Backend is one kind of place a log lies in, as the one door (package walreader)
// opens it. A backend's folder returns it as a value; the door's list names it.
type Backend struct {
	// Kind is what Description.Kind of its sources says. Before a path, "KIND:" says
	// outright what lies there.
	Kind string
	// Schemes are what its URLs begin with, "pulsar://". A backend that has any is a
	// service: it is named by them and by a pchannel, never by a prefix or a path.
	Schemes []string
	// Sniff tells by content, never by a name, whether a place is the backend's; nil = never.
	Sniff func(Look) Claim
	// Logs lists the logs of a place, of a service those of Options.Live; nil, or no
	// list, where the place is one log by its nature. It fails with ErrNoLogs where
	// there are none.
	Logs func(ctx context.Context, place string, o Options) ([]Log, error)
	// Open opens the one log that is meant.
	Open func(ctx context.Context, place string, o Options) (Source, error)
	// Stream reads what can be read once only, such as standard input; nil where it cannot.
	Stream func(name string, r io.Reader, o Options) Source
	// Probe asks a service for what every command needs of it, and loads no log; nil
	// for what is no service. The error is that of settings which cannot be used at all.
	Probe func(ctx context.Context, o Options) (Reach, error)
}

// Reach is what of a service answers to the settings it is reached with. An error
// says what was tried, what came back and what to do.
type Reach struct {
	Service   error // the service's own port
	AdminURL  string
	Admin     error // the admin port; what follows is asked of it
	Topics    int   // in the namespace, where Admin is nil
	Retention error // whether the namespace's retention may be read
}

// Log is one of the logs of a place.
type Log struct {
	Name string // the pchannel, where the place tells it
	ID   string // what the place itself calls the log: a file, a number
	// Aside is a log that is no pchannel's: it is read where it is chosen, and never
	// because none was.
	Aside bool
}

// String is the word that chooses the log.
func (l Log) String() string {
	if l.Name != "" {
		return l.Name
	}
	return l.ID
}

// Options are what a backend opens a log with.
type Options struct {
	Log      Log    // the one of Logs that is meant; zero where the place is one log
	PChannel string // what the caller says the log is called, for one that cannot tell
	Live     *Live  // how a service is reached; nil where the log lies in files
	// Kept is a file of its own that keeps what a stream brings, for a question that
	// takes more than one pass; nil: a stream is read once only.
	Kept KeptFile
	// IncludeDeleted also reads messages that their owner deleted and whose bytes
	// still stand on the disk; they carry message.Deleted.
	IncludeDeleted bool
}

// KeptFile is where a stream is kept: a file of its own that nobody else has.
type KeptFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// Live is how a log is reached that a service holds, and how gently it is read.
type Live struct {
	Service, Admin    string // URLs
	Tenant, Namespace string

	TLSCA, TLSCert, TLSKey string // PEM files
	TokenFile              string // read again at every use
	Token                  string // the token itself; TokenFile wins

	Subscription string // the prefix of the reader's own name
	Listener     string // the service's advertised listener to ask for
	Parallel     int    // connections a bounded read may use
	RateBytes    int64  // bytes a second over all connections; 0 = no limit

	Touch  bool // go on where loading the log may cost some of it, or where that is unknown
	Exists bool // the log exists for sure, where that cannot be asked

	// Patience is how long a service is waited for that went away or delivers nothing.
	Patience time.Duration
	// Waiting is told about once a second what is waited for and how long by now;
	// −1 when it is over. It is called from a goroutine of the source.
	Waiting func(addr string, waited time.Duration)
}

// Look is what lies at a path, as far as it takes to tell what it is.
type Look struct {
	Path string
	Dir  bool
	Pipe bool   // neither file nor directory: it is not looked into, for it can be read once
	Head []byte // the first bytes of a file, unpacked where it is compressed
}

// Claim is what a backend says of a place it has looked at.
type Claim struct {
	Sure  bool
	Maybe bool // where nobody else is sure
	// Instead says what to name in place of this part of a log; a word for the person.
	Instead string
}
