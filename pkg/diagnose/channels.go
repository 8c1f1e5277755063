package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// RegisteredChannel is one registration of a vchannel: a base key below one
// pchannel's WAL, with the schemas and segments that belong to it.
type RegisteredChannel struct {
	PChannel, VChannel string
	Collection         int64
	Dropped            bool // state DROPPED
	TimeTick           uint64
	Schemas            int
	Inline             bool // a schema stands in the registration's own value, as older clusters keep it
	Growing            int
	Rows               uint64 // in growing segments
}

// ListedChannel is a vchannel as RootCoord lists it with its collection.
type ListedChannel struct {
	Collection int64
	Name       string
	State      string // created, creating, dropping, dropped
	Schema     bool   // RootCoord still has one
	Old        bool   // known to be created before the pchannel's checkpoint
}

// FlushedChannel is DataCoord's channel checkpoint of a vchannel.
type FlushedChannel = catalog.FlushPosition

// WaitedCopy is a copy of a broadcast that the catalog still waits for.
type WaitedCopy struct {
	BroadcastCopy
	Type, Key string
}

// AssignedChannel is the coordinator's word on a pchannel and its WAL's checkpoint.
type AssignedChannel struct {
	Term      int64
	Node      string
	Assigned  bool // state ASSIGNED
	Histories []int64
	// Tick and ID are the consume checkpoint's; Opened is false where there is none.
	Opened bool
	Tick   uint64
	ID     message.ID
}

// ChannelInput is everything the registration checks look at: values only.
type ChannelInput struct {
	PChannels []string                   // those judged
	Logs      map[string]*ChannelLog     // by pchannel
	Assigned  map[string]AssignedChannel // by pchannel
	// Registered is every registration of every pchannel in the catalog.
	Registered []RegisteredChannel
	Listed     map[string]ListedChannel // by vchannel
	// ListedKnown is false where the catalog holds nothing of RootCoord: then
	// nothing follows from a vchannel that is not listed.
	ListedKnown bool
	Flushed     map[string]FlushedChannel
	// Pending are vchannels a broadcast under way still names: a definition
	// change that is not finished.
	Pending map[string]bool
	// Copies are the copies of broadcasts that no vchannel has acknowledged yet.
	Copies []WaitedCopy
	// Catalog is what the catalog's keys say against each other (catalog.CrossCheck).
	Catalog []catalog.Problem
	// OrphanSchemas are vchannels with schema keys and no key of their own, by pchannel.
	OrphanSchemas map[string][]string
	Live          []LiveWAL
	LiveKnown     bool
	Symptoms      []Reduplicate
	// Frozen is the lag from which a checkpoint counts as frozen.
	Frozen time.Duration
	WAL    string // as typed in a shell, with the flags that say which, for the next command
}

// Cure says who can put a fault right.
type Cure string

// The cures. CureCatalog: a plan of `channels repair`. CureRestart: the fault
// sits in a live process. CureImport: an import job has to come to its end.
// CureDecision: nobody knows without a person.
const (
	CureCatalog  Cure = "catalog"
	CureRestart  Cure = "restart"
	CureImport   Cure = "import-job"
	CureDecision Cure = "decision"
)

// RepairAction is what a plan has to do about a fault the catalog can cure.
type RepairAction string

// The actions. ActionMove is a registration under a pchannel it does not lie on,
// brought to its own.
const (
	ActionRegister   RepairAction = "register"
	ActionUnregister RepairAction = "unregister"
	ActionSchema     RepairAction = "schema"
	ActionMove       RepairAction = "move"
)

// ChannelFault is a finding with its cure.
type ChannelFault struct {
	Finding
	Cure     Cure         `json:"cure"`
	Action   RepairAction `json:"action,omitempty"`
	PChannel string       `json:"registered_under,omitempty"` // the registration the action is about
}

