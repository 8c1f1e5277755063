package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Edit is one key a repair wants changed; New nil = delete it.
type Edit struct {
	Key    string
	New    []byte
	Kind   Kind
	Reason string // finding code
}

// Input is everything a plan is made from. Nothing in it is changed.
type Input struct {
	PChannel string
	// Before and Revisions are the catalog as read: every key of the WAL's
	// prefix, and every key outside it that an edit touches.
	Before    map[string][]byte
	Revisions map[string]int64
	Edits     []Edit
	Known     catalog.Known // of new values; nil = of none
	Only      []Kind        // empty = every kind
	Blast     []Blast
	Replay    Replay // zero = not known
	Coverage  Coverage
	// AcceptGaps are the gaps accepted by name.
	AcceptGaps []string
	Binding    Binding
	Notes      []string
	Against    []string // what the caller knows that stands against applying
	// Positions are those stored before; Log is what survives of the log. Where its
	// First is zero, no position can be judged.
	Positions []catalog.Position
	Log       source.Bounds
	Created   time.Time // the caller's clock
	// Limits is what one transaction of the catalog takes; zero = anything.
	Limits catalog.Limits
}

// Replayed returns the edits that bring the WAL's keys from before to after.
// reasons gives a key's finding code; other is that of the rest.
func Replayed(pchannel string, before, after map[string][]byte, kind Kind, reasons map[string]string, other string) []Edit {
	prefix := catalog.WALPrefix(pchannel)
	edits := make([]Edit, 0, max(len(after)-len(before), 0)+1)
	for _, key := range union(before, after) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		old, had := before[key]
		value, has := after[key]
		if had == has && bytes.Equal(old, value) {
			continue
		}
		e := Edit{Key: key, Kind: kind, Reason: cmp.Or(reasons[key], other)}
		if has {
			e.New = notNil(value)
		}
		edits = append(edits, e)
	}
	return edits
}

