package message

import (
	"encoding/json"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
)

// Details are the decoded fields of a message for people and scripts: what
// stands under `d` of a record line. No row and no credential is ever in it.
type Details struct {
	Type          string `json:"type"`
	Version       int8   `json:"version"`
	TimeTick      uint64 `json:"time_tick,omitempty,string"`
	Time          string `json:"time,omitempty"`
	Barrier       uint64 `json:"barrier_time_tick,omitempty,string"`
	Term          *int64 `json:"term,omitempty"`
	VChannel      string `json:"vchannel,omitempty"`
	LastConfirmed string `json:"last_confirmed,omitempty"`
	TxnID         int64  `json:"txn_id,omitempty,string"`
	KeepaliveMs   int64  `json:"keepalive_ms,omitempty"`
	BroadcastID   uint64 `json:"broadcast_id,omitempty,string"`
	Collection    int64  `json:"collection_id,omitempty,string"`
	Partition     int64  `json:"partition_id,omitempty,string"`
	Segment       int64  `json:"segment_id,omitempty,string"`
	Rows          uint64 `json:"rows,omitempty"`
	BinarySize    uint64 `json:"binary_size,omitempty"`
	PayloadSize   int64  `json:"payload_size"`

	// Header is the typed header of types that are not Hot, credentials hidden.
	Header json.RawMessage `json:"header,omitempty"`
	// BroadcastVChannels are all vchannels a broadcast message went to.
	BroadcastVChannels []string   `json:"broadcast_vchannels,omitempty"`
	Replicated         *Replicate `json:"replicated,omitempty"`

	Flags   []string `json:"flags,omitempty"`
	Defects []string `json:"defects,omitempty"`
}

// Replicate says where a replicated message stands in its source cluster.
type Replicate struct {
	Cluster       string `json:"cluster_id"`
	VChannel      string `json:"vchannel,omitempty"`
	TimeTick      uint64 `json:"time_tick,string"`
	ID            string `json:"message_id,omitempty"`
	LastConfirmed string `json:"last_confirmed,omitempty"`
}

// Describe returns the decoded fields of the envelope, and of its headers what
// the properties tell where the reader brought them.
func (m *Message) Describe() Details {
	d := Details{
		Type: m.Type.String(), Version: m.Version, TimeTick: m.TimeTick, Barrier: m.Barrier, VChannel: m.VChannel,
		TxnID: m.TxnID, KeepaliveMs: m.Keepalive, BroadcastID: m.BroadcastID,
		Collection: m.Collection, Partition: m.Partition, Segment: m.Segment,
		Rows: m.Rows, BinarySize: m.BinarySize, PayloadSize: m.PayloadSize, Flags: m.Flags.Marks(),
	}
	if m.Has(HasTimeTick) {
		d.Time = FormatTSO(m.TimeTick)
	}
	if m.Has(HasTerm) {
		d.Term = &m.Term
	}
	if m.Flags&(HasLastConfirmed|LastConfirmedSelf) != 0 {
		d.LastConfirmed = m.LastConfirmed.String()
	}
	for i := range m.Defects {
		d.Defects = append(d.Defects, m.Defects[i].Error())
	}
	if m.Props != nil {
		m.describeHeaders(&d)
	}
	return d
}

// describeHeaders leaves out what cannot be decoded: it stands among the defects.
func (m *Message) describeHeaders(d *Details) {
	if !m.Type.Hot() {
		d.Header, _ = m.HeaderJSON()
	}
	if m.Has(HasBroadcast) {
		if h, err := m.BroadcastHeader(); err == nil {
			d.BroadcastVChannels = h.GetVchannels()
		}
	}
	if !m.Has(HasReplicate) {
		return
	}
	h, err := m.ReplicateHeader()
	if err != nil {
		return
	}
	d.Replicated = &Replicate{Cluster: h.GetClusterId(), VChannel: h.GetVchannel(), TimeTick: h.GetTimeTick()}
	for _, id := range []struct {
		from *commonpb.MessageID
		to   *string
	}{{h.GetMessageId(), &d.Replicated.ID}, {h.GetLastConfirmedMessageId(), &d.Replicated.LastConfirmed}} {
		if v, _, err := ParseRaw(Backend(id.from.GetWALName()), id.from.GetId()); err == nil && id.from != nil {
			*id.to = v.String()
		}
	}
}

// marks are the flags that say something of their own, in the order shown.
var marks = [...]struct {
	flag Flags
	name string
}{
	{NotPersisted, "not-persisted"}, {PChannelLevel, "pchannel-level"}, {UnsafeReplicate, "unsafe-replicate"},
	{PartialUpdate, "partial-update"}, {HasBroadcast, "broadcast"}, {HasReplicate, "replicated"},
	{HasCipher, "encrypted"}, {HasTxn, "txn"}, {HasOtherProps, "other-properties"},
	{Deleted, "deleted"}, {InBadBlock, "bad-block"}, {Unacknowledged, "unacknowledged"},
}

// Marks names the flags a reader of the log should see.
func (f Flags) Marks() []string {
	var out []string
	for i := range marks {
		if f&marks[i].flag != 0 {
			out = append(out, marks[i].name)
		}
	}
	return out
}
