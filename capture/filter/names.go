package filter

import (
	"strings"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
)

// constants are the names that stand for numbers wherever a number may
// stand: places in headers, and values found there.
var constants = map[string]uint32{
	"tcpflags": 13, "icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1,

	"tcp-fin": 0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08,
	"tcp-ack": 0x10, "tcp-urg": 0x20, "tcp-ece": 0x40, "tcp-cwr": 0x80,

	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5,
	"icmp-echo": 8, "icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11,
	"icmp-paramprob": 12, "icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15,
	"icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,

	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3,
	"icmp6-parameterproblem": 4, "icmp6-echo": 128, "icmp6-echoreply": 129,
	"icmp6-multicastlistenerquery": 130, "icmp6-multicastlistenerreportv1": 131,
	"icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133, "icmp6-routeradvert": 134,
	"icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-routerrenum": 138, "icmp6-multicastlistenerreportv2": 143,
}

// flagNames are the names of TCP's flags that "tcp.flags" is compared with.
var flagNames = map[string]uint32{
	"fin": 0x01, "syn": 0x02, "rst": 0x04, "psh": 0x08, "push": 0x08,
	"ack": 0x10, "urg": 0x20, "ece": 0x40, "cwr": 0x80,
}

// A protocol is a protocol that a primitive can begin with.
type protocol struct {
	name      string
	etherType uint16     // of those right above the link layer, else 0
	number    uint32     // of those above IP
	over      networkSet // which IP may carry it
	indexed   bool       // may stand before "["
}

// protocols are looked up by name; the first that fits is printed.
var protocols = []protocol{
	{name: "ether", indexed: true},
	{name: "link", indexed: true},
	{name: "ip", etherType: inet.TypeIPv4, indexed: true},
	{name: "ip6", etherType: inet.TypeIPv6, indexed: true},
	{name: "arp", etherType: inet.TypeARP, indexed: true},
	{name: "rarp", etherType: inet.TypeRARP, indexed: true},
	{name: "tcp", number: inet.ProtoTCP, over: onIPv4 | onIPv6, indexed: true},
	{name: "udp", number: inet.ProtoUDP, over: onIPv4 | onIPv6, indexed: true},
	{name: "sctp", number: inet.ProtoSCTP, over: onIPv4 | onIPv6, indexed: true},
	{name: "icmp", number: 1, over: onIPv4, indexed: true},
	{name: "icmp6", number: inet.ProtoICMPv6, over: onIPv6, indexed: true},
	{name: "igmp", number: 2, over: onIPv4, indexed: true},
	{name: "igrp", number: 9, over: onIPv4, indexed: true},
	{name: "pim", number: 103, over: onIPv4 | onIPv6, indexed: true},
	{name: "vrrp", number: 112, over: onIPv4, indexed: true},
	{name: "carp", number: 112, over: onIPv4, indexed: true},
	{name: "ah", number: inet.ProtoAH, over: onIPv4 | onIPv6},
	{name: "esp", number: 50, over: onIPv4 | onIPv6},
}

// protoNamed returns the protocol of that name, or nil.
func protoNamed(name string) *protocol {
	for i := range protocols {
		if protocols[i].name == name {
			return &protocols[i]
		}
	}
	return nil
}

// protocolNumbers are the names that may follow "ip proto", besides those of
// protocols.
var protocolNumbers = map[string]uint32{
	"ipencap": 4, "egp": 8, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": inet.ProtoFragment,
	"gre": 47, "ipv6-icmp": inet.ProtoICMPv6, "ipv6-nonxt": 59, "ipv6-opts": 60,
	"eigrp": 88, "ospf": 89, "ipip": 94, "ipcomp": 108, "l2tp": 115, "udplite": 136,
}

// A namedPort is a well-known port, with the transports it is registered for.
// As in tcpdump, a name of one transport asks for that transport too.
type namedPort struct {
	number   uint16
	tcp, udp bool
}

var namedPorts = map[string]namedPort{
	"ftp-data":   {20, true, false},
	"ftp":        {21, true, false},
	"ssh":        {22, true, false},
	"telnet":     {23, true, false},
	"smtp":       {25, true, false},
	"mail":       {25, true, false},
	"whois":      {43, true, false},
	"tacacs":     {49, true, true},
	"domain":     {53, true, true},
	"bootps":     {67, false, true},
	"bootpc":     {68, false, true},
	"tftp":       {69, false, true},
	"gopher":     {70, true, false},
	"finger":     {79, true, false},
	"http":       {80, true, false},
	"www":        {80, true, false},
	"kerberos":   {88, true, true},
	"pop3":       {110, true, false},
	"sunrpc":     {111, true, true},
	"auth":       {113, true, false},
	"ident":      {113, true, false},
	"nntp":       {119, true, false},
	"ntp":        {123, false, true},
	"netbios-ns": {137, false, true}, "netbios-dgm": {138, false, true}, "netbios-ssn": {139, true, false},
	"imap":        {143, true, false},
	"imap2":       {143, true, false},
	"snmp":        {161, true, true},
	"snmp-trap":   {162, true, true},
	"bgp":         {179, true, false},
	"ldap":        {389, true, true},
	"https":       {443, true, true},
	"submissions": {465, true, false},
	"exec":        {512, true, false},
	"login":       {513, true, false},
	"printer":     {515, true, false},
	"isakmp":      {500, false, true},
	"rtsp":        {554, true, true},
	"submission":  {587, true, false},
	"ldaps":       {636, true, true},
	"domain-s":    {853, true, true},
	"rsync":       {873, true, false},
	"ftps":        {990, true, false},
	"telnets":     {992, true, false},
	"imaps":       {993, true, false},
	"pop3s":       {995, true, false},
	"socks":       {1080, true, false},
	"openvpn":     {1194, true, true},
	"ms-sql-s":    {1433, true, false},
	"l2f":         {1701, false, true},
	"l2tp":        {1701, false, true},
	"radius":      {1812, true, true},
	"nfs":         {2049, true, true},
	"mysql":       {3306, true, false}, "ms-wbt-server": {3389, true, false},
	"svn":         {3690, true, false},
	"sip":         {5060, true, true},
	"xmpp-client": {5222, true, false}, "xmpp-server": {5269, true, false},
	"mdns":       {5353, false, true},
	"postgresql": {5432, true, false},
	"x11":        {6000, true, false},
	"redis":      {6379, true, false},
	"ircd":       {6667, true, false},
	"http-alt":   {8080, true, false},
	"git":        {9418, true, false},
}

// refused are tcpdump's other keywords. They are known in order to say
// that they are not supported, instead of taking them for names.
var refused = strings.Fields(`
	gateway broadcast multicast protochain inbound outbound ifindex byte
	pppoed vxlan llc radio
	fddi tr wlan ppp slip type subtype dir direction
	addr1 addr2 addr3 addr4 address1 address2 address3 address4 ra ta
	atalk aarp decnet lat sca moprc mopdl iso esis es-is isis is-is clnp stp ipx netbeui
	l1 l2 iih lsp snp csnp psnp
	lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect
	on ifname rset ruleset rnr rulenum srnr subrulenum reason action
	fisu lssu lsu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls`)
