package tracker

import (
	"fmt"
	"slices"
	"time"
)

// An anomaly is one value, a Kind: its name, how grave it is, what it departs
// from, the sentence that people read, and the check that finds it. The
// catalogue is a list of Kinds; what documents it reads the same values.
//
// A check sees the connection before and after one happening (a segment, or a
// timer) and changes nothing.

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
	Certain    Confidence
	Time       Time
	Packet     int // the frame that showed it
	End        End
	Evidence   []int  // frames, in capture order
	Text       string // the sentence for people
	RFC        string // "RFC 9293 §3.6.1"
	Count      int    // how often; at least 1
	Until      Time   // of the last of them; 0 where it happened once
	Supersedes []string
}

// A Kind is one entry of the catalogue.
type Kind struct {
	Name     string // as printed; never renamed once released
	Severity Severity
	Title    string
	RFC      string
	Sentence string // what is printed, with names in braces for what is filled in

	check func(*happening) (finding, bool)
}

// kinds is the catalogue. Its order is that in which the checks run.
var kinds = []*Kind{
	&connectionRefused,
	&finalAckLostRecovered,
	&timeWaitAssassination,
	&rstInsteadOfAck,
}

// Kinds returns the catalogue.
func Kinds() []*Kind { return slices.Clone(kinds) }

// ParseKind returns the kind of the given name.
func ParseKind(name string) (*Kind, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%q is no kind of anomaly", name)
}

// A sight is what the checks want to know of the connection as it stood before
// the happening.
type sight struct {
	states   [2]StateSet
	sentAt   Time // the newest segment of the end that the happening is of
	rst      resetKind
	accepted bool // the RST was
}

// look takes in the connection before a happening of the given end.
func (c *Conn) look(from End) sight {
	return sight{
		states: [2]StateSet{c.ends[Client].assumed, c.ends[Server].assumed},
		sentAt: c.ends[from].sentAt,
	}
}

// A happening is one segment, or one timer, of a connection.
type happening struct {
	*Conn
	s      *Segment // nil: a timer
	from   End      // the end that sent it, or whose timer fired
	now    Time
	before sight
	reading
	t *Tracker
}

// newer returns the next connection on the same addresses and ports, or nil.
func (h *happening) newer() (next *Conn) {
	for n := h.t.newestOf(h.key); n != nil && n != h.Conn; n = h.t.olderOf(n) {
		next = n
	}
	return next
}

// A finding is what a check returns when it finds its anomaly.
type finding struct {
	end      End // the catalogue's X
	cause    string
	certain  Confidence
	evidence []int
	text     string
}

// judge runs the checks.
func (t *Tracker) judge(c *Conn, s *Segment, from End, before sight, r reading) {
	if c.provisional() {
		return
	}
	h := happening{Conn: c, t: t, s: s, from: from, now: t.now, before: before, reading: r}
	for _, k := range kinds {
		if f, found := k.check(&h); found {
			t.report(c, s, k, f)
		}
	}
}

// report takes down a finding. A kind is reported once for each end of a
// connection; what comes again is counted.
func (t *Tracker) report(c *Conn, s *Segment, k *Kind, f finding) {
	o := c.oddments()
	for i := range o.anomalies {
		if a := &o.anomalies[i]; a.Kind == k.Name && a.End == f.end {
			a.Count++
			a.Until = t.now
			return
		}
	}
	slices.Sort(f.evidence)
	a := Anomaly{
		Conn: int(c.id), Kind: k.Name, Severity: k.Severity, Cause: f.cause, Certain: f.certain,
		Time: t.now, End: f.end, Evidence: slices.Compact(f.evidence), Text: f.text, RFC: k.RFC, Count: 1,
	}
	if s != nil {
		a.Packet = s.Packet
	}
	o.anomalies = append(o.anomalies, a)
	t.emit(Event{Kind: Odd, Time: t.now, Packet: a.Packet, Conn: a.Conn, End: a.End, Anomaly: &a})
}

// frames returns the frames of the steps by which the inputs happened to the
// end, without those that did not.
func (c *Conn) frames(e End, ins ...Input) []int {
	var list []int
	for _, in := range ins {
		if st, ok := c.find(e, in); ok && st.packet() != 0 {
			list = append(list, st.packet())
		}
	}
	return list
}

// spanText prints a duration as people say it: "12 ms", "1.5 s", "2 min 5 s".
func spanText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
