//go:build lab && linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An end is a host in one conversation. Its sockets do not block.
type end struct {
	host       *host
	addr, peer netip.AddrPort
	outside    netip.AddrPort // what a NAT of the host makes of addr; without one it is the same
	cookies    bool           // SYN cookies alone
	buf        []byte
}

// A socket is the kernel's, of an end.
type socket struct {
	fd int
	*end
}

// A listener is one too.
type listener socket

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// addrPort is the other way around.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// socketOptions are the options of "listen" and "connect" that sockets have.
var socketOptions = map[string]func(fd, value int) error{
	"window":   func(fd, octets int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, octets) },
	"defer":    func(fd, s int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, s) },
	"fastopen": func(fd, _ int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 10) },
	"timeout":  func(fd, ms int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms) },
	"iss":      startAt,
}

// bound returns a new socket in the host's namespace, bound to the port, with
// these options.
func (e *end) bound(options map[string]int) (fd int, err error) {
	family := unix.AF_INET
	if e.addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	err = e.host.do(func() error {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, options["mptcp"]*unix.IPPROTO_MPTCP)
		return err
	})
	if err != nil {
		return -1, orUnsupported(err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, sockaddr(e.addr))
	}
	if err == nil && options["md5"] != 0 {
		err = e.sign(fd)
	}
	for name, value := range options {
		if set := socketOptions[name]; set != nil && err == nil {
			err = set(fd, value)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// orUnsupported marks the errors with which a kernel says that it was built, or
// set, without a protocol or an option.
func orUnsupported(err error) error {
	if err == unix.EPROTONOSUPPORT || err == unix.ENOPROTOOPT {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// sign gives the socket the key with which it and its peer sign segments
// (RFC 2385).
func (e *end) sign(fd int) error {
	key := "tcpwatch"
	s := unix.TCPMD5Sig{Keylen: uint16(len(key))}
	copy(s.Key[:], key)
	port := binary.BigEndian.AppendUint16(nil, e.peer.Port())
	if addr := e.peer.Addr(); addr.Is4() {
		s.Addr.Family = unix.AF_INET
		copy(s.Addr.Data[:], append(port, addr.AsSlice()...))
	} else {
		s.Addr.Family = unix.AF_INET6
		const flow = 4 // octets of sockaddr_in6 before the address
		copy(s.Addr.Data[:], append(append(port, make([]byte, flow)...), addr.AsSlice()...))
	}
	return orUnsupported(unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &s))
}

// Listen opens a listener.
func (e *end) Listen(options map[string]int) (story.Listener, error) {
	fd, err := e.bound(options)
	if err != nil {
		return nil, err
	}
	backlog, ok := options["backlog"]
	if !ok {
		backlog = 16
	}
	return &listener{fd, e}, unix.Listen(fd, backlog)
}

// Accept takes a connection of the peer. Those of others, which filled the
// queue, it closes.
func (l *listener) Accept() (story.Socket, error) {
	for {
		fd, from, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil || addrPort(from) == l.peer {
			return &socket{fd, l.end}, err
		}
		_ = unix.Close(fd)
	}
}

// Close closes the listener.
func (l *listener) Close() error { return unix.Close(l.fd) }

// Connect opens a connection.
func (e *end) Connect(options map[string]int) (story.Socket, error) {
	return e.begin(options, func(fd int) error { return unix.Connect(fd, sockaddr(e.peer)) })
}

// FastOpen opens a connection with data in the SYN.
func (e *end) FastOpen(octets int) (story.Socket, error) {
	return e.begin(nil, func(fd int) error {
		return unix.Sendto(fd, make([]byte, octets), unix.MSG_FASTOPEN, sockaddr(e.peer))
	})
}

// begin makes a socket and begins a connection with it.
func (e *end) begin(options map[string]int, how func(fd int) error) (story.Socket, error) {
	fd, err := e.bound(options)
	if err != nil {
		return nil, err
	}
	if err := how(fd); err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return nil, err
	}
	return &socket{fd, e}, nil
}

// Write writes to the socket.
func (s *socket) Write(octets int) (int, error) {
	n, err := unix.Write(s.fd, s.buf[:min(octets, len(s.buf))])
	if err == unix.EAGAIN {
		err = story.ErrWait
	}
	return n, err
}

// Read reads from the socket.
func (s *socket) Read() (int, error) {
	n, err := unix.Read(s.fd, s.buf)
	switch {
	case err == unix.EAGAIN, err == unix.EINTR:
		err = story.ErrWait
	case err == nil && n == 0:
		err = io.EOF
	}
	return n, err
}

// Close closes the socket.
func (s *socket) Close() error { return unix.Close(s.fd) }

// Shutdown closes the half.
func (s *socket) Shutdown() error {
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != unix.ENOTCONN { // by a reset
		return err
	}
	return nil
}

// Cork sends nothing but full segments, until the FIN.
func (s *socket) Cork() error { return unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_CORK, 1) }

// Abort closes with RST.
func (s *socket) Abort() error {
	if err := unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return s.Close()
}

// Vanish drops the socket without a word.
func (s *socket) Vanish() error {
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return err
	}
	return s.Close()
}

