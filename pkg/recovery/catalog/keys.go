package catalog

import (
	"strconv"
	"strings"
)

// The prefixes and singletons of the layout (wire format, docs/rules.md#catalog).
const (
	walPrefix          = "streamingnode-meta/wal/"
	checkpointName     = "consume-checkpoint"
	salvageName        = "salvage-checkpoint/"
	vchannelName       = "vchannel/"
	schemaName         = "/schema/"
	segmentName        = "segment-assign/"
	pchannelPrefix     = "streamingcoord-meta/pchannel/"
	broadcastPrefix    = "streamingcoord-meta/broadcast-task/"
	replicatingPrefix  = "streamingcoord-meta/replicating-pchannel/"
	channelCPPrefix    = "datacoord-meta/channel-cp/"
	rootCoordPrefix    = "root-coord/"
	streamingCoordRoot = "streamingcoord-meta/"

	// ControlChannelKey and StreamingVersionKey are written with a slash at the
	// end by 2.6.13–2.6.15 and without by every other version.
	ControlChannelKey   = "streamingcoord-meta/cchannel"
	StreamingVersionKey = "streamingcoord-meta/version"
	// ReplicateConfigurationKey holds the cluster's replicate configuration.
	ReplicateConfigurationKey = "streamingcoord-meta/replicate-configuration"
	// SessionPrefix holds a key for every live Milvus process.
	SessionPrefix = "session/"
	// SessionCounterKey lies under SessionPrefix but is no session: it is the
	// counter node ids are taken from, and outlives every process.
	SessionCounterKey = "session/id"
	// JournalPrefix holds walctl's own keys.
	JournalPrefix = "walctl/"
)

// WALPrefix returns the prefix of every key of one pchannel's WAL, slash at the
// end so that dml_1 never matches dml_10.
func WALPrefix(pchannel string) string { return walPrefix + pchannel + "/" }

// CheckpointKey returns the key of a pchannel's consume checkpoint.
func CheckpointKey(pchannel string) string { return WALPrefix(pchannel) + checkpointName }

// SalvageKey returns the key of the salvage checkpoint kept for a source cluster.
func SalvageKey(pchannel, sourceCluster string) string {
	return WALPrefix(pchannel) + salvageName + sourceCluster
}

// VChannelKey returns the base key of a vchannel.
func VChannelKey(pchannel, vchannel string) string {
	return WALPrefix(pchannel) + vchannelName + vchannel
}

// SchemaKey returns the key of the schema of a vchannel that came at a TimeTick.
func SchemaKey(pchannel, vchannel string, timeTick uint64) string {
	return VChannelKey(pchannel, vchannel) + schemaName + strconv.FormatUint(timeTick, 10)
}

// SegmentKey returns the key of a segment's assignment.
func SegmentKey(pchannel string, segment int64) string {
	var room [128]byte // on the stack
	return string(strconv.AppendInt(append(append(append(append(room[:0], walPrefix...), pchannel...), '/'), segmentName...), segment, 10))
}

// PChannelKey returns the coordinator's key of a pchannel.
func PChannelKey(pchannel string) string { return pchannelPrefix + pchannel }

// ChannelCheckpointKey returns DataCoord's key of a vchannel's flush position.
func ChannelCheckpointKey(vchannel string) string { return channelCPPrefix + vchannel }

// KeyKind says what a key's value is.
type KeyKind uint8

// The kinds of keys. KeyUnknown is every key walctl has no type for.
const (
	KeyUnknown KeyKind = iota
	KeyCheckpoint
	KeySalvage
	KeyVChannel
	KeySchema
	KeySegment
	KeyPChannel
	KeyControlChannel
	KeyStreamingVersion
	KeyBroadcast
	KeyReplicateConfiguration
	KeyReplicatingPChannel
	KeyChannelCheckpoint
	KeySession
	KeySessionCounter
	KeyJournal
)

// Key is a catalog key taken apart. Raw is always the key as found.
type Key struct {
	Raw      string
	Kind     KeyKind
	PChannel string
	VChannel string
	Name     string // the last part: a source cluster, a role, a broadcast id
	TimeTick uint64 // of a schema
	Segment  int64
	Slashed  bool // the 2.6.13–2.6.15 spelling of a singleton
}

