package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Hub is where captures are read that sensors have sent.
type Hub struct {
	hub.Options
	Since time.Duration // only what came there in so long; 0: all

	list *hub.Range // the same, however often it is read
}

// connect connects, and finds out what is to be read.
func (h *Hub) connect(ctx context.Context) (*hub.Conn, error) {
	c, err := connect(ctx, h.Options)
	if err != nil {
		return nil, err
	}
	if h.list == nil {
		g, err := c.Range(ctx, h.Since)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		h.list = &g
	}
	return c, nil
}

// taps has sensors read as captures of several places.
func (h *Hub) taps(ctx context.Context, list []taps.Tap) (of []taps.Tap, err error) {
	c, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		g := *h.list
		g.Sensor = t.Name
		of = append(of, watch.SensorTap(ctx, g, func() (*hub.Conn, error) { return connect(ctx, h.Options) }))
	}
	return of, c.Close()
}

// open begins to read.
func (h *Hub) open(ctx context.Context, t tracker.Config) (*watch.Watch, error) {
	c, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	return watch.Hub(ctx, c, *h.list, t)
}

// follow begins to read on.
func (h *Hub) follow(ctx context.Context, notice func(string), t tracker.Config) (*watch.Watch, error) {
	h.Notice = notice
	c, err := connect(ctx, h.Options)
	if err != nil {
		return nil, err
	}
	return watch.Follow(ctx, c, h.Since, notice, t)
}

// connect connects to a hub, and adds to an error what can be done about it.
func connect(ctx context.Context, o hub.Options) (*hub.Conn, error) {
	c, err := hub.Connect(ctx, o)
	return c, hubHint(err)
}

// hubHint adds to an error of connecting to a hub what can be done about it.
func hubHint(err error) error {
	switch {
	case errors.Is(err, hub.ErrPlain):
		return WithHint(err, "tls://HOST:PORT with --hub-key, or --insecure if nobody can listen between here and there")
	case errors.Is(err, hub.ErrNobody):
		return WithHint(err, "tcpwatch hub --store DIR starts a hub")
	case errors.Is(err, hub.ErrNoHub):
		return WithHint(err, "tcpwatch hub --nats URL makes one")
	}
	return err
}

// A Sensor sends what it captures, or reads, to a hub.
type Sensor struct {
	Hub     hub.Options
	Name    string
	Room    int64 // octets that wait at most
	Version string
	Stderr  io.Writer
}

// connect connects to the hub, and has payloads hashed as all sensors do.
func (s *Sensor) connect(ctx context.Context, o *capture.Options) (*hub.Conn, error) {
	s.Hub.Notice = func(said string) { text.Say(s.Stderr, "%s", said) }
	c, err := connect(ctx, s.Hub)
	if err == nil {
		o.Key = c.PayloadKey()
	}
	return c, err
}

// options are those of the sensor.
func (s *Sensor) options(about func() hub.About) hub.SensorOptions {
	host, _ := os.Hostname()
	return hub.SensorOptions{Name: s.Name, Room: s.Room, Notice: s.Hub.Notice, About: func() hub.About {
		a := about()
		a.Host, a.Version = host, s.Version
		return a
	}}
}

// Files sends what captures have. The same files are sent once, however often that is
// tried.
func (s *Sensor) Files(ctx context.Context, files []string, o capture.Options) (err error) {
	c, err := s.connect(ctx, &o)
	if err != nil {
		return err
	}
	defer c.Close()
	src, err := capture.Open(files, o)
	if err != nil {
		return err
	}
	defer src.Close()
	so := s.options(func() hub.About { return hub.About{Stats: src.Stats()} })
	if so.Run, err = runOf(files, &o, so.Name); err != nil {
		return err
	}
	sensor, err := c.Sensor(ctx, so)
	if err != nil {
		return err
	}
	if err := sensor.File(ctx, src); err != nil {
		return err
	}
	stats := src.Stats()
	for _, w := range stats.Warnings {
		text.Say(s.Stderr, "%s", w)
	}
	switch {
	case ctx.Err() != nil:
		text.Say(s.Stderr, "interrupted: the rest was not sent; the same command goes on from there")
	case sensor.Stored():
		text.Say(s.Stderr, "the hub had all %d segments already", stats.Segments+stats.Errors)
	default:
		text.Say(s.Stderr, "%d segments sent as sensor %s", stats.Segments+stats.Errors, s.Name)
	}
	return nil
}

