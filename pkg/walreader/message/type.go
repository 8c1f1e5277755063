package message

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

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

// TypeFlags say how the WAL treats a type.
type TypeFlags uint8

// System types carry the WAL's own bookkeeping, self-controlled ones come from
// the streaming node itself (never replicated), exclusive ones lock their scope,
// cipher ones may carry an encrypted payload. Exclusive30 is exclusive from 3.0 on.
// FlusherWaits: a live flusher tries such a message again and again, and reads
// nothing behind it, until something outside the log lets it; no restart helps.
// Credentials types have a header that can hold tokens, passwords or keys.
const (
	System TypeFlags = 1 << iota
	SelfControlled
	Exclusive
	Exclusive30
	Cipher
	FlusherWaits
	Credentials
)

// typeInfo is all that differs from type to type. header and body are nil
// pointers: they stand for the protobuf type, not for a message.
type typeInfo struct {
	t            Type
	name         string
	flags        TypeFlags
	version      int8
	header, body proto.Message
	ids          ids
}

// ids are the field numbers of collection_id, partition_id and segment_id in a
// header, 0 where it has none. They are read without building the header.
type ids [3]protowire.Number

// typeTable is read only. Types 1 to 46 stand at their number less one.
var typeTable = [...]typeInfo{
	{TypeTimeTick, "TimeTick", System | SelfControlled, 1, (*messagespb.TimeTickMessageHeader)(nil), (*msgpb.TimeTickMsg)(nil), ids{}},
	{TypeInsert, "Insert", Cipher, 1, (*messagespb.InsertMessageHeader)(nil), (*msgpb.InsertRequest)(nil), ids{1, 0, 0}},
	{TypeDelete, "Delete", Cipher, 1, (*messagespb.DeleteMessageHeader)(nil), (*msgpb.DeleteRequest)(nil), ids{1, 0, 0}},
	{TypeFlush, "Flush", SelfControlled, 2, (*messagespb.FlushMessageHeader)(nil), (*messagespb.FlushMessageBody)(nil), ids{1, 2, 3}},
	{TypeCreateCollection, "CreateCollection", Exclusive, 1, (*messagespb.CreateCollectionMessageHeader)(nil), (*msgpb.CreateCollectionRequest)(nil), ids{1, 0, 0}},
	{TypeDropCollection, "DropCollection", Exclusive, 1, (*messagespb.DropCollectionMessageHeader)(nil), (*msgpb.DropCollectionRequest)(nil), ids{1, 0, 0}},
	{TypeCreatePartition, "CreatePartition", Exclusive, 1, (*messagespb.CreatePartitionMessageHeader)(nil), (*msgpb.CreatePartitionRequest)(nil), ids{1, 2, 0}},
	{TypeDropPartition, "DropPartition", Exclusive, 1, (*messagespb.DropPartitionMessageHeader)(nil), (*msgpb.DropPartitionRequest)(nil), ids{1, 2, 0}},
	{TypeManualFlush, "ManualFlush", Exclusive, 2, (*messagespb.ManualFlushMessageHeader)(nil), (*messagespb.ManualFlushMessageBody)(nil), ids{1, 0, 0}},
	{TypeCreateSegment, "CreateSegment", SelfControlled, 2, (*messagespb.CreateSegmentMessageHeader)(nil), (*messagespb.CreateSegmentMessageBody)(nil), ids{1, 2, 3}},
	{TypeImport, "Import", 0, 1, (*messagespb.ImportMessageHeader)(nil), (*msgpb.ImportMsg)(nil), ids{}},
	{TypeSchemaChange, "SchemaChange", Exclusive, 2, (*messagespb.SchemaChangeMessageHeader)(nil), (*messagespb.SchemaChangeMessageBody)(nil), ids{1, 0, 0}},
	{TypeAlterCollection, "AlterCollection", Exclusive, 2, (*messagespb.AlterCollectionMessageHeader)(nil), (*messagespb.AlterCollectionMessageBody)(nil), ids{2, 0, 0}},
	{TypeAlterLoadConfig, "AlterLoadConfig", 0, 2, (*messagespb.AlterLoadConfigMessageHeader)(nil), (*messagespb.AlterLoadConfigMessageBody)(nil), ids{2, 0, 0}},
	{TypeDropLoadConfig, "DropLoadConfig", 0, 2, (*messagespb.DropLoadConfigMessageHeader)(nil), (*messagespb.DropLoadConfigMessageBody)(nil), ids{2, 0, 0}},
	{TypeCreateDatabase, "CreateDatabase", 0, 2, (*messagespb.CreateDatabaseMessageHeader)(nil), (*messagespb.CreateDatabaseMessageBody)(nil), ids{}},
	{TypeAlterDatabase, "AlterDatabase", 0, 2, (*messagespb.AlterDatabaseMessageHeader)(nil), (*messagespb.AlterDatabaseMessageBody)(nil), ids{}},
	{TypeDropDatabase, "DropDatabase", 0, 2, (*messagespb.DropDatabaseMessageHeader)(nil), (*messagespb.DropDatabaseMessageBody)(nil), ids{}},
	{TypeAlterAlias, "AlterAlias", 0, 2, (*messagespb.AlterAliasMessageHeader)(nil), (*messagespb.AlterAliasMessageBody)(nil), ids{3, 0, 0}},
	{TypeDropAlias, "DropAlias", 0, 2, (*messagespb.DropAliasMessageHeader)(nil), (*messagespb.DropAliasMessageBody)(nil), ids{}},
	{TypeRestoreRBAC, "RestoreRBAC", 0, 2, (*messagespb.RestoreRBACMessageHeader)(nil), (*messagespb.RestoreRBACMessageBody)(nil), ids{}},
	{TypeAlterUser, "AlterUser", 0, 2, (*messagespb.AlterUserMessageHeader)(nil), (*messagespb.AlterUserMessageBody)(nil), ids{}},
	{TypeDropUser, "DropUser", 0, 2, (*messagespb.DropUserMessageHeader)(nil), (*messagespb.DropUserMessageBody)(nil), ids{}},
	{TypeAlterRole, "AlterRole", 0, 2, (*messagespb.AlterRoleMessageHeader)(nil), (*messagespb.AlterRoleMessageBody)(nil), ids{}},
	{TypeDropRole, "DropRole", 0, 2, (*messagespb.DropRoleMessageHeader)(nil), (*messagespb.DropRoleMessageBody)(nil), ids{}},
	{TypeAlterUserRole, "AlterUserRole", 0, 2, (*messagespb.AlterUserRoleMessageHeader)(nil), (*messagespb.AlterUserRoleMessageBody)(nil), ids{}},
	{TypeDropUserRole, "DropUserRole", 0, 2, (*messagespb.DropUserRoleMessageHeader)(nil), (*messagespb.DropUserRoleMessageBody)(nil), ids{}},
	{TypeAlterPrivilege, "AlterPrivilege", 0, 2, (*messagespb.AlterPrivilegeMessageHeader)(nil), (*messagespb.AlterPrivilegeMessageBody)(nil), ids{}},
	{TypeDropPrivilege, "DropPrivilege", 0, 2, (*messagespb.DropPrivilegeMessageHeader)(nil), (*messagespb.DropPrivilegeMessageBody)(nil), ids{}},
	{TypeAlterPrivilegeGroup, "AlterPrivilegeGroup", 0, 2, (*messagespb.AlterPrivilegeGroupMessageHeader)(nil), (*messagespb.AlterPrivilegeGroupMessageBody)(nil), ids{}},
	{TypeDropPrivilegeGroup, "DropPrivilegeGroup", 0, 2, (*messagespb.DropPrivilegeGroupMessageHeader)(nil), (*messagespb.DropPrivilegeGroupMessageBody)(nil), ids{}},
	{TypeAlterResourceGroup, "AlterResourceGroup", Credentials, 2, (*messagespb.AlterResourceGroupMessageHeader)(nil), (*messagespb.AlterResourceGroupMessageBody)(nil), ids{}},
	{TypeDropResourceGroup, "DropResourceGroup", 0, 2, (*messagespb.DropResourceGroupMessageHeader)(nil), (*messagespb.DropResourceGroupMessageBody)(nil), ids{}},
	{TypeCreateIndex, "CreateIndex", 0, 2, (*messagespb.CreateIndexMessageHeader)(nil), (*messagespb.CreateIndexMessageBody)(nil), ids{2, 0, 0}},
	{TypeAlterIndex, "AlterIndex", 0, 2, (*messagespb.AlterIndexMessageHeader)(nil), (*messagespb.AlterIndexMessageBody)(nil), ids{1, 0, 0}},
	{TypeDropIndex, "DropIndex", 0, 2, (*messagespb.DropIndexMessageHeader)(nil), (*messagespb.DropIndexMessageBody)(nil), ids{1, 0, 0}},
	{TypeFlushAll, "FlushAll", Exclusive, 2, (*messagespb.FlushAllMessageHeader)(nil), (*messagespb.FlushAllMessageBody)(nil), ids{}},
	{TypeTruncateCollection, "TruncateCollection", Exclusive30, 2, (*messagespb.TruncateCollectionMessageHeader)(nil), (*messagespb.TruncateCollectionMessageBody)(nil), ids{2, 0, 0}},
	{TypeRestoreSnapshot, "RestoreSnapshot", Credentials, 2, (*messagespb.RestoreSnapshotMessageHeader)(nil), (*messagespb.RestoreSnapshotMessageBody)(nil), ids{2, 0, 0}},
	{TypeCreateSnapshot, "CreateSnapshot", 0, 2, (*messagespb.CreateSnapshotMessageHeader)(nil), (*messagespb.CreateSnapshotMessageBody)(nil), ids{1, 0, 0}},
	{TypeDropSnapshot, "DropSnapshot", 0, 2, (*messagespb.DropSnapshotMessageHeader)(nil), (*messagespb.DropSnapshotMessageBody)(nil), ids{2, 0, 0}},
	{TypeBatchUpdateManifest, "BatchUpdateManifest", 0, 2, (*messagespb.BatchUpdateManifestMessageHeader)(nil), (*messagespb.BatchUpdateManifestMessageBody)(nil), ids{1, 0, 0}},
	{TypeRefreshExternalCollection, "RefreshExternalCollection", Credentials, 2, (*messagespb.RefreshExternalCollectionMessageHeader)(nil), (*messagespb.RefreshExternalCollectionMessageBody)(nil), ids{1, 0, 0}},
	{TypeDropSnapshotsByCollection, "DropSnapshotsByCollection", 0, 2, (*messagespb.DropSnapshotsByCollectionMessageHeader)(nil), (*messagespb.DropSnapshotsByCollectionMessageBody)(nil), ids{1, 0, 0}},
	{TypeCommitImport, "CommitImport", Exclusive30 | FlusherWaits, 2, (*messagespb.CommitImportMessageHeader)(nil), (*messagespb.CommitImportMessageBody)(nil), ids{1, 0, 0}},
	{TypeRollbackImport, "RollbackImport", Exclusive30, 2, (*messagespb.RollbackImportMessageHeader)(nil), (*messagespb.RollbackImportMessageBody)(nil), ids{1, 0, 0}},
	{TypeAlterWAL, "AlterWAL", Exclusive | Credentials, 2, (*messagespb.AlterWALMessageHeader)(nil), (*messagespb.AlterWALMessageBody)(nil), ids{}},
	{TypeAlterReplicateConfig, "AlterReplicateConfig", Exclusive | Credentials, 2, (*messagespb.AlterReplicateConfigMessageHeader)(nil), (*messagespb.AlterReplicateConfigMessageBody)(nil), ids{}},
	{TypeBeginTxn, "BeginTxn", System, 2, (*messagespb.BeginTxnMessageHeader)(nil), (*messagespb.BeginTxnMessageBody)(nil), ids{}},
	{TypeCommitTxn, "CommitTxn", System, 2, (*messagespb.CommitTxnMessageHeader)(nil), (*messagespb.CommitTxnMessageBody)(nil), ids{}},
	{TypeRollbackTxn, "RollbackTxn", System, 2, (*messagespb.RollbackTxnMessageHeader)(nil), (*messagespb.RollbackTxnMessageBody)(nil), ids{}},
	{TypeTxn, "Txn", System, 2, (*messagespb.TxnMessageHeader)(nil), (*messagespb.TxnMessageBody)(nil), ids{}},
}

