package oracle

import (
	"fmt"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A visit is one state of an end's history.
type visit struct {
	state string
	at    float64
}

func (v visit) String() string { return fmt.Sprintf("%s at %.6f", v.state, v.at) }

// kernelHistory returns the states that the kernel went through, one list for
// each incarnation, LISTEN left aside.
func kernelHistory(moves []Move) (lists [][]visit) {
	for _, m := range moves {
		if m.To == "LISTEN" {
			continue
		}
		opens := m.To == "SYN_SENT" || m.To == "SYN_RCVD" && m.From != "SYN_SENT" || m.From == "LISTEN"
		if opens || len(lists) == 0 {
			lists = append(lists, nil)
		}
		lists[len(lists)-1] = append(lists[len(lists)-1], visit{m.To, m.T})
	}
	return lists
}

// ourHistory returns the states that the tracker saw the end in, one list for
// each incarnation.
func ourHistory(l look) (lists [][]visit) {
	for _, r := range l.records {
		var list []visit
		for _, st := range endAt(r, l.conn.Addr(l.end)).History {
			name := st.State.String()
			if st.State == tcp.Listen {
				name = "CLOSED" // where RFC 9293 returns to LISTEN, Linux drops the request
			}
			list = append(list, visit{name, float64(st.Time) / 1e9})
		}
		if list != nil {
			lists = append(lists, list)
		}
	}
	return lists
}

// shown reports whether a packet at the host, or TIME-WAIT's end, tells of a
// move of its kernel.
func shown(v visit, atHost []tcp.Segment) bool {
	return shownBy(v, atHost, func(*tcp.Segment) bool { return true })
}

// shownBy is shown for some of the packets.
func shownBy(v visit, atHost []tcp.Segment, tells func(s *tcp.Segment) bool) bool {
	const polled = 0.012 // what was read by polling is late by some ms
	for i := range atHost {
		if d := v.at - float64(atHost[i].Time)/1e9; -0.001 < d && d < polled && tells(&atHost[i]) {
			return true
		}
	}
	return false
}

// settle drops what two sound observers may see differently: the state between
// FIN_WAIT_1 and TIME_WAIT depends on which of two segments in flight arrives
// first; under SYN cookies the kernel keeps no state before ESTABLISHED.
func settle(list []visit, cookies bool) []visit {
	var kept []visit
	for i, v := range list {
		between := (v.state == "FIN_WAIT_2" || v.state == "CLOSING") && i+1 < len(list) && list[i+1].state == "TIME_WAIT"
		if !between && !(cookies && v.state == "SYN_RCVD") {
			kept = append(kept, v)
		}
	}
	return kept
}

// agree compares the history of one incarnation with the kernel's. A state that
// the kernel passes through within one segment need not be told. What a new
// incarnation replaced is gone, whether the kernel said so or not.
func agree(ours, kernel []visit, atHost []tcp.Segment, replaced bool) bool {
	cookies := kernel[0].state == "ESTABLISHED"
	ours, kernel = settle(ours, cookies), settle(kernel, cookies)
	i := 0
	const atOnce = 0.0001
	for n, k := range kernel {
		if i < len(ours) && ours[i].state == k.state {
			i++
			continue
		}
		brief := n+1 < len(kernel) && kernel[n+1].at-k.at < atOnce
		gone := replaced && n+1 == len(kernel) && k.state == "CLOSED"
		if !brief && !gone && shown(k, atHost) {
			return false
		}
	}
	return i == len(ours) || replaced && i == len(ours)-1 && ours[i].state == "CLOSED"
}

// Histories compares the order of the states that the tracker saw with that of
// the kernels, up to the last checkpoint, unless the story says that the end
// is in doubt then.
func (c *Case) Histories() (compared int, misses []Miss) {
	c.looks(func(l look) {
		last := &l.conn.Checkpoints[len(l.conn.Checkpoints)-1]
		if l.cp.T != last.T || last.inDoubt(l.tap, l.end) || len(last.accepts(l.tap, l.end)) > 1 {
			return
		}
		compared++
		atHost := crossing(c.at(l.end), l.conn.Addr("client"), l.conn.Addr("server"))
		ours, kernel := ourHistory(l), kernelHistory(l.conn.Moves[l.end])
		ok := len(ours) == len(kernel)
		for i := range ours {
			ok = ok && agree(ours[i], kernel[i], atHost, i+1 < len(ours))
		}
		if !ok {
			misses = append(misses, l.miss(fmt.Sprint(ours), fmt.Sprint(kernel), c.unordered(l.tap, l.end, l.conn, last.T)))
			misses[len(misses)-1].At = 0
		}
	})
	return compared, misses
}