// runOf returns a number that is the same when the same files are read in the same way;
// 0: one of them is standard input.
func runOf(files []string, o *capture.Options, name string) (uint64, error) {
	const looked = 1 << 20 // octets of a file
	h := sha256.New()
	p := *o
	p.Filter, p.Inner, p.Key, p.Named, p.Part, p.Stdin = nil, nil, nil, nil, nil, nil
	fmt.Fprintf(h, "%s %+v %v %v\n", name, p, o.Filter, o.Inner)
	for _, path := range files {
		if path == "-" {
			return 0, nil
		}
		f, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		var head bytes.Buffer
		_, err = io.CopyN(&head, f, looked)
		if err == io.EOF {
			err = nil
		}
		info, err2 := f.Stat()
		if err := errors.Join(err, err2, f.Close()); err != nil {
			return 0, err
		}
		if !info.Mode().IsRegular() {
			return 0, nil
		}
		fmt.Fprintf(h, "%d\n", info.Size())
		h.Write(head.Bytes())
	}
	return max(1, binary.BigEndian.Uint64(h.Sum(nil))), nil
}

// A LiveSensor sends what is captured now.
type LiveSensor struct {
	Sensor
	Capture  capture.LiveOptions // its Notice is set by Run
	User     string              // who root becomes once the capture is open
	Duration time.Duration       // after which the run ends; 0: when it is told to
	Confine  bool                // once all is open, the process gives up what it does not need
}

// Run sends until ctx, or the capture, is ended.
func (s *LiveSensor) Run(ctx context.Context) error {
	c, err := s.connect(ctx, &s.Capture.Options)
	if err != nil {
		return err
	}
	defer c.Close()
	s.Capture.Notice = s.Hub.Notice
	l, err := capture.OpenLive(s.Capture)
	if err != nil {
		return (&Live{Capture: s.Capture}).openError(err)
	}
	defer l.Close()
	if err := dropPrivileges(s.User); err != nil {
		return err
	}
	if s.Confine && os.Geteuid() != 0 {
		if err := confine("", true); err != nil {
			return err
		}
	}
	if s.Duration > 0 {
		var ended context.CancelFunc
		ctx, ended = context.WithTimeout(ctx, s.Duration)
		defer ended()
	}
	addresses := ownAddresses()
	so := s.options(func() hub.About {
		return hub.About{Cut: len(s.Capture.Interfaces) > 0, Addresses: addresses, Stats: l.Stats()}
	})
	so.Drop, so.Live, so.Clock = true, true, len(s.Capture.Interfaces) > 0
	sensor, err := c.Sensor(ctx, so)
	if err != nil {
		return err
	}
	if err := sensor.Live(ctx, l); err != nil {
		return err
	}
	stats := l.Stats()
	for _, w := range stats.Warnings {
		text.Say(s.Stderr, "%s", w)
	}
	lost := ""
	if n := stats.Dropped + sensor.Dropped(); n > 0 {
		lost = fmt.Sprintf("; %d were lost because a buffer was full", n)
	}
	text.Say(s.Stderr, "%d segments sent as sensor %s%s", stats.Segments+stats.Errors, s.Name, lost)
	return nil
}

// ownAddresses are those of this host, as far as they can be learned.
func ownAddresses() (list []string) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}

// Sensors prints who sends to a hub.
func Sensors(ctx context.Context, o hub.Options, out io.Writer) error {
	c, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	runs, err := c.Sensors(ctx)
	if err != nil {
		return err
	}
	var list []table.Sensor
	for i := range runs {
		r := &runs[i]
		list = append(list, table.Sensor{
			Name: r.Sensor, State: string(r.State), Heard: time.Since(r.Heard), Segments: r.Segments, Lost: r.Lost,
			Clock: r.Behind, Live: r.Live, Host: r.Host, Version: r.Version,
		})
	}
	return table.WriteSensors(out, list)
}
