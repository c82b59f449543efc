//go:build lab && linux

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Two hosts behind routers, a capture at each of two places, and the kernels of both
// hosts as judges.

// cable joins two namespaces by a pair of interfaces of those names and addresses.
func cable(t *testing.T, a *netns, nameA, addrA string, b *netns, nameB, addrB string) {
	t.Helper()
	a.must(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(b.fd)})
	})
	a.sh(t, "ip addr add "+addrA+" dev "+nameA+" && ip link set "+nameA+" up && ip link set lo up")
	b.sh(t, "ip addr add "+addrB+" dev "+nameB+" && ip link set "+nameB+" up && ip link set lo up")
}

// sh runs a script in the namespace.
func (n *netns) sh(t *testing.T, script string) {
	t.Helper()
	n.must(t, func() error {
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %v: %s", script, err, out)
		}
		return nil
	})
}

// routes has the namespace pass packets on.
func (n *netns) routes(t *testing.T) {
	t.Helper()
	n.must(t, func() error { return setSysctl("net.ipv4.ip_forward", "1") })
}

// needs skips the test where a program is not to be had.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
	}
}

// A quietMoment is what sockets two hosts had at a moment when nothing moved.
type quietMoment struct {
	at    time.Time
	hosts [2]map[string]string // of the client and of the server: states by the client's port, as the host has that
}

