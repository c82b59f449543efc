// Package tampering tells by what a connection was cut off, and how far it had
// come.
package tampering

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// EarlySegments is how many segments of the client count as early.
const EarlySegments = 10

// An Opening is what the client delivered before the connection was cut off, and
// by what.
type Opening struct {
	acked    bool
	data     int       // segments of the client with new octets
	Resets   []tcp.Seq // the ACK fields of the RSTs, as sent, the newest first
	bare     int       // how many of them have no ACK flag
	segments int       // of the client, RSTs aside
	Frames   []int
}

// Look looks back at the whole connection, as long as it is short. resetter
// is the end whose RSTs count.
func Look(h *conn.Scene, resetter tcp.Endpoint) (o Opening, whole bool) {
	c := &h.Ends[tcp.Client]
	if (c.Bits|h.Ends[tcp.Server].Bits)&endpoint.HasFIN != 0 {
		return o, false
	}
	o.acked, o.data, o.segments = c.Has(endpoint.HasAcked), h.SentData(tcp.Client), int(c.Packets)
	if h.Rare != nil && h.Rare.SYNData[tcp.Client] > 0 {
		o.data--
	}
	n := 0
	for g := range h.Back() {
		if n++; n > conn.MaxLookBack {
			return o, false
		}
		switch {
		case g.Flags&tcp.RST != 0:
			if g.From == tcp.Client {
				o.segments--
			}
			if g.From == resetter {
				o.Resets = append(o.Resets, g.Ack)
				if g.Flags&tcp.ACK == 0 {
					o.bare++
				}
				o.Frames = append(o.Frames, g.Packet)
			}
		case g.Flags&tcp.FIN != 0:
			return o, false
		case g.From == tcp.Client && g.Is&recent.WasForeign != 0:
			o.segments--
		case g.From == tcp.Client:
			o.Frames = append(o.Frames, g.Packet)
		}
	}
	return o, o.segments > 0 && o.segments <= EarlySegments && h.Origin() == tcp.FromSYN
}

// Stage is how far the client came: its place among the stages.
func (o *Opening) Stage() int {
	if !o.acked {
		return 0
	}
	return min(1+o.data, LaterData)
}

// LaterData is the last of the stages.
const LaterData = 3

// Stages are those of a connection, in words and with the ways in which it is cut
// off there: "none" is silence.
var Stages = [LaterData + 1]struct {
	Name, When string
	Ends       []string
}{
	{"post-syn", "right after the SYN", []string{"rst", "rst-ack", "rst-and-rst-ack", "none"}},
	{"post-ack", "as soon as it was open", []string{"rst", "rst-ack", "rst-twice", "rst-ack-twice", "none"}},
	{"post-psh", "after the client's first data",
		[]string{"rst", "rst-ack", "rst-and-rst-ack", "rst-ack-twice", "rst-same-ack", "rst-ack-0", "rst-other-ack", "none"}},
	{"later-data", "after the client's first few segments", []string{"rst", "rst-ack"}},
}

// Signature names what cut the connection off, as the stage has it.
func (o *Opening) Signature() string {
	stage, resets, withAck := Stages[o.Stage()].Name, len(o.Resets), len(o.Resets)-o.bare
	sole := stage + "-rst"
	if o.bare == 0 {
		sole += "-ack"
	}
	switch {
	case stage == "later-data" || resets == 1:
		return sole
	case o.bare > 0 && withAck > 0 && stage != "post-ack":
		return stage + "-rst-and-rst-ack"
	case stage == "post-syn":
		return sole
	case o.bare == 0:
		return stage + "-rst-ack-twice"
	case stage == "post-ack":
		return stage + "-rst-twice"
	}
	same, zero := true, false
	for _, ack := range o.Resets {
		same = same && ack == o.Resets[0]
		zero = zero || ack == 0
	}
	switch {
	case same:
		return stage + "-rst-same-ack"
	case zero:
		return stage + "-rst-ack-0"
	}
	return stage + "-rst-other-ack"
}
