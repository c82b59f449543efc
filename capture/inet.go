package capture

// Ethernet types (and those of the headers that borrow them).
const (
	typeIPv4      = 0x0800
	typeARP       = 0x0806
	typeTEB       = 0x6558 // transparent Ethernet bridging: an Ethernet frame
	typeRARP      = 0x8035
	typeVLAN      = 0x8100
	typeIPv6      = 0x86dd
	typeMPLS      = 0x8847
	typeMPLSMulti = 0x8848
	typePPPoE     = 0x8864
	typeQinQ      = 0x88a8
	typePBB       = 0x88e7
	typeLoopback  = 0x9000
	typeQinQOld   = 0x9100
	minType       = 0x0600 // smaller ones are lengths of 802.3
)

// IP protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
	protoEtherIP  = 97
	protoSCTP     = 132
)

const (
	ethernetSize = 14
	sllSize      = 16
	sll2Size     = 20
	ipv4Size     = 20
	ipv6Size     = 40
	tcpSize      = 20
)

// MaxExtensions is how many extension headers of IPv6 are looked behind.
const MaxExtensions = 16
