package report

import (
	"bytes"
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
	if bytes.Compare(flowEnd(b), flowEnd(a)) < 0 {
		lesser, greater = b, a
	}
	flow := make([]byte, 2, 64) // the seed
	flow = append(flow, lesser.Addr().AsSlice()...)
	flow = append(flow, greater.Addr().AsSlice()...)
	flow = append(flow, tcp, 0)
	flow = binary.BigEndian.AppendUint16(flow, lesser.Port())
	flow = binary.BigEndian.AppendUint16(flow, greater.Port())
	sum := sha1.Sum(flow)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// flowEnd returns address and port as the bytes by which ends are ordered.
func flowEnd(end netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(end.Addr().AsSlice(), end.Port())
}
