//go:build !nohub

package hub

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// cluster starts three servers of NATS that store together, and returns where they are.
func cluster(t *testing.T) (urls string, nodes []*server.Server) {
	t.Helper()
	const n = 3
	ports := make([]int, n)
	var routes []*url.URL
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		must(t, l.Close())
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	var list []string
	for i := range n {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: 2 << 20,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		must(t, err)
		nodes = append(nodes, s)
		go s.Start()
	}
	for _, s := range nodes {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a node does not come up")
		}
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		list = append(list, s.ClientURL())
	}
	return strings.Join(list, ","), nodes
}

// A cluster of three stores all three times. With one of them gone nothing is lost, and
// sensors go on.
func TestCluster(t *testing.T) {
	urls, nodes := cluster(t)
	c, err := Create(t.Context(), Options{URL: urls}, Keep{For: time.Hour, Partitions: 2, Replicas: 3})
	must(t, err)
	defer c.Close()
	s := liveSensor(t, urls, "a", SensorOptions{Room: 64 << 20})
	begin := present()
	const n = 30_000
	for i := range n {
		must(t, s.Take(segmentAt(begin+tcp.Time(i), i+1)))
		if i == n/2 {
			leader := c.stream.CachedInfo().Cluster.Leader
			for _, node := range nodes {
				if node.Name() == leader {
					node.Shutdown()
				}
			}
		}
	}
	must(t, s.End(t.Context(), begin+n))
	c = connected(t, urls)
	g, err := c.Range(t.Context(), 0)
	must(t, err)
	src, err := c.Read(t.Context(), g)
	must(t, err)
	defer src.Close()
	got := 0
	for g, err := range src.Segments() {
		must(t, err)
		if got++; g.Packet != got {
			t.Fatalf("packet %d, want %d", g.Packet, got)
		}
	}
	if got != n {
		t.Errorf("%d segments, want %d", got, n)
	}
	if lost, by := src.Lost(); lost != 0 || by != 0 {
		t.Errorf("%d lost by %d", lost, by)
	}
}
