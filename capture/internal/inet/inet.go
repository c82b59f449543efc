// Package inet has numbers of the headers in front of TCP: what names them, and
// how long they are, in octets.
package inet

// Ethernet types (and those of the headers that borrow them).
const (
	TypeIPv4      = 0x0800
	TypeARP       = 0x0806
	TypeTEB       = 0x6558 // transparent Ethernet bridging: an Ethernet frame
	TypeRARP      = 0x8035
	TypeVLAN      = 0x8100
	TypeIPv6      = 0x86dd
	TypeMPLS      = 0x8847
	TypeMPLSMulti = 0x8848
	TypePPPoE     = 0x8864
	TypeQinQ      = 0x88a8
	TypePBB       = 0x88e7
	TypeLoopback  = 0x9000
	TypeQinQOld   = 0x9100
	MinType       = 0x0600 // smaller ones are lengths of 802.3
)

// IP protocol numbers.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoIPv4     = 4
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoIPv6     = 41
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoGRE      = 47
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoDestOpts = 60
	ProtoEtherIP  = 97
	ProtoSCTP     = 132
)

// Sizes of headers: of IP and TCP without options, of Linux cooked captures of
// version 1.
const (
	EthernetSize = 14
	SLLSize      = 16
	IPv4Size     = 20
	IPv6Size     = 40
	TCPSize      = 20
)

// MaxExtensions is how many extension headers of IPv6 are looked behind.
const MaxExtensions = 16
