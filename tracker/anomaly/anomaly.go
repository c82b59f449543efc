// Package anomaly says what an anomaly is: a Kind, with all that is printed of it
// and the check that finds it, and the Book that asks the checks about what
// happens and keeps what they find.
//
// Who reads what a tracker tells needs Anomaly, with its Severity and
// Confidence, and for the catalogue (package kinds) Kind, with Cause, Phrase,
// Threshold and SeverityMove: all that is printed of a kind, and the numbers that
// decide. The rest is between this package and others of the tracker: a Case is
// what a check is asked about, a Finding with its Values what it returns.
//
// There is a room for each family:
//
//	opening      handshakes
//	closing      FINs, and what does not follow them
//	timewait     TIME-WAIT: cut short, reused, its hazards
//	resets       RSTs of an end or of others; SYNs and flags of attackers
//	established  numbers, windows, contents and silence in open connections
//	between      what happened on the way from one capture to another
//	captures     what the capture has, misses or garbles
//	many         over many connections; found by package crossflow
//	kinds        the catalogue, of all of them
//
// To add one: a Kind in its family, a line in kinds, a ladder in
// tracker/testdata/anomaly for each sentence.
package anomaly

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/halfclosed"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An anomaly is one value, a Kind: its name, how grave it is, what it departs
// from, all that is printed of it, the numbers that decide, and the check that
// finds it. The catalogue is a list of Kinds; what documents it reads the same
// values.
//
// A check sees the connection before and after one segment, one timer or the
// end of the capture, and changes nothing. It names the triggers on which it
// wants to be asked, so that ordinary traffic asks none: what is noteworthy of a
// segment in an open connection is a handful of bits.
//
// What is in no connection alone has a Kind too, but no check: package
// crossflow finds it, or the machine (health.Fault).
//
// What a check must remember of the past it finds in the connection's history
// (Find, Frames), in its recent segments (Back), or in what the machine keeps
// for everyone.

// Severity grades an anomaly.
type Severity uint8

const (
	Info    Severity = iota // normal, but worth a line
	Notice                  // unusual, harmless alone
	Warning                 // a resource, robustness or policy fault
	Error                   // a connection failed, data may be wrong, or a TIME-WAIT hazard came true
)

func (s Severity) String() string { return [...]string{"info", "notice", "warning", "error"}[s] }

// Confidence says how sure an anomaly is.
type Confidence uint8

const (
	ConfidenceProved Confidence = iota
	ConfidenceAssumed
	ConfidenceAmbiguous // other readings of the same packets remain
)

func (c Confidence) String() string { return [...]string{"proved", "assumed", "ambiguous"}[c] }

// An Anomaly is something odd that happened to a connection.
type Anomaly struct {
	Conn       int // 0 for an anomaly over many connections
	Kind       string
	Severity   Severity
	Cause      string // where the kind has sub-causes
	Confidence Confidence
	Time       tcp.Time
	Packet     int // the frame that showed it
	End        tcp.Endpoint
	Evidence   []int       // frames, in capture order
	Places     []tcp.Place // of the evidence, where captures of several places are followed, if who reads them has set it
	Text       string      // the sentence for people
	Next       string      // what to do about it; empty: nothing that helps in every case
	RFC        string      // "RFC 9293 §3.6.1"
	Count      int         // how often; at least 1
	Until      tcp.Time    // of the last of them; 0 where it happened once
	Supersedes []string
	Withdrawn  bool // it was found before, and later packets refute it

	// Of an anomaly over many connections.
	Addr    netip.Addr // the host that it is about; invalid: the capture itself
	Port    uint16     // of that host; 0: no one port
	Samples []int      // numbers of some of the connections
}

// A Kind is one entry of the catalogue.
type Kind struct {
	Name       string // as printed; never renamed once released
	Severity   Severity
	Title      string
	RFC        string   // what it departs from, or where it is described
	Causes     []Cause  // how it comes about, and what is printed of it; one at least
	Phrases    []Phrase // what is printed besides, as it applies
	Next       string   // what to do about it, a template; empty: nothing that helps in every case
	Thresholds []Threshold
	Moves      []SeverityMove
	Supersedes []string // kinds that this one explains better
	Many       bool     // Over many connections, or of the whole capture: no check on a connection finds it
	RestsOn    Belief   // What the RST that it was found by, or the FIN in its evidence, is taken for, without which there is no such anomaly

	On   triggers.Set
	Only triggers.Guards // what must be true besides, one of these at least; 0: nothing
	// ByForm says that the check looks at no clock, nor at any number, of a segment that
	// comes as expected (conn's learned edges): where it found nothing in one, it finds
	// nothing in others that compare alike, and is not asked.
	ByForm bool
	Check  func(*Case) *Finding // nil if there is none, as nearly always: to return 80 octets of nothing cost 14 % of a short connection
}

