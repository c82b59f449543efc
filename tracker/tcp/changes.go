package tcp

// Changes are what became another on the way, of a segment that two captures have.
type Changes uint16

const (
	ChangedMSS     Changes = 1 << iota // the option: clamped, mostly
	ChangedScale                       // the window scale
	ChangedOptions                     // others were taken out, or put in
	ChangedNumbers                     // SEQ or ACK
	ChangedWindow
	ChangedLength  // octets of the payload
	ChangedPayload // the octets themselves, as many as before
	ChangedFlags   // the control bits, without those of RFC 3168 and RFC 9768
)

// Changes returns what is another in the same segment, as it was captured behind. It
// leaves out what every router or translator of addresses changes: addresses, ports, TTL,
// identification, checksum and the marks of congestion.
func (s *Segment) Changes(behind *Segment) (c Changes) {
	is, was := &behind.Options, &s.Options
	set := func(change Changes, differ bool) {
		if differ {
			c |= change
		}
	}
	if s.Cut != CutOptions && behind.Cut != CutOptions {
		set(ChangedMSS, is.MSS != was.MSS)
		set(ChangedScale, is.HasShift != was.HasShift || is.Shift != was.Shift)
		set(ChangedOptions, is.SACKOK != was.SACKOK || is.HasTS != was.HasTS || is.Signed != was.Signed)
	}
	set(ChangedNumbers, s.Seq != behind.Seq || s.Ack != behind.Ack && s.Flags&ACK != 0)
	set(ChangedWindow, s.Wnd != behind.Wnd)
	set(ChangedLength, s.Data != behind.Data)
	set(ChangedPayload, s.Data == behind.Data && s.Payload != behind.Payload && s.Payload != 0 && behind.Payload != 0)
	const marks = ECE | CWR | AE
	set(ChangedFlags, s.Flags&^marks != behind.Flags&^marks)
	return c
}
