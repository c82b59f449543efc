package recent

import (
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Reading is what a segment is in the light of what its sender sent before.
type Reading struct {
	Fresh     tcp.Size // payload octets that were not captured before
	Old       bool     // occupies sequence space, none of it new
	Stale     bool     // sent before something already captured, or a copy made by the network: no news of its sender
	Keepalive bool     // RFC 9293 §3.8.4
	Foreign   bool     // its numbers fit neither window
}

// Bits packs a reading.
func (r Reading) Bits() (b Bits) {
	if r.Old {
		b |= WasOld
	}
	if r.Stale {
		b |= WasStale
	}
	if r.Keepalive {
		b |= WasKeepalive
	}
	if r.Foreign {
		b |= WasForeign
	}
	return b
}
