package watch

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/who"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A played is who is asked in a test.
type played struct {
	asked   []who.Query
	answers []who.Answer
	missing []string
	gone    bool
}

func (p *played) Ask(list []who.Query) bool {
	p.asked = append(p.asked, list...)
	return true
}

func (p *played) Answers() (list []who.Answer, gone bool) {
	list, p.answers = p.answers, nil
	return list, p.gone
}

func (p *played) Missing() []string { return p.missing }

var (
	whoClient = netip.MustParseAddrPort("10.0.0.1:40000")
	whoServer = netip.MustParseAddrPort("10.0.0.2:80")
)

// A scene is locals with one pair of ends. Times are milliseconds.
type whoScene struct {
	*locals
	play  *played
	notes []string
}

func newWhoScene() *whoScene {
	s := &whoScene{play: new(played)}
	w := &Watch{notice: func(said string) { s.notes = append(s.notes, said) }}
	w.Ask(s.play)
	s.locals = w.locals
	return s
}

func msec(n int) tcp.Time { return tcp.Time(time.Hour).Add(time.Duration(n) * time.Millisecond) }

func (s *whoScene) opens(at int) {
	s.event(&tracker.Event{Kind: tracker.EventOpen, Time: msec(at), Client: whoClient, Server: whoServer})
}

// answers has the kernel answer for the client, or the server.
func (s *whoScene) answers(e tcp.Endpoint, at int, socket tcp.Socket) {
	q := who.Query{Local: whoClient, Remote: whoServer}
	if e == tcp.Server {
		q = who.Query{Local: whoServer, Remote: whoClient}
	}
	s.play.answers = append(s.play.answers, who.Answer{Query: q, At: time.Unix(0, int64(msec(at))), Ours: true, Known: true, Socket: socket})
	s.take(0)
}

// happens has the kernel tell that a program opened the client's end.
func (s *whoScene) happens(at int, program string) {
	q := who.Query{Local: whoClient, Remote: whoServer}
	owner := tcp.Owner{Source: tcp.FromEvent, PID: 1, Program: program}
	s.play.answers = append(s.play.answers, who.Answer{Query: q, At: time.Unix(0, int64(msec(at))), Ours: true, Known: true, Event: true, Socket: tcp.Socket{Owner: owner}})
	s.take(0)
}

// record is a connection with packets from one time to another.
func whoRecord(first, last int, states ...tcp.State) *tracker.Record {
	r := &tracker.Record{Start: msec(first), End: msec(last)}
	for e, addr := range []netip.AddrPort{whoClient, whoServer} {
		r.Ends[e] = tracker.EndRecord{Addr: addr, State: tcp.Established, Certainty: tcp.Assumed, Listener: e == 1}
		if len(states) > e {
			r.Ends[e].State = states[e]
		}
	}
	return r
}

func owned(cookie uint64, program string) tcp.Socket {
	return tcp.Socket{State: tcp.Established, Cookie: cookie, HasInfo: true, Owner: tcp.Owner{Source: tcp.FromSocket, PID: int(cookie), Program: program}}
}

// programOf is what is known of an end in the record, which is over or not.
func (s *whoScene) programOf(r *tracker.Record, e tcp.Endpoint, over bool) string {
	s.fill(r, over)
	if x := r.Ends[e].Socket; x != nil {
		return x.Owner.Program
	}
	return ""
}

