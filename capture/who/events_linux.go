package who

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A program in the kernel tells which process opens and closes a connection, as it
// happens, so that none is over too soon. It hangs on inet_sock_set_state, and looks at
// moves that the process itself makes: to SYN_SENT in connect, to FIN_WAIT_1 and LAST_ACK
// in close and shutdown. All others may be made while any process runs. In connect the
// port is not known yet: what is learned there waits in a map until the socket leaves
// SYN_SENT. It is assembled here, with the offsets that the kernel's type information has.

const (
	mostEvents = 1 << 16          // connections of which events are kept
	eventsFor  = 30 * time.Second // and for how long
	ringSize   = 1 << 20
)

// Offsets in what the program tells; the process, which also waits in the map, comes
// first.
const (
	atPID, atUser, atComm, atGroup, sizeofProcess = 0, 4, 8, 24, 32

	atTime, atSpace, atFamily, atLocalPort, atRemotePort = 32, 40, 44, 46, 48
	atLocal4, atRemote4, atLocal6, atRemote6, sizeofTold = 52, 56, 60, 76, 92
)

// A happening is that a process opened or closed a connection.
type happening struct {
	at    time.Time
	pid   int
	uid   uint32
	comm  string
	group uint64
}

// A happened is where: the inode of the namespace, and the ends.
type happened struct {
	space         uint32
	local, remote netip.AddrPort
}

// events are what the program has told.
type events struct {
	link    link.Link
	program *ebpf.Program
	maps    []*ebpf.Map
	reader  *ringbuf.Reader

	mu    sync.Mutex
	told  map[happened][]happening
	order []happened // the oldest first, once for each happening
	boot  time.Time
}

// newEvents has the program loaded. It needs CAP_BPF and CAP_PERFMON for that alone.
func newEvents() (_ *events, err error) {
	e := &events{told: make(map[happened][]happening)}
	defer btf.FlushKernelSpec() // some 40 MB
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	at, err := offsetsOf("sock", "sk_protocol", "skc_net", "skc_family", "skc_num", "skc_dport", "skc_rcv_saddr", "skc_daddr", "skc_v6_rcv_saddr", "skc_v6_daddr")
	if err != nil {
		return nil, err
	}
	space, err := offsetsOf("net", "inum")
	if err != nil {
		return nil, err
	}
	opened, err := e.newMap(&ebpf.MapSpec{Name: "opened", Type: ebpf.LRUHash, KeySize: 8, ValueSize: sizeofProcess, MaxEntries: mostEvents})
	if err != nil {
		return nil, err
	}
	ring, err := e.newMap(&ebpf.MapSpec{Name: "told", Type: ebpf.RingBuf, MaxEntries: ringSize})
	if err != nil {
		return nil, err
	}
	if e.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tcpwatch_who", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "inet_sock_set_state", License: "Dual MIT/GPL",
		Instructions: teller(at, space["inum"], opened.FD(), ring.FD()),
	}); err != nil {
		return nil, fmt.Errorf("loading the program: %w", err)
	}
	if e.link, err = link.AttachTracing(link.TracingOptions{Program: e.program, AttachType: ebpf.AttachTraceRawTp}); err != nil {
		return nil, fmt.Errorf("attaching the program: %w", err)
	}
	if e.reader, err = ringbuf.NewReader(ring); err != nil {
		return nil, err
	}
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return nil, err
	}
	e.boot = time.Now().Add(-time.Duration(since.Nano()))
	go e.run()
	return e, nil
}

func (e *events) newMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("making a map: %w", err)
	}
	e.maps = append(e.maps, m)
	return m, nil
}

func (e *events) close() {
	if e.reader != nil {
		e.reader.Close()
	}
	if e.link != nil {
		e.link.Close()
	}
	if e.program != nil {
		e.program.Close()
	}
	for _, m := range e.maps {
		m.Close()
	}
}

