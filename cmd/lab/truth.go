//go:build lab && linux

package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// The truth is read from the kernel in two ways. The event
// sock:inet_sock_set_state tells every move of a socket exactly; but what waits
// in SYN_RCVD, TIME_WAIT or, its process gone, in FIN_WAIT_2 is no socket, and
// moves without an event. So every few milliseconds the kernel is also asked
// for all that it has (sock_diag).

var native = binary.NativeEndian

const pollPause = 3 * time.Millisecond

// kernelStates are the names of the kernel's states by number, as tables have
// them. 12 is a request that is no socket yet.
var kernelStates = map[uint8]string{
	1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RCVD", 4: "FIN_WAIT_1", 5: "FIN_WAIT_2", 6: "TIME_WAIT",
	7: "CLOSED", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN_RCVD",
}

// A tuple names a socket: its own address, and its peer's.
type tuple struct{ local, remote netip.AddrPort }

// sockets asks the host's kernel for its sockets. A listener has no peer.
func (h *host) sockets() (map[tuple]string, error) {
	family := uint8(unix.AF_INET)
	if h.addr.Is6() {
		family = unix.AF_INET6
	}
	list, err := h.diag.SocketDiagTCP(family)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its sockets: %w", h.name, err)
	}
	found := map[tuple]string{}
	for _, s := range list {
		local, _ := netip.AddrFromSlice(s.ID.Source)
		remote, _ := netip.AddrFromSlice(s.ID.Destination)
		t := tuple{netip.AddrPortFrom(local.Unmap(), s.ID.SourcePort), netip.AddrPortFrom(remote.Unmap(), s.ID.DestinationPort)}
		if s.State == 10 {
			t.remote = netip.AddrPort{}
		}
		found[t] = kernelStates[s.State]
	}
	return found, nil
}

// A sighting is a change between two polls; an empty state says that the
// socket is gone.
type sighting struct {
	at    float64
	state string
}

// A watcher polls a host.
type watcher struct {
	host *host
	stop chan struct{}
	done chan struct{}
	err  error

	mu   sync.Mutex
	seen map[tuple][]sighting
}

func watch(h *host) *watcher {
	w := &watcher{host: h, stop: make(chan struct{}), done: make(chan struct{}), seen: map[tuple][]sighting{}}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.done)
	last := map[tuple]string{}
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(pollPause):
		}
		began := story.Seconds(time.Now())
		now, err := w.host.sockets()
		if err != nil {
			w.err = err
			return
		}
		ended := story.Seconds(time.Now())
		w.mu.Lock()
		for t, state := range now {
			if last[t] != state {
				w.seen[t] = append(w.seen[t], sighting{ended, state})
			}
		}
		for t := range last {
			if _, still := now[t]; !still {
				w.seen[t] = append(w.seen[t], sighting{began, ""})
			}
		}
		w.mu.Unlock()
		last = now
	}
}

// close ends the polling.
func (w *watcher) close() error {
	close(w.stop)
	<-w.done
	return w.err
}

// sightings returns what was seen of a socket so far.
func (w *watcher) sightings(t tuple) []sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[t])
}

// An event is one of sock:inet_sock_set_state.
type event struct {
	at       float64
	from, to string
}

// A tracer reads the kernel's events, of all namespaces.
type tracer struct {
	dir     string // an instance of the kernel's trace buffer, of our own
	mounted string // where tracefs was mounted for it; "": it was there
	stop    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	events map[tuple][]event
}

// newTracer begins to trace. Without tracefs it fails, and polling must do.
func newTracer() (*tracer, error) {
	t := &tracer{stop: make(chan struct{}), done: make(chan struct{}), events: map[tuple][]event{}}
	root := "/sys/kernel/tracing"
	if _, err := os.Stat(root + "/instances"); err != nil {
		if t.mounted, err = os.MkdirTemp("", "tracefs-"); err != nil {
			return nil, err
		}
		root = t.mounted
		if err := unix.Mount("tracefs", root, "tracefs", 0, ""); err != nil {
			_ = os.Remove(root)
			return nil, fmt.Errorf("mounting tracefs: %w", err)
		}
	}
	removeStale(root)
	t.dir = filepath.Join(root, "instances", fmt.Sprint(instancePrefix, os.Getpid()))
	if err := t.begin(); err != nil {
		t.remove()
		return nil, err
	}
	return t, nil
}

const instancePrefix = "tcpwatch-lab-" // before the number of the process

// removeStale removes what a lab left that was killed.
func removeStale(root string) {
	left, _ := filepath.Glob(filepath.Join(root, "instances", instancePrefix+"*"))
	for _, dir := range left {
		pid := strings.TrimPrefix(filepath.Base(dir), instancePrefix)
		if _, err := os.Stat(filepath.Join("/proc", pid)); err != nil {
			_ = unix.Rmdir(dir)
		}
	}
}

func (t *tracer) begin() error {
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return err
	}
	for _, setting := range [][2]string{
		{"trace_clock", "mono"},
		{"buffer_size_kb", "4096"},
		{"events/sock/inet_sock_set_state/enable", "1"},
	} {
		if err := os.WriteFile(filepath.Join(t.dir, setting[0]), []byte(setting[1]), 0); err != nil {
			return err
		}
	}
	fd, err := unix.Open(filepath.Join(t.dir, "trace_pipe"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	go t.run(fd)
	return nil
}

// remove undoes what newTracer did.
func (t *tracer) remove() {
	_ = unix.Rmdir(t.dir)
	if t.mounted != "" {
		_ = unix.Unmount(t.mounted, unix.MNT_DETACH)
		_ = os.Remove(t.mounted)
	}
}

func (t *tracer) close() {
	close(t.stop)
	<-t.done
	t.remove()
}

func (t *tracer) run(fd int) {
	defer close(t.done)
	defer unix.Close(fd)
	var mono unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) // cannot fail
	offset := story.Seconds(time.Now()) - float64(mono.Nano())/1e9
	buf, rest := make([]byte, 1<<16), []byte(nil)
	for {
		n, err := unix.Read(fd, buf)
		if n > 0 {
			rest = append(rest, buf[:n]...)
			end := bytes.LastIndexByte(rest, '\n') + 1
			t.take(string(rest[:end]), offset)
			rest = append(rest[:0], rest[end:]...)
			continue
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return
		}
		select {
		case <-t.stop:
			return
		case <-time.After(pollPause):
		}
	}
}

