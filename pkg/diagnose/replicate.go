package diagnose

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

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
	ok := header(e.full, message.KeyBroadcast, func(num protowire.Number, x uint64, b []byte) {
		switch num {
		case 1:
			id = x
		case 2:
			listed = listed || string(b) == name
		}
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
	if e.full == nil || !header(e.full, message.KeyReplicate, func(num protowire.Number, x uint64, b []byte) {
		switch num {
		case 1:
			cluster = string(b)
		case 4:
			tick = x
		}
	}) {
		if e.full != nil {
			v.tell(badEnvelope, v.at(e, "property "+message.KeyReplicate+" is undecodable"))
		}
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
	own := v.pchannel(e)
	ignored, source, cluster := false, "", ""
	header(e.full, message.KeyHeader, func(num protowire.Number, x uint64, b []byte) {
		switch {
		case num == 4 && x != 0:
			ignored = true
		case num == 1 && b != nil:
			cluster, source = ownRole(b, own)
		}
	})
	if ignored {
		return
	}
	switch {
	case cluster == "":
		v.replicate = replication{role: roleUnknown}
	case source == "":
		v.replicate = replication{role: rolePrimary}
	case v.replicate.role != roleSecondary || v.replicate.source != source:
		v.replicate = replication{role: roleSecondary, source: source}
	}
}

// ownRole finds, in a replicate configuration, the cluster a pchannel belongs to
// and the cluster it is replicated from ("" = it is a primary).
func ownRole(config []byte, pchannel string) (cluster, source string) {
	type edge struct{ from, to string }
	var edges []edge
	walk(config, func(num protowire.Number, _ uint64, b []byte) {
		switch num {
		case 1:
			id, mine := "", false
			walk(b, func(num protowire.Number, _ uint64, b []byte) {
				switch num {
				case 1:
					id = string(b)
				case 3:
					mine = mine || string(b) == pchannel
				}
			})
			if mine || (cluster == "" && strings.HasPrefix(pchannel, id+"-")) {
				cluster = id
			}
		case 2:
			var e edge
			walk(b, func(num protowire.Number, _ uint64, b []byte) {
				switch num {
				case 1:
					e.from = string(b)
				case 2:
					e.to = string(b)
				}
			})
			edges = append(edges, e)
		}
	})
	for _, e := range edges {
		if e.to == cluster {
			source = e.from
		}
	}
	return cluster, source
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
	if i := strings.LastIndexByte(name, '_'); i > 0 {
		return name[:i]
	}
	return name
}
