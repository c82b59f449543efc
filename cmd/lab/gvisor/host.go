package gvisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	randv2 "math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// A host is a stack, and what was seen of its one conversation.
type host struct {
	lab        *lab
	side       story.Side
	stack      *stack.Stack
	link       *channel.Endpoint
	proto      stack.TransportProtocol
	network    tcpip.NetworkProtocolNumber
	addr, peer netip.AddrPort
	listening  bool
	witness    story.Witness

	socket *tcp.Endpoint // that was there when the host was last looked at
	state  string        // of it
}

const (
	nic   = 1
	mtu   = 1500
	queue = 1 << 12 // more than a host sends at once
)

// making has one stack made at a time.
var making sync.Mutex

// newHost makes a host whose randomness comes from the seed.
func newHost(l *lab, side story.Side, addr, peer netip.AddrPort, seed uint64) *host {
	h := &host{lab: l, side: side, addr: addr, peer: peer, network: ipv4.ProtocolNumber, state: closed}
	if addr.Addr().Is6() {
		h.network = ipv6.ProtocolNumber
	}
	var secret [32]byte
	for i := range 8 {
		secret[i] = byte(seed >> (8 * i))
	}
	secret[8] = byte(side)
	options := stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              &l.clock,
		RandSource:         rand.NewSource(int64(seed)*2 + int64(side)),
		SecureRNG:          randv2.NewChaCha8(secret),
	}
	// A stack begins as many goroutines as there are processors. One alone
	// handles segments in the order in which they come, and idle, settle.
	making.Lock()
	processors := runtime.GOMAXPROCS(1)
	h.stack = stack.New(options)
	runtime.GOMAXPROCS(processors)
	making.Unlock()
	h.proto = h.stack.TransportProtocolInstance(tcp.ProtocolNumber)
	h.link = channel.New(queue, mtu, "")
	must(h.stack.CreateNIC(nic, h.link))
	must(h.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol: h.network, AddressWithPrefix: address(addr).Addr.WithPrefix(),
	}, stack.AddressProperties{}))
	everywhere := header.IPv4EmptySubnet
	if h.network == ipv6.ProtocolNumber {
		everywhere = header.IPv6EmptySubnet
	}
	h.stack.SetRouteTable([]tcpip.Route{{Destination: everywhere, NIC: nic}})
	return h
}

// must panics at what cannot fail.
func must(err tcpip.Error) {
	if err != nil {
		panic("gvisor: " + err.String())
	}
}

// failed is the error of a stack as one of Go.
func failed(err tcpip.Error) error {
	if err == nil {
		return nil
	}
	return errors.New(err.String())
}

