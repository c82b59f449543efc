package gvisor

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
)

// A lab is two hosts and the wire between them, for one conversation.
type lab struct {
	clock clock
	wire  *story.Wire
	hosts [2]*host
}

// newLab makes a lab of IPv4 or IPv6. What is random in the stacks comes from
// the seed.
func newLab(v6 bool, seed uint64) *lab {
	addrs := [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:7000")}
	if v6 {
		addrs = [2]netip.AddrPort{netip.MustParseAddrPort("[fd00::1]:40000"), netip.MustParseAddrPort("[fd00::2]:7000")}
	}
	l := &lab{clock: clock{now: epoch}}
	l.wire = story.NewWire(l)
	for i := range l.hosts {
		l.hosts[i] = newHost(l, story.Side(i), addrs[i], addrs[1-i], seed)
	}
	return l
}

// close ends the stacks.
func (l *lab) close() {
	for _, h := range l.hosts {
		h.stack.Destroy()
	}
}

// play plays a script, and writes what was seen into a directory.
func (l *lab) play(s *story.Script, dir string) error {
	c := l.wire.Converse([2]story.Host{l.hosts[0], l.hosts[1]}, [2]netip.AddrPort{l.hosts[0].addr, l.hosts[1].addr})
	if err := c.Play(s); err != nil {
		return err
	}
	return c.Keep(dir, s, [2]story.Witness{l.hosts[0].witness, l.hosts[1].witness})
}

// Now returns the time.
func (l *lab) Now() time.Time { return l.clock.Now() }

// Sleep lets time pass, event by event: a packet arrives, or a timer fires, and
// both hosts are looked at when they have done what they do about it.
func (l *lab) Sleep(d time.Duration) {
	end := l.clock.Now().Add(d)
	for l.look(); ; {
		next := end
		for _, of := range []func() (time.Time, bool){l.wire.Next, l.clock.next} {
			if at, ok := of(); ok && at.Before(next) {
				next = at
			}
		}
		l.clock.set(next)
		if to, packet, ok := l.wire.Take(); ok {
			l.hosts[to].receive(packet)
		} else if !l.clock.fire() {
			return // there is nothing left to do until the end
		}
		l.look()
	}
}

func (l *lab) look() {
	for _, h := range l.hosts {
		h.look()
	}
}