// take notes the events in lines of the trace, such as
//
//	nc-71 [001] ..... 12.345678: inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP sport=1 dport=2
//	saddr=10.0.0.1 daddr=10.0.0.2 saddrv6=... daddrv6=... oldstate=TCP_CLOSE newstate=TCP_SYN_SENT
func (t *tracer) take(lines string, offset float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(lines) {
		head, text, ok := strings.Cut(line, ": inet_sock_set_state: ")
		if !ok {
			continue
		}
		at, err := strconv.ParseFloat(head[strings.LastIndexByte(head, ' ')+1:], 64)
		if err != nil {
			continue
		}
		field := map[string]string{}
		for _, f := range strings.Fields(text) {
			name, value, _ := strings.Cut(f, "=")
			field[name] = value
		}
		if field["protocol"] != "IPPROTO_TCP" {
			continue // MPTCP's own state, above that of its subflows
		}
		v6 := ""
		if field["family"] == "AF_INET6" {
			v6 = "v6"
		}
		addr := func(name, port string) netip.AddrPort {
			a, _ := netip.ParseAddr(field[name+v6])
			p, _ := strconv.ParseUint(field[port], 10, 16)
			return netip.AddrPortFrom(a, uint16(p))
		}
		key := tuple{addr("saddr", "sport"), addr("daddr", "dport")}
		t.events[key] = append(t.events[key], event{at + offset, traceName(field["oldstate"]), traceName(field["newstate"])})
	}
}

// traceName returns a state's name in tables for that in events.
func traceName(name string) string {
	switch name = strings.TrimPrefix(name, "TCP_"); name {
	case "CLOSE":
		return "CLOSED"
	case "SYN_RECV", "NEW_SYN_RECV":
		return "SYN_RCVD"
	case "FIN_WAIT1":
		return "FIN_WAIT_1"
	case "FIN_WAIT2":
		return "FIN_WAIT_2"
	}
	return name
}

// of returns the events of a socket so far.
func (t *tracer) of(key tuple) []event {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Clone(t.events[key])
	slices.SortStableFunc(list, func(a, b event) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return list
}

// moves puts together what the events and the polls tell of one socket.
// Without SYN cookies every connection that was accepted has been in SYN_RCVD.
// opened says whether a SYN was sent at a time.
func moves(events []event, sightings []sighting, cookies bool, opened func(at float64) bool) (list []oracle.Move) {
	state, polled := "CLOSED", ""
	move := func(at float64, to, src string) {
		if to != state {
			list = append(list, oracle.Move{T: at, From: state, To: to, Src: src})
			state = to
		}
	}
	traced := len(events) > 0
	socket := false // there is one, and the events tell of it exactly
	for len(events) > 0 || len(sightings) > 0 {
		if len(events) > 0 && (len(sightings) == 0 || events[0].at <= sightings[0].at) {
			e := events[0]
			events = events[1:]
			switch {
			case e.to == "LISTEN" || e.from == "LISTEN" && e.to == "CLOSED":
			case e.to == "SYN_SENT" && len(events) > 0 && events[0].from == "SYN_SENT" && events[0].to == "CLOSED" && !opened(e.at):
				events = events[1:] // the ports were not to be had
			case e.to == "SYN_RCVD" && cookies:
				socket = true
			case e.to == "CLOSED":
				socket = false
				move(e.at, remains(e, polled, sightings, events), "trace")
			default:
				socket = true
				move(e.at, e.to, "trace")
			}
			continue
		}
		s := sightings[0]
		sightings, polled = sightings[1:], s.state
		switch {
		case socket || s.state == "LISTEN":
		case s.state == "":
			// A request that becomes a socket may be in neither table for a moment.
			if len(events) == 0 || events[0].from != "LISTEN" || events[0].at > s.at+0.010 {
				move(s.at, "CLOSED", "diag")
			}
		case !traced || s.state == "SYN_RCVD" || s.state == "TIME_WAIT" || s.state == "FIN_WAIT_2":
			move(s.at, s.state, "diag")
		}
	}
	return list
}

// remains returns what is left of a socket that the event closed. What waits in
// TIME_WAIT or FIN_WAIT_2 afterwards shows in the next polls, which note only
// what differs from the poll before, and the first of which may have begun
// before the event. On a busy machine they may be late: until the next event
// nothing else can come to those states.
func remains(e event, polled string, next []sighting, events []event) string {
	if e.from != "FIN_WAIT_1" && e.from != "FIN_WAIT_2" && e.from != "CLOSING" {
		return "CLOSED"
	}
	const late = 0.030 // of a poll
	for _, s := range next {
		switch {
		case s.at > e.at+late && polled == "FIN_WAIT_2":
			return polled
		case len(events) > 0 && s.at > events[0].at:
			return "CLOSED"
		case s.state == "TIME_WAIT", s.state == "FIN_WAIT_2":
			return s.state
		case s.state == "":
			return "CLOSED"
		}
	}
	if polled == "FIN_WAIT_2" {
		return polled
	}
	return "CLOSED"
}
