package plan

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// foreign are keys that no repair of pchannel has a part in.
func foreign() []string {
	return []string{
		"session/mixcoord", "session/id", "session/streamingnode-7",
		"walctl/active", "walctl/journal/x", "walctl/record/x/000000",
		"root-coord/credential/users/root", "root-coord/collection/1/2", "datacoord-meta/s/1/2/3",
		"streamingcoord-meta/replicate-configuration", "streamingcoord-meta/replicating-pchannel/c-p", "streamingcoord-meta/broadcast-task/1",
		catalog.PChannelKey(pchannel),
		catalog.CheckpointKey("by-dev-rootcoord-dml_other"), catalog.SegmentKey("by-dev-rootcoord-dml_other", 1),
		catalog.ChannelCheckpointKey("by-dev-rootcoord-dml_other_1v0"), catalog.VChannelKey("by-dev-rootcoord-dml_other", pchannel+"_1v0"),
		"streamingnode-meta/wal/", "streamingnode-meta/wal/" + pchannel, "streamingnode-meta/wal//consume-checkpoint",
		"", "/", "../" + catalog.CheckpointKey(pchannel), catalog.CheckpointKey(pchannel) + "\xff",
	}
}

func TestWhatARepairMayTouch(t *testing.T) {
	own := map[Kind][]string{
		KindMovePosition: {catalog.CheckpointKey(pchannel), catalog.ChannelCheckpointKey(pchannel + "_1v0")},
		KindRegister:     {catalog.VChannelKey(pchannel, pchannel+"_1v0"), catalog.SchemaKey(pchannel, pchannel+"_1v0", 7), catalog.SegmentKey(pchannel, 1)},
		KindReplayed:     {catalog.CheckpointKey(pchannel), catalog.SalvageKey(pchannel, "src"), catalog.VChannelKey(pchannel, pchannel+"_1v0"), catalog.SegmentKey(pchannel, 1)},
	}
	own[KindRebuild], own[KindAlterWAL] = own[KindReplayed], own[KindMovePosition]
	own[KindUnregister], own[KindRemoveOrphans] = own[KindRegister], own[KindRegister]
	own[KindTrailingSlash] = []string{catalog.ControlChannelKey, catalog.StreamingVersionKey + "/"}
	own[KindImport] = append(slices.Clone(own[KindReplayed]), catalog.WALPrefix(pchannel)+"of-a-later-milvus")
	all := map[string]bool{}
	for _, keys := range own {
		for _, key := range keys {
			all[key] = true
		}
	}
	for _, k := range append(Kinds(), "", "anything") {
		for key := range all {
			mine := slices.Contains(own[k], key)
			if !mine && slices.Contains(k.keys(), catalog.ParseKey(key).Kind) {
				continue // another key of a kind that is in own
			}
			require.Equal(t, mine, k.outside(pchannel, key) == "", "%s %s", k, key)
		}
		for _, key := range foreign() {
			if k == KindUnregister && key == catalog.VChannelKey("by-dev-rootcoord-dml_other", pchannel+"_1v0") {
				continue // it lies on ours: taken from where it does not belong
			}
			require.NotEmpty(t, k.outside(pchannel, key), "%s %s", k, key)
		}
		require.NotEmpty(t, k.outside("", catalog.CheckpointKey("")), "%s", k)
	}
}

// A registration moves between two pchannels, and only towards the one it lies on.
func TestMovedRegistrationsTouchTwo(t *testing.T) {
	const other = "by-dev-rootcoord-dml_9"
	v := pchannel + "_1v0"
	seg := enc(t, &streamingpb.SegmentAssignmentMeta{SegmentId: 1, Vchannel: v})
	require.Empty(t, KindUnregister.outside(pchannel, catalog.VChannelKey(other, v)))
	require.Empty(t, KindUnregister.outside(pchannel, catalog.SegmentKey(other, 1), seg, nil))
	require.Empty(t, KindRegister.outside(other, catalog.SegmentKey(pchannel, 1), nil, seg))
	require.Empty(t, KindRegister.outside(other, catalog.SchemaKey(pchannel, v, 3)))

	require.NotEmpty(t, KindRegister.outside(pchannel, catalog.VChannelKey(other, v)))
	require.NotEmpty(t, KindUnregister.outside(pchannel, catalog.VChannelKey(other, other+"_1v0")))
	require.NotEmpty(t, KindUnregister.outside(pchannel, catalog.SegmentKey(other, 1), []byte("\xff"), nil))
	require.NotEmpty(t, KindReplayed.outside(pchannel, catalog.VChannelKey(other, v)))
}

