//go:build lab && linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A process is one end's program: it may listen, and has at most one
// connection. Its sockets do not block; pump is called again and again.
type process struct {
	host     *host
	port     uint16
	peer     netip.AddrPort
	listener int // -1: none
	socket   int // -1: none
	deaf     bool
	follows  bool // closes when the peer has
	unsent   int  // octets that wait for room in the socket
	leaving  bool // closes when all is sent
	buf      []byte
}

func newProcess(h *host, port uint16, peer netip.AddrPort) *process {
	return &process{host: h, port: port, peer: peer, listener: -1, socket: -1, buf: make([]byte, 1<<16)}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (p *process) addr() netip.AddrPort { return netip.AddrPortFrom(p.host.addr, p.port) }

// bound returns a new socket in the host's namespace, bound to the port.
func (p *process) bound() (fd int, err error) {
	family := unix.AF_INET
	if p.host.addr.Is6() {
		family = unix.AF_INET6
	}
	err = p.host.do(func() error {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, sockaddr(p.addr()))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// listen opens a listener; set, if there is one, is called before.
func (p *process) listen(backlog int, set func(fd int) error) (err error) {
	if p.listener, err = p.bound(); err != nil {
		return err
	}
	if set != nil {
		if err := set(p.listener); err != nil {
			return err
		}
	}
	return unix.Listen(p.listener, backlog)
}

// unlisten closes the listener.
func (p *process) unlisten() error {
	err := unix.Close(p.listener)
	p.listener = -1
	return err
}

// open makes the socket of a new connection; set, if there is one, is called
// before it is used.
func (p *process) open(set func(fd int) error) (err error) {
	if p.socket >= 0 {
		return errors.New("there is a connection already")
	}
	if p.socket, err = p.bound(); err == nil && set != nil {
		err = set(p.socket)
	}
	return err
}

// connect opens a connection.
func (p *process) connect(set func(fd int) error) error {
	if err := p.open(set); err != nil {
		return err
	}
	return p.begun(unix.Connect(p.socket, sockaddr(p.peer)))
}

// fastOpen opens a connection with data in the SYN (RFC 7413).
func (p *process) fastOpen(octets int) error {
	if err := p.open(nil); err != nil {
		return err
	}
	return p.begun(unix.Sendto(p.socket, make([]byte, octets), unix.MSG_FASTOPEN, sockaddr(p.peer)))
}

// begun takes the error with which a connection began.
func (p *process) begun(err error) error {
	if err == nil || err == unix.EINPROGRESS {
		return nil
	}
	p.shut()
	return err
}

// drop forgets the socket.
func (p *process) drop() {
	p.socket, p.deaf, p.follows, p.unsent, p.leaving = -1, false, false, 0, false
}

// pump does what the process does by itself: accept, read, send on, close.
func (p *process) pump() {
	if p.listener >= 0 && p.socket < 0 {
		if fd, _, err := unix.Accept4(p.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
			follows := p.follows
			p.drop()
			p.socket, p.follows = fd, follows
		}
	}
	if p.socket < 0 {
		return
	}
	for p.unsent > 0 {
		n, err := unix.Write(p.socket, p.buf[:min(p.unsent, len(p.buf))])
		if err != nil {
			if err != unix.EAGAIN {
				p.unsent = 0 // the connection has ended
			}
			break
		}
		p.unsent -= n
	}
	if p.leaving && p.unsent == 0 {
		p.shut()
		return
	}
	for !p.deaf {
		n, err := unix.Read(p.socket, p.buf)
		if n == 0 && err == nil && p.follows {
			p.leaving = true
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			p.shut() // the connection has ended with an error
			return
		}
		if n <= 0 {
			break
		}
	}
}

// shut closes the socket.
func (p *process) shut() {
	_ = unix.Close(p.socket)
	p.drop()
}

var errNoSocket = errors.New("there is no connection")

// connected waits until the process has a socket, as when it has to accept.
func (p *process) connected() error {
	for range 1000 {
		if p.pump(); p.socket >= 0 {
			return nil
		}
		if p.listener < 0 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return errNoSocket
}

// abort closes with RST.
func (p *process) abort() error {
	if err := unix.SetsockoptLinger(p.socket, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	p.shut()
	return nil
}

// vanish drops the socket without a word, as the crash of a host does.
func (p *process) vanish() error {
	if err := unix.SetsockoptInt(p.socket, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return err
	}
	p.shut()
	return nil
}

// die hands the socket to a program that is killed.
func (p *process) die() error {
	program := exec.Command("sleep", "60")
	program.ExtraFiles = []*os.File{os.NewFile(uintptr(p.socket), "socket")}
	if err := program.Start(); err != nil {
		return err
	}
	_ = program.ExtraFiles[0].Close()
	p.drop()
	if err := program.Process.Kill(); err != nil {
		return err
	}
	_ = program.Wait() // says that it was killed
	return nil
}

// destroy has the kernel forget what it has for the connection, as "ss -K".
func (p *process) destroy() error {
	return p.host.do(func() error {
		request := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
		request.AddRawData(p.socketRequest())
		_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
		return err
	})
}

// socketRequest is the inet_diag_req_v2 that names the connection.
func (p *process) socketRequest() []byte {
	family := byte(unix.AF_INET)
	if p.host.addr.Is6() {
		family = unix.AF_INET6
	}
	address := func(a netip.Addr) []byte { return append(a.AsSlice(), make([]byte, 16)...)[:16] }
	b := []byte{family, unix.IPPROTO_TCP, 0, 0}
	b = native.AppendUint32(b, ^uint32(0)) // in any state
	b = binary.BigEndian.AppendUint16(b, p.port)
	b = binary.BigEndian.AppendUint16(b, p.peer.Port())
	b = append(b, address(p.host.addr)...)
	b = append(b, address(p.peer.Addr())...)
	b = native.AppendUint32(b, 0)             // on any interface
	return native.AppendUint64(b, ^uint64(0)) // whatever its cookie
}

// sentSYN reports whether the host sent a SYN of the connection at a time, once
// its tap has read all.
func (p *process) sentSYN(at float64) bool {
	for _, c := range p.host.captured {
		if d := float64(c.at)/1e9 - at; -0.010 < d && d < 0.010 { // either clock may be read late
			if s, ok := capture.DecodeIP(c.packet); ok && s.Src == p.addr() && s.Dst == p.peer && s.Flags.Any(tracker.SYN) {
				return true
			}
		}
	}
	return false
}

// keepAlive probes an idle connection.
func (p *process) keepAlive(idle, interval, count int) error {
	for option, value := range map[int]int{
		unix.TCP_KEEPIDLE: idle, unix.TCP_KEEPINTVL: interval, unix.TCP_KEEPCNT: count,
	} {
		if err := unix.SetsockoptInt(p.socket, unix.IPPROTO_TCP, option, value); err != nil {
			return err
		}
	}
	return unix.SetsockoptInt(p.socket, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// Numbers that package unix lacks.
const (
	sendQueue   = 2  // TCP_SEND_QUEUE of linux/tcp.h
	sockDestroy = 21 // SOCK_DESTROY of linux/sock_diag.h
)

// startAt sets the initial sequence number of a socket that is not connected.
func startAt(fd, iss int) error {
	for _, o := range [][2]int{
		{unix.TCP_REPAIR, 1}, {unix.TCP_REPAIR_QUEUE, sendQueue}, {unix.TCP_QUEUE_SEQ, iss},
		{unix.TCP_REPAIR, 0},
	} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, o[0], o[1]); err != nil {
			return fmt.Errorf("setting the initial sequence number: %w", err)
		}
	}
	return nil
}

// end closes what is left when a story is over.
func (p *process) end() {
	for _, fd := range []int{p.socket, p.listener} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
