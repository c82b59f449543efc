package record

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
)

// communityID returns the Community ID, version 1 with seed 0, of the TCP flow
// between a and b: the name under which Zeek, Suricata and others file the same
// flow. It is the SHA-1 of seed, addresses, protocol and ports in network
// order, the lesser end first.
func communityID(a, b netip.AddrPort) string {
	const tcp = 6
	lesser, greater := a, b
	if b.Compare(a) < 0 {
		lesser, greater = b, a
	}
	flow := make([]byte, 2, 40) // the seed
	flow, _ = lesser.Addr().AppendBinary(flow)
	flow, _ = greater.Addr().AppendBinary(flow)
	flow = append(flow, tcp, 0)
	flow = binary.BigEndian.AppendUint16(flow, lesser.Port())
	flow = binary.BigEndian.AppendUint16(flow, greater.Port())
	sum := sha1.Sum(flow)
	id := make([]byte, 2, 30)
	copy(id, "1:")
	return string(base64.StdEncoding.AppendEncode(id, sum[:]))
}