// Die hands the socket to a program that is killed.
func (s *socket) Die() error {
	program := exec.Command("sleep", "60")
	program.ExtraFiles = []*os.File{os.NewFile(uintptr(s.fd), "socket")}
	if err := program.Start(); err != nil {
		return err
	}
	_ = program.ExtraFiles[0].Close()
	if err := program.Process.Kill(); err != nil {
		return err
	}
	_ = program.Wait() // says that it was killed
	return nil
}

// KeepAlive probes an idle connection.
func (s *socket) KeepAlive(idle, interval, count int) error {
	for option, value := range map[int]int{
		unix.TCP_KEEPIDLE: idle, unix.TCP_KEEPINTVL: interval, unix.TCP_KEEPCNT: count,
	} {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, option, value); err != nil {
			return err
		}
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// Sysctl sets a sysctl of the host.
func (e *end) Sysctl(name, value string) error {
	if name == "net.ipv4.tcp_syncookies" && value == "2" {
		e.cookies = true
	}
	return e.host.do(func() error { return setSysctl(name, value) })
}

// Fill connects to the host's own listener, over its loopback.
func (e *end) Fill(connections int) error {
	for range connections {
		stranger := &end{host: e.host, addr: netip.AddrPortFrom(e.addr.Addr(), 0)}
		fd, err := stranger.bound(nil)
		if err != nil {
			return err
		}
		err = e.host.do(func() error {
			e.host.strangers = append(e.host.strangers, fd)
			return unix.Connect(fd, sockaddr(e.addr))
		})
		if err != nil && err != unix.EINPROGRESS {
			return err
		}
	}
	return nil
}

// Filter adds a rule to the host's firewall. The tap is before it.
func (e *end) Filter(rule string) error {
	return e.firewall("in", "filter hook input priority 0", rule)
}

// Translate has the process use another port than that of the story, and a NAT
// translate it. The tap is outside.
func (e *end) Translate() error {
	const apart = 10000
	e.addr = netip.AddrPortFrom(e.addr.Addr(), e.outside.Port()+apart)
	return e.firewall("out", "nat hook postrouting priority srcnat",
		fmt.Sprintf("tcp sport %d masquerade to :%d", e.addr.Port(), e.outside.Port()))
}

// firewall adds a rule to a chain of the host's.
func (e *end) firewall(chain, kind, rule string) error {
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(fmt.Sprintf("add table inet lab\nadd chain inet lab %s { type %s; }\nadd rule inet lab %s %s\n",
		chain, kind, chain, rule))
	return e.host.do(func() error {
		out, err := nft.CombinedOutput()
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		case err != nil:
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}

// Forget empties the connection table of the host's firewall.
func (e *end) Forget() error {
	return e.host.do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

// State asks the kernel for the states of the socket and of the listener.
func (e *end) State() (state string, listening bool, err error) {
	all, err := e.host.sockets()
	_, listening = all[tuple{local: e.addr}]
	return all[tuple{e.addr, e.peer}], listening, err
}

// Destroy has the kernel forget what it has for the connection, as "ss -K".
func (e *end) Destroy() error {
	return e.host.do(func() error {
		request := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
		request.AddRawData(e.socketRequest())
		_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
		return err
	})
}

// socketRequest is the inet_diag_req_v2 that names the connection.
func (e *end) socketRequest() []byte {
	family := byte(unix.AF_INET)
	if e.addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	address := func(a netip.Addr) []byte { return append(a.AsSlice(), make([]byte, 16)...)[:16] }
	b := []byte{family, unix.IPPROTO_TCP, 0, 0}
	b = native.AppendUint32(b, ^uint32(0)) // in any state
	b = binary.BigEndian.AppendUint16(b, e.addr.Port())
	b = binary.BigEndian.AppendUint16(b, e.peer.Port())
	b = append(b, address(e.addr.Addr())...)
	b = append(b, address(e.peer.Addr())...)
	b = native.AppendUint32(b, 0)             // on any interface
	return native.AppendUint64(b, ^uint64(0)) // whatever its cookie
}

// sentSYN reports whether the host sent a SYN of the connection at a time, once
// its tap has read all.
func (e *end) sentSYN(at float64) bool {
	for _, c := range e.host.captured {
		if d := story.Seconds(c.At) - at; -0.010 < d && d < 0.010 { // either clock may be read late
			if s, ok := decode.IP(c.Data); ok && s.Src == e.outside && s.Dst == e.peer && s.Flags.Any(tcp.SYN) {
				return true
			}
		}
	}
	return false
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