// A Belief is what a RST or FIN is taken for, until what follows denies it.
type Belief uint8

const (
	ResetSent  Belief = 1 + iota // the end that it names sent it
	ResetTaken                   // its target took it
	FINSent                      // the end that it names sent the FIN
)

// A Case is what a check is asked about.
type Case struct {
	*conn.Scene
	book   *Book
	relied bool // the check that is asked was told that nothing of an end is missing
	unseen bool // and rests on what may have come after the end of the capture
}

// X and Y are the end that the scene is of, and its peer.
func (h *Case) X() *endpoint.End { return &h.Ends[h.From] }
func (h *Case) Y() *endpoint.End { return &h.Ends[h.From.Peer()] }

// Newer returns the next connection on the same addresses and ports, or nil.
func (h *Case) Newer() (next *conn.Conn) {
	for n := h.M.NewestOf(h.Key); n != nil && n != h.Conn; n = n.Older() {
		next = n
	}
	return next
}

// Visible reports whether the capture can show the absence of a segment of the
// end: it has captured the end, missed nothing of it, and holds all that the
// peer acknowledged.
func (h *Case) Visible(e tcp.Endpoint) bool {
	subject, peer := &h.Ends[e], &h.Ends[e.Peer()]
	return h.Whole(e) && !(peer.Has(endpoint.HasAcked) && subject.Nxt.Before(peer.Acked))
}

// Whole reports whether the end was captured, and nothing that it sent is known
// to be missing. What its peer acknowledged beyond that is another matter.
func (h *Case) Whole(e tcp.Endpoint) bool {
	ok := h.Ends[e].Seen() && !h.Ends[e].Has(endpoint.Lossy)
	h.relied = h.relied || ok
	return ok
}

// A Finding is what a check returns when it finds its anomaly.
type Finding struct {
	End      tcp.Endpoint // the templates' X
	Cause    string
	Phrases  []string // see Say
	Values   Values
	Earlier  string // what was printed before and this goes on from, instead of the cause's text
	lossy    bool   // packets that were lost may explain it
	unseen   bool   // and those that came after the end of the capture
	Certain  Confidence
	Move     string     // the name of a SeverityMove, where one applies
	Of       *conn.Conn // in which it is told of; nil: the one in which it happened
	Again    bool       // it is a further case of what was reported before, and its text tells of all
	More     bool       // it tells more of what was reported before, and is no further case
	Evidence []int      // frames, in any order; 0 is left out
	Refutes  []string   // kinds that were found in the connection before, and of which this shows that there was nothing
	Since    tcp.Time   // Refutes are those found later than this
	Leaks    bool       // the end leaks: PeerClosed counts it as stuck from now on
}

// asked returns the kinds that are looked for on the triggers where the guards are true.
func (b *Book) asked(on triggers.Set, is triggers.Guards) *triggers.Kinds {
	a := &b.last[(uint32(on)*0x9e3779b1^uint32(is)*0x85ebca6b)>>24]
	if a.on == on && a.is == is {
		return &a.kinds
	}
	*a = asked{on: on, is: is}
	for on := on; on != 0; on &= on - 1 {
		a.kinds.Add(&b.on[bits.TrailingZeros32(uint32(on))])
	}
	worth := b.where[triggers.NumGuards]
	for is := uint32(is); is != 0; is &= is - 1 {
		worth.Add(&b.where[bits.TrailingZeros32(is)])
	}
	for i := range a.kinds {
		if !b.Thorough {
			a.kinds[i] &= worth[i]
		}
	}
	return &a.kinds
}