// A plan whose digest is right is no more a permission than one whose is wrong.
func TestForeignKeysAreRefused(t *testing.T) {
	before, after := scenario(t, 8)
	for _, key := range foreign() {
		for _, kind := range []Kind{KindReplayed, KindImport, KindMovePosition, KindTrailingSlash} {
			_, err := Build(input(t, nil, Edit{Key: key, New: []byte("x"), Kind: kind}))
			require.ErrorContains(t, requireRefused(t, err, CodeForeignKey), "nothing was written")
		}
		c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
		seed(t, c, before)
		p := *build(t, c, after, nil)
		p.Changes = append(slices.Clone(p.Changes), Change{Key: key, New: []byte("x"), Kind: KindReplayed, Reason: "x"})
		require.NoError(t, p.seal())
		was := content(t, c)
		_, err := Apply(t.Context(), &p, c, quiet, yes())
		requireRefused(t, err, CodeForeignKey)
		o := yes()
		o.IKnowItIsStopped = true
		_, err = Apply(t.Context(), &p, c, nil, o)
		requireRefused(t, err, CodeForeignKey)
		require.Equal(t, was, content(t, c))
	}
}

func TestAKeyIsChangedOnce(t *testing.T) {
	before, after := scenario(t, 8)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	p := *build(t, c, after, nil)
	p.Changes = append(slices.Clone(p.Changes), p.Changes[0])
	require.NoError(t, p.seal())
	_, err := Apply(t.Context(), &p, c, quiet, yes())
	require.ErrorContains(t, requireRefused(t, err, CodeForeignKey), "twice")
}

// The journal lies where anybody with access to the catalog can write.
func TestUndoPutsNoForeignKeyBack(t *testing.T) {
	before, after := scenario(t, 8)
	for _, key := range []string{"session/mixcoord", "root-coord/credential/users/root", "walctl/journal/y", catalog.CheckpointKey("by-dev-rootcoord-dml_other")} {
		c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
		seed(t, c, before)
		p := build(t, c, after, nil)
		_, err := Apply(t.Context(), p, c, quiet, yes())
		require.NoError(t, err)
		kv, err := get(t.Context(), c, recordKey(p.ID, 0))
		require.NoError(t, err)
		var rec record
		require.NoError(t, json.Unmarshal(kv.Value, &rec))
		rec.Entries[0] = recordEntry{Key: key, Old: []byte("planted")}
		value, err := json.Marshal(rec)
		require.NoError(t, err)
		seed(t, c, map[string][]byte{kv.Key: value})
		was := content(t, c)
		_, err = Undo(t.Context(), p.ID, c, quiet, yes())
		requireRefused(t, err, CodeForeignKey)
		require.Equal(t, was, content(t, c))
	}
}

// What undo says it will write is what it writes.
func TestUndoChanges(t *testing.T) {
	before, after := scenario(t, 60)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	p := build(t, c, after, nil)
	_, err := Apply(t.Context(), p, c, quiet, yes())
	require.NoError(t, err)
	j, err := Find(t.Context(), c, Latest)
	require.NoError(t, err)
	changes, err := UndoChanges(t.Context(), j, c)
	require.NoError(t, err)
	require.Len(t, changes, len(p.Changes))
	told := written(content(t, c), changes)
	_, err = Undo(t.Context(), Latest, c, quiet, yes())
	require.NoError(t, err)
	require.Equal(t, content(t, c), told)
}

// A file that can be read in two ways is not read at all.
func TestOnlyWalctlsOwnBytes(t *testing.T) {
	before, after := scenario(t, 8)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	b, err := Encode(build(t, c, after, nil))
	require.NoError(t, err)
	_, err = Parse(b)
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, b))
	first := string(b[:bytes.IndexByte(b, ',')+1])
	for name, other := range map[string]string{
		"a field twice":         strings.Replace(string(b), first, first+first[1:], 1),
		"a field twice, last":   strings.Replace(string(b), "\n}\n", ",\n \"applicable\": true\n}\n", 1),
		"another spelling":      strings.Replace(string(b), `"pchannel"`, `"PChannel"`, 1),
		"an escape":             strings.Replace(string(b), `"pchannel": "b`, `"pchannel": "\u0062`, 1),
		"trailing data":         string(b) + "{}\n",
		"a trailing blank line": string(b) + "\n",
		"no last newline":       strings.TrimSuffix(string(b), "\n"),
		"compact":               compact.String(),
		"a byte order mark":     "\ufeff" + string(b),
		"CRLF":                  strings.ReplaceAll(string(b), "\n", "\r\n"),
		"a null":                strings.Replace(string(b), "\n}\n", ",\n \"notes\": null\n}\n", 1),
		"an empty list":         strings.Replace(string(b), "\n}\n", ",\n \"notes\": []\n}\n", 1),
	} {
		require.NotEqual(t, string(b), other, name)
		_, err := Parse([]byte(other))
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err = Parse(compact.Bytes())
	require.ErrorContains(t, err, "edited by hand or by another tool; make the plan again")
}

// What JSON cannot keep is replaced before the plan is sealed.
func TestPlanOfBytesThatAreNoText(t *testing.T) {
	in := input(t, nil)
	in.Notes = []string{"a cause with \xff in it"}
	in.Binding.Log.Location = "/logs/\xfe"
	b, err := Encode(must(t, in))
	require.NoError(t, err)
	_, err = Parse(b)
	require.NoError(t, err)
}
