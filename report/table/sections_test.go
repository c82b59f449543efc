package table

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// What is odd about many connections explains what is odd about each of them.
func TestManyComeFirst(t *testing.T) {
	var c Connections
	r := sample.ClosedByClient()
	r.Anomalies = []anomaly.Anomaly{
		{Kind: "connection-refused", Severity: anomaly.Warning, Conn: r.Conn},
		{Kind: "rst-instead-of-ack", Severity: anomaly.Error, Conn: r.Conn},
	}
	c.Connection(&r)
	c.Many(&anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning})
	var got []string
	for _, g := range c.Groups(false, shownOfKind) {
		got = append(got, g.Kind)
	}
	if want := []string{"rst-instead-of-ack", "port-scan", "connection-refused"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}
