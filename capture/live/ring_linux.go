//go:build linux && !libpcap

package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// By names how this build captures on interfaces.
const By = "AF_PACKET"

// The ring is memory that the kernel and we both see (AF_PACKET, TPACKET_V3).
// It is divided into blocks; the kernel fills one after the other with packets,
// and hands a block over when it is full or ringPatience old. It is ours until
// we give it back. When all are ours packets are lost, and the kernel counts
// them.
//
// One socket is enough for several interfaces, and keeps their packets in
// order: it is bound to all interfaces, and a filter in the kernel takes those
// asked for. The socket is opened for no protocol, given its filter and its
// ring, and bound last, so that nothing comes in that was not asked for.

const (
	// ringPatience is how long the kernel keeps a packet back, at most, to hand
	// over more at once.
	ringPatience = 20 * time.Millisecond

	// ringLag is how late a packet may come out of the ring on a busy machine.
	ringLag = 5 * ringPatience

	// minBlock is the least size of a block. A block is handed over with whatever
	// is in it, so that on a slow link the ring bridges as many times ringPatience
	// as it has blocks: 2.5 s, with 32 MiB. On a fast one it is woken for every
	// block: of 64 KiB, that took a third of its time.
	minBlock = 256 << 10

	// lookEvery is how often the interfaces are looked at.
	lookEvery = time.Second
)

// What the kernel says of a packet's interface (sockaddr_ll).
const (
	hardwareEthernet = 1
	hardwareLoopback = 772
	hardwareWiFi     = 801
	hardwareRadiotap = 803
)

// Sizes and places in the ring: tpacket_block_desc, tpacket3_hdr, sockaddr_ll.
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16

	packetHeader = 48
)

// A ring is the tap of Linux.
type ring struct {
	options Options
	fd      int
	bell    int // an eventfd: it was woken
	mem     []byte
	size    int // of a block

	block  int  // where the block begins that is read, or waited for
	packet int  // where its next packet begins
	left   int  // packets that are left in it
	ours   bool // it was handed over
	fresh  bool // it was not told yet that there is no more for now
	sealed bool // no more packets are taken
	paused bool // the deadline was told to have passed before it was begun

	lost   int64
	boot   time.Duration // bootTime when the capture began
	read   time.Time     // when the newest block was found to be ours
	looked time.Time     // when the interfaces were last looked at

	all     bool // every interface there is
	watched []watched
	names   map[int]string
}

// A watched interface is one that was asked for by name.
type watched struct {
	name  string
	index int // 0: there is none of that name now
	up    bool
}

var native = binary.NativeEndian

// Open begins to capture on interfaces, by a ring that the kernel fills.
func Open(o Options) (Tap, error) {
	g := &ring{options: o, fd: -1, bell: -1, names: map[int]string{}, boot: bootTime(), looked: time.Now()}
	if err := g.open(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *ring) open() (err error) {
	g.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		return ErrNotPermitted
	}
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	if g.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("opening an eventfd: %w", err)
	}
	for _, name := range g.options.Interfaces {
		w := watched{name: name}
		if name == anyInterface {
			g.all = true
			continue
		}
		if w.index, w.up = g.state(name); w.index == 0 {
			return fmt.Errorf("%s: %w", name, ErrNoInterface)
		}
		g.watched = append(g.watched, w)
	}
	if g.options.Promisc && g.all {
		return errors.New("the interface any does not support promiscuous mode; name the interfaces")
	}
	if err := g.filter(); err != nil {
		return err
	}
	if err := g.mapRing(); err != nil {
		return err
	}
	for _, w := range g.watched {
		if !w.up {
			g.notice(w.name + " is down: waiting for it to come up")
		}
	}
	return g.bind()
}

// mapRing makes the ring.
func (g *ring) mapRing() error {
	g.size = minBlock
	for g.size < 2*g.options.Snap {
		g.size *= 2
	}
	if err := unix.SetsockoptInt(g.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("the kernel does not support packet rings of version 3 (TPACKET_V3): %w", err)
	}
	// For a header or a VLAN tag that we put before the packet.
	if err := unix.SetsockoptInt(g.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, inet.SLLSize); err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	const frame = 2048 // no more than a number to the kernel, in this version
	blocks := max(2, g.options.Buffer/g.size)
	req := unix.TpacketReq3{
		Block_size: uint32(g.size), Block_nr: uint32(blocks),
		Frame_size: frame, Frame_nr: uint32(g.size / frame * blocks),
		Retire_blk_tov: uint32(ringPatience / time.Millisecond),
	}
	if err := unix.SetsockoptTpacketReq3(g.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("a packet ring of %d MiB: %w", g.size*blocks>>20, err)
	}
	var err error
	if g.mem, err = unix.Mmap(g.fd, 0, g.size*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("a packet ring of %d MiB: %w", g.size*blocks>>20, err)
	}
	return nil
}

