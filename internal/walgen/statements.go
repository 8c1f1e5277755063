package walgen

import (
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

const sourceCluster = "src"

// sideStatement starts a statement that no data waits for: databases, aliases,
// indexes, load configuration, imports.
func (g *Generator) sideStatement(c *collection) bool {
	id := g.nextID
	g.nextID++
	name := strconv.FormatInt(id, 10)
	switch g.rng.IntN(8) {
	case 0:
		g.broadcast(message.TypeCreateDatabase, 2, nil, &messagespb.CreateDatabaseMessageHeader{DbName: "db" + name, DbId: id}, nil, nil, nil)
	case 1:
		g.broadcast(message.TypeAlterLoadConfig, 2, nil, &messagespb.AlterLoadConfigMessageHeader{DbId: 1, CollectionId: c.id}, nil, nil, nil)
	case 2:
		g.broadcast(message.TypeDropLoadConfig, 2, nil, &messagespb.DropLoadConfigMessageHeader{DbId: 1, CollectionId: c.id}, nil, nil, nil)
	case 3:
		g.broadcast(message.TypeCreateIndex, 2, nil, &messagespb.CreateIndexMessageHeader{DbId: 1, CollectionId: c.id, FieldId: 101, IndexId: id, IndexName: "vec"}, nil, nil, nil)
	case 4:
		g.broadcast(message.TypeDropIndex, 2, nil, &messagespb.DropIndexMessageHeader{CollectionId: c.id, IndexIds: []int64{id}}, nil, nil, nil)
	case 5:
		g.broadcast(message.TypeAlterAlias, 2, nil, &messagespb.AlterAliasMessageHeader{DbId: 1, DbName: "default", CollectionId: c.id, CollectionName: c.name, Alias: "a" + name}, nil, nil, nil)
	case 6:
		g.broadcast(message.TypeDropAlias, 2, nil, &messagespb.DropAliasMessageHeader{DbId: 1, DbName: "default", Alias: "a" + name}, nil, nil, nil)
	default:
		g.importFiles(c, id)
		return true
	}
	return !g.cfg.NoControlChannel
}

func (g *Generator) importFiles(c *collection, job int64) {
	body := &msgpb.ImportMsg{
		Base: base(commonpb.MsgType_Import), DbName: "default", CollectionName: c.name, CollectionID: c.id,
		Files: []*msgpb.ImportFile{{Id: job, Paths: []string{"import/part-0.parquet"}}}, JobID: job,
	}
	for _, p := range c.partitions {
		body.PartitionIDs = append(body.PartitionIDs, p.id)
	}
	g.broadcast(message.TypeImport, 1, c, &messagespb.ImportMessageHeader{}, body, nil, nil)
}

// newStatement starts one of the statements 3.0 brought.
func (g *Generator) newStatement(c *collection) bool {
	job := g.nextID
	g.nextID++
	name := "snap" + strconv.FormatInt(job, 10)
	switch g.rng.IntN(7) {
	case 0:
		g.broadcast(message.TypeCreateSnapshot, 2, nil, &messagespb.CreateSnapshotMessageHeader{CollectionId: c.id, Name: name, CompactionProtectionSeconds: 60}, nil, nil, nil)
	case 1:
		g.broadcast(message.TypeDropSnapshot, 2, nil, &messagespb.DropSnapshotMessageHeader{CollectionId: c.id, Name: name}, nil, nil, nil)
	case 2:
		g.broadcast(message.TypeRestoreSnapshot, 2, nil, &messagespb.RestoreSnapshotMessageHeader{SnapshotName: name, CollectionId: c.id, JobId: job, SourceCollectionId: c.id}, nil, nil, nil)
	case 3:
		g.broadcast(message.TypeBatchUpdateManifest, 2, nil, &messagespb.BatchUpdateManifestMessageHeader{CollectionId: c.id},
			&messagespb.BatchUpdateManifestMessageBody{Items: []*messagespb.BatchUpdateManifestItem{{SegmentId: job}}}, nil, nil)
	case 4:
		g.broadcast(message.TypeRefreshExternalCollection, 2, nil, &messagespb.RefreshExternalCollectionMessageHeader{CollectionId: c.id, CollectionName: c.name, JobId: job, ExternalSource: "s3"}, nil, nil, nil)
	case 5:
		g.broadcast(message.TypeCommitImport, 2, c, &messagespb.CommitImportMessageHeader{CollectionId: c.id, JobId: job}, nil, nil, nil)
		return true
	default:
		g.broadcast(message.TypeRollbackImport, 2, c, &messagespb.RollbackImportMessageHeader{CollectionId: c.id, JobId: job}, nil, nil, nil)
		return true
	}
	return !g.cfg.NoControlChannel
}

// becomeSecondary writes the configuration that makes this cluster the target
// of another: from it on every append of a client is a replica.
func (g *Generator) becomeSecondary() {
	own, _, _ := strings.Cut(g.cfg.PChannel, "-rootcoord")
	src := make([]string, len(g.pchannels))
	for i, p := range g.pchannels {
		src[i] = sourceCluster + strings.TrimPrefix(p, own)
	}
	conf := &commonpb.ReplicateConfiguration{
		Clusters: []*commonpb.MilvusCluster{
			{ClusterId: own, ConnectionParam: &commonpb.ConnectionParam{Uri: "http://localhost:19530"}, Pchannels: g.pchannels},
			{ClusterId: sourceCluster, ConnectionParam: &commonpb.ConnectionParam{Uri: "http://localhost:19531"}, Pchannels: src},
		},
		CrossClusterTopology: []*commonpb.CrossClusterTopology{{SourceClusterId: sourceCluster, TargetClusterId: own}},
	}
	for g.runTasks() { // statements under way end before the switch
	}
	g.drain(nil)
	g.pchannelWide(message.TypeAlterReplicateConfig, &messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: conf}, nil,
		func() { g.replic = true })
	g.runTasks()
	g.drain(nil)
}

