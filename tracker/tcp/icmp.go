package tcp

// Hard reports whether the error condemns a connection that is open: the other
// host has no such protocol or port (RFC 1122 §4.2.3.9, RFC 4443 §3.1).
func (m ICMP) Hard() bool {
	if m.V6 {
		return m.Type == 1 && (m.Code == 1 || m.Code == 4)
	}
	return m.Type == 3 && (m.Code == 2 || m.Code == 3)
}

// unreachables are the names of the codes of "destination unreachable".
var unreachables = [2]map[uint8]string{
	{0: "network-unreachable", 1: "host-unreachable", 2: "protocol-unreachable", 3: "port-unreachable", 9: "prohibited", 10: "prohibited", 13: "prohibited"},
	{0: "no-route", 1: "prohibited", 3: "address-unreachable", 4: "port-unreachable"},
}

// TooBig reports whether the error says that a segment does not fit the path
// (RFC 1191, RFC 8201).
func (m ICMP) TooBig() bool {
	if m.V6 {
		return m.Type == 2
	}
	return m.Type == 3 && m.Code == 4
}

// Name names the error.
func (m ICMP) Name() string {
	version := 0
	if m.V6 {
		version = 1
	}
	if name := unreachables[version][m.Code]; name != "" {
		return name
	}
	return "unreachable"
}

// Version names the protocol.
func (m ICMP) Version() string {
	if m.V6 {
		return "ICMPv6"
	}
	return "ICMP"
}

// Unreachable reports whether the error says that the destination cannot be
// reached. "Fragmentation needed" and "packet too big" are path MTU discovery.
func (m ICMP) Unreachable() bool {
	if m.V6 {
		return m.Type == 1
	}
	return m.Type == 3 && m.Code != 4
}
