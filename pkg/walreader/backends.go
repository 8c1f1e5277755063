package walreader

import (
	"strings"

	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/bookkeeper"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/rocksmq"
	"github.com/walctl/walctl/pkg/walreader/source/woodpecker"
)

// Backends is the one list of the kinds of places a log can lie in. The first that is
// sure of a place has it. To add one: its folder, and its line here.
func Backends() []source.Backend {
	return []source.Backend{
		archive.Backend(),
		woodpecker.Backend(),
		bookkeeper.Backend(),
		rocksmq.Backend(),
		kafka.Files(),
		kafka.Brokers(),
		pulsar.Backend(),
		jsonl.Backend(),
	}
}

// BackendOf finds the backend that a URL belongs to by its scheme.
func BackendOf(all []source.Backend, url string) (source.Backend, bool) {
	for _, b := range all {
		for _, scheme := range b.Schemes {
			if strings.HasPrefix(url, scheme) {
				return b, true
			}
		}
	}
	return source.Backend{}, false
}