// ask runs the checks that the scene triggers.
func (b *Book) ask(h *Case) {
	for i, word := range b.asked(h.On, h.Guards()) {
		for ; word != 0; word &= word - 1 {
			k := b.kinds[64*i+bits.TrailingZeros64(word)]
			h.relied, h.unseen = false, false
			if k.RestsOn == ResetSent && (h.Before.Device || h.S != nil && h.S.Leg == tcp.Neared) {
				continue
			}
			f := k.Check(h)
			if f != nil || !k.ByForm {
				h.Unlearned = true
			}
			if f != nil {
				h.downgrade(f)
				b.report(h, k, *f)
			}
		}
	}
}

// Unseen tells that the finding holds only if nothing came after the end of the
// capture, where time has run on since.
func (h *Case) Unseen() { h.unseen = h.Now > h.M.Heard() }

// Passed returns how long ago t was when the capture ended. If that is less than it
// must be, it returns how long ago it is now.
func (h *Case) Passed(t tcp.Time, least time.Duration) time.Duration {
	if d := h.M.Heard().Sub(t); d >= least {
		return d
	}
	h.Unseen()
	return h.Now.Sub(t)
}

// downgrade takes back some of the certainty of a finding in a connection in whose
// life the capture lost packets, unless it rests on the packets at hand alone, and
// of one that rests on what came after the end of the capture.
func (h *Case) downgrade(f *Finding) {
	if h.unseen {
		f.Certain, f.unseen = ConfidenceAmbiguous, true
	}
	if h.Start > h.M.Lost || f.Certain == ConfidenceProved && !h.relied {
		return
	}
	f.Certain, f.lossy = ConfidenceAmbiguous, true
}

// report takes down a finding. A kind is reported once for each end of a
// connection; what comes again is counted, and told again only if it is graver.
func (b *Book) report(h *Case, k *Kind, f Finding) {
	c := cmp.Or(f.Of, h.Conn)
	severity := k.severityOf(&f)
	if len(f.Refutes) > 0 {
		b.withdraw(c, h.Now, func(_ *Kind, a *Anomaly) bool { return slices.Contains(f.Refutes, a.Kind) && a.Time > f.Since })
	}
	for i := range b.found[c.ID] {
		a := &b.found[c.ID][i]
		if a.Kind != k.Name || a.End != f.End {
			continue
		}
		if !f.More {
			a.Count++
			a.Until = h.Now
		}
		graver := severity > a.Severity
		if f.More || f.Again || graver {
			b.Octets -= a.memory()
			a.Severity, a.Cause, a.Confidence, a.Text, a.Next = max(a.Severity, severity), f.Cause, f.Certain, k.textOf(c, &f), k.nextOf(c, &f)
			a.Evidence = framesInOrder(append(f.Evidence, a.Evidence...))
			b.Octets += a.memory()
		}
		if graver {
			again := *a
			again.End = h.M.Role(c, a.End)
			b.tell(nil, &again)
		}
		return
	}
	if f.Leaks {
		b.waiting.Leaks(halfclosed.IDOf(c.ID, f.End))
	}
	a := k.Found(c, f)
	a.Conn, a.Time = int(c.ID), h.Now
	if h.S != nil {
		a.Packet = h.S.Packet
	}
	b.found[c.ID] = append(b.found[c.ID], a)
	b.Octets += a.memory()
	a.End = h.M.Role(c, a.End)
	b.tell(c, &a)
}

// Found makes an anomaly of a finding, in the connection if it is not nil.
func (k *Kind) Found(c *conn.Conn, f Finding) Anomaly {
	return Anomaly{
		Kind: k.Name, Severity: k.severityOf(&f), Supersedes: k.Supersedes, Cause: f.Cause, Confidence: f.Certain,
		End: f.End, Evidence: framesInOrder(f.Evidence), Text: k.textOf(c, &f), Next: k.nextOf(c, &f), RFC: k.RFC, Count: 1,
	}
}

// severityOf is the kind's severity, or where the finding moves it.
func (k *Kind) severityOf(f *Finding) Severity {
	if f.Move == "" {
		return k.Severity
	}
	for _, m := range k.Moves {
		if m.Name == f.Move {
			return m.To
		}
	}
	k.undeclared("severity move", f.Move)
	return k.Severity
}

// framesInOrder sorts frames, each once, without those that are not known.
func framesInOrder(list []int) []int {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(frame int) bool { return frame == 0 })
}
