package archive

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// joiner puts messages together again. It keeps scratch memory.
type joiner struct {
	buf, proto []byte
}

// join sets a message's properties and oddities. Its other fields must be set.
func (j *joiner) join(m *message.Message, canonical int64, header, properties, extra []byte) error {
	m.Props = j.derived(m, canonical, header)
	if canonical&bitExtra == 0 {
		return nil
	}
	if len(properties) > 0 {
		var err error
		if m.Props, err = appendJSON(m.Props, properties); err != nil {
			return err
		}
	}
	if err := j.extra(m, extra); err != nil {
		return err
	}
	m.Props.Sort()
	if lc, ok := m.Props.Get(message.KeyLastConfirmed); ok && canonical&bitLastConfirmed == 0 && m.Has(message.HasLastConfirmed) {
		m.SetRawLastConfirmed(m.LastConfirmed, m.LastConfirmedForm(), lc)
	}
	return nil
}

// derived spells the properties the columns give back, in key order: all values
// lie in one string.
func (j *joiner) derived(m *message.Message, canonical int64, header []byte) message.Properties {
	type part struct {
		key      string
		from, to int
	}
	var parts [16]part
	n, b := 0, j.buf[:0]
	put := func(bit int64, key string, spell func([]byte) []byte) {
		if canonical&bit == 0 {
			return
		}
		from := len(b)
		if spell != nil {
			b = spell(b)
		}
		parts[n] = part{key, from, len(b)}
		n++
	}
	put(bitBarrier, message.KeyBarrier, func(b []byte) []byte { return strconv.AppendUint(b, m.Barrier, 36) })
	put(bitHeader, message.KeyHeader, func(b []byte) []byte {
		j.proto = j.proto[:0]
		if canonical&bitHeaderDerived != 0 {
			j.proto = appendHeader(j.proto, m)
		}
		j.proto = append(j.proto, header...)
		return base64.StdEncoding.AppendEncode(b, j.proto)
	})
	put(bitLastConfirmed, message.KeyLastConfirmed, func(b []byte) []byte {
		return m.LastConfirmed.AppendRaw(b, m.LastConfirmedForm())
	})
	put(bitLastConfirmedSelf, message.KeyLastConfirmedSelf, nil)
	put(bitNotPersisted, message.KeyNotPersisted, nil)
	put(bitPChannelLevel, message.KeyPChannelLevel, nil)
	put(bitPartialUpdate, message.KeyPartialUpdate, nil)
	put(bitType, message.KeyType, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Type), 10) })
	put(bitTimeTick, message.KeyTimeTick, func(b []byte) []byte { return strconv.AppendUint(b, m.TimeTick, 36) })
	put(bitTxn, message.KeyTxn, func(b []byte) []byte {
		j.proto = appendTxn(j.proto[:0], m.TxnID, m.Keepalive)
		return base64.StdEncoding.AppendEncode(b, j.proto)
	})
	put(bitUnsafeReplicate, message.KeyUnsafeReplicate, nil)
	put(bitVersion, message.KeyVersion, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Version), 10) })
	put(bitVChannel, message.KeyVChannel, func(b []byte) []byte { return append(b, m.VChannel...) })
	put(bitTerm, message.KeyTerm, func(b []byte) []byte { return strconv.AppendInt(b, m.Term, 36) })
	j.buf = b
	all := string(b)
	props := make(message.Properties, n, n+2)
	for i, p := range parts[:n] {
		props[i] = message.Property{Key: p.key, Value: all[p.from:p.to]}
	}
	return props
}

func (j *joiner) extra(m *message.Message, b []byte) error {
	var err error
	ok := message.Fields(b, func(num protowire.Number, v uint64) {
		if num != extraBackend {
			return
		}
		id := m.ID
		id.Backend = message.Backend(v - 1)
		m.SetID(id, m.Form())
		if m.Flags&(message.HasLastConfirmed|message.LastConfirmedSelf) != 0 {
			m.LastConfirmed.Backend = id.Backend
		}
	}, func(num protowire.Number, v []byte) bool {
		err = applyExtra(m, num, v)
		return err == nil
	})
	if !ok && err == nil {
		err = errors.New("column extra: no protobuf message")
	}
	return err
}

func applyExtra(m *message.Message, num protowire.Number, v []byte) error {
	switch num {
	case extraID:
		m.SetRawID(m.ID, m.Form(), string(v))
	case extraText:
		m.SetTextID(string(v))
	case extraProperty, extraDefect:
		var text [3]string
		fatal := false
		if !message.Fields(v, func(n protowire.Number, x uint64) {
			fatal = fatal || n == 3 && x != 0
		}, func(n protowire.Number, x []byte) bool {
			if n <= 3 {
				text[n-1] = string(x)
			}
			return n <= 3
		}) {
			return fmt.Errorf("column extra: broken field %d", num)
		}
		if num == extraDefect {
			m.Defects = append(m.Defects, message.Defect{Property: text[0], Cause: text[1], Fatal: fatal})
		} else {
			m.Props = append(m.Props, message.Property{Key: text[0], Value: text[1]})
		}
	}
	return nil
}

// appendJSON reads the object of column "properties". What it mostly is, strings
// without a backslash, is cut out; the rest goes through encoding/json.
func appendJSON(p message.Properties, object []byte) (message.Properties, error) {
	if out, ok := appendPlainJSON(p, string(object)); ok {
		return out, nil
	}
	rest := map[string]string{}
	if err := json.Unmarshal(object, &rest); err != nil {
		return nil, fmt.Errorf("column properties: %w", err)
	}
	for k, v := range rest {
		p = append(p, message.Property{Key: k, Value: v})
	}
	return p, nil
}

func appendPlainJSON(p message.Properties, s string) (message.Properties, bool) {
	if strings.IndexByte(s, '\\') >= 0 || len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	// A string ends at the next quote: {"k":"v","k":"v"}
	text := func() (out string, ok bool) {
		if len(s) == 0 || s[0] != '"' {
			return "", false
		}
		n := strings.IndexByte(s[1:], '"')
		if n < 0 {
			return "", false
		}
		out, s = s[1:1+n], s[n+2:]
		return out, true
	}
	for s = s[1 : len(s)-1]; len(s) > 0; {
		k, ok := text()
		if !ok || len(s) == 0 || s[0] != ':' {
			return nil, false
		}
		s = s[1:]
		v, ok := text()
		if !ok || len(s) > 0 && s[0] != ',' {
			return nil, false
		}
		p = append(p, message.Property{Key: k, Value: v})
		if len(s) > 0 {
			s = s[1:]
		}
	}
	return p, true
}
