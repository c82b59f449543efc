package tcp

import "time"

// A Socket is what the kernel of an end's own host says of the end, at the time At. It
// is learned by asking, and not from packets.
type Socket struct {
	At     Time
	State  State  // Closed: there is none; Listen: only the one that it would come from; Unknown: it may have changed since
	Cookie uint64 // by which the kernel knows it; another one is another socket

	RecvQueue, SendQueue uint32 // octets that the program has not read, and that the peer has not acknowledged
	RTT                  time.Duration
	Retransmits          uint32 // segments
	Window               uint32 // congestion window, in segments
	HasInfo              bool   // the three before are known

	Owner   Owner
	Differs bool // the packets show another State
}

// An Owner is whose socket it is. What is not known is empty.
type Owner struct {
	Source    OwnerSource // how the program is known
	PID       int
	Program   string
	User      string
	Unit      string // of systemd
	Container string // the first twelve digits of its ID, or its name
	Pod       string // of Kubernetes: its namespace and name, or its UID
}

// OwnerSource says how it is known whose a socket is.
type OwnerSource uint8

const (
	NoOwner      OwnerSource = iota
	FromSocket               // the process has the socket open
	FromListener             // the process has the listening socket open that the connection came to
	FromEvent                // the kernel told that the process opened or closed the connection, when it did
	FromFile                 // the capture says beside the packets which process of its host they are of

	NumOwnerSources
)

func (s OwnerSource) String() string {
	return [...]string{"", "socket", "listener", "event", "file"}[s]
}
