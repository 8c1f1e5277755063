package diagnose

import (
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// copy notes a copy of a broadcast, in log order. docs/rules.md#invariants 12.
func (v *verifier) copy(c *message.Columns, i int) {
	m := c.Full[i]
	if m == nil || v.opts.PChannel == "" {
		return
	}
	if v.copies == nil {
		v.copies = message.NewCopyWatch(v.opts.PChannel)
	}
	v.copies.See(m, c.VChannels[c.VChannel[i]], v.terms.tick != 0)
}

// missingCopies tells the copies of broadcasts that never came. Damage may have
// taken them.
func (v *verifier) missingCopies() {
	if v.copies == nil || v.corruptions > 0 {
		return
	}
	for _, m := range v.copies.Missing(v.terms.tick) {
		v.tell(recovery.CheckCopyMissing, occurrence{pos: makePosition(m.At.A, m.At.B, m.At.Batch), tt: m.TimeTick, typ: m.Type, vchannel: v.indexOf(m.VChannel),
			note: "a copy that the broadcast's list names never came", detail: fmt.Sprintf("broadcast %d", m.Broadcast)})
	}
}

// indexOf returns a vchannel's index, a new one where no message named it.
func (v *verifier) indexOf(name string) uint32 {
	i := slices.Index(v.names, name)
	if i < 0 {
		i = len(v.names)
		v.names = append(slices.Clip(v.names), name)
	}
	return uint32(i)
}
