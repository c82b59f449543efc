package tcp

import (
	"fmt"
	"slices"
	"strings"
)

// Options are the TCP options that the tracker reads. An option that is absent
// leaves its fields zero.
type Options struct {
	MSS      uint16 // maximum segment size (RFC 9293 §3.7.1); 0: none
	Shift    uint8  // window scale (RFC 7323 §2), 0 to 14; larger ones count as 14
	HasShift bool
	SACKOK   bool   // SACK permitted (RFC 2018)
	HasTS    bool   // timestamps (RFC 7323 §3)
	Order    uint64 // the kinds of the four above and of the no-operations between as they came, see Place
	TSVal    uint32
	TSEcr    uint32
	Signed   bool // TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925); what it signs is not checked
	FastOpen bool // TCP Fast Open, a cookie or the request for one (RFC 7413)
	NumSACK  uint8
	SACK     [4]Block // the first NumSACK are set; RFC 2018
}

// A Block is one SACK block: the octets [Left, Right).
type Block struct{ Left, Right Seq }

// The kinds of the options in Options.Order.
const (
	optionNop    = 1
	optionMSS    = 2
	optionShift  = 3
	optionSACKOK = 4
	optionTS     = 8
)

// Place puts an option of the given kind last in the order: four bits each, the
// last in the low bits. 0x24813 is MSS, SACK permitted, timestamps, no-operation,
// window scale. Of an option that repeats the first counts, and of
// no-operations two in a row, behind an option: ten places at most.
func (o *Options) Place(kind uint8) {
	if kind == optionNop {
		if o.Order == 0 || o.Order&0xff == optionNop<<4|optionNop {
			return
		}
	} else if o.places(kind) {
		return
	}
	o.Order = o.Order<<4 | uint64(kind)
}

// Placed ends the order: no-operations behind the last of the options fill up.
func (o *Options) Placed() {
	for o.Order&0xf == optionNop {
		o.Order >>= 4
	}
}

// places reports whether an option of the given kind is in the order.
func (o *Options) places(kind uint8) bool {
	for left := o.Order; left != 0; left >>= 4 {
		if uint8(left&0xf) == kind {
			return true
		}
	}
	return false
}

// ordered returns the kinds of those options that Order is of and that are
// there: in that order, and then those that it lacks.
func (o *Options) ordered() []uint8 {
	var kinds []uint8
	for left := o.Order; left != 0; left >>= 4 {
		kinds = append(kinds, uint8(left&0xf))
	}
	slices.Reverse(kinds)
	kinds = append(kinds, optionMSS, optionShift, optionSACKOK, optionTS)
	there := map[uint8]bool{optionNop: true, optionMSS: o.MSS != 0, optionShift: o.HasShift, optionSACKOK: o.SACKOK, optionTS: o.HasTS}
	return slices.DeleteFunc(kinds, func(k uint8) bool {
		was := there[k]
		there[k] = k == optionNop
		return !was
	})
}

// The notation of options; see notation.go. They are in the order of the header,
// but for those that are not of a SYN:
//
//	<MSS=n>, <WS=n>, <SACKOK>, <TS=value,echo>, <NOP>, <SACK=left:right,...>, <TFO>, <SIGNED>

// writeFields writes the options as fields.
func (o *Options) writeFields(field func(format string, args ...any)) {
	for _, kind := range o.ordered() {
		switch kind {
		case optionNop:
			field("NOP")
		case optionMSS:
			field("MSS=%d", o.MSS)
		case optionShift:
			field("WS=%d", o.Shift)
		case optionSACKOK:
			field("SACKOK")
		case optionTS:
			field("TS=%d,%d", o.TSVal, o.TSEcr)
		}
	}
	if o.NumSACK > 0 {
		var blocks []string
		for _, k := range o.SACK[:o.NumSACK] {
			blocks = append(blocks, fmt.Sprintf("%d:%d", uint32(k.Left), uint32(k.Right)))
		}
		field("SACK=%s", strings.Join(blocks, ","))
	}
	if o.FastOpen {
		field("TFO")
	}
	if o.Signed {
		field("SIGNED")
	}
}

// parseField sets the option that a field names. It reports whether the field
// is one of an option.
func (o *Options) parseField(name string, v *fieldValue) bool {
	switch name {
	case "NOP":
		o.Place(optionNop)
	case "MSS":
		o.MSS = uint16(v.number(16))
		o.Place(optionMSS)
	case "WS":
		o.Shift, o.HasShift = uint8(v.number(8)), true
		o.Place(optionShift)
	case "SACKOK":
		o.SACKOK = true
		o.Place(optionSACKOK)
	case "TS":
		val, ecr := v.pair(v.text, ",", 32)
		o.TSVal, o.TSEcr, o.HasTS = uint32(val), uint32(ecr), true
		o.Place(optionTS)
	case "SACK":
		for _, block := range strings.Split(v.text, ",") {
			if int(o.NumSACK) == len(o.SACK) {
				v.err = fmt.Errorf("at most %d blocks", len(o.SACK))
				break
			}
			l, r := v.pair(block, ":", 32)
			o.SACK[o.NumSACK] = Block{Seq(l), Seq(r)}
			o.NumSACK++
		}
	case "TFO":
		o.FastOpen = true
	case "SIGNED":
		o.Signed = true
	default:
		return false
	}
	return true
}
