// Package live has what live captures read their packets from: taps.
//
//	ring_linux.go  interfaces of Linux: a ring that the kernel fills (AF_PACKET)
//	libpcap.go     interfaces through libpcap (-tags libpcap) and, on Windows, wpcap.dll
//	bpf.go         interfaces of the BSDs and macOS: /dev/bpf
//	stream.go      a capture on a pipe, and a file that grows
//
// A build has one Open, that of its system. Its errors are ErrNotPermitted,
// ErrNoInterface, and others that say which interface cannot be read and why.
// What is no interface has a function and a file of its own, and is chosen by
// OpenLive of package capture.
package live

import (
	"errors"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/filter"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// Options say which interfaces packets are taken from, and how.
type Options struct {
	Interfaces []string // names; "any" is all there are
	Snap       int      // how many octets are taken of a packet, above 0
	Buffer     int      // octets of the kernel's buffer, above 0
	Promisc    bool     // take packets for other hosts too

	// Filter, unless nil, lets the kernel leave out packets that it does not match.
	// Others that it does not match come all the same.
	Filter *filter.Filter

	// Notice, unless nil, is told in a sentence when an interface goes down or
	// comes back. It is called by Tap.Next.
	Notice func(string)
}

// ErrNotPermitted says that the process may not capture.
var ErrNotPermitted = errors.New("not permitted to capture")

// ErrNoInterface says that there is no interface of that name.
var ErrNoInterface = errors.New("no such interface")

// A Tap is where packets come from. Its methods are for one goroutine, but for
// Wake.
type Tap interface {
	// Next reads the next record. It returns false without an error once before
	// it waits, when the deadline has passed, and when it was woken; idle then
	// says that all that had come was read. At the end of what there is the error
	// is io.EOF.
	Next(r *pcap.Record, deadline time.Time) (ok, idle bool, err error)

	// Taken is when the newest record was taken from the system, at the earliest.
	Taken() time.Time

	// Lag bounds how long a packet is on its way from its time stamp to Next.
	Lag() time.Duration

	// ClockSet is how far the clock that stamps the packets was set forward since the
	// capture began, or back, below 0. It is 0 where nobody knows.
	ClockSet() time.Duration

	// Drops is how many packets were lost so far for want of room or time.
	Drops() int64

	// Device names the interface that a record came from.
	Device(index int) string

	// Seal has the system take no more packets, and reports whether it can: what it
	// has taken comes to an end then.
	Seal() bool

	// Wake has Next return at once, now or when it is called next. Any goroutine
	// may call it.
	Wake()

	// Close ends the capture.
	Close() error
}

// anyInterface names all interfaces.
const anyInterface = "any"
