package ladder

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Comments tells of every packet of the connections that are selected what is to
// be said of it when the capture is over: where it stood, what it moved, why its
// receiver refused it, what was odd.
//
// What it moved and what was odd is taken from the records, so that what was
// corrected or withdrawn later is not said. Of a packet is kept the number of its
// connection, and of a connection that is selected a few words; nothing of others.
//
// It is given every segment before the tracker is (Take), and all of the
// tracker's events, among them EventSegments (Event, Connection). Of is asked
// when the tracker was closed.
type Comments struct {
	segment  *tcp.Segment // the one being observed
	packets  packetTable
	selected []bool // by connection
	notes    []packetNote
	late     []packetNote // of connections that no packet shows: for their last
	parts    []packetPart
	waiting  map[flowPair][]waitingSYN
	moves    map[packetMove]string // the words for each, kept once
	finished bool
}

// A packetNote is what is to be said of a packet.
type packetNote struct {
	packet, conn uint32
	taken        bool // it moved the end that received it
	text         string
}

// A packetPart is a packet that is a fragment of a segment.
type packetPart struct{ packet, whole uint32 }

// A waitingSYN is a packet that opened nothing when it was seen.
type waitingSYN struct {
	packet uint32
	conn   uint32 // the newest that had begun by then, as far as it is known; 0: none
}

// A packetMove is how a packet moved an end.
type packetMove struct {
	end      tcp.Endpoint
	from, to tcp.State
	midway   bool
	basis    tcp.Basis
}

// NewComments returns Comments that know of nothing yet.
func NewComments() *Comments {
	return &Comments{waiting: make(map[flowPair][]waitingSYN), moves: make(map[packetMove]string)}
}

// Take takes the segment that the tracker will observe next. It is read until
// the next call.
func (c *Comments) Take(s *tcp.Segment) { c.segment = s }

// Part takes a packet that is a fragment of the segment that another makes whole.
// Any goroutine may call it, one at a time.
func (c *Comments) Part(packet, whole int) {
	c.parts = append(c.parts, packetPart{uint32(packet), uint32(whole)})
}

// Event takes the tracker's next event; Connection takes what an EventConnection
// tells.
func (c *Comments) Event(e *tracker.Event) {
	if e.Kind != tracker.EventSegment || e.Packet == 0 {
		return
	}
	c.packets.set(e.Packet, uint32(e.Conn), e.Skipped)
	if e.Conn == 0 {
		pair := pairOf(c.segment.Src, c.segment.Dst)
		c.waiting[pair] = append(c.waiting[pair], waitingSYN{packet: uint32(e.Packet)})
	}
}

// Connection takes a connection that will not change any more.
func (c *Comments) Connection(r *tracker.Record, selected bool) {
	if len(c.waiting) > 0 {
		c.claim(r)
	}
	for len(c.selected) <= r.Conn {
		c.selected = append(c.selected, false)
	}
	if c.selected[r.Conn] = selected; !selected {
		return
	}
	for e := range tcp.Endpoint(2) {
		c.moved(r.Conn, e, r.Ends[e].History)
	}
	for i := range r.Anomalies {
		c.odd(r.Conn, &r.Anomalies[i])
	}
}

// claim gives the SYNs that waited to the newest connection on their addresses and
// ports that had begun by then.
func (c *Comments) claim(r *tracker.Record) {
	waiting := c.waiting[pairOf(r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr)]
	if len(waiting) == 0 {
		return
	}
	first := uint32(0) // packet
	for e := range r.Ends {
		for _, st := range r.Ends[e].History {
			if n := uint32(st.Packet); n != 0 && (first == 0 || n < first) {
				first = n
			}
		}
	}
	for i := range waiting {
		if w := &waiting[i]; first <= w.packet && uint32(r.Conn) > w.conn {
			w.conn = uint32(r.Conn)
		}
	}
}

// moved notes the packets that moved an end.
func (c *Comments) moved(conn int, e tcp.Endpoint, steps []tracker.Step) {
	for i, st := range steps {
		m := packetMove{end: e, to: st.State, basis: st.Basis, midway: i == 0 && st.Inputs == 0, from: tcp.Closed}
		switch {
		case i > 0:
			m.from = steps[i-1].State
		case !m.midway && st.Inputs.First().Received():
			m.from = tcp.Listen
		}
		if st.Packet == 0 {
			continue // a timer
		}
		words, known := c.moves[m]
		if !known {
			words = m.String()
			c.moves[m] = words
		}
		c.notes = append(c.notes, packetNote{uint32(st.Packet), uint32(conn), st.Inputs != 0 && st.Inputs.First().Received(), words})
	}
}

func (m packetMove) String() string {
	if m.midway {
		return fmt.Sprintf("%v in %v, picked up midstream (%v)", m.end, m.to, m.basis)
	}
	return fmt.Sprintf("%v %v -> %v (%v)", m.end, m.from, m.to, m.basis)
}

// odd notes an anomaly, on the packet that showed it, the last that is evidence of
// it, or the last of the connection.
func (c *Comments) odd(conn int, a *anomaly.Anomaly) {
	facts := []string{a.Severity.String(), a.Confidence.String()}
	if a.Count > 1 {
		facts = append(facts, fmt.Sprintf("%d times", a.Count))
	}
	if len(a.Evidence) > 0 {
		facts = append(facts, "frames "+text.Frames(a.Evidence))
	}
	n := packetNote{packet: uint32(a.Packet), conn: uint32(conn),
		text: fmt.Sprintf("! %s (%s): %s", text.Escape(a.Kind), strings.Join(facts, ", "), text.Escape(text.WithNext(a.Text, a.Next))),
	}
	if n.packet == 0 && len(a.Evidence) > 0 {
		n.packet = uint32(a.Evidence[len(a.Evidence)-1])
	}
	if n.packet == 0 {
		c.late = append(c.late, n)
		return
	}
	c.notes = append(c.notes, n)
}

