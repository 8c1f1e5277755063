package diagnose

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// checkpoint judges a channel checkpoint: whether its position can be read from,
// and then how far behind the log's end it stands.
func (j *channelJudge) checkpoint(x *one) {
	f := x.flushed
	if f == nil || f.Dropped || x.read == nil || x.own == nil && x.listed == nil {
		return // no node starts there
	}
	if j.gonePosition(x) {
		return
	}
	if x.log != nil && x.log.Dropped != 0 {
		return // the drop ends it, however far it came
	}
	lag, waits := x.lag()
	if lag < j.in.Frozen || j.in.Frozen <= 0 {
		return
	}
	j.frozen(x, lag, waits)
}

// gonePosition tells of a flush position that nobody can read on from.
func (j *channelJudge) gonePosition(x *one) bool {
	f, l := x.flushed, x.read
	var log *source.Bounds
	if l.Known {
		log = &l.Bounds
	}
	at := f.Standing(log)
	if !at.Gone() {
		return false
	}
	if x.own != nil && x.own.Dropped || x.listed != nil && x.listed.State != "created" && x.own == nil {
		return false // its pipeline is not started again
	}
	j.fault(x, ChannelFault{Finding: goneFinding(StoredPosition{VChannel: x.name, Key: catalog.ChannelCheckpointKey(x.name), FlushPosition: *f}, at, log), Cure: CureDecision})
	return true
}

// frozen tells of a flush position that does not move though the log does, and of
// what keeps it.
func (j *channelJudge) frozen(x *one, lag time.Duration, waits int64) {
	where := Where{VChannel: x.name, TimeTick: x.flushed.TimeTick, ID: x.flushed.ID.String()}
	f := raise(channelFrozen, waits == 0, where, []Evidence{{"behind the log's end by", lag.Round(time.Second).String()}, {"messages waiting", strconv.FormatInt(waits, 10)}})
	if waits == 0 {
		f.Meaning = "nothing of its own waits, but flushing everything and truncating the log wait for it"
	}
	cure := CureRestart
	if slices.Contains(x.codes, recovery.CheckVChannelMissing.Code) {
		cure = CureCatalog // registering it again lets it move
	} else if m := x.read.held(x.log, x.flushed.TimeTick); m != nil {
		cure, f.Meaning = CureImport, "the flusher does not get past the CommitImport after it: it tries again until the import job is Uncommitted, and so it does after each restart"
		f.Evidence = append(f.Evidence, Evidence{"held by", "CommitImport at " + m.id.String() + " on " + m.vchannel})
	}
	j.fault(x, ChannelFault{Finding: f, Cure: cure})
}

// unserved passes on what the catalog's keys, held against each other, say of a
// vchannel.
func (j *channelJudge) unserved(x *one) {
	for i := range j.in.Catalog {
		if c := &j.in.Catalog[i]; c.VChannel == x.name {
			j.fault(x, ChannelFault{Finding: catalogFinding(c), Cure: CureDecision})
		}
	}
}

// UnservedFaults are the shards that nobody serves on pchannels other than those
// judged, for a question about every pchannel.
func UnservedFaults(list []catalog.Problem, judged []string) []ChannelFault {
	j := &channelJudge{in: &ChannelInput{}}
	var out []ChannelFault
	for i := range list {
		if list[i].Code == catalog.CodeUnassigned && !slices.Contains(judged, list[i].PChannel) {
			out = append(out, j.told(ChannelFault{Finding: catalogFinding(&list[i]), Cure: CureDecision}))
		}
	}
	return out
}

