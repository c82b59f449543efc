package recent

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Closing is what the close of a connection left for the anomalies to cite.
type Closing struct {
	FINCopy    int      // frame of the newest repetition of the end's FIN; 0: none
	FINCopyAt  tcp.Time // when it was captured
	Crossed    bool     // that copy left before the ACK of an earlier one can have arrived
	Unanswered bool     // the peer has not acknowledged that copy yet
	Acks       []int    // frames by which the end acknowledged the peer's FIN, the newest few
	StrayInto  int      // frame of the newest segment that reached the end in TIME-WAIT
	StrayFlags tcp.Flags
}

// KeepACK notes the frame of an ACK of the peer's FIN.
func (k *Closing) KeepACK(packet int) {
	if len(k.Acks) < MaxAcksKept && packet != 0 {
		k.Acks = append(k.Acks, packet)
	}
}

// MaxAcksKept bounds closing.Acks.
const MaxAcksKept = 8
