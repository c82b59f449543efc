package watch

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestNames(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("192.0.2.7:443")
	other := netip.MustParseAddr("10.0.0.9")
	answer := func(name string, asker netip.Addr) *capture.Named {
		return &capture.Named{Name: name, Host: server.Addr(), Asker: asker}
	}
	call := func(name string) *capture.Named {
		return &capture.Named{Name: name, Host: server.Addr(), Client: client, Server: server}
	}
	type told struct {
		at tcp.Time
		n  *capture.Named
	}
	for _, row := range []struct {
		name string
		told []told
		want string // of a connection from 10 to 20
	}{
		{"nothing", nil, ""},
		{"answered", []told{{5, answer("a", client.Addr())}}, "a"},
		{"answered-to-another", []told{{5, answer("a", other)}}, "a"},
		{"its-own-answer-counts-more", []told{{5, answer("a", client.Addr())}, {6, answer("b", other)}}, "a"},
		{"the-newest-before", []told{{5, answer("a", client.Addr())}, {6, answer("b", client.Addr())}, {15, answer("c", client.Addr())}}, "b"},
		{"only-later", []told{{15, answer("a", client.Addr())}, {16, answer("b", client.Addr())}}, "a"},
		{"called", []told{{5, answer("a", client.Addr())}, {11, call("b")}, {12, call("c")}}, "b"},
		{"called-before", []told{{5, answer("a", client.Addr())}, {9, call("b")}}, "a"},
		{"called-later", []told{{5, answer("a", client.Addr())}, {21, call("b")}}, "a"},
		{"called-in-this-and-the-next", []told{{11, call("b")}, {21, call("c")}}, "b"},
	} {
		k := newNames(mostOfNames)
		for _, x := range row.told {
			k.take(x.n, x.at)
		}
		r := &tracker.Record{Start: 10, End: 20}
		r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr = client, server
		for range 2 { // as long as it is not over, the same again
			if k.fill(r, false); r.Names() != [2]string{"", row.want} {
				t.Errorf("%s: got %q, want %q", row.name, r.Names(), row.want)
			}
		}
		k.fill(r, true)
		if r.Names()[1] != row.want {
			t.Errorf("%s, over: got %q, want %q", row.name, r.Names(), row.want)
		}
		if row.name == "called-in-this-and-the-next" {
			r.Start, r.End = 21, 30
			if k.fill(r, true); r.Names()[1] != "c" || len(k.calls.lists) != 0 {
				t.Errorf("the next: got %q; %v is kept", r.Names(), k.calls.lists)
			}
		}
	}
}

// What is kept of names is bounded; what was told longest ago goes first.
func TestNamesAreBounded(t *testing.T) {
	const octets = 5 << 20
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
	}
	const n = 100_000
	k := newNames(octets)
	before := heap()
	told := 0
	take := func(n capture.Named) {
		n.Name = fmt.Sprintf("%d%s", told, strings.Repeat(".", told%250))
		told++
		k.take(&n, 1)
	}
	for i := range n {
		take(capture.Named{Host: at(i).Addr()})
		take(capture.Named{Client: at(i), Server: at(i)})
		take(capture.Named{Host: at(n).Addr()})
		if i%1000 == 0 { // told again and again
			again := capture.Named{Name: "again", Host: at(n + 1).Addr()}
			if i > 0 && k.answers.of(answerKey{host: again.Host}) == nil {
				t.Fatalf("at %d the name that was told a moment ago is forgotten", i)
			}
			k.take(&again, 1)
		}
	}
	if kept := len(k.answers.lists) + len(k.calls.lists); int(k.answers.dropped+k.calls.dropped)+kept != 2*n+2 {
		t.Errorf("%d hosts and %d connections are said to be forgotten, %d are kept", k.answers.dropped, k.calls.dropped, kept)
	}
	grown := heap() - before
	if grown > octets {
		t.Errorf("names take %d octets, want %d at the most", grown, octets)
	} else if grown < octets/2 {
		t.Errorf("%d octets are taken of %d", grown, octets)
	}
	for i, want := range map[int]bool{0: false, n - 1: true, n: true} {
		r := new(tracker.Record)
		r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr = at(0), at(i)
		if k.fill(r, false); (r.Ends[tcp.Server].Name != "") != want {
			t.Errorf("host %d is called %q", i, r.Names()[1])
		}
	}
	if told := len(k.answers.of(answerKey{host: at(n).Addr()})); told != maxChanges {
		t.Errorf("%d names of one host are kept", told)
	}
	if k = newNames(mostOfNames); 3*k.answers.most != mostOfNames/3*3 || k.calls.most != k.answers.most || k.owners.most != k.answers.most {
		t.Errorf("%d octets for names of hosts, %d for those of connections, %d for owners", k.answers.most, k.calls.most, k.owners.most)
	}
}

// heap returns how much memory is in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The name of a connection stays as long as that goes on, however many others begin
// and end.
func TestNamesOfLongConnections(t *testing.T) {
	k := newNames(50 << 10)
	server := netip.MustParseAddrPort("192.0.2.7:443")
	record := func(port uint16) *tracker.Record {
		r := &tracker.Record{Start: 1, End: 2}
		r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr = netip.AddrPortFrom(server.Addr(), port), server
		k.take(&capture.Named{Name: "a", Client: r.Ends[tcp.Client].Addr, Server: server}, 1)
		return r
	}
	long := record(1)
	for port := range uint16(10_000) {
		k.fill(record(2+port), true)
	}
	if k.fill(long, true); long.Ends[tcp.Server].Name != "a" {
		t.Error("the name of the long connection is lost")
	}
}