// No connection has the owner of the one that had its addresses and ports before or
// after, whichever is known first.
func TestOwnersOfReusedPorts(t *testing.T) {
	for name, row := range map[string]struct {
		play          func(*whoScene)
		first, second string
	}{
		"in turn": {func(s *whoScene) {
			s.opens(0)
			s.answers(tcp.Client, 5, owned(1, "a"))
			s.opens(10)
			s.answers(tcp.Client, 15, owned(2, "b"))
		}, "a", "b"},
		"the answer comes before the packet": {func(s *whoScene) {
			s.opens(0)
			s.answers(tcp.Client, 12, owned(2, "b"))
			s.opens(10)
		}, "", "b"},
		"the answer comes late": {func(s *whoScene) {
			s.opens(0)
			s.opens(10)
			s.answers(tcp.Client, 5, owned(1, "a"))
		}, "a", ""},
		"the other socket comes before the packet": {func(s *whoScene) {
			s.opens(0)
			s.answers(tcp.Client, 5, owned(1, "a"))
			s.answers(tcp.Client, 12, owned(2, "b"))
			s.opens(10)
			s.answers(tcp.Client, 20, owned(2, "b"))
		}, "a", "b"},
		"events in turn": {func(s *whoScene) {
			s.opens(0)
			s.happens(1, "a")
			s.opens(10)
			s.happens(11, "b")
		}, "a", "b"},
		"the event comes before the packet": {func(s *whoScene) {
			s.opens(0)
			s.happens(11, "b")
			s.opens(10)
		}, "", "b"},
		"the event is of the first, the socket of the second": {func(s *whoScene) {
			s.opens(0)
			s.happens(1, "a")
			s.answers(tcp.Client, 12, tcp.Socket{State: tcp.Established, Cookie: 2, HasInfo: true})
			s.opens(10)
		}, "a", ""},
		"the socket tells more than the event": {func(s *whoScene) {
			s.opens(0)
			s.happens(1, "parent")
			s.answers(tcp.Client, 5, owned(1, "a"))
			s.opens(10)
		}, "a", ""},
		"from before both": {func(s *whoScene) {
			s.opens(10)
			s.answers(tcp.Client, 5, owned(1, "a"))
			s.opens(20)
		}, "", ""},
	} {
		s := newWhoScene()
		row.play(s)
		first := 0
		if name == "from before both" {
			first = 10
		}
		if got := s.programOf(whoRecord(first, first+5), tcp.Client, true); got != row.first {
			t.Errorf("%s: the first is of %q, want %q", name, got, row.first)
		}
		if got := s.programOf(whoRecord(first+10, first+20), tcp.Client, true); got != row.second {
			t.Errorf("%s: the second is of %q, want %q", name, got, row.second)
		}
		if len(s.flows) != 0 {
			t.Errorf("%s: %d are kept of what is over", name, len(s.flows))
		}
	}
}

// What listens tells of the server alone, and only where it has answered.
func TestOwnersByListener(t *testing.T) {
	listener := tcp.Socket{State: tcp.Listen, Cookie: 9, HasInfo: true, Owner: tcp.Owner{Source: tcp.FromListener, Program: "nginx"}}
	s := newWhoScene()
	s.opens(0)
	s.answers(tcp.Server, 5, listener)
	s.answers(tcp.Client, 5, listener)
	r := whoRecord(0, 5)
	if got := s.programOf(r, tcp.Server, false); got != "nginx" || r.Ends[tcp.Server].Socket.State != tcp.Unknown {
		t.Errorf("the server is of %q, %+v", got, r.Ends[tcp.Server].Socket)
	}
	if got := r.Ends[tcp.Client].Socket; got != nil {
		t.Errorf("the client has %+v", got)
	}
	r.Ends[tcp.Server].Listener, r.Ends[tcp.Server].Socket = false, nil
	if got := s.programOf(r, tcp.Server, false); got != "" {
		t.Errorf("a server that has not answered is of %q", got)
	}
	// The connection's own socket tells better, and what listens no longer counts.
	s.answers(tcp.Server, 10, owned(1, "worker"))
	s.answers(tcp.Server, 20, listener)
	r = whoRecord(0, 15, tcp.Closed, tcp.Closed)
	if got := s.programOf(r, tcp.Server, false); got != "worker" || r.Ends[tcp.Server].Socket.State != tcp.Closed || r.Ends[tcp.Server].Certainty != tcp.Kernel {
		t.Errorf("the server is of %q, %+v", got, r.Ends[tcp.Server])
	}
}

