package tcp

import (
	"fmt"
	"net/netip"
)

// A Way is the direction in which the host that made the capture had a packet, as far
// as the capture says.
type Way uint8

const (
	WayUnknown Way = iota
	WayIn          // the host received it, addressed to itself
	WayOut         // the host sent it, or passed it on
)

// A TapOn says on whose host a capture was made. What is seen to come in there has
// arrived, unless a firewall of that host drops it behind the tap. The zero TapOn
// leaves it to what the packets show beyond doubt.
type TapOn struct {
	Nowhere bool         // on that of no end, whatever the packets show
	Ends    [2]bool      // on that of every client, or of every server, whatever they show
	Hosts   []netip.Addr // on that with one of these addresses, and where the packets show it
}

// ParseTapOn reads a TapOn: "auto", "none", "client", "server", or the address of a
// host.
func ParseTapOn(text string) (t TapOn, err error) {
	switch text {
	case "auto", "":
	case "none":
		t.Nowhere = true
	case Client.String():
		t.Ends[Client] = true
	case Server.String():
		t.Ends[Server] = true
	default:
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return t, fmt.Errorf("%q: must be auto, client, server, none, or the IP address of a host", text)
		}
		t.Hosts = []netip.Addr{addr.Unmap()}
	}
	return t, nil
}

// Said reports whether it says anything.
func (t *TapOn) Said() bool { return t.Nowhere || t.Ends != [2]bool{} || len(t.Hosts) > 0 }
