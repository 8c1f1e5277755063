package salvage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// fieldsLog is a log written by hand whose collection changes its fields:
//
//	"C pk"                      it is created
//	"A pk extra102:VarChar"     its fields are changed to these
//	"I pk=1 extra102:Int64=7"   a row with these fields
//
// A struct array's fields stand as tags103.label102: in the array tags, of id 103.
func fieldsLog(t *testing.T, script string) source.Source {
	var ms []*message.Message
	d := &message.Decoder{}
	for i, word := range strings.Split(script, ";") {
		f := strings.Fields(word)
		m := caseMessage(t, d, int64(i), f[0][0], uint64(10+i), []int64{1}, 0)
		kind, version, header, body := message.TypeInsert, "1", proto.Message(nil), proto.Message(nil)
		switch f[0] {
		case "C":
			kind = message.TypeCreateCollection
			header, body = caseBody('C', nil)
			body.(*msgpb.CreateCollectionRequest).CollectionSchema = fieldsSchema(t, f[1:])
		case "A":
			kind, version = message.TypeAlterCollection, "2"
			header = &messagespb.AlterCollectionMessageHeader{CollectionId: caseCollection, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schema"}}}
			body = &messagespb.AlterCollectionMessageBody{Updates: &messagespb.AlterCollectionMessageUpdates{Schema: fieldsSchema(t, f[1:])}}
		case "I":
			header, body = caseBody('I', []int64{1})
			body.(*msgpb.InsertRequest).FieldsData = fieldsRow(t, f[1:])
		}
		if body != nil {
			h, err := walgenEncode(header)
			require.NoError(t, err)
			m.Props = message.Properties{{Key: message.KeyVersion, Value: version}, {Key: message.KeyType, Value: fmt.Sprint(int(kind))}, {Key: message.KeyVChannel, Value: caseVChannel},
				{Key: message.KeyTimeTick, Value: base36(uint64(10 + i))}, {Key: message.KeyLastConfirmedSelf}, {Key: message.KeyHeader, Value: h}, {Key: message.KeyTerm, Value: "1"}}
			m.Props.Sort()
			m.Payload, err = proto.Marshal(body)
			require.NoError(t, err)
			again := &message.Message{Ordinal: int64(i), Props: m.Props, Payload: m.Payload}
			again.SetID(message.ID{Backend: message.BackendTest, A: int64(i) + 1}, message.Form{})
			d.Decode(again)
			require.NoError(t, again.Broken())
			m = again
		}
		ms = append(ms, m)
	}
	return walgen.SliceSource("by-dev-rootcoord-dml_0", ms)
}

// fieldOf reads tags103.label102:VarChar=x.
func fieldOf(t *testing.T, word string) (of string, ofID int64, f *schemapb.FieldSchema, value string) {
	word, value, _ = strings.Cut(word, "=")
	word, kind, _ := strings.Cut(word, ":")
	if of, word, _ = strings.Cut(word, "."); word == "" {
		of, word = "", of
	} else {
		at := len(of) - 3
		_, err := fmt.Sscan(of[at:], &ofID)
		require.NoError(t, err)
		of = of[:at]
	}
	f = &schemapb.FieldSchema{FieldID: 100, Name: word, DataType: schemapb.DataType_Int64, IsPrimaryKey: word == "pk"}
	if kind != "" {
		f.DataType, f.Nullable = schemapb.DataType(schemapb.DataType_value[kind]), true
		at := len(word) - 3
		_, err := fmt.Sscan(word[at:], &f.FieldID)
		require.NoError(t, err)
		f.Name = word[:at]
	}
	return of, ofID, f, value
}

func fieldsSchema(t *testing.T, words []string) *schemapb.CollectionSchema {
	s := &schemapb.CollectionSchema{Name: "case"}
	for _, w := range words {
		of, id, f, _ := fieldOf(t, w)
		if of == "" {
			s.Fields = append(s.Fields, f)
			continue
		}
		f.Name, f.DataType, f.ElementType = of+"["+f.Name+"]", schemapb.DataType_Array, f.DataType
		s.StructArrayFields = append(s.StructArrayFields, &schemapb.StructArrayFieldSchema{FieldID: id, Name: of, Fields: []*schemapb.FieldSchema{f}})
	}
	return s
}

func fieldsRow(t *testing.T, words []string) (out []*schemapb.FieldData) {
	for _, w := range words {
		of, _, f, value := fieldOf(t, w)
		scalars := &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: []string{value}}}}
		if f.DataType == schemapb.DataType_Int64 {
			n := int64(0)
			_, err := fmt.Sscan(value, &n)
			require.NoError(t, err)
			scalars = &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: []int64{n}}}}
		}
		d := &schemapb.FieldData{FieldId: f.FieldID, FieldName: f.Name, Type: f.DataType, Field: &schemapb.FieldData_Scalars{Scalars: scalars}}
		if of != "" {
			d.FieldName, d.Type = of+"["+f.Name+"]", schemapb.DataType_Array
			d.Field = &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{
				ArrayData: &schemapb.ArrayArray{Data: []*schemapb.ScalarField{scalars}, ElementType: f.DataType}}}}
		}
		out = append(out, d)
	}
	return out
}