// The kernel's state counts until the next packet, and is compared where nothing happened
// around it.
func TestWitness(t *testing.T) {
	closeWait := owned(1, "a")
	closeWait.State = tcp.CloseWait
	for name, row := range map[string]struct {
		says              tcp.Socket
		last, asked, now  int // the last packet, the answer, and when it is looked at
		compared, differs bool
		certain           tcp.Certainty
		known             bool // its state
	}{
		"agrees":                        {owned(1, "a"), 0, 100, 300, true, false, tcp.Kernel, true},
		"differs":                       {closeWait, 0, 100, 300, true, true, tcp.Assumed, true},
		"a packet just before":          {closeWait, 97, 100, 300, false, false, tcp.Assumed, true},
		"a packet after":                {closeWait, 150, 100, 300, false, false, tcp.Assumed, false},
		"packets before may still come": {closeWait, 0, 100, 150, false, false, tcp.Assumed, true},
		"says nothing":                  {tcp.Socket{State: tcp.Closed}, 0, 100, 300, false, false, tcp.Assumed, false},
	} {
		s := newWhoScene()
		s.opens(0)
		s.answers(tcp.Client, row.asked, row.says)
		r := whoRecord(0, row.last)
		for range 3 { // each answer counts once
			s.look(r, msec(row.now), false)
		}
		want := Witness{}
		if row.compared {
			want.Compared = 1
		}
		if row.differs {
			want.Differed = 1
		}
		s.fill(r, false)
		end := &r.Ends[tcp.Client]
		known, differs := end.Socket != nil && end.Socket.State != tcp.Unknown, end.Socket != nil && end.Socket.Differs
		if s.witness != want || end.Certainty != row.certain || known != row.known || differs != row.differs {
			t.Errorf("%s: got %+v, %+v, %+v", name, s.witness, end, end.Socket)
		}
	}
}

// A connection that is open is asked for again, a stranger is not, and what is missing is
// said once.
func TestAskingAgain(t *testing.T) {
	s := newWhoScene()
	s.opens(0)
	s.send()
	if len(s.play.asked) != 2 || s.open != 2 {
		t.Fatalf("asked %v", s.play.asked)
	}
	s.play.answers = append(s.play.answers, who.Answer{Query: who.Query{Local: whoServer, Remote: whoClient}, At: time.Now()})
	unowned := owned(1, "")
	unowned.Owner = tcp.Owner{}
	s.answers(tcp.Client, 5, unowned)
	if len(s.again) != 1 {
		t.Errorf("%d are asked for again, want 1", len(s.again))
	}
	s.play.asked = nil
	if n := s.look(whoRecord(0, 5), msec(2000), true); n != 2 {
		t.Errorf("%d ends are asked for", n)
	}
	s.send()
	if len(s.play.asked) != 1 || s.play.asked[0].Local != whoClient {
		t.Errorf("asked %v, want the client alone", s.play.asked)
	}
	s.play.missing, s.play.gone = []string{"that"}, true
	s.take(0)
	s.take(0)
	if len(s.notes) != 2 {
		t.Errorf("said %q", s.notes)
	}
}