// offsetsOf returns where members of a struct of the kernel are, in it or in a struct in
// it.
func offsetsOf(name string, members ...string) (map[string]int16, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var s *btf.Struct
	if err := spec.TypeByName(name, &s); err != nil {
		return nil, err
	}
	found := make(map[string]int16)
	for _, m := range members {
		at, ok := offsetIn(s.Members, m)
		if !ok {
			return nil, fmt.Errorf("struct %s of this kernel has no %s", name, m)
		}
		found[m] = at
	}
	return found, nil
}

func offsetIn(members []btf.Member, name string) (int16, bool) {
	for _, m := range members {
		if m.Name == name && m.BitfieldSize == 0 {
			return int16(m.Offset.Bytes()), true
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if m.Name == "" || m.Name == "__sk_common" || m.Name == "ns" {
			if at, ok := offsetIn(inner, name); ok {
				return int16(m.Offset.Bytes()) + at, true
			}
		}
	}
	return 0, false
}

// teller is the program. R6 is the socket, R7 the state that it leaves, R8 the one that it
// enters; the process is on the stack.
func teller(at map[string]int16, inum int16, opened, ring int) asm.Instructions {
	const key, process = -8, -8 - sizeofProcess
	const synSent, established, finWait1, closed, lastACK = 2, 1, 4, 7, 9
	var p asm.Instructions
	add := func(list ...asm.Instruction) { p = append(p, list...) }
	// address has a register point to the stack.
	address := func(r asm.Register, offset int32) {
		add(asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, offset))
	}
	// copied copies a member of the socket.
	copied := func(from string, to int16, size asm.Size) {
		add(asm.LoadMem(asm.R1, asm.R6, at[from], size), asm.StoreMem(asm.R9, to, asm.R1, size))
	}
	add(
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord), asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord), asm.LoadMem(asm.R8, asm.R1, 16, asm.DWord),
		asm.StoreMem(asm.RFP, key, asm.R6, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, at["sk_protocol"], asm.Half),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, "out"),
		asm.JEq.Imm32(asm.R8, synSent, "process"), asm.JEq.Imm32(asm.R8, finWait1, "process"), asm.JEq.Imm32(asm.R8, lastACK, "process"),
		asm.JEq.Imm32(asm.R7, synSent, "opened"),
		asm.JEq.Imm32(asm.R8, closed, "forget"),
		asm.Ja.Label("out"),
	)
	// The process that runs.
	add(asm.FnGetCurrentPidTgid.Call().WithSymbol("process"), asm.RSh.Imm(asm.R0, 32), asm.StoreMem(asm.RFP, process+atPID, asm.R0, asm.Word))
	add(asm.FnGetCurrentUidGid.Call(), asm.StoreMem(asm.RFP, process+atUser, asm.R0, asm.Word))
	add(asm.FnGetCurrentCgroupId.Call(), asm.StoreMem(asm.RFP, process+atGroup, asm.R0, asm.DWord))
	address(asm.R1, process+atComm)
	add(asm.Mov.Imm(asm.R2, atGroup-atComm), asm.FnGetCurrentComm.Call())
	add(asm.JNE.Imm32(asm.R8, synSent, "tell"))
	add(asm.LoadMapPtr(asm.R1, opened))
	address(asm.R2, key)
	address(asm.R3, process)
	add(asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call(), asm.Ja.Label("out"))
	// The process that opened it.
	add(asm.LoadMapPtr(asm.R1, opened).WithSymbol("opened"))
	address(asm.R2, key)
	add(asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "out"))
	for offset := int16(0); offset < sizeofProcess; offset += 8 {
		add(asm.LoadMem(asm.R1, asm.R0, offset, asm.DWord), asm.StoreMem(asm.RFP, process+offset, asm.R1, asm.DWord))
	}
	// It is told.
	add(asm.LoadMapPtr(asm.R1, ring).WithSymbol("tell"), asm.Mov.Imm(asm.R2, sizeofTold), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call())
	add(asm.JEq.Imm(asm.R0, 0, "told"), asm.Mov.Reg(asm.R9, asm.R0))
	for offset := int16(0); offset < sizeofProcess; offset += 8 {
		add(asm.LoadMem(asm.R1, asm.RFP, process+offset, asm.DWord), asm.StoreMem(asm.R9, offset, asm.R1, asm.DWord))
	}
	add(asm.FnKtimeGetBootNs.Call(), asm.StoreMem(asm.R9, atTime, asm.R0, asm.DWord))
	add(asm.LoadMem(asm.R1, asm.R6, at["skc_net"], asm.DWord), asm.LoadMem(asm.R1, asm.R1, inum, asm.Word), asm.StoreMem(asm.R9, atSpace, asm.R1, asm.Word))
	copied("skc_family", atFamily, asm.Half)
	copied("skc_num", atLocalPort, asm.Half)
	copied("skc_dport", atRemotePort, asm.Half)
	copied("skc_rcv_saddr", atLocal4, asm.Word)
	copied("skc_daddr", atRemote4, asm.Word)
	for _, v6 := range []struct {
		from string
		to   int32
	}{{"skc_v6_rcv_saddr", atLocal6}, {"skc_v6_daddr", atRemote6}} {
		add(asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, v6.to), asm.Mov.Imm(asm.R2, 16))
		add(asm.Mov.Reg(asm.R3, asm.R6), asm.Add.Imm(asm.R3, int32(at[v6.from])), asm.FnProbeReadKernel.Call())
	}
	add(asm.Mov.Reg(asm.R1, asm.R9), asm.Mov.Imm(asm.R2, 0), asm.FnRingbufSubmit.Call())
	add(asm.JNE.Imm32(asm.R8, closed, "out").WithSymbol("told"))
	// A socket that is gone waits no longer.
	add(asm.LoadMapPtr(asm.R1, opened).WithSymbol("forget"))
	address(asm.R2, key)
	add(asm.FnMapDeleteElem.Call())
	add(asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	return p
}

