package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A State is what a sensor does.
type State string

const (
	Sends  State = "sends"
	Silent State = "silent" // it captures, and has not been heard of for a while
	Ended  State = "ended"
	Broken State = "unfinished" // the rest of its file has not come
)

// A Run is one run of a sensor, as far as the hub knows.
type Run struct {
	Sensor   string
	State    State
	Heard    time.Time // when the hub got its newest message
	Live     bool      // it captures, or captured, as it sends
	Segments int
	Behind   time.Duration // its clock, against that of the hub, less the way; of one that captures
	Lost     int64         // packets
	Host     string
	Version  string
}

// Sensors returns the runs that the hub has something of, by the names of the sensors.
func (c *Conn) Sensors(ctx context.Context) (list []Run, err error) {
	ids, err := c.runs(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for _, id := range ids {
		m, err := c.stream.GetLastMsgForSubject(ctx, subjectOf(0, id.sensor, id.run))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it was just deleted
		}
		if err != nil {
			return nil, err
		}
		h, err := wire.ReadHead(m.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, runOf(id, &h, m.Time))
	}
	slices.SortStableFunc(list, func(a, b Run) int {
		return cmp.Or(strings.Compare(a.Sensor, b.Sensor), a.Heard.Compare(b.Heard))
	})
	return list, nil
}

// runOf returns what the newest message of a run tells of it.
func runOf(id runID, h *wire.Head, stored time.Time) Run {
	r := Run{Sensor: id.sensor, Heard: stored, Segments: h.After, State: Sends, Live: h.Sent != 0}
	switch {
	case h.End:
		r.State = Ended
	case h.Sent == 0 && time.Since(stored) > silentAfter:
		r.State = Broken
	case h.Sent != 0 && time.Since(stored) > silentAfter:
		r.State = Silent
	}
	if h.Sent != 0 {
		r.Behind = tcp.Time(stored.UnixNano()).Sub(h.Sent)
	}
	var a About
	if len(h.About) > 0 && json.Unmarshal(h.About, &a) == nil {
		r.Host, r.Version, r.Lost = a.Host, a.Version, a.Stats.Dropped
	}
	return r
}
