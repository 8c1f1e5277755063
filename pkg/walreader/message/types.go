package message

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Everything that differs from type to type stands in typeTable, one row a type, and
// nowhere else: who wants to know what a type seals, whether it carries rows or what a
// flusher makes of it asks here. What a room does with a type it handles is the room's;
// a test of each room holds its cases against the table, so that a type is either
// handled there or stands here with the reason why not.

// Type is the message type of property `_t` (wire format; docs/rules.md#types).
type Type uint16

// Every type 2.6 and 3.0 write. Numbers are wire format.
const (
	TypeUnknown                   Type = 0
	TypeTimeTick                  Type = 1
	TypeInsert                    Type = 2
	TypeDelete                    Type = 3
	TypeFlush                     Type = 4
	TypeCreateCollection          Type = 5
	TypeDropCollection            Type = 6
	TypeCreatePartition           Type = 7
	TypeDropPartition             Type = 8
	TypeManualFlush               Type = 9
	TypeCreateSegment             Type = 10
	TypeImport                    Type = 11
	TypeSchemaChange              Type = 12
	TypeAlterCollection           Type = 13
	TypeAlterLoadConfig           Type = 14
	TypeDropLoadConfig            Type = 15
	TypeCreateDatabase            Type = 16
	TypeAlterDatabase             Type = 17
	TypeDropDatabase              Type = 18
	TypeAlterAlias                Type = 19
	TypeDropAlias                 Type = 20
	TypeRestoreRBAC               Type = 21
	TypeAlterUser                 Type = 22
	TypeDropUser                  Type = 23
	TypeAlterRole                 Type = 24
	TypeDropRole                  Type = 25
	TypeAlterUserRole             Type = 26
	TypeDropUserRole              Type = 27
	TypeAlterPrivilege            Type = 28
	TypeDropPrivilege             Type = 29
	TypeAlterPrivilegeGroup       Type = 30
	TypeDropPrivilegeGroup        Type = 31
	TypeAlterResourceGroup        Type = 32
	TypeDropResourceGroup         Type = 33
	TypeCreateIndex               Type = 34
	TypeAlterIndex                Type = 35
	TypeDropIndex                 Type = 36
	TypeFlushAll                  Type = 37
	TypeTruncateCollection        Type = 38
	TypeRestoreSnapshot           Type = 39
	TypeCreateSnapshot            Type = 40
	TypeDropSnapshot              Type = 41
	TypeBatchUpdateManifest       Type = 42
	TypeRefreshExternalCollection Type = 43
	TypeDropSnapshotsByCollection Type = 44
	TypeCommitImport              Type = 45
	TypeRollbackImport            Type = 46
	TypeAlterWAL                  Type = 700
	TypeAlterReplicateConfig      Type = 800
	TypeBeginTxn                  Type = 900
	TypeCommitTxn                 Type = 901
	TypeRollbackTxn               Type = 902
	TypeTxn                       Type = 999 // consumer-side only, never on the wire
)

// TypeFlags are what the WAL, its readers and its writers hold of a type.
type TypeFlags uint16

// The flags of a type.
const (
	// System types carry the WAL's own bookkeeping.
	System TypeFlags = 1 << iota
	// SelfControlled types come from the streaming node itself and are never replicated.
	SelfControlled
	// Exclusive types lock their scope.
	Exclusive
	// Exclusive30 is Exclusive from 3.0 on.
	Exclusive30
	// Cipher types may carry an encrypted payload.
	Cipher
	// FlusherWaits: a live flusher tries such a message again and again, and reads
	// nothing after it, until something outside the log lets it; no restart helps.
	FlusherWaits
	// Credentials types have a header that can hold tokens, passwords or keys.
	Credentials
	// Broadcast types are broadcast by every writer since 2.6.5.
	Broadcast
	// TxnBound types begin or end a transaction and need its context.
	TxnBound
	// OfRows types stand on the vchannel of a collection only, never on a control
	// channel or for a whole pchannel.
	OfRows
	// InColumns: all a replay needs of the header lies in the decoded fields of a
	// Message, so neither header nor body has to be kept.
	InColumns
	// PayloadAside: no replay ever reads the payload, which may be large.
	PayloadAside
	// HeaderForced: recovery panics over a header it cannot decode, even where the
	// type changes nothing.
	HeaderForced
)

