package watch

import (
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// tapped is what captures of several places tell besides.
type tapped struct {
	list   []taps.Tap
	names  []string
	source *taps.Source
}

func newTapped(list []taps.Tap, s *taps.Source) *tapped {
	t := &tapped{list: list, source: s}
	for i := range list {
		t.names = append(t.names, list[i].Name)
	}
	return t
}

// place returns where a packet is found.
func (t *tapped) place(packet int) tcp.Place { return tcp.PlaceOf(t.names, t.source.Frames(packet)) }

// fillPlaces says of an event where the packets are found that it cites.
func fillPlaces(e *tracker.Event, place func(packet int) tcp.Place) {
	switch e.Kind {
	case tracker.EventAnomaly:
		fillAnomaly(e.Anomaly, place)
	case tracker.EventConnection:
		for i := range e.Record.Ends {
			for j := range e.Record.Ends[i].History {
				st := &e.Record.Ends[i].History[j]
				st.Place = place(st.Packet)
			}
		}
		for i := range e.Record.Anomalies {
			fillAnomaly(&e.Record.Anomalies[i], place)
		}
	}
}

func fillAnomaly(a *anomaly.Anomaly, place func(packet int) tcp.Place) {
	a.Places = nil
	for _, packet := range a.Evidence {
		a.Places = append(a.Places, place(packet))
	}
}
