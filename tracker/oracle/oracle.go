package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Miss is a difference between the tracker and a kernel.
type Miss struct {
	Story     string // of the conversation
	Tap       string
	Addr      netip.AddrPort // the end
	At        float64        // of the checkpoint; 0: the whole history
	Got, Want string
	Records   []*tracker.Record // what the tracker says of the conversation

	// Why, unless empty, says why the packets of the tap cannot decide it, and
	// Excuse which of the few reasons for that it is.
	Excuse Excuse
	Why    string
}

// String returns what differs, and, where packets could decide it, all that the
// tracker says of the conversation.
func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", m.Story, m.Tap)
	if m.At != 0 {
		fmt.Fprintf(&b, " at %.6f", m.At)
	}
	if m.Addr.IsValid() {
		fmt.Fprintf(&b, ": %v", m.Addr)
	}
	fmt.Fprintf(&b, ": got %s, want %s\n", m.Got, m.Want)
	if m.Why != "" {
		fmt.Fprintf(&b, "  undecidable (%s): %s", m.Excuse, m.Why)
		return b.String()
	}
	for _, r := range m.Records {
		for e, end := range r.Ends {
			fmt.Fprintf(&b, "  conn %d %v %v proved %v:", r.Conn, tcp.Endpoint(e), end.State, end.Proved)
			for _, st := range end.History {
				fmt.Fprintf(&b, " %v(#%d %s %v)", st.State, st.Packet, st.Inputs, st.Basis)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// replay tracks the segments up to the given moment, 0 for all of them, and
// returns the records of all connections as they are then.
func replay(segments []tcp.Segment, until tcp.Time, on tcp.TapOn) []*tracker.Record {
	var records []*tracker.Record
	tk, err := tracker.New(tracker.Config{TapOn: on}, func(e *tracker.Event) {
		if e.Kind == tracker.EventConnection {
			records = append(records, e.Record.Clone())
		}
	})
	if err != nil {
		panic("oracle: the standard configuration is refused: " + err.Error())
	}
	for i := range segments {
		if until != 0 && segments[i].Time > until {
			continue
		}
		tk.Observe(&segments[i])
	}
	tk.Advance(until)
	tk.Close()
	slices.SortFunc(records, func(a, b *tracker.Record) int { return a.Conn - b.Conn })
	return records
}

// between returns the records of the connections between the two ends.
func between(records []*tracker.Record, a, b netip.AddrPort) []*tracker.Record {
	var list []*tracker.Record
	for _, r := range records {
		c, s := r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr
		if c == a && s == b || c == b && s == a {
			list = append(list, r)
		}
	}
	return list
}

// endAt returns the end with the given address.
func endAt(r *tracker.Record, addr netip.AddrPort) *tracker.EndRecord {
	if r.Ends[tcp.Client].Addr == addr {
		return &r.Ends[tcp.Client]
	}
	return &r.Ends[tcp.Server]
}

// socket returns what the tracker says of the one socket that a host can have
// for a pair of addresses: the newest connection in which it has one. In one that
// returned to LISTEN it has none. Where it has none, the newest connection's word
// counts.
func socket(records []*tracker.Record, addr netip.AddrPort) *tracker.Record {
	newest := len(records) - 1
	for i, r := range slices.Backward(records) {
		if state := endAt(r, addr).State; state != tcp.Closed && (state != tcp.Listen || i == newest) {
			return r
		}
	}
	return records[newest]
}

// A look is one end at one checkpoint, from one tap.
type look struct {
	tap, end string
	conn     *Story
	cp       *Checkpoint
	records  []*tracker.Record
}

// looks calls f for each end at every checkpoint of the story, with what the
// tracker says at that moment of the captures that hold the conversation.
func (c *Case) looks(f func(l look)) {
	for _, tap := range c.Taps {
		for _, conn := range c.conversations() {
			for _, cp := range conn.Checkpoints {
				records := between(replay(c.segments[tap], moment(cp.T), c.tapOn(tap)), conn.Addr("client"), conn.Addr("server"))
				if len(records) == 0 {
					records = []*tracker.Record{{}} // it says nothing
					if !c.captured(tap, &conn, cp.T) {
						continue // and nothing was captured
					}
				}
				for _, end := range ends {
					f(look{tap, end, &conn, &cp, records})
				}
			}
		}
	}
}

// captured reports whether the tap had a segment of the conversation by then.
func (c *Case) captured(tap string, conn *Story, t float64) bool {
	list := crossing(c.segments[tap], conn.Addr("client"), conn.Addr("server"))
	return slices.ContainsFunc(list, func(s tcp.Segment) bool { return s.Time <= moment(t) && s.ICMP.Type == 0 })
}

// spoke reports whether the tap had a segment of the end by then.
func (l *look) spoke(segments []tcp.Segment) bool {
	return slices.ContainsFunc(segments, func(s tcp.Segment) bool { return s.Src == l.addr() && s.Time <= moment(l.cp.T) })
}

// addr returns the address of the end.
func (l *look) addr() netip.AddrPort { return l.conn.Addr(l.end) }

// miss makes a Miss of a look.
func (l *look) miss(got, want string, why excuse) Miss {
	return Miss{
		Story: l.conn.Name, Tap: l.tap, Addr: l.addr(), At: l.cp.T,
		Got: got, Want: want, Records: l.records, Excuse: why.kind, Why: why.text,
	}
}

// wanted returns what may be said of the end.
func (c *Case) wanted(l *look) []string {
	return append(l.cp.accepts(l.tap, l.end), l.conn.movedAt(l.cp, l.end, c.within)...)
}

// States compares the tracker's states with the kernels' at all checkpoints
// but those that the story says to be in doubt.
func (c *Case) States() (compared int, misses []Miss) {
	c.looks(func(l look) {
		if l.cp.inDoubt(l.tap, l.end) {
			return
		}
		compared++
		got := endAt(socket(l.records, l.addr()), l.addr()).State
		if want := c.wanted(&l); !slices.Contains(want, got.String()) {
			why := c.undecidable(l.tap, l.end, l.conn, l.cp.T)
			if why == (excuse{}) && got == tcp.Unknown && !l.spoke(crossing(c.segments[l.tap], l.conn.Addr("client"), l.conn.Addr("server"))) {
				why = excuse{SaysUnknown, "the end has not sent a packet, and the tracker says that it does not know"}
			}
			misses = append(misses, l.miss(got.String(), strings.Join(want, " or "), why))
		}
	})
	return compared, misses
}

// Anomalies finds each kind that should have been flagged and was not, and each
// that should not have been. How many were compared is of those that were asked
// for and of the captures.
func (c *Case) Anomalies() (compared int, misses []Miss) {
	flagged := map[string]map[string]*anomaly.Anomaly{}
	for _, tap := range c.Taps {
		flagged[tap] = map[string]*anomaly.Anomaly{}
		for _, r := range replay(c.segments[tap], 0, c.tapOn(tap)) {
			for i := range r.Anomalies {
				flagged[tap][r.Anomalies[i].Kind] = &r.Anomalies[i]
			}
		}
	}
	miss := func(tap, got, want string) {
		misses = append(misses, Miss{Story: c.Name, Tap: tap, Got: got, Want: want})
	}
	for _, kinds := range c.Expect {
		taps := c.Taps
		if at := c.ExpectAt[strings.Join(kinds, "|")]; at != "" {
			taps = []string{at}
		}
		compared++
		found := false
		for _, tap := range taps {
			for _, kind := range kinds {
				found = found || flagged[tap][kind] != nil
			}
		}
		if !found {
			miss(strings.Join(taps, " and "), "not flagged", strings.Join(kinds, " or "))
		}
	}
	for _, tap := range c.Taps {
		compared++
		for _, kind := range c.Forbid {
			if a := flagged[tap][kind]; a != nil {
				miss(tap, a.Kind+" ("+a.Text+")", "no such false alarm")
			}
		}
		if len(c.Expect) > 0 || len(c.Conversations) > 0 {
			continue
		}
		for _, a := range flagged[tap] {
			if a.Severity > anomaly.Notice {
				miss(tap, a.Kind+" ("+a.Text+")", "nothing, as nothing is wrong here")
			}
		}
	}
	return compared, misses
}
