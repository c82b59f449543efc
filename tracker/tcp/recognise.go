package tcp

// What a SYN tells of the stack that made it. A stack fills in by itself what it
// need not agree on with anybody: which options in which order, the window, the
// TTL and the flags of the IP header. Known beyond doubt is a stack alone whose
// SYNs were captured from it, by what no other sends: Linux, gVisor and lwIP. Of
// the others it is general knowledge what they send, and a guess; so it is where a
// host or a device on the way may have changed it, or two may send the same.

// A StackCertainty says how sure it is which stack an end has.
type StackCertainty uint8

const (
	StackUnknown StackCertainty = iota // no SYN of the end was captured, or it fits no profile
	StackGuessed                       // its SYN fits that one better than others
	StackKnown                         // its SYN fits that one alone
	StackNamed                         // the caller said so
)

// String returns the certainty in one word.
func (c StackCertainty) String() string {
	return [...]string{"unknown", "guessed", "known", "named"}[c]
}

// The orders of the options, see Options.Order: MSS 2, window scale 3, SACK
// permitted 4, timestamps 8, no-operation 1.
const (
	OrderLinux       = 0x24813 // gVisor's too
	orderLinuxNoTS   = 0x211413
	orderLinuxNoSACK = 0x211813
	orderLinuxCutTS  = 0x24113 // a firewall made no-operations of the timestamps
	orderFreeBSD     = 0x21348
	orderMacOS       = 0x2131184
	orderWindows     = 0x213114
	orderWindowsTS   = 0x21348 // timestamps are seldom switched on
	orderMSSAndScale = 0x213
	orderMSSAndSACK  = 0x2114
	orderMSSAlone    = 0x2
)

// RecogniseStack returns the stack that a SYN, with or without ACK, is of, and
// how sure that is. It returns StackAuto and StackUnknown where it fits none.
func RecogniseStack(syn *Segment) (StackID, StackCertainty) {
	switch {
	case syn.Cut == CutOptions:
		return StackAuto, StackUnknown
	case syn.TTL > 128:
		return recogniseLwIP(syn)
	case syn.TTL > 64:
		return guessWindows(syn)
	}
	if id, sure := recogniseGVisor(syn); sure != StackUnknown {
		return id, sure
	}
	if id, sure := guessBSD(syn); sure != StackUnknown {
		return id, sure
	}
	return recogniseLinux(syn)
}

// recogniseLwIP knows lwIP by a TTL of 255 at first, the only large window, and
// that its packets may be fragmented. It has neither SACK nor timestamps. Other
// devices may be so bare that they send the MSS alone: then its first sequence
// number tells, which is counted from 6,509.
func recogniseLwIP(syn *Segment) (StackID, StackCertainty) {
	const firstISS, soon = 6509, 1 << 20
	order := syn.Options.Order
	if syn.Wnd != 65535 || order != orderMSSAndScale && order != orderMSSAlone || !syn.NoDF && syn.Src.Addr().Is4() {
		return StackAuto, StackUnknown
	}
	if order == orderMSSAndScale || syn.Seq-firstISS < soon {
		return StackLwIP, StackKnown
	}
	return StackLwIP, StackGuessed
}

// guessWindows tells Windows by a TTL of 128 at first and its order.
func guessWindows(syn *Segment) (StackID, StackCertainty) {
	switch syn.Options.Order {
	case orderWindows, orderWindowsTS, orderMSSAndSACK:
		return StackWindows, StackGuessed
	}
	return StackAuto, StackUnknown
}

// guessBSD tells FreeBSD and macOS by their orders.
func guessBSD(syn *Segment) (StackID, StackCertainty) {
	switch syn.Options.Order {
	case orderFreeBSD:
		return StackBSD, StackGuessed
	case orderMacOS:
		return StackMacOS, StackGuessed
	}
	return StackAuto, StackUnknown
}

// recogniseGVisor knows gVisor, which has Linux's order, by its window: that of
// twenty segments, rounded down to a multiple of the window scale, while Linux
// does not round. Where rounding changes nothing an old Linux offers the same. Its
// SYN has an IP identification, or a flow label, and its SYN+ACK counts segments
// without the timestamps; but devices clear the one (RFC 6864 §4.1), and of a
// lowered MSS the other tells nothing.
func recogniseGVisor(syn *Segment) (StackID, StackCertainty) {
	o := &syn.Options
	switch o.Order {
	case OrderLinux, orderLinuxNoTS, orderLinuxNoSACK, orderMSSAndScale:
	default:
		return StackAuto, StackUnknown
	}
	for _, mss := range likelyMSS(syn) {
		whole := min(20*mss, 65535)
		rounded := whole >> o.Shift << o.Shift
		switch {
		case Size(syn.Wnd) != rounded:
			continue
		case rounded != whole:
			return StackGVisor, StackKnown
		case syn.ID != 0 || syn.Label:
			return StackAuto, StackUnknown
		case syn.Flags&ACK == 0, o.HasTS:
			return StackGVisor, StackGuessed
		}
	}
	return StackAuto, StackUnknown
}

// recogniseLinux knows Linux by its order, with what was not asked for or switched
// off left out, and by a window of whole segments. One of none is of a proxy that
// answers SYNs for another host.
func recogniseLinux(syn *Segment) (StackID, StackCertainty) {
	whole := false
	for _, mss := range likelyMSS(syn) {
		if syn.Flags&ACK != 0 && syn.Options.HasTS {
			mss -= 12 // a SYN+ACK knows already how long the options of all else will be
		}
		whole = whole || Size(syn.Wnd)%mss == 0
	}
	fits := whole && !syn.NoDF && syn.Wnd != 0
	switch syn.Options.Order {
	case OrderLinux, orderLinuxNoTS, orderLinuxNoSACK, orderLinuxCutTS:
		if fits {
			return StackLinux, StackKnown
		}
		return StackLinux, StackGuessed
	case orderMSSAlone, orderMSSAndScale, orderMSSAndSACK:
		if fits {
			return StackLinux, StackGuessed
		}
	}
	return StackAuto, StackUnknown
}

// likelyMSS returns the segment sizes by which the window of a SYN may be counted:
// the MSS that it announces, and those of Ethernet over IPv4 and IPv6, which a
// device on the way may have lowered.
func likelyMSS(syn *Segment) [3]Size {
	mss := Size(syn.Options.MSS)
	if mss <= 12 {
		mss = 1460
	}
	return [3]Size{1460, 1440, mss}
}

// StackReason says by what the stack was recognised; "" if it was not.
func StackReason(id StackID, sure StackCertainty) string { return stackReasons[sure][id] }

// stackReasons has every StackReason.
var stackReasons = func() (list [StackNamed + 1][NumStacks]string) {
	for id := range StackID(NumStacks) {
		list[StackKnown][id] = "its SYN has " + id.Stack().Looks
		list[StackGuessed][id] = "its SYN is most like one that has " + id.Stack().Looks
	}
	return list
}()
