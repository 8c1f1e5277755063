package message

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Credentials stand in headers and catalog values in four ways, and are hidden in
// each of them wherever a value is shown, exported or stored beside a log:
//
//	a field called like one          connection_param.token, sha256_password
//	a map or key-value pair whose    config["minio.secretAccessKey"],
//	  key is called like one         params{key: "api_key", value: …}
//	a JSON object in a string        external_spec
//	a URL with user or query         http://user:password@host, s3://…?X-Amz-Signature=…
//
// docs/rules.md#credentials

// secretName is what a field, a configuration key or a URL's parameter that holds
// a credential is called. A tokenizer is none.
var secretName = regexp.MustCompile(`(?i)passw(or)?d|passphrase|secret|credential|authorization|signature` +
	`|(access|api|account|shared|private|safe|encryption)[._-]?key|connection[._-]?string|token$|(^|[._-])(sas|sig|ak|sk)$`)

// secretParts are what each alternative of secretName contains, and secretEnds what
// the others end in.
var (
	secretParts = [...]string{"passw", "passphrase", "secret", "credential", "authorization", "signature", "key", "connection"}
	secretEnds  = [...]string{"token", "sas", "sig", "ak", "sk"}
)

// namesSecret reports whether secretName matches. Most names are told apart by their
// letters: a catalog has a million of them.
func namesSecret(s string) bool {
	possible := false
	for i := 0; i < len(s) && !possible; i++ {
		switch s[i] | 0x20 {
		case 'p', 's', 'c', 'a', 'k':
			for _, part := range secretParts {
				if len(s)-i >= len(part) && strings.EqualFold(s[i:i+len(part)], part) {
					possible = true
				}
			}
		}
		possible = possible || s[i] >= utf8.RuneSelf // letters that fold to those
	}
	for _, end := range secretEnds {
		possible = possible || len(s) >= len(end) && strings.EqualFold(s[len(s)-len(end):], end)
	}
	return possible && secretName.MatchString(s)
}

// Hidden stands in for what is not shown.
const Hidden = "(hidden)"

// placeholder is the longest value that cannot be a credential: tests and examples
// write "x", and hiding it would only say less.
const placeholder = 2

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
// credentials hidden.
func RedactedJSON(p proto.Message) (json.RawMessage, error) {
	p = proto.Clone(p)
	Redact(p)
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

// ShownHeader returns property `_h` as it may be shown: as it is where it carries
// no credential, else spelled anew without them. A header that cannot be decoded
// and may carry one is hidden whole.
func (m *Message) ShownHeader(stored string) string {
	if !m.Type.Is(Credentials) {
		return stored
	}
	raw, err := base64.StdEncoding.DecodeString(stored)
	if err != nil {
		return Hidden
	}
	b, changed, err := respell(m.Type.info().header, raw)
	switch {
	case err != nil:
		return Hidden
	case !changed:
		return stored
	}
	return base64.StdEncoding.EncodeToString(b)
}

// ShownBody returns a payload as it may be kept beside a log: as it is where it
// carries no credential, else spelled anew without them; nil where it cannot be
// decoded. For the messages a catalog keeps; rows never lie there.
func (m *Message) ShownBody(payload []byte) []byte {
	i := m.Type.info()
	if i == nil || m.Type.Hot() {
		return nil
	}
	b, _, err := respell(i.body, payload)
	if err != nil {
		return nil
	}
	return b
}

// respell decodes raw as a message of kind's type and spells it anew without
// credentials; raw itself where it holds none.
func respell(kind proto.Message, raw []byte) (b []byte, changed bool, err error) {
	m := kind.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(raw, m); err != nil {
		return nil, false, err
	}
	if !Redact(m) {
		return raw, false, nil
	}
	b, err = proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return b, true, err
}

// Redact hides every credential in a protobuf message and reports whether there
// was one.
func Redact(p proto.Message) bool { return redact(p.ProtoReflect()) }

func redact(m protoreflect.Message) bool {
	found := redactPair(m)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case namesSecret(string(f.Name())):
			found = hide(m, f, v) || found
		case f.IsMap():
			found = redactMap(f, v.Map()) || found
		case f.IsList():
			found = redactList(f, v.List()) || found
		case f.Message() != nil:
			found = redact(v.Message()) || found
		case f.Kind() == protoreflect.StringKind:
			s, changed := Scrub(v.String())
			if opaque(f.Name(), s) {
				s, changed = Hidden, true
			}
			if changed {
				m.Set(f, protoreflect.ValueOfString(s))
				found = true
			}
		}
		return true
	})
	return found
}

// opaque reports the text of an address or specification that is neither a URL nor
// a JSON object: nothing tells then what in it is a credential.
func opaque(field protoreflect.Name, s string) bool {
	switch field {
	case "external_source", "external_spec", "snapshot_s3_location":
		return len(s) > placeholder && s != Hidden && !strings.Contains(s, "://") && !json.Valid([]byte(s))
	}
	return false
}

