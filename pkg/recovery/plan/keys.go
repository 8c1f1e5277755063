package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// keys is the one table of what a repair may touch. A plan file is made of text
// that anybody can write, digest included, so what stands in it is no permission:
// sessions, credentials, other components' keys and walctl's own are in no row.
func (k Kind) keys() []catalog.KeyKind {
	switch k {
	case KindReplayed, KindRebuild:
		return []catalog.KeyKind{catalog.KeyCheckpoint, catalog.KeySalvage, catalog.KeyVChannel, catalog.KeySchema, catalog.KeySegment}
	case KindMovePosition, KindAlterWAL:
		return []catalog.KeyKind{catalog.KeyCheckpoint, catalog.KeyChannelCheckpoint}
	case KindRegister, KindUnregister, KindRemoveOrphans:
		return []catalog.KeyKind{catalog.KeyVChannel, catalog.KeySchema, catalog.KeySegment}
	case KindTrailingSlash:
		return []catalog.KeyKind{catalog.KeyControlChannel, catalog.KeyStreamingVersion}
	case KindImport: // a WAL's keys as a copy has them, those no type is known for as well
		return []catalog.KeyKind{catalog.KeyCheckpoint, catalog.KeySalvage, catalog.KeyVChannel, catalog.KeySchema, catalog.KeySegment, catalog.KeyUnknown}
	}
	return nil
}

// outside says why a repair of one pchannel may not touch a key, "" where it may.
// values are what the key has and gets: a segment's key does not name its vchannel.
func (k Kind) outside(pchannel, key string, values ...[]byte) string {
	parsed := catalog.ParseKey(key)
	if !utf8.ValidString(key) || !slices.Contains(k.keys(), parsed.Kind) {
		return fmt.Sprintf("%q is no key that a repair of kind %q writes", key, string(k))
	}
	owner := parsed.PChannel
	switch parsed.Kind {
	case catalog.KeyControlChannel, catalog.KeyStreamingVersion:
		return "" // the whole cluster's
	case catalog.KeyChannelCheckpoint:
		owner = message.PChannelOf(parsed.VChannel)
	}
	if owner == pchannel && pchannel != "" {
		return ""
	}
	// A registration in the wrong place is brought to the pchannel it lies on, so two
	// pchannels have a part in it.
	lies := ""
	if v := vchannelOf(parsed, values); v != "" {
		lies = message.PChannelOf(v)
	}
	if owner != "" && lies != "" && (k == KindRegister && lies == owner || k == KindUnregister && lies != owner) {
		return ""
	}
	return fmt.Sprintf("%q does not belong to pchannel %q", key, pchannel)
}

// vchannelOf is the vchannel that a key is about.
func vchannelOf(k catalog.Key, values [][]byte) string {
	if k.Kind != catalog.KeySegment {
		return k.VChannel
	}
	for _, v := range values {
		var s streamingpb.SegmentAssignmentMeta
		if v != nil && proto.Unmarshal(v, &s) == nil && s.GetVchannel() != "" {
			return s.GetVchannel()
		}
	}
	return ""
}

// within refuses changes that a repair of their kind may not make, and a key that
// is changed twice.
func within(pchannel string, changes []Change) error {
	var r refusals
	rising := slices.IsSortedFunc(changes, func(a, b Change) int { // equal is not rising
		if a.Key == b.Key {
			return -1
		}
		return strings.Compare(a.Key, b.Key)
	})
	seen := map[string]bool{}
	for _, c := range changes {
		if why := c.Kind.outside(pchannel, c.Key, c.Old, c.New); why != "" {
			r.seen(CodeForeignKey, "", "%s", why)
		}
		if rising {
			continue
		}
		if seen[c.Key] {
			r.seen(CodeForeignKey, "", "%q is changed twice", c.Key)
		}
		seen[c.Key] = true
	}
	return r.err(false)
}

// withinAny is within for what undo puts back: a journal does not keep the kinds.
func withinAny(pchannel string, changes []Change) error {
	var r refusals
	for _, c := range changes {
		why := ""
		for _, k := range Kinds() {
			if why = k.outside(pchannel, c.Key, c.Old, c.New); why == "" {
				break
			}
		}
		if why != "" {
			r.seen(CodeForeignKey, "", "%q is no key of pchannel %q that a repair writes", c.Key, pchannel)
		}
	}
	return r.err(false)
}