// Scope is where messages of a type stand.
type Scope uint8

// The scopes.
const (
	ScopeVChannel Scope = iota + 1 // on the vchannel of a collection; a copy of a broadcast may stand on the control channel
	ScopePChannel                  // for the whole pchannel
	ScopeControl                   // on the control channel: a statement of the whole cluster
	ScopeMemory                    // never in a log
)

// String names the scope.
func (s Scope) String() string {
	return word(uint8(s), "", "vchannel", "pchannel", "control channel", "memory")
}

// Release is the line of Milvus that began to write a type.
type Release uint8

// The releases.
const (
	Since26 Release = iota + 1
	Since30
)

// String names the release.
func (r Release) String() string { return word(uint8(r), "", "2.6", "3.0") }

// Seals says which growing segments a type ends.
type Seals uint8

// What a type seals.
const (
	SealsNone       Seals = iota
	SealsOwn              // the segment of its header
	SealsListed           // those its header lists, put there by the WAL
	SealsPartition        // those of its partition
	SealsCollection       // those of its collection
	SealsAll              // every one of the pchannel
)

// String says what is sealed.
func (s Seals) String() string {
	return word(uint8(s), "", "its own", "those listed", "of its partition", "of its collection", "all")
}

// Loses says what is missing where a message of the type is passed over.
type Loses uint8

// What a message that is passed over loses.
const (
	LosesNothing Loses = iota + 1
	LosesRows
	LosesDeletes
	LosesTxn        // a whole transaction
	LosesDefinition // a collection, a partition, a schema, a statement
)

// String says what is lost.
func (l Loses) String() string {
	return word(uint8(l), "", "", "rows", "deletes", "transaction", "definition")
}

// Use is what recovery, a flusher or salvage makes of a type.
type Use uint8

// A type is handled, or there is a reason why not.
const (
	Handled      Use = iota + 1
	OnlyAdvances     // it moves a checkpoint or a clock on, and changes nothing else
	NothingKept      // nothing of what it says is kept there
	Unpacked         // the scanner has put transactions together: their bodies come
	NoPipeline       // it stands on the control channel, which no flusher's pipeline gets
	Panics26         // a flusher of 2.6 panics over it; a later one keeps nothing of it
)

// String says what is made of the type, or why nothing.
func (u Use) String() string {
	return word(uint8(u), "", "handled", "only advances", "nothing kept", "unpacked", "no pipeline", "stops 2.6")
}

// word picks a value's name, "" where it has none.
func word(i uint8, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return ""
}

// typeInfo is a row. header and body are nil pointers: they stand for the protobuf
// type, not for a message.
type typeInfo struct {
	name    string
	version int8
	scope   Scope
	since   Release
	seals   Seals
	loses   Loses
	flags   TypeFlags

	recovery, flusher, salvage Use

	listed       protowire.Number // of the header's field that lists segments, with SealsListed
	legacy       commonpb.MsgType // what it was called before the streaming service, where Milvus adapts it
	header, body proto.Message
	ids          ids
}

// ids are the field numbers of collection_id, partition_id and segment_id in a
// header, 0 where it has none. They are read without building the header.
type ids [3]protowire.Number

