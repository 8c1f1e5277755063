package plan

// Cure is what leads on from a refusal.
type Cure uint8

// The cures, the one that must come first last: CureAgain is of no use where the
// plan itself has to be made again.
const (
	CureAgain    Cure = iota // the same again, once what was named is seen to
	CureVersion              // the same again, with the version of Milvus
	CureLook                 // something stands there by now: look at it
	CureJournals             // another plan is half done: see which, finish it or take it back
	CureReplan               // a new plan
	CureLost                 // see what of the log is gone, before a new plan gives it up
	CureAddress              // the same again, with the address of the plan's own log
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
	case CodeLogEmpty, CodeLogLost, CodePositionGone:
		return CureLost
	case CodeOtherLog:
		return CureAddress
	case CodeMilvusRan:
		return CureLook
	}
	return CureReplan
}