func address(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

// receive gives the stack a packet that has arrived.
func (h *host) receive(packet []byte) {
	h.capture(packet)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	h.link.InjectInbound(h.network, p)
	p.DecRef()
}

func (h *host) capture(packet []byte) {
	h.witness.Captured = append(h.witness.Captured, story.Packet{At: h.lab.clock.Now(), Data: packet})
}

// settle waits until the stack has done all that there is to do now: it pauses
// only when no segment waits.
func (h *host) settle() {
	h.proto.Pause()
	h.proto.Resume()
}

// look settles, puts on the wire what the stack has sent, and notes a move of
// the state. What the stack goes through within one segment is not seen.
func (h *host) look() {
	h.settle()
	for p := h.link.Read(); p != nil; p = h.link.Read() {
		view := p.ToView()
		packet := bytes.Clone(view.AsSlice())
		view.Release()
		p.DecRef()
		h.capture(packet)
		h.lab.wire.Carry(h.side, packet)
	}
	now := h.find()
	if now != h.socket && now != nil {
		h.move(closed) // what was there before is gone
	}
	h.socket = now
	h.move(stateOf(now))
}

// move notes a move.
func (h *host) move(to string) {
	if to != h.state {
		h.witness.Moves = append(h.witness.Moves, oracle.Move{
			T: story.Seconds(h.lab.clock.Now()), From: h.state, To: to, Src: "api",
		})
		h.state = to
	}
}

// find returns what the stack has for the connection, nil if nothing.
func (h *host) find() *tcp.Endpoint {
	local, remote := address(h.addr), address(h.peer)
	found, _ := h.stack.FindTransportEndpoint(h.network, tcp.ProtocolNumber, stack.TransportEndpointID{
		LocalAddress: local.Addr, LocalPort: local.Port, RemoteAddress: remote.Addr, RemotePort: remote.Port,
	}, nic).(*tcp.Endpoint)
	if found == nil || found.EndpointState() == tcp.StateListen {
		return nil
	}
	return found
}

const closed = "CLOSED"

// states are the names in tables of the stack's states. In any other an
// endpoint has no connection.
var states = map[tcp.EndpointState]string{
	tcp.StateSynSent: "SYN_SENT", tcp.StateSynRecv: "SYN_RCVD", tcp.StateEstablished: "ESTABLISHED",
	tcp.StateFinWait1: "FIN_WAIT_1", tcp.StateFinWait2: "FIN_WAIT_2", tcp.StateClosing: "CLOSING",
	tcp.StateTimeWait: "TIME_WAIT", tcp.StateCloseWait: "CLOSE_WAIT", tcp.StateLastAck: "LAST_ACK",
}

func stateOf(e *tcp.Endpoint) string {
	if e != nil {
		if name := states[e.EndpointState()]; name != "" {
			return name
		}
	}
	return closed
}

// State returns the state of the socket, and whether a listener waits.
func (h *host) State() (state string, listening bool, err error) {
	if h.state == closed {
		return "", h.listening, nil
	}
	return h.state, h.listening, nil
}

// settings are the sysctls of Linux that the stack has too.
var settings = map[string]func(value int) tcpip.SettableTransportProtocolOption{
	"net.ipv4.tcp_fin_timeout": func(s int) tcpip.SettableTransportProtocolOption {
		v := tcpip.TCPLingerTimeoutOption(time.Duration(s) * time.Second)
		return &v
	},
	"net.ipv4.tcp_syncookies": func(n int) tcpip.SettableTransportProtocolOption {
		v := tcpip.TCPAlwaysUseSynCookies(n == 2)
		return &v
	},
	"net.ipv4.tcp_retries2": func(n int) tcpip.SettableTransportProtocolOption {
		v := tcpip.TCPMaxRetriesOption(n)
		return &v
	},
}

// Sysctl sets what the stack has for a sysctl.
func (h *host) Sysctl(name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil {
		return err
	}
	if name == "net.ipv4.tcp_rfc1337" && n == 1 {
		return nil // it always is so
	}
	option := settings[name]
	if option == nil {
		return fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
	}
	return failed(h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option(n)))
}

// Destroy has the stack forget what it has for the connection.
func (h *host) Destroy() error {
	if e := h.find(); e != nil {
		h.forget(e)
	}
	return nil
}

// forget aborts while nothing that the host sends comes out of it.
func (h *host) forget(e tcpip.Endpoint) {
	h.look()
	e.Abort()
	h.settle()
	h.link.Drain()
	h.look()
}

// bound returns a new endpoint, bound to the port, with these options.
func (h *host) bound(options map[string]int) (*socket, error) {
	for _, name := range []string{"fastopen", "iss", "md5", "mptcp"} {
		if _, given := options[name]; given {
			return nil, fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
		}
	}
	s := &socket{host: h}
	var err tcpip.Error
	if s.Endpoint, err = h.stack.NewEndpoint(tcp.ProtocolNumber, h.network, &s.waiting); err != nil {
		return nil, failed(err)
	}
	s.SocketOptions().SetReuseAddress(true)
	if octets, ok := options["window"]; ok {
		s.SocketOptions().SetReceiveBufferSize(int64(octets), true)
	}
	if _, ok := options["defer"]; ok {
		v := tcpip.TCPDeferAcceptOption(10 * time.Second)
		err = s.SetSockOpt(&v)
	}
	if ms, ok := options["timeout"]; ok && err == nil {
		v := tcpip.TCPUserTimeoutOption(time.Duration(ms) * time.Millisecond)
		err = s.SetSockOpt(&v)
	}
	if err == nil {
		err = s.Bind(address(h.addr))
	}
	if err != nil {
		s.Endpoint.Close()
		return nil, failed(err)
	}
	return s, nil
}

