package salvage_test

import (
	"encoding/base64"
	"strconv"

	"google.golang.org/protobuf/proto"
)

func walgenEncode(m proto.Message) (string, error) {
	b, err := proto.Marshal(m)
	return base64.StdEncoding.EncodeToString(b), err
}

func base36(tt uint64) string { return strconv.FormatUint(tt, 36) }