// TestDroppedFields: values are those of a field's id. One that was dropped, and
// one that was added again under its name, keeps what rows hold in it.
func TestDroppedFields(t *testing.T) {
	for _, c := range []struct {
		name, log string
		rows      []string // NDJSON
		columns   []string // Parquet
		types     map[string][2]string
		told      string
	}{
		{"dropped, and a row after it", "C pk extra102:Int64;I pk=1 extra102:Int64=7;A pk;I pk=2;T",
			[]string{`{"pk":1,"extra":7}`, `{"pk":2}`}, []string{"pk=1 extra=7", "pk=2 extra=null"},
			map[string][2]string{"pk": {"Int64"}, "extra": {"Int64"}}, "102 extra as extra, 1 rows"},
		{"dropped, and nothing was in it", "C pk extra102:Int64;A pk;I pk=2;T",
			[]string{`{"pk":2}`}, []string{"pk=2"}, map[string][2]string{"pk": {"Int64"}}, ""},
		{"twice dropped, twice added again",
			"C pk extra102:Int64;I pk=1 extra102:Int64=7;A pk;A pk extra103:Int64;I pk=2 extra103:Int64=8;A pk;A pk extra104:Int64;I pk=3 extra104:Int64=9;T",
			[]string{`{"pk":1,"extra":null,"extra#102":7}`, `{"pk":2,"extra":null,"extra#103":8}`, `{"pk":3,"extra":9}`},
			[]string{"pk=1 extra=null extra#102=7 extra#103=null", "pk=2 extra=null extra#102=null extra#103=8", "pk=3 extra=9 extra#102=null extra#103=null"},
			map[string][2]string{"pk": {"Int64"}, "extra": {"Int64"}, "extra#102": {"Int64"}, "extra#103": {"Int64"}},
			"102 extra as extra#102, 1 rows; 103 extra as extra#103, 1 rows"},
		{"twice dropped", "C pk extra102:Int64;I pk=1 extra102:Int64=7;A pk extra103:Int64;I pk=2 extra103:Int64=8;A pk;T",
			[]string{`{"pk":1,"extra#102":7}`, `{"pk":2,"extra#103":8}`}, []string{"pk=1 extra#102=7 extra#103=null", "pk=2 extra#102=null extra#103=8"},
			map[string][2]string{"pk": {"Int64"}, "extra#102": {"Int64"}, "extra#103": {"Int64"}},
			"102 extra as extra#102, 1 rows; 103 extra as extra#103, 1 rows"},
		{"added again with another type", "C pk extra102:Int64;I pk=1 extra102:Int64=7;A pk;A pk extra103:VarChar;I pk=2 extra103:VarChar=x;T",
			[]string{`{"pk":1,"extra":null,"extra#102":7}`, `{"pk":2,"extra":"x"}`}, []string{"pk=1 extra=null extra#102=7", "pk=2 extra=x extra#102=null"},
			map[string][2]string{"pk": {"Int64"}, "extra": {"VarChar"}, "extra#102": {"Int64"}}, "102 extra as extra#102, 1 rows"},
		{"the log no longer holds the schema that had it", "I pk=1 extra102:VarChar=x;A pk extra103:Int64;I pk=2 extra103:Int64=8;T",
			[]string{`{"pk":1,"extra":null,"extra#102":"x"}`, `{"pk":2,"extra":8}`}, []string{"pk=1 extra=null extra#102=x", "pk=2 extra=8 extra#102=null"},
			map[string][2]string{"pk": {"Int64"}, "extra": {"Int64"}, "extra#102": {"VarChar"}}, "102 extra as extra#102, 1 rows"},
		{"a struct array", "C pk tags101.label102:VarChar;I pk=1 tags101.label102:VarChar=x;A pk tags103.label104:VarChar;I pk=2 tags103.label104:VarChar=y;T",
			[]string{`{"pk":1,"tags":null,"tags#101":[{"label":"x"}]}`, `{"pk":2,"tags":[{"label":"y"}]}`},
			[]string{"pk=1 tags=null tags#101=[map[label:x]]", "pk=2 tags=[map[label:y]] tags#101=null"},
			map[string][2]string{"pk": {"Int64"}, "tags": {"ArrayOfStruct"}, "tags#101": {"ArrayOfStruct"}}, "102 tags[label] as tags#101[label], 1 rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			dir, lines, types := filepath.Join(tmp, "rows"), filepath.Join(tmp, "rows.ndjson"), filepath.Join(tmp, "types.json")
			var out bytes.Buffer
			report, err := salvage.Run(t.Context(), fieldsLog(t, c.log), salvage.NewNDJSON(&out), salvage.Options{})
			require.NoError(t, err)
			require.Empty(t, report.Failures)
			var got []string
			for raw := range strings.Lines(out.String()) {
				_, row, _ := strings.Cut(strings.TrimSuffix(raw, "}\n"), `"row":`)
				got = append(got, row)
			}
			require.Equal(t, c.rows, got)

			d, err := salvage.NewDir(dir, salvage.DirOptions{})
			require.NoError(t, err)
			report, err = salvage.Run(t.Context(), fieldsLog(t, c.log), d, salvage.Options{})
			require.NoError(t, err)
			require.NoError(t, d.Close(report))
			var told []string
			for _, f := range report.Collections[0].FieldsDropped {
				told = append(told, fmt.Sprintf("%d %s as %s, %d rows", f.ID, f.Name, f.As, f.Rows))
			}
			require.Equal(t, c.told, strings.Join(told, "; "))
			require.Len(t, report.Notes, len(told))
			require.Len(t, report.Collections[0].LeftOut, len(told))
			require.Equal(t, c.columns, parquetRows(t, filepath.Join(dir, "9", report.Collections[0].Files[0])))

			require.NoError(t, os.WriteFile(lines, out.Bytes(), 0o600))
			b, err := json.Marshal(map[string]map[string][2]string{"9": c.types})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(types, b, 0o600))
			said, err := exec.CommandContext(t.Context(), python(t), filepath.Join("testdata", "compare.py"), dir, lines, types).CombinedOutput()
			require.NoError(t, err, "%s", said)
			require.Equal(t, fmt.Sprintf("%d rows 0 differ\n", len(c.rows)), string(said))
		})
	}
}

// parquetRows shows a file's rows: the key first, then the columns by name.
func parquetRows(t *testing.T, path string) (out []string) {
	found, err := parquet.ReadFile[any](path)
	require.NoError(t, err)
	for _, r := range found {
		row, ok := r.(map[string]any)
		require.True(t, ok)
		line := fmt.Sprintf("pk=%v", row["pk"])
		for _, name := range []string{"extra", "extra#102", "extra#103", "tags", "tags#101"} {
			v, known := row[name]
			switch b, text := v.([]byte); {
			case !known:
			case v == nil:
				line += " " + name + "=null"
			case text:
				line += fmt.Sprintf(" %s=%s", name, b)
			default:
				line += fmt.Sprintf(" %s=%v", name, v)
			}
		}
		out = append(out, line)
	}
	return out
}
