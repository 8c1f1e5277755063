package message

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// The flag Credentials stands at every type whose header can hold one, and at no
// other: a field called like a secret, a setting, an address or a specification.
func TestCredentialTypesAreFlagged(t *testing.T) {
	for _, kind := range Types() {
		i := kind.info()
		want := canHide(i.header.ProtoReflect().Descriptor(), 0)
		require.Equal(t, want, kind.Is(Credentials), "%s", kind)
	}
}

func canHide(d protoreflect.MessageDescriptor, depth int) bool {
	if depth > 8 { // protos can nest themselves
		return true
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		switch {
		case f.IsMap(), secretName.MatchString(string(f.Name())), mayHoldSecretText(f):
			return true
		case f.Message() != nil && canHide(f.Message(), depth+1):
			return true
		}
	}
	return false
}

// mayHoldSecretText names the text fields that operators fill with addresses and
// specifications. Names of collections, users and channels are not among them.
func mayHoldSecretText(f protoreflect.FieldDescriptor) bool {
	switch f.Name() {
	case "uri", "url", "external_source", "external_spec", "snapshot_s3_location", "value":
		return f.Kind() == protoreflect.StringKind
	}
	return false
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"plain text": "plain text", "s3://bucket/c_1": "s3://bucket/c_1", `{"format":"parquet"}`: `{"format":"parquet"}`,
		"http://a:19530": "http://a:19530", "rootcoord-dml_0": "rootcoord-dml_0",
		"http://u:planted@h/x":                                     "http://(hidden)@h/x",
		"https://h/x?a=1&X-Amz-Signature=planted":                  "https://h/x?a=1&X-Amz-Signature=(hidden)",
		"s3://b/k?sig=planted&se=2026":                             "s3://b/k?sig=(hidden)&se=2026",
		`{"a":{"access_key":"planted"},"b":[{"token":"planted"}]}`: `{"a":{"access_key":"(hidden)"},"b":[{"token":"(hidden)"}]}`,
		`{"uri":"http://u:planted@h"}`:                             `{"uri":"http://(hidden)@h"}`,
		`{"secret_key":"planted"`:                                  "(hidden)",
		"://u:planted@h?x":                                         "(hidden)",
		`{"tokenizer":"standard","n":1}`:                           `{"tokenizer":"standard","n":1}`,
	} {
		got, changed := Scrub(in)
		require.Equal(t, want, got)
		require.Equal(t, in != want, changed, in)
	}
}

func TestShownHeader(t *testing.T) {
	spell := func(h proto.Message) string {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
		require.NoError(t, err)
		return base64.StdEncoding.EncodeToString(b)
	}
	config := func(token string) *messagespb.AlterReplicateConfigMessageHeader {
		return &messagespb.AlterReplicateConfigMessageHeader{ReplicateConfiguration: &commonpb.ReplicateConfiguration{
			Clusters: []*commonpb.MilvusCluster{{ClusterId: "a", ConnectionParam: &commonpb.ConnectionParam{Uri: "http://h", Token: token}}}}}
	}
	replicate := &Message{Type: TypeAlterReplicateConfig}
	require.Equal(t, spell(config(Hidden)), replicate.ShownHeader(spell(config("root:planted"))))
	require.Equal(t, spell(config("x")), replicate.ShownHeader(spell(config("x"))))
	require.Equal(t, Hidden, replicate.ShownHeader("no base64!"))
	require.Equal(t, Hidden, replicate.ShownHeader("/////w=="))

	wal := &Message{Type: TypeAlterWAL}
	switchTo := func(v string) string {
		return spell(&messagespb.AlterWALMessageHeader{Config: map[string]string{"minio.secretAccessKey": v, "pulsar.address": "h"}})
	}
	require.Equal(t, switchTo(Hidden), wal.ShownHeader(switchTo("planted")))
	require.Equal(t, "kept as it is", (&Message{Type: TypeInsert}).ShownHeader("kept as it is"))
}

// namesSecret is secretName, told sooner.
func TestNamesSecret(t *testing.T) {
	parts := rapid.SampledFrom([]string{"passw", "d", "or", "passphrase", "SECRET", "Credential", "authorization", "signature", "access", "api",
		"_", "-", ".", "key", "Key", "\u212aey", "connection", "string", "token", "izer", "sas", "\u017fas", "sig", "ak", "sk", "max_rows", "a", "é"})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(parts, 0, 5).Draw(t, "parts"), "")
		if got := namesSecret(s); got != secretName.MatchString(s) {
			t.Fatalf("%q: %v", s, got)
		}
	})
}
