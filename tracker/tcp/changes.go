package tcp

import "fmt"

// Changes says what became another on the way, of a segment that both captures have:
// "MSS 1460 became 1380". What every router or translator of addresses changes is none
// of it: addresses, ports, TTL, identification, checksum and the marks of congestion.
func (s *Segment) Changes() (list []string) {
	if s.Twin == nil || s.Twin.Other == nil {
		return nil
	}
	o := s.Twin.Other
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	number := func(name string, is, was bool, now, then any) {
		switch {
		case was && !is:
			add("%s was taken out", join(name, then))
		case is && !was:
			add("%s was put in", join(name, now))
		case is && now != then:
			add("%s %v became %v", name, then, now)
		}
	}
	is, was := &o.Options, &s.Options
	if s.Cut != CutOptions && o.Cut != CutOptions {
		number("MSS", is.MSS != 0, was.MSS != 0, is.MSS, was.MSS)
		number("window scale", is.HasShift, was.HasShift, is.Shift, was.Shift)
		number("SACK-Permitted", is.SACKOK, was.SACKOK, nil, nil)
		number("the timestamp", is.HasTS, was.HasTS, nil, nil)
		number("the signature", is.Signed, was.Signed, nil, nil)
	}
	if s.Seq != o.Seq {
		add("sequence number %d became %d", uint32(s.Seq), uint32(o.Seq))
	}
	if s.Flags&ACK != 0 && s.Ack != o.Ack {
		add("acknowledgment number %d became %d", uint32(s.Ack), uint32(o.Ack))
	}
	if s.Flags&SYN != 0 || was.HasShift == is.HasShift {
		number("window", true, true, o.Wnd, s.Wnd)
	}
	switch {
	case s.Data != o.Data:
		add("%d bytes became %d", s.Data, o.Data)
	case s.Payload != o.Payload && s.Payload != 0 && o.Payload != 0:
		add("its bytes became others")
	}
	const marks = ECE | CWR | AE
	if f, g := s.Flags&^marks, o.Flags&^marks; f != g {
		add("%v became %v", f, g)
	}
	return list
}

// Same reports whether both are alike in what Changes looks at, and go between the same
// addresses and ports.
func (s *Segment) Same(o *Segment) bool {
	const marks = ECE | CWR | AE
	a, b := &s.Options, &o.Options
	return s.Seq == o.Seq && s.Ack == o.Ack && s.Data == o.Data && s.Wnd == o.Wnd && s.Flags&^marks == o.Flags&^marks && s.Src == o.Src && s.Dst == o.Dst &&
		a.MSS == b.MSS && a.HasShift == b.HasShift && a.Shift == b.Shift && a.SACKOK == b.SACKOK && a.HasTS == b.HasTS && a.Signed == b.Signed &&
		(s.Payload == o.Payload || s.Payload == 0 || o.Payload == 0)
}

// join writes a name, and its value where it has one.
func join(name string, value any) string {
	if value == nil {
		return name
	}
	return fmt.Sprint(name, " ", value)
}
