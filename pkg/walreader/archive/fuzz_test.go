package archive

import (
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/internal/hammer"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func manifestSeeds(t testing.TB) [][]byte {
	m := &Manifest{Version: ManifestVersion, PChannel: "p", Segments: []Segment{{Rows: 3,
		Index: FileEntry{Path: "index/a.parquet", Bytes: 9, Tail: 3}, Payload: FileEntry{Path: "payload/a.parquet"}}}}
	b, err := encodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{b[len(manifestHead)+16+len(manifestMid) : len(b)-len(manifestEnd)],
		[]byte(`{"version":1,"segments":[{"index":{"path":"../x"}}]}`)}
}

// FuzzManifest decodes manifests whose checksum is right.
func FuzzManifest(f *testing.F) {
	for _, b := range manifestSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkManifest(t, body) })
}

func TestHammerManifest(t *testing.T) {
	var seeds [][][]byte
	for _, b := range manifestSeeds(t) {
		seeds = append(seeds, [][]byte{b})
	}
	hammer.Run(t, seeds, func(f [][]byte) { checkManifest(t, f[0]) })
}

func checkManifest(t testing.TB, body []byte) {
	framed := append(append([]byte(manifestHead), hashText(xxhash.Sum64(body))...), manifestMid...)
	m, err := decodeManifest(append(append(framed, body...), manifestEnd...))
	if err != nil {
		return
	}
	for _, s := range m.Segments {
		if checkPath(s.Index.Path) != nil || s.Rows <= 0 {
			t.Fatalf("taken as sound: %+v", s)
		}
	}
	if _, err := encodeManifest(m); err != nil {
		t.Fatal(err)
	}
}

// propertySeeds are three properties and a number.
func propertySeeds() [][7]string {
	return [][7]string{
		{"_tt", "3kpqvxts1ekg", "_lc", "COkHEAAY////////////ASAAMAA=", "_h", "CAE=", "\x02"},
		{"_tx", "CJ+AuKWB8o+xBhDbBA==", "_wt", "007", "\xff", "a\\\"b\x00", "\x03"},
		{"_t", "2", "_h", "C\nAE=", "_vc", "", "\x00"},
		{"_t", "2", "_h", "CAESBAgBEAI=", "_v", "1", "\x00"},
		{"_t", "1", "_lcs", "", "_v", "1", "\x00"},
	}
}

// FuzzSplitJoin takes any properties apart and puts them together again.
func FuzzSplitJoin(f *testing.F) {
	for _, s := range propertySeeds() {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], s[6][0])
	}
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string, b uint8) {
		checkSplitJoin(t, message.Properties{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k3, Value: v3}}, int64(b))
	})
}

func TestHammerSplitJoin(t *testing.T) {
	var seeds [][][]byte
	for _, s := range propertySeeds() {
		var fields [][]byte
		for _, v := range s {
			fields = append(fields, []byte(v))
		}
		seeds = append(seeds, fields)
	}
	hammer.Run(t, seeds, func(f [][]byte) {
		p := make(message.Properties, 3, 4)
		for i := range p {
			p[i] = message.Property{Key: string(f[2*i]), Value: string(f[2*i+1])}
		}
		checkSplitJoin(t, p, int64(len(f[6])))
	})
}

func checkSplitJoin(t testing.TB, p message.Properties, b int64) {
	p = append(p, message.Property{Key: "zz", Value: "1"})
	p.Sort()
	for i := range p[1:] {
		if p[i].Key == p[i+1].Key {
			return
		}
	}
	m := &message.Message{Props: p}
	m.SetID(message.ID{Backend: message.BackendPulsar, A: 5, B: b}, message.Form{})
	new(message.Decoder).Decode(m)
	s := splitter{backend: message.BackendPulsar}
	if err := s.split(m); err != nil {
		t.Fatal(err)
	}
	got := *m
	got.Props, got.Defects = nil, nil
	got.SetLastConfirmed(m.LastConfirmed, m.LastConfirmedForm())
	if err := new(joiner).join(&got, s.canonical, s.header, s.properties, s.extra); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Props, m.Props) {
		t.Fatalf("%q, want %q", got.Props, m.Props)
	}
	if len(got.Defects) != len(m.Defects) {
		t.Fatalf("%v, want %v", got.Defects, m.Defects)
	}
}

// FuzzJoin puts messages together from column values that are anything: no
// checksum stands before a hostile file.
func FuzzJoin(f *testing.F) {
	for _, s := range joinSeeds(f) {
		f.Add(s.canonical, s.header, s.properties, s.extra)
	}
	f.Fuzz(func(_ *testing.T, canonical int64, header, properties, extra []byte) {
		joinAny(canonical, header, properties, extra)
	})
}

func TestHammerJoin(t *testing.T) {
	var seeds [][][]byte
	var bits []int64
	for _, s := range joinSeeds(t) {
		seeds = append(seeds, [][]byte{s.header, s.properties, s.extra})
		bits = append(bits, s.canonical)
	}
	n := 0
	hammer.Run(t, seeds, func(f [][]byte) {
		n++
		joinAny(bits[n%len(bits)], f[0], f[1], f[2])
	})
}

// joinSeeds are what a splitter makes of the property seeds.
func joinSeeds(t testing.TB) (out []splitter) {
	for _, s := range propertySeeds() {
		m := &message.Message{Props: message.Properties{{Key: s[0], Value: s[1]}, {Key: s[2], Value: s[3]}, {Key: s[4], Value: s[5]}}}
		m.Props.Sort()
		m.SetRawID(message.ID{Backend: message.BackendPulsar, A: 5}, message.Form{}, "odd")
		new(message.Decoder).Decode(m)
		sp := splitter{backend: message.BackendPulsar}
		if err := sp.split(m); err != nil {
			t.Fatal(err)
		}
		out = append(out, sp)
	}
	return out
}

func joinAny(canonical int64, header, properties, extra []byte) {
	m := message.Message{Type: message.TypeInsert, VChannel: "v", Flags: message.HasTimeTick | message.HasLastConfirmed}
	m.SetID(message.ID{Backend: message.BackendPulsar, A: 5, B: 1}, message.Form{})
	if new(joiner).join(&m, canonical, header, properties, extra) == nil {
		_ = m.Describe()
	}
}
