package source

import (
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Sight tells, of a few positions and while a log is read, which of them name a
// record that is not there: the record before was met and the record after, and
// no place between them that could not be read. It is the one rule for a Hole;
// who has read hands Holes to Bounds, and Standing knows.
type Sight struct {
	want  []message.ID // rising; those before next are decided
	next  int
	last  message.ID
	blind bool // a place that could not be read was met since last
	holes []message.ID
}

// NewSight looks out for positions. Those of a WAL whose ids are offsets are left
// out: offsets pass over numbers, and a reader goes on at the next one.
func NewSight(ids ...message.ID) Sight {
	s := Sight{}
	for _, id := range ids {
		if !id.IsZero() && !id.IsEarliest() && id != message.LatestID() && !id.Backend.Offsets() {
			s.want = append(s.want, id)
		}
	}
	slices.SortFunc(s.want, message.ID.Compare)
	return s
}

// From says that reading begins at the first record that does not stand before id,
// in a log that holds id within its ends. Positions before it are not looked for.
func (s *Sight) From(id message.ID) {
	s.last = id
	for s.next < len(s.want) && s.want[s.next].Compare(id) < 0 {
		s.next++
	}
}

// Record notes a record that was read. Ids that fall end the look-out: what stands
// between two records is not known then.
func (s *Sight) Record(id message.ID) {
	if s.next == len(s.want) {
		return
	}
	if !s.last.IsZero() && id.Compare(s.last) < 0 {
		s.next = len(s.want)
		return
	}
	for s.next < len(s.want) {
		w := s.want[s.next]
		if w.A > id.A || w.A == id.A && w.B >= id.B {
			if w.A == id.A && w.B == id.B { // of a batch, any message
				s.next++
				continue
			}
			break
		}
		if !s.last.IsZero() && !s.blind {
			s.holes = append(s.holes, w)
		}
		s.next++
	}
	s.last, s.blind = id, false
}

// Columns notes records that were read as columns.
func (s *Sight) Columns(c *message.Columns) {
	for i := 0; i < c.N && s.next < len(s.want); i++ {
		s.Record(c.ID(i))
		i = s.before(c, i)
	}
}

// before passes over the rows after i that rise and stand before the next position:
// nearly every one. It returns the last of them, the last record then; i for none.
func (s *Sight) before(c *message.Columns, i int) int {
	if s.next == len(s.want) {
		return i
	}
	w, first := s.want[s.next], i
	for a, b := c.A[i], c.B[i]; i+1 < c.N; i++ {
		na, nb := c.A[i+1], c.B[i+1]
		if na < a || na == a && nb <= b || na > w.A || na == w.A && nb >= w.B {
			break
		}
		a, b = na, nb
	}
	if i > first {
		s.last = c.ID(i)
	}
	return i
}

// Unread notes a place that could not be read.
func (s *Sight) Unread() { s.blind = true }

// Holes are the positions that name a record which is not there, rising.
func (s *Sight) Holes() []message.ID { return s.holes }
