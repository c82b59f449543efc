package who

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An Asker asks the kernel. It is not safe for concurrent use.
type Asker struct {
	spaces *spaces
	owners *owners
	events *events // nil: there are none
}

// New returns an Asker for this host, as it is seen from the network namespace of the
// process. What it cannot learn for want of rights Missing tells.
func New() (*Asker, error) {
	s, err := newSpaces()
	if err != nil {
		return nil, err
	}
	return &Asker{spaces: s, owners: newOwners()}, nil
}

// Listen has the kernel tell what processes do from now on. It needs rights that Ask does
// not, for the call alone.
func (a *Asker) Listen() (err error) {
	a.events, err = newEvents()
	return err
}

// Close ends it.
func (a *Asker) Close() {
	a.spaces.close()
	if a.events != nil {
		a.events.close()
	}
}

// Missing tells what the rights of the process do not suffice for, so far.
func (a *Asker) Missing() (list []string) {
	if a.owners.refused && !capable(unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH) {
		list = append(list, "the programs of other users (CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)")
	}
	if a.spaces.refused && !capable(unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE) {
		list = append(list, "other network namespaces (CAP_SYS_ADMIN and CAP_SYS_PTRACE)")
	}
	return list
}

// capable reports whether the thread has capabilities.
func capable(list ...int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if unix.Capget(&header, &has[0]) != nil {
		return false
	}
	return !slices.ContainsFunc(list, func(c int) bool { return has[c/32].Effective&(1<<(c%32)) == 0 })
}

// Ask answers queries, in their order. Events of their connections follow.
func (a *Asker) Ask(list []Query) []Answer {
	answers, found := make([]Answer, len(list)), make([]socket, len(list))
	in := make(map[*space][]int) // queries
	for i, q := range list {
		answers[i].Query = q
		for _, s := range a.spaces.of(q.Local.Addr().Unmap().WithZone("")) {
			in[s] = append(in[s], i)
		}
	}
	for s, of := range in {
		a.askIn(s, of, answers, found)
	}
	wanted := make(map[uint32]want)
	for i := range found {
		if found[i].inode != 0 {
			wanted[found[i].inode] = want{all: found[i].State == tcp.Listen, soon: list[i].Again || wanted[found[i].inode].soon}
		}
	}
	a.owners.search(wanted)
	for i := range answers {
		answers[i].Socket = found[i].Socket
		answers[i].Socket.Owner = a.owners.of(&found[i])
	}
	if a.events != nil {
		for s, of := range in {
			for _, i := range of {
				answers = append(answers, a.eventsOf(s, list[i])...)
			}
		}
	}
	return answers
}

// eventsOf returns what was told of a connection in a namespace.
func (a *Asker) eventsOf(s *space, q Query) (list []Answer) {
	told := a.events.of(happened{s.inode, plain(q.Local), plain(q.Remote)})
	for i := range told {
		list = append(list, Answer{Query: q, At: told[i].at, Ours: true, Known: true, Event: true, Socket: tcp.Socket{Owner: a.owners.ownerOf(&told[i])}})
	}
	return list
}

// plain is an address of IPv4 as such, and none with a zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// askIn answers those queries whose local address is in a namespace. Where several have
// it, a socket in one of them counts, and sockets in two do not.
func (a *Asker) askIn(s *space, of []int, answers []Answer, found []socket) {
	list := make([]Query, len(of))
	for i, at := range of {
		list[i] = answers[at].Query
	}
	at := time.Now()
	sockets, err := s.find(list)
	for i, q := range of {
		x := &answers[q]
		before := x.Ours
		x.Ours, x.At = true, at
		switch {
		case err != nil:
		case !before:
			x.Known, found[q] = true, sockets[i]
		case sockets[i].State == tcp.Closed:
		case found[q].State == tcp.Closed:
			found[q] = sockets[i]
		default:
			x.Known, found[q] = false, socket{}
		}
	}
}
