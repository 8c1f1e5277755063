package message

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var updateDocs = flag.Bool("update", false, "write the table of docs/rules.md anew")

// Every type of Milvus's own enum has its row, and every cell of it is filled in. A
// type that a newer Milvus brings turns this red: CONTRIBUTING.md says what to do.
func TestEveryTypeOfMilvusHasARow(t *testing.T) {
	for n, name := range messagespb.MessageType_name {
		if n == int32(messagespb.MessageType_Unknown) {
			continue
		}
		typ := Type(n)
		require.True(t, typ.Known(), "%d %s has no row in types.go", n, name)
		i := typ.info()
		require.Equal(t, name, typ.String())
		require.Contains(t, []int8{1, 2}, i.version, name)
		require.Equal(t, name+"MessageHeader", string(i.header.ProtoReflect().Descriptor().Name()))
		require.True(t, i.body != nil, name)
		for _, cell := range []string{i.scope.String(), i.since.String(), i.recovery.String(), i.flusher.String(), i.salvage.String()} {
			require.NotEmpty(t, cell, name)
		}
		require.NotZero(t, i.loses, name)
		require.Equal(t, fieldsOfIDs(i), i.ids, "%s: collection_id, partition_id and segment_id of the header", name)
		require.Equal(t, listOf(i), int(i.listed), "%s: the list of segments in the header", name)
		require.Equal(t, i.listed != 0, i.seals == SealsListed, name)
	}
	require.Len(t, Types(), len(messagespb.MessageType_name)-1)
	for _, n := range []int{0, 47, 699, 998, 1000, 65535} {
		require.False(t, Type(n).Known())
		require.Zero(t, Type(n).Flags())
		require.Equal(t, fmt.Sprintf("Unknown(%d)", n), Type(n).String())
	}
}

// fieldsOfIDs finds the numbers of the ids in a header's own description.
func fieldsOfIDs(i *typeInfo) ids {
	var out ids
	for k, name := range []protoreflect.Name{"collection_id", "partition_id", "segment_id"} {
		if f := i.header.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && !f.IsList() {
			out[k] = f.Number()
		}
	}
	return out
}

// listOf finds the field of a header in which the WAL lists what it sealed.
func listOf(i *typeInfo) int {
	for _, name := range []protoreflect.Name{"segment_ids", "flushed_segment_ids"} {
		if f := i.header.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && f.IsList() {
			return int(f.Number())
		}
	}
	return 0
}

// The table of docs/rules.md is the one of types.go: go test . -run Types -update
func TestTypesAreDocumented(t *testing.T) {
	const path, from, to = "../../../docs/rules.md", "<!-- types -->\n", "<!-- /types -->\n"
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(b), from)
	require.True(t, ok)
	old, tail, ok := strings.Cut(rest, to)
	require.True(t, ok)
	if *updateDocs {
		require.NoError(t, os.WriteFile(path, []byte(head+from+docTable()+to+tail), 0o644))
		return
	}
	require.Equal(t, docTable(), old)
}

func docTable() string {
	var b strings.Builder
	b.WriteString("| No. | Type | Version | Since | Stands on | Seals | Lost with it | Recovery | Flusher | Salvage | |\n|--:|---|--:|---|---|---|---|---|---|---|---|\n")
	for _, t := range Types() {
		i := t.info()
		seals := i.seals.String()
		if i.listed != 0 {
			seals += " in field " + strconv.Itoa(int(i.listed))
		}
		var marks []string
		for k, name := range []string{"system", "self-controlled", "exclusive", "exclusive in 3.0", "may be encrypted", "flusher waits", "may hold credentials",
			"broadcast", "bounds a transaction", "of rows", "header in columns", "payload aside", "header by force"} {
			if i.flags&(1<<k) != 0 {
				marks = append(marks, name)
			}
		}
		if i.legacy != 0 {
			marks = append(marks, "adapted from version 0")
		}
		fmt.Fprintf(&b, "| %d | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", t, i.name, i.version, i.since, i.scope, seals, i.loses, i.recovery, i.flusher, i.salvage, strings.Join(marks, ", "))
	}
	return b.String()
}