// A socket is an endpoint of the stack.
type socket struct {
	tcpip.Endpoint
	host    *host
	waiting waiter.Queue
}

// A listener is one too.
type listener struct{ *socket }

// Listen opens a listener.
func (h *host) Listen(options map[string]int) (story.Listener, error) {
	s, err := h.bound(options)
	if err != nil {
		return nil, err
	}
	backlog, ok := options["backlog"]
	if !ok {
		backlog = 16
	}
	if err := s.Endpoint.Listen(backlog); err != nil {
		s.Endpoint.Close()
		return nil, failed(err)
	}
	h.listening = true
	return listener{s}, nil
}

// Accept takes a connection.
func (l listener) Accept() (story.Socket, error) {
	e, _, err := l.Endpoint.Accept(nil)
	if err != nil {
		return nil, failed(err)
	}
	return &socket{Endpoint: e, host: l.host}, nil
}

// Close closes the listener.
func (l listener) Close() error {
	l.host.listening = false
	return l.socket.Close()
}

// Connect opens a connection.
func (h *host) Connect(options map[string]int) (story.Socket, error) {
	s, err := h.bound(options)
	if err != nil {
		return nil, err
	}
	if err := s.Endpoint.Connect(address(h.peer)); err != nil {
		if _, begun := err.(*tcpip.ErrConnectStarted); !begun {
			s.Endpoint.Close()
			h.look()
			return nil, failed(err)
		}
	}
	h.look()
	return s, nil
}

// FastOpen is what the stack does not have.
func (h *host) FastOpen(int) (story.Socket, error) {
	return nil, fmt.Errorf("fast open: %w", errors.ErrUnsupported)
}

// wait is the error of a stack that would have to wait.
func wait(err tcpip.Error) error {
	if _, is := err.(*tcpip.ErrWouldBlock); is {
		return story.ErrWait
	}
	return failed(err)
}

var zeros [1 << 16]byte

// Write writes to the socket.
func (s *socket) Write(octets int) (int, error) {
	n, err := s.Endpoint.Write(bytes.NewReader(zeros[:min(octets, len(zeros))]), tcpip.WriteOptions{})
	return int(n), wait(err)
}

// Read reads from the socket.
func (s *socket) Read() (int, error) {
	n, err := s.Endpoint.Read(io.Discard, tcpip.ReadOptions{})
	switch err.(type) {
	case *tcpip.ErrClosedForReceive:
		return 0, io.EOF
	case *tcpip.ErrNotConnected: // a simultaneous open may be in SYN_RCVD
		if tcp.EndpointState(s.State()) == tcp.StateSynRecv {
			return 0, story.ErrWait
		}
	}
	return n.Count, wait(err)
}

// Shutdown closes the half.
func (s *socket) Shutdown() error {
	err := s.Endpoint.Shutdown(tcpip.ShutdownWrite)
	s.host.look()
	if _, is := err.(*tcpip.ErrNotConnected); is { // by a reset
		return nil
	}
	return failed(err)
}

// Close closes the socket.
func (s *socket) Close() error {
	s.Endpoint.Close()
	s.host.look()
	return nil
}

// Die closes the socket, as all that the death of a process means here.
func (s *socket) Die() error { return s.Close() }

// Abort closes with RST.
func (s *socket) Abort() error {
	s.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
	return s.Close()
}

// Vanish has the stack forget the connection.
func (s *socket) Vanish() error {
	s.host.forget(s.Endpoint)
	return nil
}

// Cork sends nothing but full segments, until the FIN.
func (s *socket) Cork() error {
	s.SocketOptions().SetCorkOption(true)
	return nil
}

// KeepAlive probes an idle connection.
func (s *socket) KeepAlive(idle, interval, count int) error {
	first, next := tcpip.KeepaliveIdleOption(time.Duration(idle)*time.Second), tcpip.KeepaliveIntervalOption(time.Duration(interval)*time.Second)
	if err := s.SetSockOpt(&first); err != nil {
		return failed(err)
	}
	if err := s.SetSockOpt(&next); err != nil {
		return failed(err)
	}
	if err := s.SetSockOptInt(tcpip.KeepaliveCountOption, count); err != nil {
		return failed(err)
	}
	s.SocketOptions().SetKeepAlive(true)
	return nil
}
