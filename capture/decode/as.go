package decode

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// An As says that what stands somewhere is to be read as something else.
type As struct {
	at []place
	to place
}

// asSpaces are the numbers that an As may name, as tshark calls them.
var asSpaces = map[string][]space{
	"udp.port":     {udpTo, udpFrom},
	"ethertype":    {etherType},
	"ip.proto":     {ipProto},
	"ppp.protocol": {pppType},
	"dlt":          {linkType},
}

// ParseAs reads an As as tshark -d has it: udp.port==4790,vxlan.
func ParseAs(text string) (As, error) {
	where, name, ok1 := strings.Cut(text, ",")
	space, number, ok2 := strings.Cut(where, "==")
	n, err := strconv.ParseUint(number, 0, 16)
	spaces := asSpaces[space]
	switch to, known := byName[name]; {
	case !ok1 || !ok2 || err != nil || spaces == nil:
		return As{}, fmt.Errorf("%q: want NUMBER and PROTOCOL as in udp.port==4790,vxlan; before == may be %s",
			text, strings.Join(slices.Sorted(maps.Keys(asSpaces)), ", "))
	case !known:
		return As{}, fmt.Errorf("%q: no protocol %q; there are %s", text, name, strings.Join(slices.Sorted(maps.Keys(byName)), ", "))
	default:
		as := As{to: to}
		for _, s := range spaces {
			as.at = append(as.at, place{s, uint16(n)})
		}
		if fixed(as.at[0]) {
			return As{}, fmt.Errorf("%q: %s has only one meaning", text, where)
		}
		return as, nil
	}
}

// fixed reports whether the fast path reads what stands at a place, as what it is.
func fixed(at place) bool {
	switch at.space {
	case etherType:
		return slices.Contains([]uint16{inet.TypeIPv4, inet.TypeIPv6, inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld}, at.n) || at.n < inet.MinType
	case ipProto:
		return at.n > 0xff || quiet[at] || table.get(at) == nil && slices.Contains([]uint16{inet.ProtoHopByHop, inet.ProtoRouting, inet.ProtoFragment, inet.ProtoAH, inet.ProtoDestOpts}, at.n)
	case linkType:
		return pcap.LinkType(at.n).Layout().Kind != pcap.LayoutNone
	}
	return false
}

// setAs makes the decoder read by them.
func (p *Decoder) setAs(list []As) {
	if len(list) == 0 {
		return
	}
	p.as = make(map[place]place)
	ports := opensPort
	p.ports = &ports
	for _, as := range list {
		for _, at := range as.at {
			p.as[at] = as.to
			if at.space == udpTo || at.space == udpFrom {
				ports.add(at)
			}
		}
	}
}
