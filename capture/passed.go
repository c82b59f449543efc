package capture

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/capture/decode"
)

// Passed counts packets that were passed over for a header that is not opened.
type Passed struct {
	Header  string // the outermost that was not
	Why     string // not opened, encrypted, in pieces, compressed
	Packets int
}

// maxPassed is how many headers are told apart: traffic has as many as it likes.
const maxPassed = 64

// pass counts a packet by what was not opened of it.
func (st *Stats) pass(p decode.Passed) {
	at := func(header, why string) int {
		return slices.IndexFunc(st.Passed, func(o Passed) bool { return o.Header == header && o.Why == why })
	}
	header, why := p.Name, p.Why.String()
	i := at(header, why)
	if i < 0 && len(st.Passed) >= maxPassed {
		header, why = "other headers", decode.NotOpened.String()
		i = at(header, why)
	}
	if i < 0 {
		i = len(st.Passed)
		st.Passed = append(st.Passed, Passed{Header: header, Why: why})
	}
	st.Passed[i].Packets++
}

// clone returns a copy that later packets do not change.
func (st *Stats) clone() Stats {
	c := *st
	c.Passed = slices.Clone(st.Passed)
	slices.SortStableFunc(c.Passed, func(a, b Passed) int { return b.Packets - a.Packets })
	return c
}
