package tracker_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// The stories in testdata/traces were played on two real Linux kernels, whose
// states were read from the kernels themselves and stand in truth.json.

type truth struct {
	Scenario  string
	Taps      []string
	Endpoints map[string]struct {
		Addr string
		Port uint16
	}
	Checkpoints []checkpoint
	Transitions map[string][]struct {
		T        float64
		From, To string
		Src      string
	}
	Connections []truth
	Expect      [][]string        `json:"expect_anomalies"`
	ExpectAt    map[string]string `json:"expect_at"`
	Forbid      []string          `json:"forbid_anomalies"`
}

type checkpoint struct {
	T              float64
	Client, Server string
	Accept         map[string][]string
	AcceptAt       map[string]map[string][]string `json:"accept_at"`
	InDoubt        map[string][]string            `json:"in_doubt"`
}

func (c checkpoint) state(end string) string {
	if end == "client" {
		return c.Client
	}
	return c.Server
}

// accepts returns what a bystander at the tap may say of the end.
func (c checkpoint) accepts(tap, end string) []string {
	return slices.Concat([]string{c.state(end)}, c.Accept[end], c.AcceptAt[tap][end])
}

func (tr truth) addr(end string) netip.AddrPort {
	e := tr.Endpoints[end]
	return netip.AddrPortFrom(netip.MustParseAddr(e.Addr), e.Port)
}

// stories calls f with every story's truth and the directory of its captures.
func stories(t *testing.T, f func(t *testing.T, dir string, tr truth)) {
	files, err := filepath.Glob("testdata/traces/*/truth.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tr truth
		if err := json.Unmarshal(data, &tr); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		t.Run(tr.Scenario, func(t *testing.T) { f(t, filepath.Dir(file), tr) })
	}
}

// load reads the segments of a capture.
func load(t *testing.T, path string) []tracker.Segment {
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var list []tracker.Segment
	for s, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, *s)
	}
	return list
}

