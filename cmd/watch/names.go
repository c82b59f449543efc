package watch

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/who"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the capture tells of the names of hosts. A server has the name that its
// client calls it by in this connection (TLS, HTTP). Else a host has the name that
// led to its address: for the other end of the connection, if that was told so,
// else for anybody; the newest before the connection began, else the first after.
//
// Memory is bounded: what was told longest ago goes first. What a connection was
// called goes with it.

const (
	// mostOfNames is how many octets the names of hosts and those of connections may
	// take at most; nameMemory of one with its place is what is not its text.
	mostOfNames = 64 << 20
	nameMemory  = 512

	maxChanges = 4 // names of one address, and of one pair of addresses and ports
)

// A toldName is a name with the time at which it was told.
type toldName struct {
	name string
	at   tcp.Time
}

// An answerKey is an address, and who was told of it; not valid: anybody.
type answerKey struct{ host, asker netip.Addr }

// A callKey is the two ends of a connection.
type callKey struct{ client, server netip.AddrPort }

// names are what is known of names.
type names struct {
	answers bounded[answerKey]
	calls   bounded[callKey]
	owners  bounded[callKey] // comments that tell whose the end is that comes first
}

// newNames returns names that take no more than so many octets.
func newNames(octets int64) *names {
	most := int(min(mostOfNames, octets)) / 3
	return &names{
		answers: bounded[answerKey]{lists: make(map[answerKey]*list.Element), most: most},
		calls:   bounded[callKey]{lists: make(map[callKey]*list.Element), most: most},
		owners:  bounded[callKey]{lists: make(map[callKey]*list.Element), most: most, each: true},
	}
}

// take takes a name that a packet tells.
func (k *names) take(n *capture.Named, at tcp.Time) {
	for line := range strings.Lines(n.Comment) {
		line = strings.TrimSuffix(line, "\n")
		if o, ok := who.ParseComment(line); ok {
			k.owners.add(callKey{o.Local, o.Remote}, toldName{line, o.Start})
		}
	}
	if n.Program != "" {
		k.takeProcess(n, at)
	}
	if n.Comment != "" || n.Program != "" {
		return
	}
	told := toldName{n.Name, at}
	if n.Server.IsValid() {
		k.calls.add(callKey{n.Client, n.Server}, told)
		return
	}
	host := n.Host.Unmap()
	k.answers.add(answerKey{host: host}, told)
	if n.Asker.IsValid() {
		k.answers.add(answerKey{host, n.Asker.Unmap()}, told)
	}
}

// takeProcess takes the process that a packet is of, unless it is the same as before in
// the connection.
func (k *names) takeProcess(n *capture.Named, at tcp.Time) {
	key, owner := callKey{n.Client, n.Server}, tcp.Owner{Source: tcp.FromFile, PID: max(n.PID, 0), Program: n.Program}
	if told := k.owners.of(key); len(told) > 0 && !n.Opens {
		if newest := told[len(told)-1]; newest.name == who.Comment(newest.at, n.Client, n.Server, &owner) {
			return
		}
	}
	k.owners.add(key, toldName{who.Comment(at, n.Client, n.Server, &owner), at})
}

// fill gives the ends of a connection their names.
func (k *names) fill(r *tracker.Record, over bool) {
	if len(k.owners.lists) > 0 {
		k.own(r, over)
	}
	if len(k.answers.lists)+len(k.calls.lists) == 0 {
		return
	}
	for e := range tcp.Endpoint(2) {
		end, peer := &r.Ends[e], &r.Ends[e.Peer()]
		if end.Name = k.called(callKey{peer.Addr, end.Addr}, r, over); end.Name == "" {
			end.Name = k.answered(answerKey{end.Addr.Addr().Unmap(), peer.Addr.Addr().Unmap()}, r.Start)
		}
	}
}

// own gives the ends of a connection the owners that comments tell of it, the newest.
func (k *names) own(r *tracker.Record, over bool) {
	for e := range tcp.Endpoint(2) {
		end, peer := &r.Ends[e], &r.Ends[e.Peer()]
		key := callKey{end.Addr, peer.Addr}
		told := slices.Clone(k.owners.of(key))
		its := func(t toldName) bool { return t.at >= r.Start && t.at <= r.End }
		for _, t := range slices.Backward(told) {
			if o, ok := who.ParseComment(t.name); ok && its(t) && end.Socket == nil {
				end.Socket = &tcp.Socket{Owner: ownerOf(o.Owner, end, e)}
			}
		}
		if over && len(told) > 0 {
			k.owners.keep(key, slices.DeleteFunc(told, its))
		}
	}
}

// called returns what the client called the server in the connection. What was
// told in it, and before, is forgotten when it is over.
func (k *names) called(key callKey, r *tracker.Record, over bool) (name string) {
	told := k.calls.of(key)
	for len(told) > 0 && told[0].at <= r.End {
		if name == "" && told[0].at >= r.Start {
			name = told[0].name
		}
		told = told[1:]
	}
	if name != "" && over {
		k.calls.keep(key, slices.Clone(told))
	}
	return name
}

// answered returns the name of an address.
func (k *names) answered(key answerKey, start tcp.Time) string {
	for _, key := range []answerKey{key, {host: key.host}} {
		told := k.answers.of(key)
		if len(told) == 0 {
			continue
		}
		name := told[0].name
		for _, t := range told[1:] {
			if t.at <= start {
				name = t.name
			}
		}
		return name
	}
	return ""
}

// bounded has a few names for each of its keys, and takes no more than so many
// octets.
type bounded[K comparable] struct {
	lists      map[K]*list.Element // of order
	order      list.List           // of *toldOf[K], the one that was told longest ago first
	size, most int
	dropped    uint64 // that were told, and forgotten for others
	each       bool   // the same is kept again
}

// A toldOf is what was told of a key, the oldest first.
type toldOf[K comparable] struct {
	key  K
	told []toldName
}

// of returns what was told of a key.
func (b *bounded[K]) of(key K) []toldName {
	if e := b.lists[key]; e != nil {
		return e.Value.(*toldOf[K]).told
	}
	return nil
}

// add adds a name, unless it is the newest already.
func (b *bounded[K]) add(key K, t toldName) {
	e := b.lists[key]
	if e == nil {
		e = b.order.PushBack(&toldOf[K]{key: key})
		b.lists[key] = e
	}
	b.order.MoveToBack(e)
	told := e.Value.(*toldOf[K]).told
	if n := len(told); n > 0 && told[n-1].name == t.name && !b.each {
		return
	}
	if len(told) == maxChanges {
		told = slices.Clone(told[1:])
	}
	b.keep(key, append(told, t))
	for b.size > b.most {
		b.keep(b.order.Front().Value.(*toldOf[K]).key, nil)
		b.dropped++
	}
}

// keep keeps of a key these, which may be none.
func (b *bounded[K]) keep(key K, told []toldName) {
	e := b.lists[key]
	of := e.Value.(*toldOf[K])
	b.size += sizeOf(told) - sizeOf(of.told)
	of.told = told
	if len(told) == 0 {
		b.order.Remove(e)
		delete(b.lists, key)
	}
}

// sizeOf is how many octets names take.
func sizeOf(told []toldName) int {
	n := len(told) * nameMemory
	for i := range told {
		n += len(told[i].name)
	}
	return n
}
