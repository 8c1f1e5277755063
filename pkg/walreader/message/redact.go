package message

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// secretFields are fields of headers that hold, or may hold, credentials: keys
// of object stores within specifications, connection settings, encryption keys.
// Whatever they are part of, their content is never shown.
var secretFields = map[protoreflect.Name]bool{
	"external_spec": true, "external_source": true, "snapshot_s3_location": true, "config": true, "safe_key": true,
	"password": true, "encrypted_password": true, "sha256_password": true, "credential_info": true,
	"token": true, "access_key": true, "secret_key": true, "connection_param": true,
}

// hidden stands in for what is not shown.
const hidden = "(hidden)"

// HeaderJSON returns the typed header as proto3 JSON with proto field names,
// without credentials. It carries no rows. Errors are those of Header.
func (m *Message) HeaderJSON() (json.RawMessage, error) {
	h, err := m.Header()
	if err != nil {
		return nil, err
	}
	return RedactedJSON(h)
}

// RedactedJSON prints a protobuf message as proto3 JSON with proto field names,
// the content of every field that may hold a credential hidden.
func RedactedJSON(p proto.Message) (json.RawMessage, error) {
	p = proto.Clone(p)
	redact(p.ProtoReflect())
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("print %s: %w", p.ProtoReflect().Descriptor().Name(), err)
	}
	// protojson varies its spaces from build to build on purpose.
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return nil, fmt.Errorf("print %s: %w", p.ProtoReflect().Descriptor().Name(), err)
	}
	return out.Bytes(), nil
}

func redact(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case secretFields[f.Name()]:
			hide(m, f, v)
		case f.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
				if f.MapValue().Message() != nil {
					redact(e.Message())
				}
				return true
			})
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

// hide replaces a string, the values of a map of strings, and drops the rest.
func hide(m protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap() && f.MapValue().Kind() == protoreflect.StringKind:
		var keys []protoreflect.MapKey
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k)
			return true
		})
		for _, k := range keys {
			v.Map().Set(k, protoreflect.ValueOfString(hidden))
		}
	case f.Kind() == protoreflect.StringKind && !f.IsList():
		m.Set(f, protoreflect.ValueOfString(hidden))
	default:
		m.Clear(f)
	}
}