// bind has packets come in, of the one interface or of all.
func (g *ring) bind() error {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order, on any machine
	to := unix.SockaddrLinklayer{Protocol: all}
	if native.Uint16([]byte{0, 1}) == 1 {
		to.Protocol = unix.ETH_P_ALL
	}
	if !g.all && len(g.watched) == 1 {
		to.Ifindex = g.watched[0].index
	}
	if err := unix.Bind(g.fd, &to); err != nil {
		return fmt.Errorf("binding to the interface: %w", err)
	}
	if !g.options.Promisc {
		return nil
	}
	for _, w := range g.watched {
		m := unix.PacketMreq{Ifindex: int32(w.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(g.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("%s: setting promiscuous mode: %w", w.name, err)
		}
	}
	return nil
}

// filter tells the kernel which packets are wanted, and how much of them.
func (g *ring) filter() error {
	var program []bpf.Instruction
	if g.sealed {
		program = append(program, bpf.RetConstant{})
	}
	if !g.all && len(g.watched) > 1 {
		program = append(program, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		for i, w := range g.watched {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(w.index), SkipTrue: uint8(len(g.watched) - i)})
		}
		program = append(program, bpf.RetConstant{})
	}
	program = append(program,
		// Loopback shows every packet as it leaves, and again as it comes in.
		bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: hardwareLoopback, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{},
	)
	whole := bpf.RetConstant{Val: uint32(g.options.Snap)}
	if f := g.options.Filter; f != nil {
		if kernel := f.Kernel(g.options.Snap); kernel != nil {
			program = append(program,
				// What the program does not know, the filter itself is asked about:
				// tags, which the kernel keeps apart, and what is no Ethernet.
				bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3},
				bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: hardwareEthernet, SkipTrue: 2},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: hardwareLoopback, SkipTrue: 1},
				whole,
			)
			program = append(program, kernel...)
		}
	}
	raw, err := bpf.Assemble(append(program, whole))
	if err != nil {
		return fmt.Errorf("the kernel's filter: %w", err)
	}
	instructions := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		instructions[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	p := unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}
	if err := unix.SetsockoptSockFprog(g.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p); err != nil {
		return fmt.Errorf("the kernel's filter: %w", err)
	}
	return nil
}

// status is the word by which a block changes hands.
func (g *ring) status() *uint32 { return (*uint32)(unsafe.Pointer(&g.mem[g.block+blockStatus])) }

func (g *ring) Next(r *pcap.Record, deadline time.Time) (ok, idle bool, err error) {
	for {
		for g.left > 0 {
			g.left--
			p := g.packet
			g.packet += int(native.Uint32(g.mem[p:]))
			if g.fill(r, p) {
				return true, false, nil
			}
		}
		if g.ours {
			g.ours = false
			atomic.StoreUint32(g.status(), unix.TP_STATUS_KERNEL)
			g.block = (g.block + g.size) % len(g.mem)
		}
		now := time.Now()
		if now.Sub(g.looked) >= lookEvery {
			g.look(now)
		}
		ready := atomic.LoadUint32(g.status())&unix.TP_STATUS_USER != 0
		if !ready && g.fresh {
			g.fresh = false
			return false, true, nil
		}
		if !ready && now.Before(deadline) {
			if woken, err := g.wait(deadline.Sub(now)); err != nil || woken {
				return false, true, err
			}
			continue
		}
		if !now.Before(deadline) && !g.paused {
			g.paused = true // say so once; if it is asked again there are packets to be had
			return false, !ready, nil
		}
		g.paused = false
		if !ready {
			return false, true, nil
		}
		g.ours, g.fresh, g.read = true, true, now
		g.left = int(native.Uint32(g.mem[g.block+blockPackets:]))
		g.packet = g.block + int(native.Uint32(g.mem[g.block+blockFirst:]))
	}
}

// fill makes a record of the packet whose header is at p. It is not ok if the
// packet is not wanted after all.
func (g *ring) fill(r *pcap.Record, p int) (ok bool) {
	h := g.mem[p : p+packetHeader+20]
	sender := h[packetHeader:] // sockaddr_ll
	hardware := native.Uint16(sender[8:])
	if hardware == hardwareLoopback && sender[10] == unix.PACKET_OUTGOING {
		return false
	}
	captured, wire := int(native.Uint32(h[12:])), int(native.Uint32(h[16:]))
	mac, network := p+int(native.Uint16(h[24:])), p+int(native.Uint16(h[26:]))
	end := mac + captured
	r.Time = tcp.Time(int64(native.Uint32(h[4:]))*1e9 + int64(native.Uint32(h[8:])))
	r.Device = int(native.Uint32(sender[4:]))
	if r.Way = pcap.WayOf(sender[10]); hardware == hardwareLoopback {
		r.Way = tcp.WayUnknown // it goes both ways
	}
	status := native.Uint32(h[20:])
	tagged := status&unix.TP_STATUS_VLAN_VALID != 0
	switch hardware {
	case hardwareEthernet, hardwareLoopback:
		r.Link = pcap.LinkEthernet
		if tagged && captured >= inet.EthernetSize-2 {
			copy(g.mem[mac-4:], g.mem[mac:mac+12])
			mac -= 4
			wire += 4
			tag := g.mem[mac+12:]
			binary.BigEndian.PutUint16(tag, inet.TypeVLAN)
			if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
				binary.BigEndian.PutUint16(tag, native.Uint16(h[36:]))
			}
			binary.BigEndian.PutUint16(tag[2:], uint16(native.Uint32(h[32:])))
		}
	case hardwareWiFi:
		r.Link = pcap.LinkWiFi
	case hardwareRadiotap:
		r.Link = pcap.LinkRadiotap
	default:
		wire -= network - mac
		mac, end = network, max(end, network)
		switch binary.BigEndian.Uint16(sender[2:]) {
		case inet.TypeIPv4, inet.TypeIPv6:
			r.Link = pcap.LinkRaw
		default:
			r.Link = pcap.LinkLinuxSLL
			mac -= inet.SLLSize
			wire += inet.SLLSize
			b := g.mem[mac:network]
			clear(b)
			b[1] = sender[10]
			binary.BigEndian.PutUint16(b[2:], hardware)
			b[5] = sender[11]
			copy(b[6:14], sender[12:20])
			copy(b[14:], sender[2:4])
		}
	}
	r.Data = g.mem[mac:end:end]
	r.Wire = max(wire, len(r.Data))
	return true
}