// runTasks tries every queued append once; it reports whether any started.
func (g *Generator) runTasks() bool {
	for i := range g.tasks {
		if g.tasks[i]() {
			g.tasks = append(g.tasks[:i], g.tasks[i+1:]...)
			return true
		}
		if len(g.pending) > 0 {
			g.write(0)
			return true
		}
	}
	return false
}

// replicate makes the `_rh` of the next message of the source.
func (g *Generator) replicate(vchannel string) string {
	g.srcTT += 1 + uint64(g.rng.IntN(1<<18))
	g.srcEntry++
	own, _, _ := strings.Cut(g.cfg.PChannel, "-rootcoord")
	at := func(entry int64) *commonpb.MessageID {
		id := message.ID{Backend: message.BackendPulsar, A: 7001, B: entry}
		return &commonpb.MessageID{Id: id.Raw(message.Form{BatchSize: 1}), WALName: commonpb.WALName_Pulsar}
	}
	return b64(marshal(&messagespb.ReplicateHeader{
		ClusterId: sourceCluster, MessageId: at(g.srcEntry), LastConfirmedMessageId: at(g.srcEntry - 1),
		TimeTick: g.srcTT, Vchannel: sourceCluster + strings.TrimPrefix(vchannel, own),
	}))
}

// alterWAL switches the cluster to another WAL: the append fences this one, so
// no TimeTick confirms it until the log is opened once more.
func (g *Generator) alterWAL() {
	done := false
	g.pchannelWide(message.TypeAlterWAL, &messagespb.AlterWALMessageHeader{
		TargetWalName: commonpb.WALName(g.cfg.AlterWAL),
		Config:        map[string]string{"mq.type": strings.ToLower(g.cfg.AlterWAL.String())},
	}, nil, func() { done = true })
	for !done {
		g.tasks = g.tasks[len(g.tasks)-1:] // nothing else comes any more
		g.runTasks()
		g.drain(nil)
	}
	g.tasks = nil
	g.clock += 2_000_000
	g.openTerm()
}