// typeTable is read only; a type's row stands at its number.
var typeTable = [...]typeInfo{
	TypeTimeTick: {
		name: "TimeTick", version: 1, scope: ScopePChannel, since: Since26, legacy: commonpb.MsgType_TimeTick,
		flags: System | SelfControlled | InColumns | PayloadAside,
		loses: LosesNothing, recovery: OnlyAdvances, flusher: OnlyAdvances, salvage: OnlyAdvances,
		header: (*messagespb.TimeTickMessageHeader)(nil), body: (*msgpb.TimeTickMsg)(nil),
	},
	TypeInsert: {
		name: "Insert", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_Insert,
		flags: Cipher | OfRows | InColumns | PayloadAside | HeaderForced,
		loses: LosesRows, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.InsertMessageHeader)(nil), body: (*msgpb.InsertRequest)(nil), ids: ids{1, 0, 0},
	},
	TypeDelete: {
		name: "Delete", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_Delete,
		flags: Cipher | OfRows | InColumns | PayloadAside | HeaderForced,
		loses: LosesDeletes, recovery: OnlyAdvances, flusher: Handled, salvage: Handled,
		header: (*messagespb.DeleteMessageHeader)(nil), body: (*msgpb.DeleteRequest)(nil), ids: ids{1, 0, 0},
	},
	TypeFlush: {
		name: "Flush", version: 2, scope: ScopeVChannel, since: Since26,
		flags: SelfControlled | OfRows | InColumns | HeaderForced,
		seals: SealsOwn, loses: LosesNothing, recovery: Handled, flusher: Handled, salvage: NothingKept,
		header: (*messagespb.FlushMessageHeader)(nil), body: (*messagespb.FlushMessageBody)(nil), ids: ids{1, 2, 3},
	},
	TypeCreateCollection: {
		name: "CreateCollection", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_CreateCollection,
		flags: Exclusive | Broadcast,
		loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.CreateCollectionMessageHeader)(nil), body: (*msgpb.CreateCollectionRequest)(nil), ids: ids{1, 0, 0},
	},
	TypeDropCollection: {
		name: "DropCollection", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_DropCollection,
		flags: Exclusive | Broadcast,
		seals: SealsCollection, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.DropCollectionMessageHeader)(nil), body: (*msgpb.DropCollectionRequest)(nil), ids: ids{1, 0, 0},
	},
	TypeCreatePartition: {
		name: "CreatePartition", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_CreatePartition,
		flags: Exclusive | Broadcast,
		loses: LosesDefinition, recovery: Handled, flusher: NothingKept, salvage: Handled,
		header: (*messagespb.CreatePartitionMessageHeader)(nil), body: (*msgpb.CreatePartitionRequest)(nil), ids: ids{1, 2, 0},
	},
	TypeDropPartition: {
		name: "DropPartition", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_DropPartition,
		flags: Exclusive | Broadcast,
		seals: SealsPartition, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.DropPartitionMessageHeader)(nil), body: (*msgpb.DropPartitionRequest)(nil), ids: ids{1, 2, 0},
	},
	TypeManualFlush: {
		name: "ManualFlush", version: 2, scope: ScopeVChannel, since: Since26,
		flags: Exclusive,
		seals: SealsListed, listed: 3, loses: LosesNothing, recovery: Handled, flusher: Handled, salvage: NothingKept,
		header: (*messagespb.ManualFlushMessageHeader)(nil), body: (*messagespb.ManualFlushMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeCreateSegment: {
		name: "CreateSegment", version: 2, scope: ScopeVChannel, since: Since26,
		flags: SelfControlled | OfRows | HeaderForced,
		loses: LosesNothing, recovery: Handled, flusher: Handled, salvage: NothingKept,
		header: (*messagespb.CreateSegmentMessageHeader)(nil), body: (*messagespb.CreateSegmentMessageBody)(nil), ids: ids{1, 2, 3},
	},
	TypeImport: {
		name: "Import", version: 1, scope: ScopeVChannel, since: Since26, legacy: commonpb.MsgType_Import,
		flags: HeaderForced,
		loses: LosesNothing, recovery: OnlyAdvances, flusher: NothingKept, salvage: NothingKept,
		header: (*messagespb.ImportMessageHeader)(nil), body: (*msgpb.ImportMsg)(nil),
	},
	TypeSchemaChange: {
		name: "SchemaChange", version: 2, scope: ScopeVChannel, since: Since26,
		flags: Exclusive | Broadcast,
		seals: SealsListed, listed: 2, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.SchemaChangeMessageHeader)(nil), body: (*messagespb.SchemaChangeMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeAlterCollection: {
		name: "AlterCollection", version: 2, scope: ScopeVChannel, since: Since26,
		flags: Exclusive | Broadcast,
		seals: SealsListed, listed: 5, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.AlterCollectionMessageHeader)(nil), body: (*messagespb.AlterCollectionMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeAlterLoadConfig: {
		name: "AlterLoadConfig", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterLoadConfigMessageHeader)(nil), body: (*messagespb.AlterLoadConfigMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeDropLoadConfig: {
		name: "DropLoadConfig", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropLoadConfigMessageHeader)(nil), body: (*messagespb.DropLoadConfigMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeCreateDatabase: {
		name: "CreateDatabase", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.CreateDatabaseMessageHeader)(nil), body: (*messagespb.CreateDatabaseMessageBody)(nil),
	},
	TypeAlterDatabase: {
		name: "AlterDatabase", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterDatabaseMessageHeader)(nil), body: (*messagespb.AlterDatabaseMessageBody)(nil),
	},
	TypeDropDatabase: {
		name: "DropDatabase", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropDatabaseMessageHeader)(nil), body: (*messagespb.DropDatabaseMessageBody)(nil),
	},
	TypeAlterAlias: {
		name: "AlterAlias", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterAliasMessageHeader)(nil), body: (*messagespb.AlterAliasMessageBody)(nil), ids: ids{3, 0, 0},
	},
	TypeDropAlias: {
		name: "DropAlias", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropAliasMessageHeader)(nil), body: (*messagespb.DropAliasMessageBody)(nil),
	},
	TypeRestoreRBAC: {
		name: "RestoreRBAC", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.RestoreRBACMessageHeader)(nil), body: (*messagespb.RestoreRBACMessageBody)(nil),
	},
	TypeAlterUser: {
		name: "AlterUser", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterUserMessageHeader)(nil), body: (*messagespb.AlterUserMessageBody)(nil),
	},
	TypeDropUser: {
		name: "DropUser", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropUserMessageHeader)(nil), body: (*messagespb.DropUserMessageBody)(nil),
	},
	TypeAlterRole: {
		name: "AlterRole", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterRoleMessageHeader)(nil), body: (*messagespb.AlterRoleMessageBody)(nil),
	},
	TypeDropRole: {
		name: "DropRole", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropRoleMessageHeader)(nil), body: (*messagespb.DropRoleMessageBody)(nil),
	},
	TypeAlterUserRole: {
		name: "AlterUserRole", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterUserRoleMessageHeader)(nil), body: (*messagespb.AlterUserRoleMessageBody)(nil),
	},
	TypeDropUserRole: {
		name: "DropUserRole", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropUserRoleMessageHeader)(nil), body: (*messagespb.DropUserRoleMessageBody)(nil),
	},
	TypeAlterPrivilege: {
		name: "AlterPrivilege", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterPrivilegeMessageHeader)(nil), body: (*messagespb.AlterPrivilegeMessageBody)(nil),
	},
	TypeDropPrivilege: {
		name: "DropPrivilege", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropPrivilegeMessageHeader)(nil), body: (*messagespb.DropPrivilegeMessageBody)(nil),
	},
	TypeAlterPrivilegeGroup: {
		name: "AlterPrivilegeGroup", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterPrivilegeGroupMessageHeader)(nil), body: (*messagespb.AlterPrivilegeGroupMessageBody)(nil),
	},
	TypeDropPrivilegeGroup: {
		name: "DropPrivilegeGroup", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropPrivilegeGroupMessageHeader)(nil), body: (*messagespb.DropPrivilegeGroupMessageBody)(nil),
	},
	TypeAlterResourceGroup: {
		name: "AlterResourceGroup", version: 2, scope: ScopeControl, since: Since26,
		flags: Credentials | Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterResourceGroupMessageHeader)(nil), body: (*messagespb.AlterResourceGroupMessageBody)(nil),
	},
	TypeDropResourceGroup: {
		name: "DropResourceGroup", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropResourceGroupMessageHeader)(nil), body: (*messagespb.DropResourceGroupMessageBody)(nil),
	},
	TypeCreateIndex: {
		name: "CreateIndex", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.CreateIndexMessageHeader)(nil), body: (*messagespb.CreateIndexMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeAlterIndex: {
		name: "AlterIndex", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.AlterIndexMessageHeader)(nil), body: (*messagespb.AlterIndexMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeDropIndex: {
		name: "DropIndex", version: 2, scope: ScopeControl, since: Since26,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropIndexMessageHeader)(nil), body: (*messagespb.DropIndexMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeFlushAll: {
		name: "FlushAll", version: 2, scope: ScopePChannel, since: Since26,
		flags: Exclusive | Broadcast,
		seals: SealsAll, loses: LosesNothing, recovery: Handled, flusher: Handled, salvage: NothingKept,
		header: (*messagespb.FlushAllMessageHeader)(nil), body: (*messagespb.FlushAllMessageBody)(nil),
	},
	TypeTruncateCollection: {
		name: "TruncateCollection", version: 2, scope: ScopeVChannel, since: Since26,
		flags: Exclusive30 | Broadcast,
		seals: SealsListed, listed: 3, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: Handled,
		header: (*messagespb.TruncateCollectionMessageHeader)(nil), body: (*messagespb.TruncateCollectionMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeRestoreSnapshot: {
		name: "RestoreSnapshot", version: 2, scope: ScopeControl, since: Since30,
		flags: Credentials | Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.RestoreSnapshotMessageHeader)(nil), body: (*messagespb.RestoreSnapshotMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeCreateSnapshot: {
		name: "CreateSnapshot", version: 2, scope: ScopeControl, since: Since30,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.CreateSnapshotMessageHeader)(nil), body: (*messagespb.CreateSnapshotMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeDropSnapshot: {
		name: "DropSnapshot", version: 2, scope: ScopeControl, since: Since30,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropSnapshotMessageHeader)(nil), body: (*messagespb.DropSnapshotMessageBody)(nil), ids: ids{2, 0, 0},
	},
	TypeBatchUpdateManifest: {
		name: "BatchUpdateManifest", version: 2, scope: ScopeControl, since: Since30,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.BatchUpdateManifestMessageHeader)(nil), body: (*messagespb.BatchUpdateManifestMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeRefreshExternalCollection: {
		name: "RefreshExternalCollection", version: 2, scope: ScopeControl, since: Since30,
		flags: Credentials | Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.RefreshExternalCollectionMessageHeader)(nil), body: (*messagespb.RefreshExternalCollectionMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeDropSnapshotsByCollection: {
		name: "DropSnapshotsByCollection", version: 2, scope: ScopeControl, since: Since30,
		flags: Broadcast,
		loses: LosesDefinition, recovery: OnlyAdvances, flusher: NoPipeline, salvage: NothingKept,
		header: (*messagespb.DropSnapshotsByCollectionMessageHeader)(nil), body: (*messagespb.DropSnapshotsByCollectionMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeCommitImport: {
		name: "CommitImport", version: 2, scope: ScopeVChannel, since: Since30,
		flags: Exclusive30 | FlusherWaits | Broadcast,
		loses: LosesNothing, recovery: Handled, flusher: Panics26, salvage: NothingKept,
		header: (*messagespb.CommitImportMessageHeader)(nil), body: (*messagespb.CommitImportMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeRollbackImport: {
		name: "RollbackImport", version: 2, scope: ScopeVChannel, since: Since30,
		flags: Exclusive30 | Broadcast,
		loses: LosesNothing, recovery: Handled, flusher: Panics26, salvage: NothingKept,
		header: (*messagespb.RollbackImportMessageHeader)(nil), body: (*messagespb.RollbackImportMessageBody)(nil), ids: ids{1, 0, 0},
	},
	TypeAlterWAL: {
		name: "AlterWAL", version: 2, scope: ScopePChannel, since: Since26,
		flags: Exclusive | Credentials | Broadcast,
		seals: SealsAll, loses: LosesDefinition, recovery: Handled, flusher: Handled, salvage: NothingKept,
		header: (*messagespb.AlterWALMessageHeader)(nil), body: (*messagespb.AlterWALMessageBody)(nil),
	},
	TypeAlterReplicateConfig: {
		name: "AlterReplicateConfig", version: 2, scope: ScopePChannel, since: Since26,
		flags: Exclusive | Credentials | Broadcast,
		loses: LosesDefinition, recovery: Handled, flusher: NothingKept, salvage: NothingKept,
		header: (*messagespb.AlterReplicateConfigMessageHeader)(nil), body: (*messagespb.AlterReplicateConfigMessageBody)(nil),
	},
	TypeBeginTxn: {
		name: "BeginTxn", version: 2, scope: ScopeVChannel, since: Since26,
		flags: System | TxnBound | OfRows | InColumns | HeaderForced,
		loses: LosesNothing, recovery: Unpacked, flusher: Unpacked, salvage: Unpacked,
		header: (*messagespb.BeginTxnMessageHeader)(nil), body: (*messagespb.BeginTxnMessageBody)(nil),
	},
	TypeCommitTxn: {
		name: "CommitTxn", version: 2, scope: ScopeVChannel, since: Since26,
		flags: System | TxnBound | OfRows | InColumns | HeaderForced,
		loses: LosesTxn, recovery: Unpacked, flusher: Unpacked, salvage: Handled,
		header: (*messagespb.CommitTxnMessageHeader)(nil), body: (*messagespb.CommitTxnMessageBody)(nil),
	},
	TypeRollbackTxn: {
		name: "RollbackTxn", version: 2, scope: ScopeVChannel, since: Since26,
		flags: System | TxnBound | OfRows | InColumns | HeaderForced,
		loses: LosesNothing, recovery: Unpacked, flusher: Unpacked, salvage: Handled,
		header: (*messagespb.RollbackTxnMessageHeader)(nil), body: (*messagespb.RollbackTxnMessageBody)(nil),
	},
	TypeTxn: {
		name: "Txn", version: 2, scope: ScopeMemory, since: Since26,
		flags: System,
		loses: LosesTxn, recovery: Handled, flusher: Unpacked, salvage: Unpacked,
		header: (*messagespb.TxnMessageHeader)(nil), body: (*messagespb.TxnMessageBody)(nil),
	},
}

// info returns a type's row, nil for types that neither 2.6 nor 3.0 define.
func (t Type) info() *typeInfo {
	if int(t) < len(typeTable) && typeTable[t].version != 0 {
		return &typeTable[t]
	}
	return nil
}

// row is info with an empty row for unknown types.
func (t Type) row() *typeInfo {
	if int(t) < len(typeTable) {
		return &typeTable[t]
	}
	return &typeTable[TypeUnknown]
}

// Known reports whether 2.6 or 3.0 define the type.
func (t Type) Known() bool { return t.info() != nil }

// Flags returns what holds of the type; unknown types have none.
func (t Type) Flags() TypeFlags { return t.row().flags }

// Is reports whether all flags are set for the type.
func (t Type) Is(f TypeFlags) bool { return t.row().flags&f == f }

// Version returns the version messages of the type are written with; 0 = unknown type.
func (t Type) Version() int8 { return t.row().version }

// Scope returns where messages of the type stand.
func (t Type) Scope() Scope { return t.row().scope }

// Since returns the line of Milvus that began to write the type.
func (t Type) Since() Release { return t.row().since }

// Seals returns which growing segments the type ends.
func (t Type) Seals() Seals { return t.row().seals }

// Loses returns what is missing where a message of the type is passed over; 0 for
// unknown types.
func (t Type) Loses() Loses { return t.row().loses }

// Recovery returns what a replay makes of the type; 0 for unknown types.
func (t Type) Recovery() Use { return t.row().recovery }

// Flusher returns what a flusher makes of the type; 0 for unknown types, over which
// every flusher panics.
func (t Type) Flusher() Use { return t.row().flusher }

// Salvage returns what salvage makes of the type; 0 for unknown types.
func (t Type) Salvage() Use { return t.row().salvage }

// Hot reports whether all a replay needs of the type's header lies in the
// decoded fields of Message, so that neither header nor body has to be kept.
func (t Type) Hot() bool { return t.row().flags&InColumns != 0 }

// PayloadRead reports whether a replay may read the payload: of all but Insert,
// Delete and TimeTick, unknown types among them.
func (t Type) PayloadRead() bool { return t.row().flags&PayloadAside == 0 }

// String returns the type's name, or Unknown(n).
func (t Type) String() string {
	if i := t.info(); i != nil {
		return i.name
	}
	return "Unknown(" + strconv.Itoa(int(t)) + ")"
}

// Types lists every known type in numeric order.
func Types() []Type {
	var out []Type
	for t := range Type(len(typeTable)) {
		if t.Known() {
			out = append(out, t)
		}
	}
	return out
}

// legacyTypeOf returns the type that messages of an older name are adapted to.
func legacyTypeOf(old commonpb.MsgType) (Type, bool) {
	for t := TypeTimeTick; t <= TypeImport; t++ {
		if l := typeTable[t].legacy; l != 0 && l == old {
			return t, true
		}
	}
	return TypeUnknown, false
}
