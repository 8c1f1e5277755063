package diagnose

import (
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
)

type role uint8

const (
	roleUnknown role = iota
	rolePrimary
	roleSecondary
)

// replication is what the log says of this cluster's part in replication.
type replication struct {
	role   role
	told   bool   // by a configuration, or by a log that starts at its beginning
	source string // cluster the headers must name; "" = not met yet
	lastTT uint64 // source TimeTick reached
}

// headers judges what only a message's own properties tell: broadcast and
// replication headers. docs/rules.md#invariants 12, 14.
func (v *verifier) headers(e *entry) {
	if e.flags&message.HasBroadcast != 0 && e.full != nil {
		v.broadcast(e)
	}
	if e.bits&bitDDL != 0 {
		v.broadcastOrNot(e)
	}
	v.replicated(e)
	if e.typ == message.TypeAlterReplicateConfig && e.full != nil {
		v.alterReplication(e)
	}
}

func (v *verifier) broadcast(e *entry) {
	id, listed := uint64(0), false
	name := v.vchannelName(e.vchannel)
	b, ok := e.full.PropertyBytes(message.KeyBroadcast)
	ok = ok && message.Fields(b, func(num protowire.Number, x uint64) {
		if num == 1 {
			id = x
		}
	}, func(num protowire.Number, b []byte) bool {
		listed = listed || num == 2 && string(b) == name
		return true
	})
	if ok && (id == 0 || !listed) {
		v.tell(broadcastMismatch, v.at(e, "a broadcast that does not name its own vchannel, or has no id"))
	}
}

// broadcastOrNot holds a definition change against those of its type before it:
// once a writer broadcasts them (since 2.6.5), all of them are.
func (v *verifier) broadcastOrNot(e *entry) {
	t := min(int(e.typ), len(v.broadcastTypes)-1)
	if e.flags&message.HasBroadcast != 0 {
		v.broadcastTypes[t] |= e.flags & (message.HasBroadcast | message.PChannelLevel)
		return
	}
	if v.broadcastTypes[t] != 0 {
		v.tell(broadcastMismatch, v.at(e, "no broadcast header, though this type is broadcast"))
	}
}

func (v *verifier) replicated(e *entry) {
	r := &v.replicate
	has := e.flags&message.HasReplicate != 0
	switch {
	case e.bits&bitSelf != 0:
		if has {
			v.tell(replicateMismatch, v.at(e, "a message the node makes itself carries a replication header"))
		}
		return
	case e.typ == message.TypeAlterReplicateConfig:
		return
	}
	if !has {
		if r.role == roleSecondary && e.flags&message.UnsafeReplicate == 0 {
			v.tell(replicateMismatch, v.at(e, "a message without a replication header on a secondary"))
		}
		return
	}
	if r.role == rolePrimary {
		v.tell(replicateMismatch, v.at(e, "a replication header on a primary"))
		return
	}
	r.role = roleSecondary
	cluster, tick := "", uint64(0)
	if e.full == nil {
		return
	}
	b, ok := e.full.PropertyBytes(message.KeyReplicate)
	if !ok || !message.Fields(b, func(num protowire.Number, x uint64) {
		if num == 4 {
			tick = x
		}
	}, func(num protowire.Number, b []byte) bool {
		if num == 1 {
			cluster = string(b)
		}
		return true
	}) {
		v.tell(badEnvelope, v.at(e, "property "+message.KeyReplicate+" is undecodable"))
		return
	}
	if r.source == "" {
		r.source = cluster
	}
	switch {
	case cluster != r.source:
		v.tell(replicateMismatch, v.at(e, "a replication header of another source cluster"))
	case tick < r.lastTT:
		o := v.at(e, "the source's TimeTick decreases")
		o.otherTT = r.lastTT
		v.tell(replicateMismatch, o)
	}
	r.lastTT = max(r.lastTT, tick)
}

// alterReplication follows the cluster's role.
func (v *verifier) alterReplication(e *entry) {
	h, err := message.HeaderAs[*messagespb.AlterReplicateConfigMessageHeader](e.full)
	if err != nil || h.GetIgnore() {
		return
	}
	cfg := h.GetReplicateConfiguration()
	role, known := message.RoleOf(cfg, message.OwnCluster(cfg, v.pchannel(e)))
	if !known {
		v.replicate = replication{told: true}
		return
	}
	v.replicate.become(role)
}

// become takes a role that a configuration tells. A secondary of the same source
// goes on where it was.
func (r *replication) become(role message.ClusterRole) {
	switch {
	case role.Source == "":
		*r = replication{role: rolePrimary}
	case r.role != roleSecondary || r.source != role.Source:
		*r = replication{role: roleSecondary, source: role.Source}
	}
	r.told = true
}

// pchannel returns the log's own name: as told, or as its vchannels tell it.
func (v *verifier) pchannel(e *entry) string {
	if v.opts.PChannel != "" {
		return v.opts.PChannel
	}
	name := v.vchannelName(e.vchannel)
	if v.vchannels[e.vchannel].kind == kindPChannel {
		return name
	}
	return message.PChannelOf(name)
}

var broadcastMismatch = &Check{
	Code: "broadcast-mismatch", Severity: SeverityError, Invariant: 12,
	Title:   "a broadcast that contradicts its header",
	Meaning: "The coordinator can't match the copy to its task and waits for ever.",
	Cause:   "Damage or a foreign producer.",
	Do:      "Look at the message with inspect --id.",
	Threads: []string{"milvus#45285"},
}

var replicateMismatch = &Check{
	Code: "replicate-mismatch", Severity: SeverityError, Invariant: 14, Needs: check.NeedRole,
	Title:   "a replication header where none belongs, or none where one does",
	Meaning: "A secondary takes messages from its source only: what breaks this is refused or applied twice, and the replicate checkpoint goes wrong.",
	Cause:   "A write that went to the wrong cluster, a switch-over half done, or an altered log.",
	Do:      "Compare with the replicate configuration messages: inspect --type AlterReplicateConfig.",
	Threads: []string{"milvus#50846", "milvus#45086", "milvus#50871"},
}
