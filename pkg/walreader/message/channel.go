package message

import (
	"strconv"
	"strings"
)

// controlSuffix ends the name of a control channel (wire format).
const controlSuffix = "vcchan"

// PChannelOf returns the pchannel a vchannel lies on. What follows the last
// underscore is taken off where it has a "v" anywhere; a name without is a
// pchannel already. So a topic someone named my_vchan reads as a vchannel of
// "my": the rule is Milvus's, trap included. docs/rules.md#names
func PChannelOf(vchannel string) string {
	i := strings.LastIndexByte(vchannel, '_')
	if i < 0 || !strings.Contains(vchannel[i+1:], "v") {
		return PChannelOfTopic(vchannel)
	}
	return vchannel[:i]
}

// PChannelOfTopic returns the pchannel whose log a Pulsar topic of that name holds:
// a partition of a partitioned topic is called after it. docs/rules.md#names
func PChannelOfTopic(topic string) string {
	i := strings.LastIndex(topic, partitionSuffix)
	if i <= 0 {
		return topic
	}
	n := topic[i+len(partitionSuffix):]
	if _, err := strconv.ParseUint(n, 10, 31); err != nil {
		return topic
	}
	return topic[:i]
}

const partitionSuffix = "-partition-"

// IsControlChannel reports whether the name is a control channel's, which is
// told by its last letters alone. docs/rules.md#names
func IsControlChannel(channel string) bool { return strings.HasSuffix(channel, controlSuffix) }

// ControlChannelOf returns the name of a pchannel's control channel.
func ControlChannelOf(pchannel string) string { return pchannel + "_" + controlSuffix }

// CollectionIDOf returns the collection a vchannel belongs to, or −1 where the
// name tells none, as a control channel's. The digits before the last "v" with
// a digit after it are read as a Go literal: a leading 0 means octal.
// docs/rules.md#names
func CollectionIDOf(vchannel string) int64 {
	for line := range strings.SplitSeq(vchannel, "\n") {
		for rest := line; ; {
			i := strings.LastIndexByte(rest, '_')
			if i < 0 {
				break
			}
			if digits, ok := collectionDigits(line[i+1:]); ok {
				id, err := strconv.ParseInt(digits, 0, 64)
				if err != nil {
					return -1
				}
				return id
			}
			rest = rest[:i]
		}
	}
	return -1
}

// collectionDigits reads <digits>v<digit>… .
func collectionDigits(s string) (string, bool) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n], n > 0 && n+1 < len(s) && s[n] == 'v' && isDigit(s[n+1])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
