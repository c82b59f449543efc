package table

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// A Sensor is one run of a sensor that sends to a hub.
type Sensor struct {
	Name, State   string
	Heard         time.Duration // since its newest message
	Segments      int
	Lost          int64 // packets
	Clock         time.Duration
	Live          bool // Clock is known: by how much its clock is behind that of the hub
	Host, Version string
}

// WriteSensors lists the sensors of a hub.
func WriteSensors(w io.Writer, list []Sensor) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "Sensor\tState\tLast Heard\tSegments\tLost\tClock\tHost\tVersion")
	for i := range list {
		s := &list[i]
		clock := "-"
		if s.Live {
			clock = offset(s.Clock)
		}
		fmt.Fprintf(out, "%s\t%s\t%s ago\t%d\t%d\t%s\t%s\t%s\n", text.Escape(s.Name), s.State, s.Heard.Round(time.Second), s.Segments, s.Lost, clock, orDash(s.Host), orDash(s.Version))
	}
	return out.Flush()
}

// offset says by how much a clock is wrong, as far as the way of a message lets know.
func offset(behind time.Duration) string {
	const way = 500 * time.Millisecond
	switch {
	case behind > way:
		return behind.Round(100*time.Millisecond).String() + " behind"
	case behind < -way:
		return (-behind).Round(100*time.Millisecond).String() + " ahead"
	}
	return "right"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return text.Escape(s)
}