func union(a, b map[string][]byte) []string {
	keys := slices.AppendSeq(make([]string, 0, max(len(a), len(b))), maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Build makes the plan. What stands against applying it is in NotApplicable;
// an error means that no plan could be made: two repairs want a key changed
// differently, or an edit touches a key that is not in Before's place.
func Build(in Input) (*Plan, error) {
	p, _, err := BuildOver(in)
	return p, err
}

// BuildOver is Build, and what the WAL's metadata is once the plan is applied.
func BuildOver(in Input) (*Plan, catalog.Metadata, error) {
	var left catalog.Metadata
	p := &Plan{
		Schema: SchemaVersion, Created: in.Created.UTC().Truncate(time.Millisecond), PChannel: in.PChannel,
		Binding: in.Binding, Coverage: in.Coverage, Blast: slices.Clone(in.Blast), Notes: slices.Clone(in.Notes),
		ReadDigest: readDigest(in.PChannel, in.Revisions),
	}
	changes, err := in.changes()
	if err != nil {
		return nil, left, err
	}
	p.Changes = order(in.PChannel, changes)
	p.Blast = addRemoved(p.Blast, p.Changes)
	if in.Replay.Messages > 0 {
		p.Replay = &in.Replay
	}
	against := slices.Clone(in.Against)
	if err := p.acceptGaps(in.AcceptGaps); err != nil {
		return nil, left, err
	}
	against = append(against, p.coverage()...)
	after := in.after(p.Changes)
	left, left.Problems = catalog.DecodeKnown(in.PChannel, after, in.Known)
	against = append(against, roundTrips(p.Changes, doubts(in.PChannel, left.Problems))...)
	against = append(against, loads(in.PChannel, in.Before, left.Problems)...)
	against = append(against, in.positions(p.Changes, after)...)
	if _, err := cut(p.Changes, in.Limits); err != nil {
		against = append(against, err.Error())
	}
	p.NotApplicable, p.Applicable = against, len(against) == 0
	slices.SortFunc(p.Blast, func(a, b Blast) int { return strings.Compare(a.VChannel, b.VChannel) })
	return p, left, p.seal()
}

// addRemoved adds the rows of growing segments that a change forgets without the
// log saying that they were flushed: an import, or a value nobody could read.
func addRemoved(blast []Blast, changes []Change) []Blast {
	for _, c := range changes {
		k := catalog.ParseKey(c.Key)
		if c.New != nil || k.Kind != catalog.KeySegment || c.Kind != KindImport && c.Kind != KindRemoveOrphans {
			continue
		}
		var s streamingpb.SegmentAssignmentMeta
		err := proto.Unmarshal(c.Old, &s)
		if err == nil && c.Kind == KindRemoveOrphans {
			continue // who removes one that can be read counts it
		}
		if err == nil && s.GetState() != streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING {
			continue
		}
		name := s.GetVchannel()
		if err != nil {
			name = k.PChannel
		}
		i := slices.IndexFunc(blast, func(b Blast) bool { return b.VChannel == name })
		if i < 0 {
			i, blast = len(blast), append(blast, Blast{VChannel: name})
		}
		blast[i].Rows += int64(s.GetStat().GetModifiedRows())
		blast[i].Unknown = blast[i].Unknown || err != nil
	}
	return blast
}

// changes turns the chosen edits into changes, dropping those that change nothing.
func (in *Input) changes() ([]Change, error) {
	edits := make([]int, 0, len(in.Edits)) // places in Edits, by key; of one key the last counts
	for i := range in.Edits {
		if len(in.Only) == 0 || slices.Contains(in.Only, in.Edits[i].Kind) {
			edits = append(edits, i)
		}
	}
	slices.SortFunc(edits, func(a, b int) int { return cmp.Or(strings.Compare(in.Edits[a].Key, in.Edits[b].Key), a-b) })
	if err := in.conflict(edits); err != nil {
		return nil, err
	}
	out := make([]Change, 0, len(edits))
	for n, i := range edits {
		e := &in.Edits[i]
		if n+1 < len(edits) && in.Edits[edits[n+1]].Key == e.Key {
			continue
		}
		old, had := in.Before[e.Key]
		if had == (e.New != nil) && bytes.Equal(old, e.New) {
			continue
		}
		c := Change{Key: e.Key, New: e.New, Kind: e.Kind, Reason: e.Reason, ModRevision: in.Revisions[e.Key]}
		if had {
			c.Old = notNil(old)
		}
		if had != (c.ModRevision != 0) {
			return nil, fmt.Errorf("plan: %s was read without its revision", e.Key)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, within(in.PChannel, out)
}

// conflict names two repairs that want a key changed differently. edits are places in
// Edits in key order.
func (in *Input) conflict(edits []int) error {
	for n := 1; n < len(edits); n++ {
		other, e := &in.Edits[edits[n-1]], &in.Edits[edits[n]]
		if other.Key == e.Key && ((other.New == nil) != (e.New == nil) || !bytes.Equal(other.New, e.New)) {
			return fmt.Errorf("repairs %s and %s want %s changed differently; choose one with --only: %w", other.Kind, e.Kind, e.Key, ErrConflict)
		}
	}
	return nil
}

func (in *Input) after(changes []Change) map[string][]byte { return written(in.Before, changes) }

// Result is what the plan leaves of the keys that it was made from.
func (p *Plan) Result(before map[string][]byte) map[string][]byte { return written(before, p.Changes) }

func written(before map[string][]byte, changes []Change) map[string][]byte {
	after := make(map[string][]byte, len(before)+len(changes)) // a map that grows is moved again and again
	maps.Copy(after, before)
	for _, c := range changes {
		if c.New == nil {
			delete(after, c.Key)
		} else {
			after[c.Key] = c.New
		}
	}
	return after
}

// ErrConflict means that the repairs chosen do not go together.
var ErrConflict = errors.New("these repairs exclude each other")

// UnknownGapError refuses the acceptance of a gap that there is not.
type UnknownGapError struct {
	Name string
	Gaps []string // there are
}

// Error says which gaps there are.
func (e *UnknownGapError) Error() string {
	if len(e.Gaps) == 0 {
		return fmt.Sprintf("--accept-gap %s: nothing is missing in the log, so there is no gap to accept", e.Name)
	}
	return fmt.Sprintf("--accept-gap %s: no such gap; missing is %s", e.Name, strings.Join(e.Gaps, ", "))
}

// acceptGaps marks the gaps named; a name that is no gap's is refused.
func (p *Plan) acceptGaps(names []string) error {
	p.Coverage.Gaps = slices.Clone(p.Coverage.Gaps)
	for _, name := range names {
		found := false
		for i := range p.Coverage.Gaps {
			if p.Coverage.Gaps[i].named(name) {
				p.Coverage.Gaps[i].Accepted, found = true, true
			}
		}
		if !found {
			e := &UnknownGapError{Name: name}
			for _, g := range p.Coverage.Gaps {
				e.Gaps = append(e.Gaps, g.Name())
			}
			return e
		}
	}
	return nil
}

// named compares a gap with a name somebody typed: 15/1516..16/2 means the first
// message of each entry.
func (g Gap) named(name string) bool {
	from, to, ok := strings.Cut(name, "..")
	return ok && sameID(g.From, from) && sameID(g.To, to)
}

func sameID(printed, typed string) bool {
	if printed == typed {
		return true
	}
	typed = strings.ReplaceAll(typed, ":", "/")
	return printed == typed || printed == typed+"/0"
}

func (p *Plan) coverage() []string {
	var against []string
	for _, g := range p.Coverage.Gaps {
		if !g.Accepted {
			against = append(against, fmt.Sprintf("gap %s not accepted (%s)", g.Name(), g.Cause))
		}
	}
	if p.Coverage.Filter != "" {
		against = append(against, "only part of the log was read: "+p.Coverage.Filter)
	}
	if p.Coverage.Until != "" {
		against = append(against, "the replay stopped at "+p.Coverage.Until)
	}
	if n := p.Coverage.Undecodable; n > 0 {
		against = append(against, fmt.Sprintf("%d messages could not be decoded", n))
	}
	return against
}

// roundTrips names changes that would lose bytes nobody understands. A value that
// cannot be read at all may be replaced by a repair that makes it anew. New values are
// read where doubted says so.
func roundTrips(changes []Change, doubted func(key string) bool) []string {
	var against []string
	for _, c := range changes {
		if c.New != nil && doubted(c.Key) {
			if pr := catalog.CheckValue(c.Key, c.New); pr != nil {
				against = append(against, "the new value of "+pr.String())
			}
		}
		if c.Old == nil || c.New == nil {
			continue
		}
		pr := catalog.CheckValue(c.Key, c.Old)
		anew := c.Kind == KindRebuild || c.Kind == KindRegister || c.Kind == KindRemoveOrphans
		if pr != nil && (pr.Code != catalog.CodeUndecodable || !anew) {
			against = append(against, "the old value of "+pr.String())
		}
	}
	return against
}

// doubts tells the keys whose values are not known to be sound: those with a problem in
// the metadata that a plan leaves, and those outside the WAL's prefix.
func doubts(pchannel string, left []catalog.Problem) func(key string) bool {
	prefix, with := catalog.WALPrefix(pchannel), make(map[string]bool, len(left))
	for i := range left {
		with[left[i].Key] = true
	}
	return func(key string) bool { return with[key] || !strings.HasPrefix(key, prefix) }
}

func all(string) bool { return true }

// loads names what would stop a node after the plan and did not before it.
func loads(pchannel string, before map[string][]byte, left []catalog.Problem) []string {
	if !slices.ContainsFunc(left, func(p catalog.Problem) bool { return p.Fatal }) {
		return nil
	}
	_, was := catalog.Decode(pchannel, before)
	type problem struct{ key, code string }
	had := make(map[problem]bool, len(was))
	for _, pr := range was {
		had[problem{pr.Key, pr.Code}] = true
	}
	var against []string
	for _, pr := range left {
		if pr.Fatal && !had[problem{pr.Key, pr.Code}] {
			against = append(against, "the result would not load: "+pr.String())
		}
	}
	return against
}

// order sorts changes so that the catalog loads after each of them: a vchannel
// never stands without a schema, and the state is never behind its checkpoint.
// Any cut of the list into transactions keeps that. The changes come in key order and
// are moved where they lie, since there may be a million.
func order(pchannel string, changes []Change) []Change {
	back, checkpoint := false, catalog.CheckpointKey(pchannel)
	for i := range changes {
		if changes[i].Key == checkpoint {
			back = movesBack(changes[i])
		}
	}
	place := make([]int, len(changes)) // first a change's turn, then where it goes
	var turns [ranks]int               // how many changes have each turn, then where the next of it goes
	for i := range changes {
		place[i] = rank(&changes[i], back)
		turns[place[i]]++
	}
	next := 0
	for r, n := range turns {
		turns[r], next = next, next+n
	}
	for i, r := range place {
		place[i] = turns[r]
		turns[r]++
	}
	for i := range changes {
		for at := place[i]; at != i; at = place[i] {
			changes[i], changes[at] = changes[at], changes[i]
			place[i], place[at] = place[at], at
		}
	}
	return changes
}

const ranks = 10

// rank is a change's turn. A checkpoint that moves back goes first, so that what
// follows is replayed again; one that moves on goes last, when all it promises
// is written.
func rank(c *Change, back bool) int {
	k, gone := catalog.ParseKey(c.Key).Kind, c.New == nil
	switch {
	case k == catalog.KeyCheckpoint && back:
		return 0
	case k == catalog.KeyCheckpoint:
		return 9
	case k == catalog.KeySchema && !gone:
		return 1
	case k == catalog.KeyVChannel && !gone:
		return 2
	case k == catalog.KeySegment && !gone:
		return 3
	case !gone:
		return 4
	case k == catalog.KeySegment:
		return 5
	case k == catalog.KeyVChannel:
		return 6
	case k == catalog.KeySchema:
		return 7
	}
	return 8
}

// movesBack reports whether a checkpoint goes to an earlier TimeTick or away.
func movesBack(c Change) bool {
	if c.New == nil {
		return true
	}
	var before, after streamingpb.WALCheckpoint
	if c.Old == nil || proto.Unmarshal(c.Old, &before) != nil || proto.Unmarshal(c.New, &after) != nil {
		return false
	}
	return after.GetTimeTick() < before.GetTimeTick()
}

// readDigest is the SHA-256 of the WAL's keys and their revisions.
func readDigest(pchannel string, revisions map[string]int64) string {
	prefix := catalog.WALPrefix(pchannel)
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(revisions)) {
		if strings.HasPrefix(k, prefix) && revisions[k] != 0 {
			fmt.Fprintf(h, "%d %s %d\n", len(k), k, revisions[k])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
