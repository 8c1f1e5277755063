package channelbuf

import (
	"cmp"
	"fmt"
)

// Incarnation tells two registrations of one vchannel apart: the WAL term it
// was opened in and the checkpoint it was recovered from. Within one term a
// later checkpoint is newer. docs/rules.md#buffers
type Incarnation struct {
	Term       int64
	Checkpoint uint64 // TimeTick (TSO); messages at or before it are not buffered
}

// Compare orders incarnations by age: −1 where i is older than o.
func (i Incarnation) Compare(o Incarnation) int {
	return cmp.Or(cmp.Compare(i.Term, o.Term), cmp.Compare(i.Checkpoint, o.Checkpoint))
}

// String prints term and checkpoint as findings quote them.
func (i Incarnation) String() string {
	return fmt.Sprintf("term %d from tt:%d", i.Term, i.Checkpoint)
}

// Outcome says what a registration did. There is no outcome "duplicate".
type Outcome uint8

// The outcomes of Register.
const (
	Created    Outcome = iota + 1 // no buffer was registered
	Existing                      // the same incarnation was; its buffer is returned
	Superseded                    // an older one was; its memory has been released
)

// String returns the outcome's word.
func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Existing:
		return "existing"
	case Superseded:
		return "superseded"
	}
	return "none"
}

// StaleError refuses an incarnation older than the registered one.
type StaleError struct {
	VChannel  string
	Have, Got Incarnation
}

// Error implements error.
func (e *StaleError) Error() string {
	return fmt.Sprintf("register buffer of %s: %s is older than the registered %s", e.VChannel, e.Got, e.Have)
}
