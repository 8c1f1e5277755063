package message

import "strconv"

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
const (
	System TypeFlags = 1 << iota
	SelfControlled
	Exclusive
	Exclusive30
	Cipher
)

type typeInfo struct {
	t     Type
	name  string
	flags TypeFlags
}

// typeTable is read only; the arrays below index it.
var typeTable = [...]typeInfo{
	{TypeTimeTick, "TimeTick", System | SelfControlled},
	{TypeInsert, "Insert", Cipher},
	{TypeDelete, "Delete", Cipher},
	{TypeFlush, "Flush", SelfControlled},
	{TypeCreateCollection, "CreateCollection", Exclusive},
	{TypeDropCollection, "DropCollection", Exclusive},
	{TypeCreatePartition, "CreatePartition", Exclusive},
	{TypeDropPartition, "DropPartition", Exclusive},
	{TypeManualFlush, "ManualFlush", Exclusive},
	{TypeCreateSegment, "CreateSegment", SelfControlled},
	{TypeImport, "Import", 0},
	{TypeSchemaChange, "SchemaChange", Exclusive},
	{TypeAlterCollection, "AlterCollection", Exclusive},
	{TypeAlterLoadConfig, "AlterLoadConfig", 0},
	{TypeDropLoadConfig, "DropLoadConfig", 0},
	{TypeCreateDatabase, "CreateDatabase", 0},
	{TypeAlterDatabase, "AlterDatabase", 0},
	{TypeDropDatabase, "DropDatabase", 0},
	{TypeAlterAlias, "AlterAlias", 0},
	{TypeDropAlias, "DropAlias", 0},
	{TypeRestoreRBAC, "RestoreRBAC", 0},
	{TypeAlterUser, "AlterUser", 0},
	{TypeDropUser, "DropUser", 0},
	{TypeAlterRole, "AlterRole", 0},
	{TypeDropRole, "DropRole", 0},
	{TypeAlterUserRole, "AlterUserRole", 0},
	{TypeDropUserRole, "DropUserRole", 0},
	{TypeAlterPrivilege, "AlterPrivilege", 0},
	{TypeDropPrivilege, "DropPrivilege", 0},
	{TypeAlterPrivilegeGroup, "AlterPrivilegeGroup", 0},
	{TypeDropPrivilegeGroup, "DropPrivilegeGroup", 0},
	{TypeAlterResourceGroup, "AlterResourceGroup", 0},
	{TypeDropResourceGroup, "DropResourceGroup", 0},
	{TypeCreateIndex, "CreateIndex", 0},
	{TypeAlterIndex, "AlterIndex", 0},
	{TypeDropIndex, "DropIndex", 0},
	{TypeFlushAll, "FlushAll", Exclusive},
	{TypeTruncateCollection, "TruncateCollection", Exclusive30},
	{TypeRestoreSnapshot, "RestoreSnapshot", 0},
	{TypeCreateSnapshot, "CreateSnapshot", 0},
	{TypeDropSnapshot, "DropSnapshot", 0},
	{TypeBatchUpdateManifest, "BatchUpdateManifest", 0},
	{TypeRefreshExternalCollection, "RefreshExternalCollection", 0},
	{TypeDropSnapshotsByCollection, "DropSnapshotsByCollection", 0},
	{TypeCommitImport, "CommitImport", Exclusive30},
	{TypeRollbackImport, "RollbackImport", Exclusive30},
	{TypeAlterWAL, "AlterWAL", Exclusive},
	{TypeAlterReplicateConfig, "AlterReplicateConfig", Exclusive},
	{TypeBeginTxn, "BeginTxn", System},
	{TypeCommitTxn, "CommitTxn", System},
	{TypeRollbackTxn, "RollbackTxn", System},
	{TypeTxn, "Txn", System},
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