// CatalogFindings are problems of several keys (catalog.CrossCheck), and those of one
// key that stop a node, as findings.
func CatalogFindings(list []catalog.Problem) []Finding {
	out := make([]Finding, len(list))
	for i := range list {
		out[i] = catalogFinding(&list[i])
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return out
}

func catalogFinding(p *catalog.Problem) Finding {
	if p.Fatal { // what recover tells of it
		return FoundIssue(&recovery.Issue{Code: recovery.CodeCatalogKey, Key: p.Key, Detail: p.Code + ": " + p.Detail}, "", true)
	}
	f := Found(p.Check(), Where{VChannel: p.VChannel, Key: p.Key}, Evidence{"seen", p.Detail})
	if p.VChannel == "" {
		f.Where.PChannel = p.PChannel
	}
	return f
}

// copies tells of broadcasts whose copy on this log never came: the catalog waits
// for it, the log went on without it.
func (j *channelJudge) copies() {
	for _, c := range j.in.Copies {
		l := j.in.Logs[message.PChannelOf(c.VChannel)]
		if l == nil || !l.ToEnd {
			continue
		}
		if _, came := l.Copies[c.BroadcastCopy]; came {
			continue
		}
		other, settled := l.otherCopy(c.Broadcast)
		f := copyFault(c.BroadcastCopy, c.Type, !settled)
		f.Where.Key = c.Key
		if settled {
			f.Where.ID = other.String()
		} else {
			f.Meaning = "the coordinator waits for a copy that is not in the log; it may still be on its way"
		}
		j.copyFault(f)
	}
	for _, p := range j.in.PChannels {
		if l := j.in.Logs[p]; l != nil {
			j.missingCopies(l)
		}
	}
}

// missingCopies tells what the log alone shows, but for what the catalog told.
func (j *channelJudge) missingCopies(l *ChannelLog) {
	for _, m := range l.Missing {
		if slices.ContainsFunc(j.in.Copies, func(c WaitedCopy) bool { return c.BroadcastCopy == m.BroadcastCopy }) {
			continue
		}
		f := copyFault(m.BroadcastCopy, m.Type.String(), false)
		f.Where.ID, f.Where.TimeTick = m.At.String(), m.TimeTick
		j.copyFault(f)
	}
}

func copyFault(c BroadcastCopy, typ string, onItsWay bool) ChannelFault {
	f := raise(recovery.CheckCopyMissing, onItsWay, Where{VChannel: c.VChannel}, []Evidence{{"broadcast", strconv.FormatUint(c.Broadcast, 10) + " (" + typ + ")"}})
	f.Meaning = "a definition change that is not finished: its other copies came, this one never did, and every later change of the same object waits for it"
	return ChannelFault{Finding: f, Cure: CureRestart}
}

func (j *channelJudge) copyFault(f ChannelFault) {
	j.add(f)
	for i := range j.out.Channels {
		if j.out.Channels[i].VChannel == f.Where.VChannel {
			j.out.Channels[i].Faults = append(j.out.Channels[i].Faults, f.Code)
		}
	}
}

// otherCopy is a copy of the broadcast that did come and lies before a TimeTick:
// the log has gone on since.
func (l *ChannelLog) otherCopy(broadcast uint64) (message.ID, bool) {
	for c, at := range l.Copies {
		if c.Broadcast == broadcast && message.Settled(at.tick, l.LastTick) {
			return at.id, true
		}
	}
	return message.ID{}, false
}

var channelFrozen = &Check{
	Code: "channel-cp-frozen", Severity: SeverityError, Else: check.Else{Severity: check.Warning, Where: "nothing of the vchannel itself waits"}, Needs: check.NeedCatalog,
	Title:   "a channel checkpoint that does not move though the log does",
	Says:    "what was written after it was not flushed: a restart replays it all",
	Meaning: "What comes after it is replayed at each restart; flushing everything, backups and truncation wait for it. Measured in the log's own time: an idle log ages nothing.",
	Cause:   "The vchannel has no pipeline (see vchannel-missing, channel-reduplicates), or its sync does not finish.",
	Do:      "Cure the other finding on the vchannel first. Where a CommitImport holds it, bring the import job to Uncommitted, or end it: no restart helps. Without either, look at the flusher of the node and restart it.",
	Threads: []string{"birdwatcher#524", "birdwatcher#527", "birdwatcher#531", "milvus#50499", "milvus#51721"},
}

var channelAhead = &Check{
	Code: "channel-cp-ahead", Severity: SeverityCritical, Kind: check.Retired,
	Title:   "a channel checkpoint beyond the end of the log",
	Meaning: "A pipeline that starts there waits for a message that does not exist, or passes over what is written next.",
	Cause:   "The end of the log is lost, the topic was made again, or log and catalog do not belong together.",
	Do:      "Do not restart. Make sure which log it is; look for the lost ledgers.",
	Threads: []string{"milvus#53581"},
}
