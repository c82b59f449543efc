package capture

import (
	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// Bounds of what a capture can have kept. Bounded counts what did not fit.
const (
	MaxDatagrams     = decode.MaxDatagrams     // fragmented IP datagrams, until they are whole
	MaxPieces        = decode.MaxPieces        // fragments of one
	MaxFragmentBytes = decode.MaxFragmentBytes // octets of memory that they take in all
	MaxWaiting       = pcap.MaxWaiting         // octets of packets that wait to be put in order
	MaxNames         = pcap.MaxNames           // names of hosts in a file, between two packets
	MaxDepth         = decode.MaxDepth         // IP headers of a packet
)

// Bounded counts what was left out to stay within the bounds.
type Bounded struct {
	Datagrams int // given up before they were whole
	Unsorted  int // packets that are late and could not be put in order
	Unnamed   int // names of hosts that were passed over
}

// Add adds what was left out of another capture.
func (b *Bounded) Add(o Bounded) {
	b.Datagrams += o.Datagrams
	b.Unsorted += o.Unsorted
	b.Unnamed += o.Unnamed
}

// bounded is what was left out of the file, as far as it was read.
func (in *input) bounded() Bounded {
	if in.reader == nil {
		return Bounded{}
	}
	return Bounded{Unsorted: in.reader.Unsorted(), Unnamed: in.reader.Unnamed()}
}