// ChannelView is one vchannel side by side, as every place sees it.
type ChannelView struct {
	VChannel   string `json:"vchannel"`
	PChannel   string `json:"pchannel"`
	Collection int64  `json:"collection,string"`
	Name       string `json:"collection_name,omitempty"`

	Log         string   `json:"log"`        // live, dropped, absent, unread
	Registered  string   `json:"registered"` // normal, dropped, missing
	Elsewhere   []string `json:"registered_elsewhere,omitempty"`
	RootCoord   string   `json:"root_coord"` // created …, missing, unknown
	ChannelCP   string   `json:"channel_cp"` // a TimeTick, dropped, missing
	Live        string   `json:"live"`       // node and state, absent, unknown
	Messages    int64    `json:"messages"`
	Rows        uint64   `json:"rows"`
	LastTick    uint64   `json:"last_time_tick,string"`
	CPTick      uint64   `json:"channel_cp_time_tick,string"`
	Waits       int64    `json:"waiting_messages"`
	LagSeconds  float64  `json:"lag_seconds"`
	GrowingRows uint64   `json:"growing_rows"`
	Faults      []string `json:"faults,omitempty"` // codes
}

// ChannelReport is what JudgeChannels found.
type ChannelReport struct {
	Channels []ChannelView  `json:"channels"`
	Faults   []ChannelFault `json:"faults"` // worst first
}

// Findings returns the faults as findings.
func (r *ChannelReport) Findings() []Finding {
	out := make([]Finding, len(r.Faults))
	for i := range r.Faults {
		out[i] = r.Faults[i].Finding
	}
	return out
}

// JudgeChannels holds what log, catalog, RootCoord, DataCoord and live node say
// of every vchannel against each other. docs/rules.md#channels
func JudgeChannels(in ChannelInput) *ChannelReport {
	j := &channelJudge{in: &in, out: &ChannelReport{Channels: []ChannelView{}, Faults: []ChannelFault{}}, byName: map[string][]*RegisteredChannel{}}
	for i := range in.Registered {
		r := &in.Registered[i]
		j.byName[r.VChannel] = append(j.byName[r.VChannel], r)
	}
	j.seen = j.names()
	for _, name := range j.seen {
		j.channel(name)
	}
	j.orphans()
	j.copies()
	j.pchannels()
	j.symptoms()
	slices.SortStableFunc(j.out.Faults, func(a, b ChannelFault) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Where.VChannel, b.Where.VChannel), cmp.Compare(a.PChannel, b.PChannel))
	})
	return j.out
}

type channelJudge struct {
	in     *ChannelInput
	out    *ChannelReport
	byName map[string][]*RegisteredChannel
	seen   []string // the vchannels judged
}