// run takes what the program tells, until the reader is closed.
func (e *events) run() {
	var r ringbuf.Record
	for {
		if err := e.reader.ReadInto(&r); errors.Is(err, ringbuf.ErrClosed) {
			return
		} else if err == nil && len(r.RawSample) >= sizeofTold {
			e.take(r.RawSample)
		}
	}
}

// take takes what is told of one connection.
func (e *events) take(b []byte) {
	var local, remote netip.Addr
	switch native.Uint16(b[atFamily:]) {
	case unix.AF_INET:
		local, remote = netip.AddrFrom4([4]byte(b[atLocal4:])), netip.AddrFrom4([4]byte(b[atRemote4:]))
	case unix.AF_INET6:
		local, remote = netip.AddrFrom16([16]byte(b[atLocal6:])).Unmap(), netip.AddrFrom16([16]byte(b[atRemote6:])).Unmap()
	default:
		return
	}
	where := happened{native.Uint32(b[atSpace:]), netip.AddrPortFrom(local, native.Uint16(b[atLocalPort:])), netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[atRemotePort:]))}
	comm, _, _ := strings.Cut(string(b[atComm:atGroup]), "\x00")
	h := happening{e.boot.Add(time.Duration(native.Uint64(b[atTime:]))), int(native.Uint32(b[atPID:])), native.Uint32(b[atUser:]), comm, native.Uint64(b[atGroup:])}
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.order) > 0 && (len(e.order) >= mostEvents || h.at.Sub(e.told[e.order[0]][0].at) > eventsFor) {
		first := e.order[0]
		if e.order = e.order[1:]; len(e.told[first]) > 1 {
			e.told[first] = e.told[first][1:]
		} else {
			delete(e.told, first)
		}
	}
	e.told[where] = append(e.told[where], h)
	e.order = append(e.order, where)
}

// of returns what was told of a connection, the oldest first.
func (e *events) of(where happened) []happening {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told[where]
}

// ownerOf tells who did it.
func (o *owners) ownerOf(h *happening) tcp.Owner {
	w := tcp.Owner{Source: tcp.FromEvent, PID: h.pid, Program: h.comm, User: o.user(h.uid)}
	p := o.placeOf(o.path(h.group))
	if p == (Place{}) {
		if r := o.process(h.pid); r.program == h.comm {
			p = r.place
		}
	}
	w.Unit, w.Container, w.Pod = p.Unit, shortID(p.Container), p.Pod
	return w
}
