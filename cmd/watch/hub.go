package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A stored is what a hub has stored, and the connection to it.
type stored struct {
	*hub.Source
	conn *hub.Conn
}

func (s *stored) Close() error { return errors.Join(s.Source.Close(), s.conn.Close()) }

// A losing is what knows of packets that it has lost.
type losing interface {
	Lost() (packets int64, by tcp.Time)
}

// SensorTap returns a tap of what a hub has of a sensor, see [hub.Range]. Connect makes
// a connection to the hub for each time that it is read.
func SensorTap(ctx context.Context, g hub.Range, connect func() (*hub.Conn, error)) taps.Tap {
	return taps.Tap{Name: g.Sensor, Open: func() (taps.Capture, error) {
		c, err := connect()
		if err != nil {
			return nil, err
		}
		s, err := c.Read(ctx, g)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return &stored{s, c}, nil
	}}
}

// Hub reads a part of what a hub has stored, see [hub.Conn.Read]. The connection is the
// Watch's from then on.
func Hub(ctx context.Context, c *hub.Conn, g hub.Range, t tracker.Config) (*Watch, error) {
	return newWatch(t, func(w *Watch) error {
		s, err := c.Read(ctx, g)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		w.files, w.place, w.losing = &stored{s, c}, s.Place, s
		return nil
	})
}

// heedSensors has the tracker know of packets that sensors have lost, and tells of it.
func (w *Watch) heedSensors() {
	lost, by := w.losing.Lost()
	if by == w.lostBy {
		return
	}
	w.lostBy = by
	w.tracker.Lost(by)
	if more := lost - w.told.lost; more > 0 {
		w.told.lost = lost
		w.foundLost(more, fmt.Sprintf("The sensors dropped %d packets (%d in all) because a buffer was full.", more, lost))
		return
	}
	w.foundLost(0, "A sensor broke off without an end. What it captured last was not sent.")
}

// Follow reads on as the sensors of a hub send, see [hub.Conn.Follow]. The connection is
// the Watch's from then on.
func Follow(ctx context.Context, c *hub.Conn, since time.Duration, notice func(string), t tracker.Config) (*Watch, error) {
	return newWatch(t, func(w *Watch) error {
		f, err := c.Follow(ctx, since, notice)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		w.live, w.place, w.notice, w.loser = f, f.Place, notice, "A sensor, or its kernel,"
		return nil
	})
}