// What comments tell is, to who reads them, of the connection that began then, and the
// newest counts. They are on packets that follow, also of other connections.
func TestOwnersInComments(t *testing.T) {
	s := newWhoScene()
	s.saying = true
	read := newNames(1 << 20)
	says := func(want ...string) {
		t.Helper()
		comment := s.comment(&tcp.Segment{})
		if comment != "" {
			read.take(&capture.Named{Comment: comment}, 0)
		}
		if got := strings.Count(comment, "tcpwatch {"); got != len(want) {
			t.Errorf("%d lines in %q, want %d", got, comment, len(want))
		}
		for _, program := range want {
			if !strings.Contains(comment, `"program":"`+program+`"`) {
				t.Errorf("%q lacks %s", comment, program)
			}
		}
	}
	s.opens(0)
	says()
	s.answers(tcp.Server, 2, tcp.Socket{State: tcp.Established, Owner: tcp.Owner{Source: tcp.FromListener, PID: 1, Program: "systemd"}})
	says("systemd")
	s.answers(tcp.Server, 3, tcp.Socket{State: tcp.Established, Owner: tcp.Owner{Source: tcp.FromListener, PID: 1, Program: "systemd"}})
	says() // it is said once
	s.answers(tcp.Server, 5, owned(7, "nginx"))
	s.answers(tcp.Client, 5, owned(8, "curl"))
	says("nginx", "curl")
	s.opens(20)
	s.happens(21, "wget") // of the next, on the same ports
	says("wget")
	s.happens(22, "late")
	s.fill(whoRecord(20, 30), true)
	says() // it is over, and forgotten

	read.take(&capture.Named{Comment: "of somebody else\ntcpwatch {"}, 0)
	for _, want := range []struct {
		first, last    int
		client, server string
	}{{0, 10, "curl", "nginx"}, {20, 30, "wget", ""}, {40, 50, "", ""}} {
		r := whoRecord(want.first, want.last)
		read.fill(r, true)
		var got [2]string
		for e := range r.Ends {
			if x := r.Ends[e].Socket; x != nil {
				got[e] = x.Owner.Program
			}
		}
		if got != [2]string{want.client, want.server} {
			t.Errorf("from %d to %d the ends are of %q, want %s and %s", want.first, want.last, got, want.client, want.server)
		}
	}
	if len(read.owners.lists) != 0 {
		t.Errorf("%d ends are remembered whose connections are over", len(read.owners.lists))
	}
}

// A comment that tells what listens on the port of a client says nothing of it.
func TestListenerInCommentOfClient(t *testing.T) {
	read := newNames(1 << 20)
	o := tcp.Owner{Source: tcp.FromListener, PID: 1, Program: "sshd"}
	read.take(&capture.Named{Comment: who.Comment(msec(0), whoClient, whoServer, &o) + "\n" + who.Comment(msec(0), whoServer, whoClient, &o)}, 0)
	r := whoRecord(0, 5)
	read.fill(r, false)
	if x := r.Ends[tcp.Client].Socket; x != nil && x.Owner.Program != "" {
		t.Errorf("the client is of %s", x.Owner.Program)
	}
	if x := r.Ends[tcp.Server].Socket; x == nil || x.Owner != o {
		t.Errorf("the server is of %+v", x)
	}
}

// The process that a capture has beside packets is that of the connection in which they
// are, also where ports are used again; what is the same in all of them is kept once.
func TestProcessesBesidePackets(t *testing.T) {
	read := newNames(1 << 20)
	packet := func(at int, program string, opens bool) {
		read.take(&capture.Named{Client: whoClient, Server: whoServer, Program: program, PID: 7, Opens: opens}, msec(at))
	}
	packet(0, "curl", true)
	for at := 1; at < 10; at++ {
		packet(at, "curl", false)
	}
	packet(20, "curl", true)
	packet(21, "curl", false)
	packet(40, "wget", true)
	if n := len(read.owners.of(callKey{whoClient, whoServer})); n != 3 {
		t.Errorf("%d are kept, want one for each connection", n)
	}
	for _, want := range []struct {
		first, last int
		program     string
	}{{0, 10, "curl"}, {20, 30, "curl"}, {31, 39, ""}, {40, 50, "wget"}} {
		r := whoRecord(want.first, want.last)
		read.fill(r, true)
		x := r.Ends[tcp.Client].Socket
		if (x != nil) != (want.program != "") || x != nil && (x.Owner != tcp.Owner{Source: tcp.FromFile, PID: 7, Program: want.program}) {
			t.Errorf("from %d on the client is of %+v, want %s", want.first, x, want.program)
		}
		if r.Ends[tcp.Server].Socket != nil {
			t.Error("the server is of a program")
		}
	}
}
