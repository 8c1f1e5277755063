package message

// Step says how an id stands to the one read right before it. docs/rules.md#invariants 16.
type Step uint8

// The steps. Only StepNext leaves nothing out.
const (
	StepNext        Step = iota
	StepBack             // it does not stand after the other
	StepInEntry          // messages inside the entry of both are missing
	StepEntryEnd         // the end of the earlier one's entry is missing
	StepEntryStart       // the start of its own entry is missing
	StepEntries          // whole entries of the ledger or segment are missing
	StepLedgerStart      // the start of its own ledger or segment is missing
)

// StepTo judges id by the one before it, of whose entry size tells the number of
// messages; 0 = unknown. Offsets need not be dense, and nothing tells the last entry of
// a ledger or segment.
func StepTo(prev ID, size int32, id ID) Step {
	whole := size <= 1 || prev.Batch+1 >= size
	switch {
	case !prev.Less(id):
		return StepBack
	case id.Backend != BackendPulsar && id.Backend != BackendWoodpecker:
		return StepNext
	case id.A == prev.A && id.B == prev.B:
		if id.Batch != prev.Batch+1 {
			return StepInEntry
		}
	case !whole:
		return StepEntryEnd
	case id.Batch > 0:
		return StepEntryStart
	case id.A == prev.A && id.B != prev.B+1:
		return StepEntries
	case id.A != prev.A && id.B != 0:
		return StepLedgerStart
	}
	return StepNext
}

// Following is the id a log gives to the next record it stores after id, where it goes on in
// the same ledger or segment.
func (id ID) Following() ID {
	if id.Backend == BackendPulsar || id.Backend == BackendWoodpecker {
		return ID{Backend: id.Backend, A: id.A, B: id.B + 1}
	}
	return ID{Backend: id.Backend, A: id.A + 1}
}