// ParseKey takes a key apart. A key that has a known place but a malformed name
// there (a segment id that is no number) is KeyUnknown.
func ParseKey(raw string) Key {
	k := Key{Raw: raw}
	bare := strings.TrimSuffix(raw, "/")
	k.Slashed = bare != raw
	switch {
	case bare == ControlChannelKey:
		k.Kind = KeyControlChannel
		return k
	case bare == StreamingVersionKey:
		k.Kind = KeyStreamingVersion
		return k
	}
	k.Slashed = false
	if rest, ok := strings.CutPrefix(raw, walPrefix); ok {
		return parseWALKey(k, rest)
	}
	switch {
	case raw == SessionCounterKey:
		k.Kind = KeySessionCounter
	case raw == ReplicateConfigurationKey:
		k.Kind = KeyReplicateConfiguration
	case cut(raw, pchannelPrefix, &k.PChannel):
		k.Kind = KeyPChannel
	case cut(raw, broadcastPrefix, &k.Name):
		k.Kind = KeyBroadcast
	case cut(raw, replicatingPrefix, &k.Name):
		k.Kind = KeyReplicatingPChannel
	case cut(raw, channelCPPrefix, &k.VChannel):
		k.Kind = KeyChannelCheckpoint
	case cut(raw, SessionPrefix, &k.Name):
		k.Kind = KeySession
	case cut(raw, JournalPrefix, &k.Name):
		k.Kind = KeyJournal
	}
	return k
}

func cut(raw, prefix string, rest *string) bool {
	after, ok := strings.CutPrefix(raw, prefix)
	if !ok || after == "" {
		return false
	}
	*rest = after
	return true
}

func parseWALKey(k Key, rest string) Key {
	pchannel, name, ok := strings.Cut(rest, "/")
	if !ok || pchannel == "" {
		return k
	}
	k.PChannel = pchannel
	if name == checkpointName {
		k.Kind = KeyCheckpoint
		return k
	}
	if cluster, ok := strings.CutPrefix(name, salvageName); ok && cluster != "" {
		k.Kind, k.Name = KeySalvage, cluster
		return k
	}
	if id, ok := strings.CutPrefix(name, segmentName); ok {
		return parseSegmentKey(k, id)
	}
	if v, ok := strings.CutPrefix(name, vchannelName); ok {
		return parseVChannelKey(k, v)
	}
	return k
}

func parseSegmentKey(k Key, id string) Key {
	n, err := strconv.ParseInt(id, 10, 64)
	digits := strings.TrimPrefix(id, "-")
	if err != nil || id[0] == '+' || digits[0] == '0' && id != "0" {
		return k // a spelling Milvus would not write would never be removed either
	}
	k.Kind, k.Segment = KeySegment, n
	return k
}

// parseVChannelKey follows Milvus's own reading: one part is a vchannel, three
// parts with "schema" in the middle are its schema, everything else is skipped.
func parseVChannelKey(k Key, rest string) Key {
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) == 1 && parts[0] != "":
		k.Kind, k.VChannel = KeyVChannel, parts[0]
	case len(parts) == 3 && parts[1] == "schema" && parts[0] != "":
		tt, err := strconv.ParseUint(parts[2], 10, 64)
		if err != nil || strconv.FormatUint(tt, 10) != parts[2] {
			return k
		}
		k.Kind, k.VChannel, k.TimeTick = KeySchema, parts[0], tt
	}
	return k
}

// credentialKeys are where RootCoord keeps users with the hashes of their
// passwords, below the root or within its snapshots.
const credentialKeys = "root-coord/credential/"

// HoldsCredentials reports whether a key's value is a credential as a whole.
// Nothing in a log's recovery needs one: it is never shown and never stored
// beside a log.
func HoldsCredentials(key string) bool { return strings.Contains(key, credentialKeys) }

// ShortKey leaves out of a key what all keys of the pchannel's WAL begin with.
func ShortKey(pchannel, key string) string {
	if rest, ok := strings.CutPrefix(key, WALPrefix(pchannel)); ok {
		return "…/" + rest
	}
	return key
}