// redactPair hides the value of a key-value pair whose key is called like a secret.
func redactPair(m protoreflect.Message) bool {
	key, value := m.Descriptor().Fields().ByName("key"), m.Descriptor().Fields().ByName("value")
	if key == nil || value == nil || key.Kind() != protoreflect.StringKind || value.Kind() != protoreflect.StringKind {
		return false
	}
	if !namesSecret(m.Get(key).String()) || len(m.Get(value).String()) <= placeholder {
		return false
	}
	m.Set(value, protoreflect.ValueOfString(Hidden))
	return true
}

func redactMap(f protoreflect.FieldDescriptor, values protoreflect.Map) bool {
	found := false
	type entry struct {
		key   protoreflect.MapKey
		value string
	}
	var set []entry
	values.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		switch {
		case f.MapValue().Message() != nil:
			found = redact(v.Message()) || found
		case f.MapValue().Kind() == protoreflect.StringKind:
			s, changed := Scrub(v.String())
			if namesSecret(k.String()) && len(s) > placeholder {
				s, changed = Hidden, true
			}
			if changed {
				set = append(set, entry{k, s})
			}
		}
		return true
	})
	for _, e := range set {
		values.Set(e.key, protoreflect.ValueOfString(e.value))
	}
	return found || len(set) > 0
}

func redactList(f protoreflect.FieldDescriptor, values protoreflect.List) bool {
	found := false
	for i := range values.Len() {
		switch {
		case f.Message() != nil:
			found = redact(values.Get(i).Message()) || found
		case f.Kind() == protoreflect.StringKind:
			if s, changed := Scrub(values.Get(i).String()); changed {
				values.Set(i, protoreflect.ValueOfString(s))
				found = true
			}
		}
	}
	return found
}

// hide replaces a text and drops everything else. It reports whether anything was
// hidden: a number or flag that is called like a secret is none.
func hide(m protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	switch {
	case f.Kind() == protoreflect.StringKind && !f.IsList() && !f.IsMap():
		if len(v.String()) <= placeholder {
			return false
		}
		m.Set(f, protoreflect.ValueOfString(Hidden))
	case f.Kind() == protoreflect.StringKind, f.Kind() == protoreflect.BytesKind, f.Message() != nil:
		m.Clear(f)
	default:
		return false
	}
	return true
}

// maxScrubbed bounds the text that is parsed to find credentials; what is longer
// and could hold one is hidden whole.
const maxScrubbed = 1 << 20

// Scrub hides credentials inside text that is a URL or a JSON object: user and
// password of the one, parameters and members called like secrets. Other text
// comes back as it is.
func Scrub(s string) (string, bool) {
	switch {
	case len(s) > maxScrubbed && (strings.Contains(s, "://") || strings.HasPrefix(strings.TrimSpace(s), "{")):
		return Hidden, true
	case strings.HasPrefix(strings.TrimSpace(s), "{"):
		return scrubJSON(s)
	case strings.Contains(s, "://"):
		return scrubURL(s)
	}
	return s, false
}

func scrubURL(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil {
		if strings.ContainsAny(s, "@?") {
			return Hidden, true
		}
		return s, false
	}
	changed := false
	if u.User != nil {
		u.User, changed = url.User(Hidden), true
	}
	if parts := strings.Split(u.RawQuery, "&"); u.RawQuery != "" {
		for i, p := range parts {
			name, value, _ := strings.Cut(p, "=")
			if plain, err := url.QueryUnescape(name); (err != nil || namesSecret(plain)) && len(value) > placeholder {
				parts[i], changed = name+"="+Hidden, true
			}
		}
		u.RawQuery = strings.Join(parts, "&")
	}
	if !changed {
		return s, false
	}
	return strings.ReplaceAll(u.String(), url.User(Hidden).String(), Hidden), true
}

func scrubJSON(s string) (string, bool) {
	var v any
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if d.Decode(&v) != nil {
		if namesSecret(s) { // no JSON after all, and it names one
			return Hidden, true
		}
		return scrubURL(s)
	}
	if !scrubValue(v) {
		return s, false
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return Hidden, true
	}
	return strings.TrimSpace(b.String()), true
}

// scrubValue hides the secrets of a decoded JSON value in place.
func scrubValue(v any) bool {
	found := false
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			text, isText := e.(string)
			switch {
			case namesSecret(k) && (!isText || len(text) > placeholder):
				v[k], found = Hidden, true
			case isText:
				if s, changed := Scrub(text); changed {
					v[k], found = s, true
				}
			default:
				found = scrubValue(e) || found
			}
		}
	case []any:
		for i, e := range v {
			if text, ok := e.(string); !ok {
				found = scrubValue(e) || found
			} else if s, changed := Scrub(text); changed {
				v[i], found = s, true
			}
		}
	}
	return found
}
