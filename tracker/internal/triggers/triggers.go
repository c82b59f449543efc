// Package triggers is when a check is asked: on what, and where.
package triggers

// Set is a set of reasons to ask a check.
type Set uint32

const (
	OnSYN        Set = 1 << iota // a SYN without ACK
	OnSYNACK                     // a SYN+ACK
	OnFIN                        // a FIN
	OnRST                        // a RST
	OnICMP                       // an ICMP error about the connection
	OnTimer                      // a timer of the end Scene.From fired, or it was to be looked at; Scene.S is nil
	OnEnd                        // the capture, or the connection, is over; asked for each end; Scene.S is nil
	OnMove                       // an end changed its state
	OnRepeat                     // octets that were sent before
	OnKeepalive                  // a keepalive probe
	OnStale                      // older than what its sender sent before, or a copy made by the network
	OnForeign                    // numbers that fit neither window
	OnWindow                     // a window of zero, one that reopens, or one that shrank
	OnGap                        // an ACK of what was not captured, or numbers passed over
	OnFlags                      // flags or an urgent pointer that do not fit together
	OnQuality                    // cut headers, fragments, checksums, more octets than a segment has
	OnUnsettled                  // any segment while an end is not in ESTABLISHED, or not proved to be
	OnBelow                      // it begins below what its receiver had acknowledged
	OnBeyond                     // data that begins at or behind the right edge of its receiver's window
	OnWrap                       // the numbers of its sender came round to where they began
	OnAwaited                    // any segment while one sent before waits to be accepted or refused
	OnImpostor                   // a SYN was found not to be its alleged sender's: Scene.Impostor
	OnAmongStale                 // any segment of a connection among whose segments those of an older one fell, or may
	OnCorrupt                    // a checksum is wrong of an end whose checksums were right; the segment is dropped
	OnRefused                    // its receiver refuses the segment
	OnBetween                    // something happened to it between captures of several places
	OnChallenge                  // the answer to, or what follows, a segment that its receiver has reason to doubt
)

// Guards is a set of what is true of few connections, or of few moments of one.
// A check that finds nothing elsewhere names one, and is not asked there: that
// spares half of all questions that the triggers of a short connection ask for.
type Guards uint16

const (
	IfRare       Guards = 1 << iota // there is rare state
	IfReset                         // a RST was received by an end
	IfSuccessor                     // an older connection is known on the same addresses and ports
	IfMidstream                     // neither SYN nor SYN+ACK was captured
	IfFromSYNACK                    // its SYN was not captured, but the SYN+ACK
	IfBothSYN                       // both ends sent a SYN without ACK
	IfOneSided                      // of the peer nothing was captured
	IfFinished                      // the end sent its FIN, or somebody one in the name of either
	IfWasClosed                     // the end was CLOSED before
	IfWasSynSent                    // the end was in SYN-SENT before
	IfHalfClosed                    // the end is in FIN-WAIT-2 or CLOSE-WAIT, or was before
	IfRST                           // the segment is a RST

	NumGuards = iota
)

// Kinds is a set of kinds of anomaly, by their places in the list of all.
type Kinds [2]uint64

// Add adds more kinds.
func (set *Kinds) Add(more *Kinds) {
	for i := range set {
		set[i] |= more[i]
	}
}