// wait waits for the kernel to hand over a block.
func (g *ring) wait(most time.Duration) (woken bool, err error) {
	if most > lookEvery {
		most = lookEvery
	}
	polled := []unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN}, {Fd: int32(g.bell), Events: unix.POLLIN}}
	_, err = unix.Poll(polled, int((most+time.Millisecond-1)/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("waiting for packets: %w", err)
	}
	if polled[1].Revents != 0 {
		var n [8]byte
		unix.Read(g.bell, n[:])
		return true, nil
	}
	if polled[0].Revents&unix.POLLERR != 0 {
		// The interface went down. To ask is to clear it; look tells of it.
		if code, err := unix.GetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 && unix.Errno(code) != unix.ENETDOWN {
			return false, fmt.Errorf("waiting for packets: %w", unix.Errno(code))
		}
		g.look(time.Now())
	}
	return false, nil
}

// look looks whether interfaces went down, came back, or were made anew.
func (g *ring) look(now time.Time) {
	g.looked = now
	g.count()
	moved := false
	for i := range g.watched {
		w := &g.watched[i]
		index, up := g.state(w.name)
		if index == w.index && up == w.up {
			continue
		}
		moved = moved || index != 0 && index != w.index
		if index != 0 {
			w.index = index
		}
		switch was := w.up; {
		case up && !was:
			g.notice(w.name + " is up again")
		case was && !up:
			g.notice(w.name + " is down: waiting for it to come up")
		}
		w.up = up
	}
	if moved { // it needs no rights to bind again
		err := g.filter()
		if err == nil {
			err = g.bind()
		}
		if err != nil {
			g.notice(err.Error())
		}
	}
}

func (g *ring) notice(text string) {
	if g.options.Notice != nil {
		g.options.Notice(text)
	}
}

// state asks for an interface by name.
func (g *ring) state(name string) (index int, up bool) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, false
	}
	if unix.IoctlIfreq(g.fd, unix.SIOCGIFINDEX, req) != nil {
		return 0, false
	}
	index = int(req.Uint32())
	if unix.IoctlIfreq(g.fd, unix.SIOCGIFFLAGS, req) != nil {
		return 0, false
	}
	return index, req.Uint16()&unix.IFF_UP != 0
}

// count asks the kernel how many packets it had no room for. It counts from
// zero again each time.
func (g *ring) count() {
	if s, err := unix.GetsockoptTpacketStatsV3(g.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		g.lost += int64(s.Drops)
	}
}

func (g *ring) Drops() int64 {
	g.count()
	return g.lost
}

func (g *ring) Device(index int) string {
	if name := g.names[index]; name != "" {
		return name
	}
	i := slices.IndexFunc(g.watched, func(w watched) bool { return w.index == index })
	if i >= 0 {
		g.names[index] = g.watched[i].name
	} else if found, err := net.InterfaceByIndex(index); err == nil {
		g.names[index] = found.Name
	} else {
		g.names[index] = fmt.Sprintf("#%d", index)
	}
	return g.names[index]
}

func (g *ring) Taken() time.Time        { return g.read }
func (g *ring) Lag() time.Duration      { return ringLag }
func (g *ring) ClockSet() time.Duration { return bootTime() - g.boot }

// bootTime returns when the machine was started, which changes when its clock is
// set, and for nothing else: the time it was suspended counts.
func bootTime() time.Duration {
	var now, up unix.Timespec
	unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &up)
	return time.Duration(now.Nano() - up.Nano())
}

func (g *ring) Seal() bool {
	g.sealed = true
	return g.filter() == nil
}

func (g *ring) Wake() {
	one := make([]byte, 8)
	native.PutUint64(one, 1)
	unix.Write(g.bell, one)
}

func (g *ring) Close() error {
	if g.mem != nil {
		unix.Munmap(g.mem)
	}
	if g.fd >= 0 {
		unix.Close(g.fd)
	}
	if g.bell >= 0 {
		unix.Close(g.bell)
	}
	g.mem, g.fd, g.bell = nil, -1, -1
	return nil
}