func (t Type) info() *typeInfo {
	if t >= 1 && t <= 46 {
		return &typeTable[t-1]
	}
	for i := 46; i < len(typeTable); i++ {
		if typeTable[i].t == t {
			return &typeTable[i]
		}
	}
	return nil
}

// Known reports whether 2.6 or 3.0 define the type.
func (t Type) Known() bool { return t.info() != nil }

// Flags returns how the WAL treats the type; unknown types have none.
func (t Type) Flags() TypeFlags {
	if i := t.info(); i != nil {
		return i.flags
	}
	return 0
}

// Is reports whether all flags are set for the type.
func (t Type) Is(f TypeFlags) bool { return t.Flags()&f == f }

// String returns the type's name, or Unknown(n).
func (t Type) String() string {
	if i := t.info(); i != nil {
		return i.name
	}
	return "Unknown(" + strconv.Itoa(int(t)) + ")"
}

// Types lists every known type in numeric order.
func Types() []Type {
	out := make([]Type, len(typeTable))
	for i := range typeTable {
		out[i] = typeTable[i].t
	}
	return out
}

// Hot reports whether all a replay needs of the type's header lies in the
// decoded fields of Message, so that neither header nor body has to be kept.
func (t Type) Hot() bool {
	switch t {
	case TypeTimeTick, TypeInsert, TypeDelete, TypeFlush, TypeBeginTxn, TypeCommitTxn, TypeRollbackTxn:
		return true
	}
	return false
}