// talkOver has two hosts talk, and returns what their kernels had at some quiet moments.
func talkOver(t *testing.T, client, server *netns, address string) (list []quietMoment) {
	t.Helper()
	var listener net.Listener
	server.must(t, func() (err error) { listener, err = net.Listen("tcp4", address); return err })
	defer listener.Close()
	var clients, servers []*net.TCPConn
	for range 12 {
		var c net.Conn
		client.must(t, func() (err error) { c, err = net.DialTimeout("tcp4", address, 20*time.Second); return err })
		s, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		clients, servers = append(clients, c.(*net.TCPConn)), append(servers, s.(*net.TCPConn))
	}
	look := func() {
		time.Sleep(1500 * time.Millisecond) // what was lost was sent again
		m := quietMoment{at: time.Now()}
		for i, n := range []*netns{client, server} {
			m.hosts[i] = map[string]string{}
			sockets, err := n.diag.SocketDiagTCP(unix.AF_INET)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sockets {
				if port := [2]uint16{s.ID.SourcePort, s.ID.DestinationPort}[i]; kernelStates[s.State] != "LISTEN" {
					m.hosts[i][fmt.Sprint(port)] = kernelStates[s.State]
				}
			}
		}
		list = append(list, m)
		time.Sleep(100 * time.Millisecond)
	}
	look()
	for i := range clients {
		go clients[i].Write(make([]byte, 60_000))
		if _, err := io.ReadFull(servers[i], make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	look()
	for i := range clients {
		switch i % 3 {
		case 0:
			clients[i].CloseWrite()
		case 1:
			servers[i].CloseWrite()
		}
	}
	look()
	for i := range clients {
		if i%4 == 3 {
			clients[i].SetLinger(0)
		}
		clients[i].Close()
		servers[i].Close()
	}
	look()
	return list
}

// tapped asks a replay of captures of several places what the sockets were at the moments,
// and compares that with the kernels. The server's may have other ports.
func tapped(t *testing.T, moments []quietMoment, args ...string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range moments {
		out, err := exec.Command(path, append([]string{"replay", "-o", "jsonl", "--at", m.at.UTC().Format(time.RFC3339Nano)}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		clients, servers, sure := map[string]string{}, []string{}, 0
		for line := range strings.Lines(string(out)) {
			var r struct {
				Type           string
				Client, Server struct {
					Port      int
					State     string
					Certainty string
				}
			}
			if json.Unmarshal([]byte(line), &r) != nil || r.Type != "connection" {
				continue
			}
			if r.Client.State != "CLOSED" {
				clients[fmt.Sprint(r.Client.Port)] = r.Client.State
			}
			if r.Server.State != "CLOSED" && r.Server.State != "LISTEN" {
				servers = append(servers, r.Server.State)
			}
			for _, certainty := range []string{r.Client.Certainty, r.Server.Certainty} {
				if certainty != "assumed" {
					sure++
				}
			}
		}
		want := []string{}
		for _, state := range m.hosts[1] {
			want = append(want, state)
		}
		slices.Sort(servers)
		slices.Sort(want)
		if fmt.Sprint(clients) != fmt.Sprint(m.hosts[0]) || !slices.Equal(servers, want) {
			t.Errorf("moment %d: the replay has %v and %v, the kernels %v and %v", i, clients, servers, m.hosts[0], want)
		}
		t.Logf("moment %d: %d and %d sockets, %d ends not only assumed", i, len(clients), len(servers), sure)
	}
}

// lostAt has captures of several places compared, and wants all losses between two of them,
// which are neighbours, as the others are.
func lostAt(t *testing.T, a, b string, args ...string) {
	t.Helper()
	path, _ := program()
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--tap" }) // as compare has them
	out, err := exec.Command(path, append([]string{"compare", "-o", "json"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	type way struct {
		From, To                   string
		Sent, Lost, Forged, Copied int
	}
	var got struct {
		Summary struct {
			Taps []struct{ Forward, Back *way }
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	ways, lost := 0, 0
	for _, tap := range got.Summary.Taps {
		for _, w := range []*way{tap.Forward, tap.Back} {
			if w == nil {
				continue
			}
			ways++
			if here := w.From == a && w.To == b || w.From == b && w.To == a; here {
				lost += w.Lost
			} else if w.Lost > 0 {
				t.Errorf("%d are lost from %s to %s", w.Lost, w.From, w.To)
			}
			if w.Sent == 0 || w.Forged > 0 || w.Copied > 0 {
				t.Errorf("%+v: none was forged or copied", *w)
			}
		}
	}
	if ways != 6 || lost == 0 {
		t.Errorf("%d ways between neighbours, and %d lost between %s and %s; want 6, and some", ways, lost, a, b)
	}
}

// Between two hosts a router translates addresses and ports, clamps the MSS, and loses
// every 25th packet. Captures of both hosts tell the states of both, and what was lost; so
// do these with those of both sides of the router, and say that it was lost there.
func TestTapsBehindNAT(t *testing.T) {
	needs(t, "ip", "nft")
	client, router, server := newNetns(t, "10.77.0.1"), newNetns(t, "10.77.0.254"), newNetns(t, "10.78.0.1")
	cable(t, client, "veth", "10.77.0.1/24", router, "inside", "10.77.0.254/24")
	cable(t, server, "veth", "10.78.0.1/24", router, "outside", "10.78.0.254/24")
	router.routes(t)
	client.sh(t, "ip route add default via 10.77.0.254")
	router.sh(t, `nft -f - <<'RULES'
table ip between {
	chain translate {
		type nat hook postrouting priority srcnat
		oifname "outside" ip protocol tcp masquerade to :30000-40000
	}
	chain pass {
		type filter hook forward priority filter
		tcp flags syn tcp option maxseg size set 1200
		numgen random mod 25 == 0 drop
	}
}
RULES`)
	dir := openDir(t)
	a, b := filepath.Join(dir, "client.pcapng"), filepath.Join(dir, "server.pcapng")
	inside, outside := filepath.Join(dir, "inside.pcapng"), filepath.Join(dir, "outside.pcapng")
	runs := []*run{watchIn(t, client, "live", "-i", "veth", "-w", a), watchIn(t, server, "live", "-i", "veth", "-w", b),
		watchIn(t, router, "live", "-i", "inside", "-w", inside), watchIn(t, router, "live", "-i", "outside", "-w", outside)}
	moments := talkOver(t, client, server, "10.78.0.1:7000")
	for _, r := range runs {
		r.stop(t)
	}
	args := []string{"--tap", "client=" + a, "--tap", "server=" + b, "--at-ends"}
	tapped(t, moments, args...)
	all := []string{"--tap", "client=" + a, "--tap", "outside=" + outside, "--tap", "inside=" + inside, "--tap", "server=" + b, "--at-ends"}
	tapped(t, moments, all...)
	lostAt(t, "inside", "outside", all...)
	path, _ := program()
	out, err := exec.Command(path, append([]string{"replay", "-o", "jsonl"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, kind := range []string{"lost-between", "nat-rewritten", "changed-between"} {
		if !strings.Contains(string(out), `"kind":"`+kind+`"`) {
			t.Errorf("%s is not found", kind)
		}
	}
	for _, kind := range []string{"forged-between", "answered-between"} {
		if strings.Contains(string(out), `"kind":"`+kind+`"`) {
			t.Errorf("%s is found, and nobody forged anything", kind)
		}
	}
}

// Each direction goes through a router of its own, and is captured there. The two
// captures, which have no packet in common, tell the states of both hosts.
func TestTapsOfEachDirection(t *testing.T) {
	needs(t, "ip")
	client, there, back, server := newNetns(t, "10.77.0.1"), newNetns(t, "10.77.0.254"), newNetns(t, "10.79.0.254"), newNetns(t, "10.78.0.1")
	cable(t, client, "veth", "10.77.0.1/24", there, "veth", "10.77.0.254/24")
	cable(t, server, "veth", "10.78.0.1/24", there, "out", "10.78.0.254/24")
	cable(t, server, "veth2", "10.80.0.1/24", back, "veth", "10.80.0.254/24")
	cable(t, client, "veth2", "10.79.0.1/24", back, "out", "10.79.0.254/24")
	for _, n := range []*netns{client, server, there, back} {
		n.sh(t, "for i in all default; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done; for i in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $i; done")
	}
	there.routes(t)
	back.routes(t)
	client.sh(t, "ip route add 10.78.0.0/24 via 10.77.0.254")
	server.sh(t, "ip route add 10.77.0.0/24 via 10.80.0.254")
	back.sh(t, "ip route add 10.77.0.0/24 via 10.79.0.1")
	dir := openDir(t)
	a, b := filepath.Join(dir, "there.pcapng"), filepath.Join(dir, "back.pcapng")
	runs := []*run{watchIn(t, there, "live", "-i", "veth", "-w", a), watchIn(t, back, "live", "-i", "veth", "-w", b)}
	moments := talkOver(t, client, server, "10.78.0.1:7000")
	for _, r := range runs {
		r.stop(t)
	}
	tapped(t, moments, "--tap", "there="+a, "--tap", "back="+b)
}

// Of an upload that hangs, the first 24 lines of a comparison say which packets were lost,
// where, and who is at fault: a path that drops large segments, a host that does not read,
// or a firewall.
func TestHangingUploads(t *testing.T) {
	needs(t, "ip", "nft")
	for _, test := range []struct {
		name, rules string
		reads       bool
		says        []string
		not         []string
	}{
		{"path", "ip protocol tcp meta length > 1000 drop", true, []string{"pmtu-black-hole", "client to server were lost"}, []string{"zero-window", "forged"}},
		{"reader", "", false, []string{"zero-window-stall", "No segment was lost"}, []string{"pmtu", "forged"}},
		{"firewall", "tcp dport 7000 meta length > 1000 reject with tcp reset", true, []string{"forged-between", "Forged from server to client: 1 RST"}, []string{"pmtu", "zero-window"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, router, server := newNetns(t, "10.77.0.1"), newNetns(t, "10.77.0.254"), newNetns(t, "10.78.0.1")
			cable(t, client, "veth", "10.77.0.1/24", router, "inside", "10.77.0.254/24")
			cable(t, server, "veth", "10.78.0.1/24", router, "outside", "10.78.0.254/24")
			router.routes(t)
			client.sh(t, "ip route add default via 10.77.0.254")
			server.sh(t, "ip route add default via 10.78.0.254")
			if test.rules != "" {
				router.sh(t, "nft 'table ip between { chain pass { type filter hook forward priority filter; "+test.rules+"; }; }'")
			}
			dir := openDir(t)
			a, b := filepath.Join(dir, "client.pcapng"), filepath.Join(dir, "server.pcapng")
			runs := []*run{watchIn(t, client, "live", "-i", "veth", "-w", a), watchIn(t, server, "live", "-i", "veth", "-w", b)}
			upload(t, client, server, "10.78.0.1:7000", test.reads)
			for _, r := range runs {
				r.stop(t)
			}
			path, _ := program()
			out, err := exec.Command(path, "compare", "--at-ends", a, b).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			first := strings.Join(lines(string(out))[:min(24, len(lines(string(out))))], "\n")
			for _, words := range test.says {
				if !strings.Contains(first, words) {
					t.Errorf("it does not say %q", words)
				}
			}
			for _, words := range test.not {
				if strings.Contains(first, words) {
					t.Errorf("it says %q", words)
				}
			}
			t.Logf("%s", first)
		})
	}
}

// upload has the client send what fills every buffer, and gives that 8 seconds.
func upload(t *testing.T, client, server *netns, address string, reads bool) {
	t.Helper()
	var listener net.Listener
	server.must(t, func() (err error) { listener, err = net.Listen("tcp4", address); return err })
	defer listener.Close()
	var c net.Conn
	client.must(t, func() (err error) { c, err = net.DialTimeout("tcp4", address, 5*time.Second); return err })
	defer c.Close()
	s, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if reads {
		go io.Copy(io.Discard, s)
	}
	c.SetWriteDeadline(time.Now().Add(8 * time.Second))
	c.Write(make([]byte, 20<<20))
	time.Sleep(time.Second)
}
