// Package who asks the kernel of this host whose connections are, and in which states
// it has them.
//
//	who_linux.go    answers: sockets and their owners
//	diag_linux.go   sockets, by sock_diag(7)
//	spaces_linux.go network namespaces, and the addresses in them
//	owners_linux.go processes, by /proc
//	events_linux.go processes, by a program in the kernel
//	place.go        units, containers and pods, by the path of a cgroup
//	comment.go      owners in the comments of a file that is written
//	remote.go       the same asked of another process, which has the rights to
//
// A socket is asked for by its addresses and ports, so that a question costs the same
// however many there are. It is asked for in the namespaces that have its address.
package who

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Query asks for a socket.
type Query struct {
	Local, Remote netip.AddrPort
	Again         bool // its owner was not found the last time
}

// An Answer says what there is.
type Answer struct {
	Query
	At     time.Time
	Ours   bool       // Local is an address of this host
	Known  bool       // the kernel was asked, and one namespace answered at most
	Socket tcp.Socket // without At
	Event  bool       // it was not asked for: at that time the Owner opened or closed the connection
}