// names lists every vchannel that lies on, or is registered under, a pchannel
// that is judged.
func (j *channelJudge) names() []string {
	seen := map[string]bool{}
	add := func(name, pchannel string) {
		if slices.Contains(j.in.PChannels, pchannel) || slices.Contains(j.in.PChannels, message.PChannelOf(name)) {
			seen[name] = true
		}
	}
	for _, r := range j.in.Registered {
		add(r.VChannel, r.PChannel)
	}
	for p, l := range j.in.Logs {
		for name := range l.VChannels {
			add(name, p)
		}
	}
	for name := range j.in.Listed {
		add(name, "")
	}
	for name, f := range j.in.Flushed {
		if !f.Dropped {
			add(name, "")
		}
	}
	for _, l := range j.in.Logs {
		for _, m := range l.Missing {
			add(m.VChannel, "")
		}
	}
	for _, c := range j.in.Copies {
		if message.PChannelOf(c.VChannel) != c.VChannel && !message.IsControlChannel(c.VChannel) {
			add(c.VChannel, "")
		}
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// one is a vchannel with all that is known of it.
type one struct {
	name, pchannel string
	own            *RegisteredChannel
	others         []*RegisteredChannel
	log            *LoggedChannel
	read           *ChannelLog // nil: the log was not read
	listed         *ListedChannel
	flushed        *FlushedChannel
	assigned       AssignedChannel
	codes          []string
}

func (j *channelJudge) channel(name string) {
	x := &one{name: name, pchannel: message.PChannelOf(name)}
	for _, r := range j.byName[name] {
		if r.PChannel == x.pchannel {
			x.own = r
		} else {
			x.others = append(x.others, r)
		}
	}
	x.assigned = j.in.Assigned[x.pchannel]
	if x.read = j.in.Logs[x.pchannel]; x.read != nil {
		x.log = x.read.VChannels[name]
	}
	if l, ok := j.in.Listed[name]; ok {
		x.listed = &l
	}
	if f, ok := j.in.Flushed[name]; ok {
		x.flushed = &f
	}
	j.elsewhere(x)
	if x.own == nil {
		j.missing(x)
	} else {
		j.registered(x)
	}
	j.unserved(x)
	j.checkpoint(x)
	j.view(x)
}

// gone reports that nobody has the vchannel any more, and who says so.
func (j *channelJudge) gone(x *one) (string, bool) {
	consumed := x.log != nil && x.log.Dropped != 0 && x.log.Dropped <= x.assigned.Tick
	pendingInLog := x.log != nil && (x.log.Created > x.assigned.Tick || x.log.Dropped > x.assigned.Tick)
	switch {
	case consumed && (x.listed == nil || x.listed.State != "created"):
		return "DropCollection at " + x.log.DroppedAt.String() + " lies before the checkpoint", true
	case pendingInLog || j.in.Pending[x.name]:
		return "", false
	case x.listed != nil && x.listed.State == "dropped":
		return "RootCoord lists its collection as dropped", true
	case x.listed == nil && j.in.ListedKnown && x.flushed != nil && x.flushed.Dropped:
		return "RootCoord has no such collection, DataCoord marks the channel as dropped", true
	case x.listed == nil && j.in.ListedKnown:
		return "RootCoord has no such collection", true
	}
	return "", false
}

func (j *channelJudge) elsewhere(x *one) {
	for _, r := range x.others {
		where := Where{VChannel: x.name, Key: registrationKey(r)}
		seen := []Evidence{{"registered under", r.PChannel}, {"lies on", x.pchannel}}
		why, gone := j.gone(x)
		switch {
		case x.own != nil || gone:
			if why != "" {
				seen = append(seen, Evidence{"seen", why})
			}
			f := Found(vchannelTwice, where, seen...)
			f.Meaning = "a node that opens " + r.PChannel + " registers a second buffer for it"
			j.fault(x, ChannelFault{Finding: f, Cure: CureCatalog, Action: ActionUnregister, PChannel: r.PChannel})
		default:
			f := Found(vchannelMisplaced, where, seen...)
			f.Meaning = "the node that opens " + x.pchannel + " does not know it"
			j.fault(x, ChannelFault{Finding: f, Cure: CureCatalog, Action: ActionMove, PChannel: r.PChannel})
		}
	}
}

// missing judges a vchannel without registration under its own pchannel.
func (j *channelJudge) missing(x *one) {
	if len(x.others) > 0 || !x.assigned.Opened {
		return // told already; or never opened: the first opening registers all
	}
	logged := x.log != nil && x.log.Messages > 0
	if logged && (x.log.Created > x.assigned.Tick || x.log.Dropped != 0) || j.in.Pending[x.name] {
		return // a restart registers it, or it has gone
	}
	if x.listed != nil && !x.listed.Old && x.read != nil && (!x.read.ToEnd || x.read.Damaged > 0) {
		return // its CreateCollection may lie in what was not read
	}
	where := Where{VChannel: x.name}
	var seen []Evidence
	if logged {
		where.ID = x.log.First.String()
		if x.log.Last != x.log.First {
			where.To = x.log.Last.String()
		}
		seen = append(seen, Evidence{"messages", strconv.FormatInt(x.log.Messages, 10)}, Evidence{"rows", strconv.FormatUint(x.log.Rows, 10)})
		if !x.log.StaleCreate.IsZero() {
			seen = append(seen, Evidence{"its CreateCollection came too late for a TimeTick", x.log.StaleCreate.String()})
		}
	}
	switch {
	case x.listed != nil && x.listed.State == "created":
		f := ChannelFault{Finding: Found(recovery.CheckVChannelMissing, where, append(seen, Evidence{"collection", x.listed.Name})...), Cure: CureCatalog, Action: ActionRegister}
		f.Meaning = "RootCoord lists it, the WAL's catalog does not: nothing on it is recovered or flushed"
		if !x.listed.Schema {
			f.Cure, f.Action = CureDecision, ""
			f.Evidence = append(f.Evidence, Evidence{"schema", "in neither catalog nor RootCoord"})
		}
		j.fault(x, f)
	case x.listed == nil && logged && !j.in.ListedKnown:
		f := Found(recovery.CheckVChannelMissing, where, seen...)
		f.Meaning = "the log has messages on it, the catalog does not know it: nothing on it is recovered or flushed"
		j.fault(x, ChannelFault{Finding: f, Cure: CureDecision})
	case x.listed == nil && logged:
		j.fault(x, ChannelFault{Finding: Found(vchannelUnknown, where, seen...), Cure: CureDecision})
	}
}

// registered judges a vchannel's registration under its own pchannel.
func (j *channelJudge) registered(x *one) {
	where := Where{VChannel: x.name, Key: registrationKey(x.own)}
	why, gone := j.gone(x)
	rows := func(e ...Evidence) []Evidence {
		if x.own.Growing > 0 {
			e = append(e, Evidence{"growing rows", strconv.FormatUint(x.own.Rows, 10)})
		}
		return e
	}
	switch {
	case gone:
		j.fault(x, ChannelFault{Finding: raise(vchannelDropped, x.own.Dropped, where, rows(Evidence{"seen", why})), Cure: CureCatalog, Action: ActionUnregister, PChannel: x.own.PChannel})
		return
	case x.own.Dropped && x.own.Schemas == 0:
		f := Found(catalog.CheckNoSchema, where)
		f.Meaning = "a removal that was cut off: Milvus panics when it loads this vchannel"
		j.fault(x, ChannelFault{Finding: f, Cure: CureCatalog, Action: ActionUnregister, PChannel: x.own.PChannel})
		return
	case x.own.Dropped:
		return // a drop under way: the next persist removes it
	}
	if x.own.Schemas == 0 {
		f := ChannelFault{Finding: Found(catalog.CheckNoSchema, where), Cure: CureDecision, PChannel: x.own.PChannel}
		if x.listed != nil && x.listed.Schema || x.own.Inline || x.log != nil && x.log.Schema {
			f.Cure, f.Action = CureCatalog, ActionSchema
		}
		j.fault(x, f)
	}
	if x.flushed != nil && x.flushed.Dropped {
		f := Found(recovery.CheckChannelDropped, where, Evidence{"position", source.NoPosition.String()})
		f.Meaning = "DataCoord marks the channel as dropped, yet it is registered and its collection lives: a node that seeks there can panic"
		j.fault(x, ChannelFault{Finding: f, Cure: CureDecision})
	}
}

// lag is how long, in the log's own time and without its idle stretches, the
// first thing after the channel checkpoint has waited at the log's end.
func (x *one) lag() (time.Duration, int64) {
	waits := int64(0)
	if x.log != nil {
		waits = x.log.Waits
	}
	return x.read.waited(x.log, x.flushed.TimeTick), waits
}

func (j *channelJudge) orphans() {
	for p, names := range j.in.OrphanSchemas {
		if !slices.Contains(j.in.PChannels, p) {
			continue
		}
		for _, v := range names {
			f := ChannelFault{Finding: Found(catalog.CheckOrphanSchema, Where{PChannel: p, VChannel: v}), Cure: CureCatalog, Action: ActionUnregister, PChannel: p}
			if l, ok := j.in.Listed[v]; ok && l.State == "created" && message.PChannelOf(v) == p {
				continue // told as missing; registering it takes the place
			}
			j.add(f)
		}
	}
}

// add tells a fault of no vchannel in particular.
func (j *channelJudge) add(f ChannelFault) { j.out.Faults = append(j.out.Faults, j.told(f)) }

func (j *channelJudge) fault(x *one, f ChannelFault) {
	x.codes = append(x.codes, f.Code)
	j.add(f)
}

// told adds what every fault says: who cures it, and the next command.
func (j *channelJudge) told(f ChannelFault) ChannelFault {
	word := map[Cure]string{CureCatalog: "the catalog (channels repair)", CureRestart: "a restart of the process", CureImport: "the import job reaching Uncommitted; no restart helps", CureDecision: "a person's decision"}[f.Cure]
	f.Evidence = append(f.Evidence, Evidence{"cured by", word})
	if f.Action != "" && j.in.WAL != "" {
		f.Next = "walctl channels repair " + j.in.WAL + " --out p.json"
	}
	return f
}

func registrationKey(r *RegisteredChannel) string {
	return "streamingnode-meta/wal/" + r.PChannel + "/vchannel/" + r.VChannel
}

func (j *channelJudge) view(x *one) {
	v := ChannelView{VChannel: x.name, PChannel: x.pchannel, Collection: message.CollectionIDOf(x.name),
		Log: "absent", Registered: "missing", RootCoord: "missing", ChannelCP: "missing", Live: j.liveState(x.pchannel), Faults: x.codes}
	switch {
	case x.read == nil:
		v.Log = "unread"
	case x.log != nil && x.log.Dropped != 0:
		v.Log = "dropped"
	case x.log != nil:
		v.Log = "live"
	}
	if x.log != nil {
		v.Messages, v.Rows, v.LastTick = x.log.Messages, x.log.Rows, x.log.LastTick
	}
	if x.own != nil {
		v.Registered, v.GrowingRows = "normal", x.own.Rows
		if x.own.Dropped {
			v.Registered = "dropped"
		}
	}
	for _, r := range x.others {
		v.Elsewhere = append(v.Elsewhere, r.PChannel)
	}
	switch {
	case x.listed != nil:
		v.RootCoord, v.Name = x.listed.State, x.listed.Name
	case !j.in.ListedKnown:
		v.RootCoord = "unknown"
	}
	if x.flushed != nil {
		v.ChannelCP, v.CPTick = fmt.Sprintf("tt:%d", x.flushed.TimeTick), x.flushed.TimeTick
		if x.flushed.Dropped {
			v.ChannelCP = "dropped"
		} else if x.read != nil {
			lag, waits := x.lag()
			v.LagSeconds, v.Waits = lag.Seconds(), waits
		}
	}
	j.out.Channels = append(j.out.Channels, v)
}

var vchannelUnknown = &Check{
	Code: "vchannel-unknown", Severity: SeverityWarning, Needs: check.NeedCatalog,
	Title:   "messages of a collection nobody knows",
	Says:    "messages of a collection neither the WAL's catalog nor RootCoord knows; recovery passes over them",
	Meaning: "Neither the WAL's catalog nor RootCoord has the collection: recovery passes over its messages.",
	Cause:   "A collection whose drop was consumed and trimmed, or whose creation never finished.",
	Do:      "Nothing where the collection is dropped. Rows wanted back come out with salvage.",
	Threads: []string{"milvus#47802"},
}

var vchannelTwice = &Check{
	Code: "vchannel-twice", Severity: SeverityError, Needs: check.NeedCatalog,
	Title:   "a vchannel registered under a second pchannel",
	Meaning: "The node that opens the other pchannel registers a buffer for a vchannel that is not its own; where one node has both, the second registration is refused and its recovery repeats for ever.",
	Cause:   "Keys copied by hand or by a restore under another name.",
	Do:      "Stop Milvus; channels repair removes the registration under the wrong pchannel.",
	Threads: []string{"milvus#41495", "milvus#41496"},
}

var vchannelMisplaced = &Check{
	Code: "vchannel-misplaced", Severity: SeverityError, Needs: check.NeedCatalog,
	Title:   "a vchannel registered under another pchannel only",
	Meaning: "The node that opens its own pchannel does not know it, another one does.",
	Cause:   "Keys copied by hand or by a restore under another name.",
	Do:      "Stop Milvus; channels repair moves the registration to the vchannel's own pchannel.",
	Threads: []string{"milvus#41495"},
}

// CodeVChannelDropped is the code of a registered vchannel whose collection is dropped.
const CodeVChannelDropped = "vchannel-dropped"

var vchannelDropped = &Check{
	Code: CodeVChannelDropped, Severity: SeverityError, Else: check.Else{Severity: check.Warning, Where: "the registration is marked as dropped already"}, Needs: check.NeedCatalog,
	Title:   "a registered vchannel whose collection is dropped",
	Says:    "registered, but its collection is dropped: each restart recovers it again",
	Meaning: "Each restart recovers the vchannel again, and its growing segments; a flusher can wait for a collection that does not exist.",
	Cause:   "The drop was consumed, but the registration stayed: a write that was cut off, or RootCoord's keys removed by hand.",
	Do:      "Stop Milvus; channels repair removes the registration.",
	Threads: []string{"milvus#47802", "milvus#47886"},
}
