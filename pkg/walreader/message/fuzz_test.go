package message_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"

	"github.com/walctl/walctl/internal/hammer"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// fuzzed are the keys FuzzEnvelope gives values to, in the order of its arguments.
var fuzzed = [...]string{
	message.KeyVersion, message.KeyType, message.KeyTimeTick, message.KeyBarrier, message.KeyTerm,
	message.KeyLastConfirmed, message.KeyVChannel, message.KeyHeader, message.KeyBroadcast,
	message.KeyTxn, message.KeyCipher, message.KeyReplicate,
}

// marked are the keys without a value.
var marked = [...]string{
	message.KeyLastConfirmedSelf, message.KeyNotPersisted, message.KeyPChannelLevel,
	message.KeyUnsafeReplicate, message.KeyPartialUpdate, "_tc",
}

// present has a bit for each of fuzzed, then of marked.
func presentBits(keys ...string) uint32 {
	var bits uint32
	for _, k := range keys {
		if i := slices.Index(fuzzed[:], k); i >= 0 {
			bits |= 1 << i
		}
		if i := slices.Index(marked[:], k); i >= 0 {
			bits |= 1 << (len(fuzzed) + i)
		}
	}
	return bits
}

// envelopeSeeds are the arguments of FuzzEnvelope: present, the values of
// fuzzed, the payload.
func envelopeSeeds() []envelope {
	sound := presentBits("_v", "_t", "_tt", "_lc", "_h", "_wt", "_vc")
	return []envelope{
		{math.MaxUint32, [12]string{"1", "2", "3kpqvxts1ekg", "z", "1", "COkHEAAY////////////ASAAMAA=", "by-dev-rootcoord-dml_0_1v0", "CAESBAgBEAI=", "CAE=", "CAEQZA==", "CAE="}, nil},
		{sound, [12]string{"1", "1", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v"}, []byte("\n\r\b\xb0\t\x18\x80")},
		{sound, [12]string{"1", "2", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v", "EgQQARAC"}, nil}, // rows twice: the last counts
		{sound, [12]string{"2", "4", "3kpqvxts1ekg", "", "1", "CAUQABgAIAAwAQ==", "v", "CAEQAhgD"}, nil},
		{presentBits("_v", "_t", "_tt", "_lcs", "_rh", "_h"), [12]string{0: "2", 1: "37", 2: "1", 11: "CgFhEhAKDENBVVFBQmdBSUFBdxACIAU="}, nil},
		{presentBits("_v", "_bh"), [12]string{0: "-1", 1: "x", 8: "AA"}, []byte{0xff}},
	}
}

// envelope is one message's properties, as the arguments of a fuzz target.
type envelope struct {
	present uint32
	values  [12]string
	payload []byte
}

// appendProps spells the properties in key order.
func (e *envelope) appendProps(p message.Properties) message.Properties {
	for i, key := range fuzzed {
		if e.present>>i&1 == 1 {
			p = append(p, message.Property{Key: key, Value: e.values[i]})
		}
	}
	for i, key := range marked {
		if e.present>>(len(fuzzed)+i)&1 == 1 {
			p = append(p, message.Property{Key: key})
		}
	}
	p.Sort()
	return p
}

func (e *envelope) message(p message.Properties) *message.Message {
	m := &message.Message{Props: p, Payload: e.payload}
	m.SetRawID(message.ID{Backend: message.BackendPulsar, A: 5, B: 1}, message.Form{BatchSize: 1}, "CAUQARgAIAAwAQ==")
	return m
}

func addEnvelopes(f *testing.F) {
	for _, e := range envelopeSeeds() {
		v := e.values
		f.Add(e.present, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], e.payload)
	}
}

// FuzzEnvelope decodes arbitrary properties. The properties stay as they are;
// what is broken has a fatal defect, what is not gives its values. What the
// values are FuzzEnvelopeAgainstUpstream asks.
func FuzzEnvelope(f *testing.F) {
	addEnvelopes(f)
	c := envelopeChecker{}
	f.Fuzz(func(t *testing.T, present uint32, v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh string, payload []byte) {
		c.check(t, &envelope{present, [12]string{v, typ, tt, btt, wt, lc, vc, h, bh, tx, ch, rh}, payload})
	})
}

// envelopeChecker keeps memory from one execution to the next.
type envelopeChecker struct {
	d     message.Decoder
	props message.Properties
}

func (c *envelopeChecker) check(t testing.TB, e *envelope) {
	c.props = e.appendProps(c.props[:0])
	m := e.message(c.props)
	c.d.Decode(m)
	if len(m.Props) != len(c.props) {
		t.Fatalf("%d properties, want %d", len(m.Props), len(c.props))
	}
	for i, key := range fuzzed {
		if v, ok := m.Props.Get(key); ok != (e.present>>i&1 == 1) || ok && v != e.values[i] {
			t.Fatalf("property %s changed to %q", key, v)
		}
	}
	fatal := slices.ContainsFunc(m.Defects, func(d message.Defect) bool { return d.Fatal })
	if broken := m.Broken() != nil; broken != fatal {
		t.Fatalf("broken is %v, a fatal defect %v", broken, fatal)
	}
	_ = m.Describe()
	_, _ = m.Schema()
	_ = m.FlushedSegments()
}

func TestHammerEnvelope(t *testing.T) {
	var seeds [][][]byte
	for _, e := range envelopeSeeds() {
		fields := [][]byte{binary.LittleEndian.AppendUint32(nil, e.present), e.payload}
		for _, v := range e.values {
			fields = append(fields, []byte(v))
		}
		seeds = append(seeds, fields)
	}
	c := envelopeChecker{}
	hammer.Run(t, seeds, func(f [][]byte) {
		var bits [4]byte
		copy(bits[:], f[0])
		e := envelope{present: binary.LittleEndian.Uint32(bits[:]), payload: f[1]}
		for i := range e.values {
			e.values[i] = string(f[2+i])
		}
		c.check(t, &e)
	})
}

// idSeeds are ids of every backend, sound and not.
func idSeeds() (backends []uint16, spellings []string) {
	for _, raw := range []string{"COkHEAAY////////////ASAAMAA=", "CAUQARgAIAAwAQ==", "CAUQAQ==", "CAU=", "CAUQASoBAA==", "CAUQAToECAUQAQ=="} {
		b, _ := base64.StdEncoding.DecodeString(raw)
		backends, spellings = append(backends, uint16(message.BackendPulsar)), append(spellings, string(b))
	}
	for _, s := range []string{"COkHEAAY////////////ASAAMAA=", "CAUQABgAIAAwAQ==", "", "EAI=", "zz", "-1", "1/2/3", "1:2", "4/8", "12", "1//2", "+1/2/3", "3w5e11264sgsf"} {
		for _, b := range []uint16{0, 1, 2, 3, 4, 1000} {
			backends, spellings = append(backends, b), append(spellings, s)
		}
	}
	return backends, spellings
}

// FuzzID parses ids in every spelling: what is accepted comes back as it was.
func FuzzID(f *testing.F) {
	backends, spellings := idSeeds()
	for i, s := range spellings {
		f.Add(backends[i], s)
	}
	f.Fuzz(func(t *testing.T, backend uint16, s string) { checkID(t, message.Backend(backend), s) })
}

func TestHammerID(t *testing.T) {
	backends, spellings := idSeeds()
	var seeds [][][]byte
	for i, s := range spellings {
		seeds = append(seeds, [][]byte{{byte(backends[i])}, []byte(s)})
	}
	hammer.Run(t, seeds, func(f [][]byte) {
		b := message.BackendUnknown
		if len(f[0]) > 0 {
			b = message.Backend(f[0][0])
		}
		checkID(t, b, string(f[1]))
	})
}

func checkID(t testing.TB, b message.Backend, s string) {
	if id, form, err := message.ParseRaw(b, s); err == nil {
		checkRawID(t, b, s, id, form)
	} else if !errors.Is(err, message.ErrBadID) {
		t.Fatalf("ParseRaw: %v", err)
	}
	if id, err := message.ParseText(b, s); err == nil {
		if again, err := message.ParseText(id.Backend, id.String()); err != nil || again != id || id.Compare(again) != 0 {
			t.Fatalf("%v reads as %v, %v", id, again, err)
		}
	} else if !errors.Is(err, message.ErrBadID) {
		t.Fatalf("ParseText: %v", err)
	}
	if id, form, err := message.ParseBytes(b, []byte(s)); err == nil {
		if again, form2, err := message.ParseRaw(b, id.Raw(form)); err != nil || again != id || form2 != form {
			t.Fatalf("%v %v reads as %v %v, %v", id, form, again, form2, err)
		}
	} else if !errors.Is(err, message.ErrBadID) {
		t.Fatalf("ParseBytes: %v", err)
	}
}

// checkRawID: an id that was read spells itself, and keeps the spelling it had.
func checkRawID(t testing.TB, b message.Backend, s string, id message.ID, form message.Form) {
	if id.Backend != b {
		t.Fatalf("backend %v, want %v", id.Backend, b)
	}
	if again, form2, err := message.ParseRaw(b, id.Raw(form)); err != nil || again != id || form2 != form {
		t.Fatalf("%v %v reads as %v %v, %v", id, form, again, form2, err)
	}
	var m message.Message
	m.SetRawID(id, form, s)
	m.SetRawLastConfirmed(id, form, s)
	m.Flags |= message.HasLastConfirmed
	if m.RawID() != s || m.RawLastConfirmed() != s {
		t.Fatalf("%q is kept as %q and %q", s, m.RawID(), m.RawLastConfirmed())
	}
	if text, err := message.ParseText(b, id.String()); err != nil || text != id {
		t.Fatalf("%s reads as %v, %v", id, text, err)
	}
}

// FuzzV0 decodes arbitrary messages from before the streaming service: what has
// no fatal defect gives a header, a body and a place in a scan.
func FuzzV0(f *testing.F) {
	for _, seed := range legacySeeds(f) {
		f.Add(seed.typ, seed.vchannel, seed.payload)
	}
	f.Add("", "", []byte{})
	f.Add("Insert", "x", []byte{0xff})
	f.Fuzz(func(t *testing.T, typ, vchannel string, payload []byte) { checkV0(t, typ, vchannel, payload) })
}

func TestHammerV0(t *testing.T) {
	var seeds [][][]byte
	for _, s := range legacySeeds(t) {
		seeds = append(seeds, [][]byte{[]byte(s.typ), []byte(s.vchannel), s.payload})
	}
	hammer.Run(t, seeds, func(f [][]byte) { checkV0(t, string(f[0]), string(f[1]), f[2]) })
}

func checkV0(t testing.TB, typ, vchannel string, payload []byte) {
	m := &message.Message{Payload: payload, ID: message.ID{Backend: message.BackendPulsar, A: 1},
		Props: message.Properties{{Key: message.LegacyKeyType, Value: typ}, {Key: message.LegacyKeyVChannel, Value: vchannel}}}
	m.Props.Sort()
	d := message.Decoder{PChannel: "p"}
	d.Decode(m)
	_ = m.Describe()
	if m.Version != 0 {
		t.Fatalf("version %d", m.Version)
	}
	if m.Broken() != nil {
		return
	}
	if old, ok := commonpb.MsgType_value[typ]; ok && old != 0 && m.Type.String() != typ {
		t.Fatalf("type %s, want %s", m.Type, typ)
	}
	_, headerErr := m.Header()
	_, bodyErr := m.Body()
	if err := errors.Join(headerErr, bodyErr); err != nil {
		t.Fatal(err)
	}
	var l message.Legacy
	adapted, ok := l.Adapt(m)
	if adapted.LastConfirmed != m.ID || ok != (m.Type == message.TypeTimeTick || m.Has(message.HasVChannel)) {
		t.Fatalf("last confirmed %v of %v, in a scan: %v", adapted.LastConfirmed, m.ID, ok)
	}
}
