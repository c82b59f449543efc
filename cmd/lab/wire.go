//go:build lab && linux

package lab

import (
	"fmt"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
)

// realTime is the clock of kernels.
type realTime struct{}

func (realTime) Now() time.Time        { return time.Now() }
func (realTime) Sleep(d time.Duration) { time.Sleep(d) }

// A wire joins the TUN devices of two hosts.
type wire struct {
	*story.Wire
	hosts [2]*host
	stop  chan struct{}
	done  chan error // has what went wrong, once deliver has ended
}

func newWire(hosts [2]*host) *wire {
	w := &wire{Wire: story.NewWire(realTime{}), hosts: hosts, stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { w.done <- w.deliver() }()
	go w.read(story.Client)
	go w.read(story.Server)
	return w
}

// read takes what a host puts on the wire, until its device is closed.
func (w *wire) read(from story.Side) {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.hosts[from].tun.Read(buf)
		if err != nil {
			return
		}
		w.Carry(from, slices.Clone(buf[:n]))
	}
}

// deliver takes packets off the wire as they are due.
func (w *wire) deliver() (failed error) {
	for {
		for to, packet, ok := w.Take(); ok; to, packet, ok = w.Take() {
			if _, err := w.hosts[to].tun.Write(packet); err != nil && failed == nil {
				failed = fmt.Errorf("delivering a packet to %v: %w", to, err)
			}
		}
		pause := time.Hour
		if next, ok := w.Next(); ok {
			pause = time.Until(next)
		}
		select {
		case <-w.stop:
			return failed
		case <-w.Put:
		case <-time.After(pause):
		}
	}
}

// close ends the wire; the hosts' devices are closed by them.
func (w *wire) close() error {
	close(w.stop)
	return <-w.done
}
