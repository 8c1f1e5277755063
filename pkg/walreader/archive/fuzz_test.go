package archive

import (
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// FuzzManifest decodes manifests whose checksum is right.
func FuzzManifest(f *testing.F) {
	m := &Manifest{Version: ManifestVersion, PChannel: "p", Segments: []Segment{{Rows: 3,
		Index: FileEntry{Path: "index/a.parquet", Bytes: 9, Tail: 3}, Payload: FileEntry{Path: "payload/a.parquet"}}}}
	b, err := encodeManifest(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[len(manifestHead)+16+len(manifestMid) : len(b)-len(manifestEnd)])
	f.Add([]byte(`{"version":1,"segments":[{"index":{"path":"../x"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeManifest([]byte(manifestHead + hashText(xxhash.Sum64(body)) + manifestMid + string(body) + manifestEnd))
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
	})
}

// FuzzSplitJoin takes any properties apart and puts them together again.
func FuzzSplitJoin(f *testing.F) {
	f.Add("_tt", "3kpqvxts1ekg", "_lc", "COkHEAAY////////////ASAAMAA=", "_h", "CAE=", uint8(2))
	f.Add("_tx", "CJ+AuKWB8o+xBhDbBA==", "_wt", "007", "\xff", "a\\\"b\x00", uint8(3))
	f.Add("_t", "2", "_h", "C\nAE=", "_vc", "", uint8(0))
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string, typ uint8) {
		if k1 == k2 || k2 == k3 || k1 == k3 {
			return
		}
		m := &message.Message{Props: message.Properties{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k3, Value: v3},
			{Key: "zz", Value: "1"}}}
		if k1 == "zz" || k2 == "zz" || k3 == "zz" {
			return
		}
		m.SetID(message.ID{Backend: message.BackendPulsar, A: 5, B: int64(typ)}, message.Form{})
		m.Props.Sort()
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
		if len(got.Props) != len(m.Props) {
			t.Fatalf("%v, want %v", got.Props, m.Props)
		}
		for i := range m.Props {
			if got.Props[i] != m.Props[i] {
				t.Fatalf("%q, want %q", got.Props, m.Props)
			}
		}
		if len(got.Defects) != len(m.Defects) {
			t.Fatalf("%v, want %v", got.Defects, m.Defects)
		}
	})
}