// finish puts what was noted in order.
func (c *Comments) finish() {
	if c.finished {
		return
	}
	c.finished = true
	for _, list := range c.waiting {
		for _, w := range list {
			if conn, skip := c.packets.get(int(w.packet)); conn == 0 {
				c.packets.set(int(w.packet), w.conn, skip)
			}
		}
	}
	if len(c.late) > 0 {
		c.placeLate()
	}
	slices.SortStableFunc(c.notes, func(a, b packetNote) int { return cmp.Compare(a.packet, b.packet) })
	slices.SortFunc(c.parts, func(a, b packetPart) int { return cmp.Compare(a.packet, b.packet) })
}

// placeLate puts what no packet shows on the last of the connection.
func (c *Comments) placeLate() {
	last := make(map[uint32]uint32, len(c.late))
	for _, n := range c.late {
		last[n.conn] = 0
	}
	for packet := range c.packets.last + 1 {
		conn, _ := c.packets.get(packet)
		if _, asked := last[conn]; asked {
			last[conn] = uint32(packet)
		}
	}
	for _, n := range c.late {
		n.packet = last[n.conn]
		c.notes = append(c.notes, n)
	}
}

// notesOf returns what was noted of a packet.
func (c *Comments) notesOf(packet int) []packetNote {
	by := func(n packetNote, packet int) int { return cmp.Compare(int(n.packet), packet) }
	first, _ := slices.BinarySearchFunc(c.notes, packet, by)
	end := first
	for end < len(c.notes) && int(c.notes[end].packet) == packet {
		end++
	}
	return c.notes[first:end]
}

// Of returns what is to be said of a packet, a line a matter. It is not ok if the
// packet is of no connection that is selected, and has moved none and shown
// nothing odd of one.
func (c *Comments) Of(packet int) (comment string, ok bool) {
	c.finish()
	conn, skip := c.packets.get(packet)
	if whole := c.wholeOf(packet); whole != 0 && conn == 0 {
		conn, _ = c.packets.get(whole)
		return fmt.Sprintf("frame %d, conn %d\na fragment; frame %d completes the segment", packet, conn, whole), c.picks(whole)
	}
	if !c.picks(packet) {
		return "", false
	}
	lines := []string{fmt.Sprintf("frame %d", packet)}
	if conn != 0 {
		lines[0] += fmt.Sprintf(", conn %d", conn)
	}
	taken := false
	for _, n := range c.notesOf(packet) {
		line := n.text
		if n.conn != conn {
			line = fmt.Sprintf("conn %d: %s", n.conn, line)
		}
		taken = taken || n.conn == conn && n.taken
		lines = append(lines, line)
	}
	switch {
	case skip == tcp.NotSkipped, taken: // or taken after all
	case skip == tcp.Held:
		lines = slices.Insert(lines, 1, "not applied: no later segment shows that its receiver accepted it")
	default:
		lines = slices.Insert(lines, 1, remark(skip))
	}
	return strings.Join(lines, "\n"), true
}

// picks reports whether the packet is one of those that Of has something to say of,
// fragments apart.
func (c *Comments) picks(packet int) bool {
	conn, _ := c.packets.get(packet)
	return c.selects(conn) || len(c.notesOf(packet)) > 0
}

// wholeOf returns the packet that makes the segment whole of which this one is a
// fragment; 0: it is none.
func (c *Comments) wholeOf(packet int) int {
	i, is := slices.BinarySearchFunc(c.parts, packet, func(p packetPart, packet int) int { return cmp.Compare(int(p.packet), packet) })
	if !is {
		return 0
	}
	return int(c.parts[i].whole)
}

// selects reports whether the connection is selected.
func (c *Comments) selects(conn uint32) bool {
	return int(conn) < len(c.selected) && c.selected[conn]
}

// A packetTable has the connection of every packet, and why that was not taken
// in, in 5 octets each.
type packetTable struct {
	chunks []*packetChunk
	last   int // packet
}

const packetChunkSize = 1 << 12

type packetChunk struct {
	conn [packetChunkSize]uint32
	skip [packetChunkSize]tcp.Skip
}

// set notes the connection of a packet.
func (t *packetTable) set(packet int, conn uint32, skip tcp.Skip) {
	for len(t.chunks) <= packet/packetChunkSize {
		t.chunks = append(t.chunks, nil)
	}
	p := &t.chunks[packet/packetChunkSize]
	if *p == nil {
		*p = new(packetChunk)
	}
	(*p).conn[packet%packetChunkSize], (*p).skip[packet%packetChunkSize] = conn, skip
	t.last = max(t.last, packet)
}

// get returns the connection of a packet; 0: none.
func (t *packetTable) get(packet int) (conn uint32, skip tcp.Skip) {
	if i := packet / packetChunkSize; i < len(t.chunks) && t.chunks[i] != nil {
		return t.chunks[i].conn[packet%packetChunkSize], t.chunks[i].skip[packet%packetChunkSize]
	}
	return 0, tcp.NotSkipped
}
