package plan

// Cure is what leads on from a refusal.
type Cure uint8

// The cures, the one that must come first last: CureAgain is of no use where the
// plan itself has to be made again.
const (
	CureAgain    Cure = iota // the same again, once what was named is seen to
	CureVersion              // the same again, with the version of Milvus
	CureLook                 // it was done already: look at what stands there
	CureJournals             // another plan is half done: see which, finish it or take it back
	CureReplan               // a new plan
)

// Cure is the one that leads on from all of the reasons.
func (e *RefusedError) Cure() Cure {
	first := CureAgain
	for _, r := range e.Reasons {
		first = max(first, cureOf(r.Code))
	}
	return first
}

func cureOf(code string) Cure {
	switch code {
	case CodeLiveSession, CodeLiveProducer, CodeUnlisted, CodeRaced, CodeNoPermission, CodeOtherCluster:
		return CureAgain
	case CodeNoMilvusVersion:
		return CureVersion
	case CodeAppliedBefore:
		return CureLook
	case CodeHalfDone:
		return CureJournals
	}
	return CureReplan
}
