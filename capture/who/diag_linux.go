package who

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Sockets are asked for many at a time, each by its addresses and ports. Of what the
// libraries for netlink have, none asks for more than one, or reads the cgroup.

const (
	sockDiagByFamily = 20 // in linux/sock_diag.h
	diagInfo         = 2  // INET_DIAG_INFO, in linux/inet_diag.h
	diagCgroupID     = 21 // INET_DIAG_CGROUP_ID

	sizeofHeader  = unix.SizeofNlMsghdr
	sizeofRequest = 56 // struct inet_diag_req_v2
	sizeofMessage = 72 // struct inet_diag_msg

	batch    = 32               // questions in one message
	patience = 2 * time.Second  // for the answers
	room     = 2 * batch * 1024 // for these
)

var native = binary.NativeEndian

// kernelStates are the states by the numbers of the kernel. 12 is a request that is not a
// socket yet.
var kernelStates = [...]tcp.State{
	1: tcp.Established, 2: tcp.SynSent, 3: tcp.SynReceived, 4: tcp.FinWait1, 5: tcp.FinWait2, 6: tcp.TimeWait,
	7: tcp.Closed, 8: tcp.CloseWait, 9: tcp.LastAck, 10: tcp.Listen, 11: tcp.Closing, 12: tcp.SynReceived,
}

// A socket is what sock_diag tells of one.
type socket struct {
	tcp.Socket
	uid   uint32
	inode uint32 // 0: no process has it
	group uint64 // ID of its cgroup; 0: not known
}

// whole reports whether it is more than what the kernel keeps of a connection that is
// being opened, or waits in TIME_WAIT: of these it does not know whose they are.
func (s *socket) whole() bool { return s.HasInfo }

// A diag is a netlink socket to ask by.
type diag struct {
	fd  int
	seq uint32
	buf []byte
}

// newDiag opens one in the network namespace of the thread.
func newDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &diag{fd: fd, buf: make([]byte, room)}, nil
}

func (d *diag) close() { _ = unix.Close(d.fd) }

// find looks for sockets. Where there is none, that which listens there is found, and
// Closed says that there is neither. An error leaves all open.
func (d *diag) find(list []Query) ([]socket, error) {
	found := make([]socket, 0, len(list))
	for len(list) > 0 {
		n := min(len(list), batch)
		some, err := d.findSome(list[:n])
		if err != nil {
			return nil, err
		}
		found, list = append(found, some...), list[n:]
	}
	return found, nil
}

func (d *diag) findSome(list []Query) ([]socket, error) {
	first := d.seq + 1
	var b []byte
	for _, q := range list {
		d.seq++
		b = appendRequest(b, q, d.seq)
	}
	if err := unix.Sendto(d.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	found := make([]socket, len(list))
	for answered := 0; answered < len(list); {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		for rest := d.buf[:n]; len(rest) >= sizeofHeader; {
			size, kind, seq := int(native.Uint32(rest)), native.Uint16(rest[4:]), native.Uint32(rest[8:])
			if size < sizeofHeader || size > len(rest) {
				return nil, fmt.Errorf("sock_diag: a message of %d bytes", size)
			}
			if i := int(seq - first); i >= 0 && i < len(list) { // else of what failed before
				answered++
				if found[i] = (socket{Socket: tcp.Socket{State: tcp.Closed}}); kind == sockDiagByFamily {
					found[i] = parseSocket(rest[sizeofHeader:size])
				} else if err := errorOf(rest[sizeofHeader:size]); err != unix.ENOENT {
					return nil, fmt.Errorf("sock_diag: %w", err)
				}
			}
			rest = rest[min((size+3)&^3, len(rest)):]
		}
	}
	return found, nil
}

// errorOf reads a message that is an error.
func errorOf(b []byte) unix.Errno {
	if len(b) < 4 {
		return unix.EBADMSG
	}
	return unix.Errno(-int32(native.Uint32(b)))
}

// appendRequest appends the question for one socket.
func appendRequest(b []byte, q Query, seq uint32) []byte {
	const info = 1 << (diagInfo - 1)
	local, remote := q.Local.Addr().Unmap(), q.Remote.Addr().Unmap()
	family := byte(unix.AF_INET)
	if local.Is6() {
		family = unix.AF_INET6
	}
	b = native.AppendUint32(b, sizeofHeader+sizeofRequest)
	b = native.AppendUint16(native.AppendUint16(b, sockDiagByFamily), unix.NLM_F_REQUEST)
	b = native.AppendUint32(native.AppendUint32(b, seq), 0)
	b = native.AppendUint32(append(b, family, unix.IPPROTO_TCP, info, 0), ^uint32(0)) // in any state
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, q.Local.Port()), q.Remote.Port())
	for _, a := range []netip.Addr{local, remote} {
		var room [16]byte
		copy(room[:], a.AsSlice())
		b = append(b, room[:]...)
	}
	b = native.AppendUint32(b, 0)                                              // on any interface
	return native.AppendUint32(native.AppendUint32(b, ^uint32(0)), ^uint32(0)) // by any cookie
}

// parseSocket reads struct inet_diag_msg and the attributes behind it.
func parseSocket(b []byte) (s socket) {
	if len(b) < sizeofMessage || int(b[1]) >= len(kernelStates) {
		return s
	}
	s.State, s.Cookie = kernelStates[b[1]], native.Uint64(b[44:])
	s.RecvQueue, s.SendQueue = native.Uint32(b[56:]), native.Uint32(b[60:])
	s.uid, s.inode = native.Uint32(b[64:]), native.Uint32(b[68:])
	for rest := b[sizeofMessage:]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(native.Uint16(rest)), native.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		switch value := rest[unix.SizeofRtAttr:size]; {
		case kind == diagInfo && len(value) >= 104: // struct tcp_info
			s.HasInfo = true
			s.RTT = time.Duration(native.Uint32(value[68:])) * time.Microsecond
			s.Window, s.Retransmits = native.Uint32(value[80:]), native.Uint32(value[100:])
		case kind == diagCgroupID && len(value) >= 8:
			s.group = native.Uint64(value)
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return s
}