// replay tracks the segments up to the given time (0: all) and returns the
// records of all connections as they are then.
func replay(t *testing.T, segments []tracker.Segment, until tracker.Time) []*tracker.Record {
	var records []*tracker.Record
	tk, err := tracker.New(tracker.Config{}, func(e tracker.Event) {
		if e.Kind == tracker.Over {
			records = append(records, e.Over.Clone())
		}
	})
	if err != nil {
		t.Fatal(err)
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

func unix(t float64) tracker.Time { return tracker.Time(t * 1e9) }

// between returns the records of the connections between the two ends.
func between(records []*tracker.Record, a, b netip.AddrPort) []*tracker.Record {
	var list []*tracker.Record
	for _, r := range records {
		c, s := r.Ends[tracker.Client].Addr, r.Ends[tracker.Server].Addr
		if c == a && s == b || c == b && s == a {
			list = append(list, r)
		}
	}
	return list
}

// endAt returns the end with the given address.
func endAt(r *tracker.Record, addr netip.AddrPort) *tracker.EndRecord {
	if r.Ends[tracker.Client].Addr == addr {
		return &r.Ends[tracker.Client]
	}
	return &r.Ends[tracker.Server]
}

// socket returns the state of the one socket that a host can have for a pair
// of addresses: that of the newest connection in which it has one.
func socket(records []*tracker.Record, addr netip.AddrPort) (state, proved tracker.State) {
	for _, r := range slices.Backward(records) {
		if e := endAt(r, addr); e.State != tracker.Closed {
			return e.State, e.Proved
		}
	}
	return tracker.Closed, tracker.Closed
}

func TestStatesEqualKernels(t *testing.T) {
	right, all := 0, 0
	stories(t, func(t *testing.T, dir string, tr truth) {
		checkpoints(t, dir, tr, func(tap, end string, conn truth, cp checkpoint, records []*tracker.Record) {
			if slices.Contains(cp.InDoubt[tap], end) {
				return
			}
			all++
			got, _ := socket(records, conn.addr(end))
			if want := cp.accepts(tap, end); slices.Contains(want, got.String()) {
				right++
			} else {
				t.Errorf("%s: %v at %.6f: %s is %v, want %v\n%s", tap, conn.addr("client"), cp.T, end, got, want, describe(records))
			}
		})
	})
	t.Logf("%d of %d states at checkpoints equal the kernel's", right, all)
	if all < 100 {
		t.Errorf("only %d states compared", all)
	}
}

// conversations are the story's connections: itself, or those it lists.
func (tr truth) conversations() []truth {
	if len(tr.Connections) > 0 {
		return tr.Connections
	}
	return []truth{tr}
}

// checkpoints calls f for each end at every checkpoint of the story, with what
// the tracker says at that moment of the captures that hold the connection.
func checkpoints(t *testing.T, dir string, tr truth, f func(tap, end string, conn truth, cp checkpoint, records []*tracker.Record)) {
	for _, tap := range tr.Taps {
		segments := load(t, filepath.Join(dir, tap))
		for _, conn := range tr.conversations() {
			for _, cp := range conn.Checkpoints {
				records := between(replay(t, segments, unix(cp.T)), conn.addr("client"), conn.addr("server"))
				if len(records) == 0 {
					continue // nothing of it was captured here
				}
				f(tap, "client", conn, cp, records)
				f(tap, "server", conn, cp, records)
			}
		}
	}
}

// describe prints records for a failing test.
func describe(records []*tracker.Record) string {
	var b strings.Builder
	for _, r := range records {
		for e, end := range r.Ends {
			fmt.Fprintf(&b, "  conn %d %v %v proved %v:", r.Conn, tracker.End(e), end.State, end.Proved)
			for _, st := range end.History {
				fmt.Fprintf(&b, " %v(#%d %s %v)", st.State, st.Packet, st.Event, st.Basis)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// follows reports whether an end that is in state a may come to state b.
func follows(a, b tracker.State) bool {
	seen := map[tracker.State]bool{a: true}
	for queue := []tracker.State{a}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == b {
			return true
		}
		for _, row := range tracker.Transitions() {
			if row.From == queue[0] && !seen[row.To] {
				seen[row.To] = true
				queue = append(queue, row.To)
			}
		}
	}
	return false
}

func TestProvedIsNeverAheadOfKernels(t *testing.T) {
	compared := 0
	stories(t, func(t *testing.T, dir string, tr truth) {
		checkpoints(t, dir, tr, func(tap, end string, conn truth, cp checkpoint, records []*tracker.Record) {
			_, proved := socket(records, conn.addr(end))
			kernel, _ := tracker.ParseState(cp.state(end))
			compared++
			if proved != tracker.Unknown && !follows(proved, kernel) {
				t.Errorf("%s: %v %s: %v is proved, the kernel is in %v\n%s", tap, conn.addr("client"), end, proved, kernel, describe(records))
			}
		})
	})
	t.Logf("%d proved states compared", compared)
}

// A visit is one state of an end's history.
type visit struct {
	state string
	at    float64
}

// kernelHistory returns the states that the kernel went through, one list for
// each incarnation, LISTEN left aside.
func kernelHistory(tr truth, end string) (lists [][]visit) {
	for _, m := range tr.Transitions[end] {
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

// shown reports whether a packet at the host, or TIME-WAIT's end, tells of a
// move of its kernel at time t.
func shown(v visit, atHost []tracker.Segment) bool {
	const polled = 0.012 // what was read by polling is late by some ms
	for _, s := range atHost {
		if d := v.at - float64(s.Time)/1e9; -0.001 < d && d < polled {
			return true
		}
	}
	return false
}

// settle drops what two sound observers may see differently: the state between
// FIN_WAIT_1 and TIME_WAIT depends on which of two segments in flight arrives
// first, and lasts microseconds where one segment is both; under SYN cookies the
// kernel keeps no state before ESTABLISHED.
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

// agree compares the history of one incarnation with the kernel's.
func agree(ours, kernel []visit, atHost []tracker.Segment) bool {
	cookies := kernel[0].state == "ESTABLISHED"
	ours, kernel = settle(ours, cookies), settle(kernel, cookies)
	i := 0
	for _, k := range kernel {
		if i < len(ours) && ours[i].state == k.state {
			i++
			continue
		}
		if shown(k, atHost) {
			return false
		}
	}
	return i == len(ours)
}

// unseen are histories that a capture cannot hold, with the reason.
var unseen = map[string]string{
	"old-dup-syn-listen client.pcap server": "the SYN that the server answers first was put on the wire behind this tap",
}

func TestHistoriesEqualKernels(t *testing.T) {
	right, all := 0, 0
	stories(t, func(t *testing.T, dir string, tr truth) {
		host := map[string][]tracker.Segment{}
		for _, tap := range tr.Taps {
			host[strings.SplitN(tap, ".", 2)[0]] = load(t, filepath.Join(dir, tap))
		}
		for _, tap := range tr.Taps {
			segments := host[strings.SplitN(tap, ".", 2)[0]]
			for _, conn := range tr.conversations() {
				last := conn.Checkpoints[len(conn.Checkpoints)-1]
				records := between(replay(t, segments, unix(last.T)), conn.addr("client"), conn.addr("server"))
				if len(records) == 0 {
					continue
				}
				for _, end := range []string{"client", "server"} {
					if slices.Contains(last.InDoubt[tap], end) || len(last.Accept[end])+len(last.AcceptAt[tap][end]) > 0 {
						continue
					}
					atHost := crossing(host[end], conn.addr("client"), conn.addr("server"))
					kernel := kernelHistory(conn, end)
					var ours [][]visit
					for _, r := range records {
						var list []visit
						for _, st := range endAt(r, conn.addr(end)).History {
							name := st.State.String()
							if st.State == tracker.Listen {
								name = "CLOSED" // where RFC 9293 returns to LISTEN, Linux drops the request
							}
							list = append(list, visit{name, float64(st.Time) / 1e9})
						}
						if list != nil {
							ours = append(ours, list)
						}
					}
					all++
					if reason := unseen[tr.Scenario+" "+tap+" "+end]; reason != "" {
						continue
					}
					ok := len(ours) == len(kernel)
					for i := range ours {
						ok = ok && agree(ours[i], kernel[i], atHost)
					}
					if ok {
						right++
						continue
					}
					t.Errorf("%s: %v %s:\n  got  %v\n  want %v\n%s", tap, conn.addr("client"), end, ours, kernel, describe(records))
				}
			}
		}
	})
	t.Logf("%d of %d histories equal the kernel's", right, all)
}

// crossing returns the segments between the two ends.
func crossing(segments []tracker.Segment, a, b netip.AddrPort) []tracker.Segment {
	var list []tracker.Segment
	for _, s := range segments {
		if s.Src == a && s.Dst == b || s.Src == b && s.Dst == a {
			list = append(list, s)
		}
	}
	return list
}
