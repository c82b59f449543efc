package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A capture fails a rule by what it shows: by states as they stand, and by
// anomalies that are proved or assumed. Undecided is only
//
//   - a state that is assumed, where another that is possible would keep the rule
//     (Record.Possible; of an end that no packet tells of, see unknownStates),
//   - an anomaly that is ambiguous,
//   - what the capture cannot answer: counts and moments of a connection that was
//     captured in part, and what comes after a capture that is cut off.
//
// A rule that is kept is kept; how often only by a state that is assumed is
// counted. Of an end that no packet tells of, a rule is kept only if all its
// states keep it. With Options.Strict, states are taken as they stand.

// judge asks rule i, which requires or forbids an expression, of a connection.
func (j *Judge) judge(i int, r *rule, c *tracker.Record) {
	bad, err := j.breaks(r, j.envOf(c, asItStands))
	if err != nil {
		j.found(i, check.Undecided, c, nil, fmt.Sprintf("cannot evaluate %s: %v", r.expr.text, err))
		return
	}
	why, unknown := j.doubt(r, c, bad)
	if !bad && !unknown {
		j.assumed(i, why != "")
		return
	}
	verdict, text := check.Failed, fmt.Sprintf("%s is %v", r.expr.text, bad == (r.ask == askForbid))
	if values := r.expr.values(c); values != "" {
		text += " (" + values + ")"
	}
	if why != "" {
		verdict, text = check.Undecided, text+", but "+why
	}
	packets := append(lastPackets(&c.Ends[0]), lastPackets(&c.Ends[1])...)
	slices.Sort(packets)
	j.found(i, verdict, c, slices.Compact(packets), text)
}

// breaks reports whether a connection breaks a rule that requires or forbids.
func (j *Judge) breaks(r *rule, env any) (bool, error) {
	holds, err := j.holds(r, r.expr, env)
	return holds == (r.ask == askForbid), err
}

// values tells what the connection has in the fields that the expression names.
func (x *Expr) values(c *tracker.Record) string {
	var parts []string
	for _, path := range x.paths {
		text, ok := record.FieldText(c, path)
		if !ok {
			continue
		}
		for e := range c.Ends {
			if end := &c.Ends[e]; path == tcp.Endpoint(e).String()+".state" && end.State != tcp.Unknown {
				text += ", " + end.Certainty.String()
			}
		}
		parts = append(parts, path+" is "+text)
	}
	return strings.Join(parts, "; ")
}

// What may differ from one reading of a connection to another.
const (
	clientState = 1 << tcp.Client
	serverState = 1 << tcp.Server
	anomalies   = 1 << 2
	readings    = 1 << 3
)

// doubt says why the answer to a rule may be another, "" if it may not; unknown,
// that it is since no packet tells of an end.
func (j *Judge) doubt(r *rule, c *tracker.Record, bad bool) (why string, unknown bool) {
	var others [2][]tcp.State // of an end that the expression does not name, no matter
	for e := range others {
		if r.expr.names[tcp.Endpoint(e).String()] {
			others[e] = j.otherStates(c, tcp.Endpoint(e))
		}
	}
	sure, dropped := sureOf(c)
	assumed := ""
	for differs := 1; differs < readings; differs++ {
		switch {
		case differs&clientState != 0 && others[tcp.Client] == nil, differs&serverState != 0 && others[tcp.Server] == nil,
			differs&anomalies != 0 && (!dropped || !bad):
			continue
		}
		reading := *c
		if differs&anomalies != 0 {
			reading = *sure
		}
		if !j.otherwise(r, &reading, bad, differs, others) {
			continue
		}
		var whys []string
		for e := range c.Ends {
			if x := &c.Ends[e]; differs&(1<<e) != 0 {
				whys = append(whys, "the "+mayBe(x, tcp.Endpoint(e), reading.Ends[e].State))
				unknown = unknown || x.State == tcp.Unknown
			}
		}
		if differs&anomalies != 0 {
			whys = append(whys, "an anomaly is ambiguous")
		}
		why = strings.Join(whys, ", and ")
		if bad || unknown {
			return why, unknown
		}
		assumed = why // that no packet tells is graver
	}
	if !bad {
		return assumed, false
	}
	if why = partly(c); why != "" && r.expr.counts() {
		return why, false
	}
	if j.cut(c) {
		return "the capture is cut off", false
	}
	return "", false
}

// mayBe says that an end may be in another state.
func mayBe(x *tracker.EndRecord, e tcp.Endpoint, s tcp.State) string {
	if x.State == tcp.Unknown {
		return fmt.Sprintf("%v may be in %v: no packet shows its state", e, s)
	}
	return fmt.Sprintf("%v may also be in %v", e, s)
}

// otherStates returns the states that an end may be in besides; nil if there is
// no other.
func (j *Judge) otherStates(c *tracker.Record, e tcp.Endpoint) (list []tcp.State) {
	x := &c.Ends[e]
	set := x.Possible
	switch {
	case x.State == tcp.Unknown && set == 0:
		set = unknownStates(c, e)
	case x.State != tcp.Unknown && (j.o.Strict || x.Certainty != tcp.Assumed):
		return nil
	}
	for _, s := range set.List() {
		if s != x.State {
			list = append(list, s)
		}
	}
	return list
}

// unknownStates returns the states that an end may be in of which no packet
// tells. It has received no FIN if its peer sent none.
func unknownStates(c *tracker.Record, e tcp.Endpoint) (set tcp.StateSet) {
	const afterFIN = 1<<tcp.CloseWait | 1<<tcp.LastAck | 1<<tcp.Closing | 1<<tcp.TimeWait
	const closes = 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.Closing | 1<<tcp.TimeWait | 1<<tcp.LastAck
	for _, s := range tcp.States() {
		set |= s.Set()
	}
	peer := &c.Ends[e.Peer()]
	sentFIN := slices.ContainsFunc(peer.History, func(s tracker.Step) bool { return tcp.StateSet(closes).Has(s.State) })
	if peer.Packets > 0 && !sentFIN && partly(c) == "" {
		set &^= afterFIN
	}
	return set
}

// otherwise puts the ends that differ in one of their other states after the
// other, and reports whether the answer is another in one of these.
func (j *Judge) otherwise(r *rule, c *tracker.Record, bad bool, differs int, others [2][]tcp.State) bool {
	states := [2][]tcp.State{{c.Ends[0].State}, {c.Ends[1].State}}
	for e := range states {
		if differs&(1<<e) != 0 {
			states[e] = others[e]
		}
	}
	for _, client := range states[tcp.Client] {
		c.Ends[tcp.Client].State = client
		for _, server := range states[tcp.Server] {
			c.Ends[tcp.Server].State = server
			env := j.envOf(c, reading{client, server, differs&anomalies != 0})
			if now, err := j.breaks(r, env); err != nil || now != bad {
				return true
			}
		}
	}
	return false
}

// sureOf returns the connection with only the anomalies that are sure; dropped
// tells that there were others.
func sureOf(c *tracker.Record) (sure *tracker.Record, dropped bool) {
	other := *c
	other.Anomalies = nil
	for i := range c.Anomalies {
		if counts(&c.Anomalies[i]) {
			other.Anomalies = append(other.Anomalies, c.Anomalies[i])
		}
	}
	return &other, len(other.Anomalies) < len(c.Anomalies)
}

// whole are the fields that tell of a connection only where all was captured.
var whole = record.WholeFields()

// counts reports whether the expression names a field that counts or dates.
func (x *Expr) counts() bool {
	return slices.ContainsFunc(whole, func(name string) bool { return x.names[name] })
}

// partly says why a connection was captured in part; "" if it was not.
func partly(c *tracker.Record) string {
	if c.Origin != tcp.FromSYN {
		return "its beginning was not captured"
	}
	for i := range c.Anomalies {
		switch c.Anomalies[i].Kind {
		case "asymmetric-capture":
			return "only one direction was captured"
		case "capture-gap":
			return "packets are missing from the capture"
		}
	}
	return ""
}

// A member is a connection of the set that a rule counts over.
type member struct {
	rules   []int
	as      reflect.Value  // as it stands; a pointer
	sure    reflect.Value  // without the anomalies that are not sure; a pointer
	others  [2][]tcp.State // that the ends may be in besides
	unknown bool           // no packet tells of one of them
	partly  string
}

// keep adds a connection to the set that rule i counts over.
func (j *Judge) keep(i int, c *tracker.Record) {
	if n := len(j.set); n > 0 && j.set[n-1].conn() == c.Conn {
		j.set[n-1].rules = append(j.set[n-1].rules, i)
		return
	}
	if len(j.set) == MaxSet {
		j.err = j.p.rules[i].fault(fmt.Errorf("%s has more than %d connections to count over", text.Escape(j.out.Path), MaxSet))
		return
	}
	if j.keeps(memoryOf(c), "connections to count over"); j.err != nil {
		j.err = j.p.rules[i].fault(j.err)
		return
	}
	// What the environment lists must outlast the record, which is lent.
	m := &member{rules: []int{i}, as: record.EnvOf(c.Clone()).Addr(), partly: partly(c)}
	m.sure = m.as
	if sure, dropped := sureOf(c.Clone()); dropped {
		m.sure = record.EnvOf(sure).Addr()
	}
	for e := range c.Ends {
		m.others[e] = j.otherStates(c, tcp.Endpoint(e))
		m.unknown = m.unknown || c.Ends[e].State == tcp.Unknown
	}
	j.set = append(j.set, m)
}

// conn is the number of the connection.
func (m *member) conn() int { return record.ConnOf(m.as.Elem()) }

// countAll asks the rules that count.
func (j *Judge) countAll() {
	for i, r := range j.p.rules {
		if r.ask == askCount && j.err == nil {
			j.countOne(i, r)
		}
	}
}

// countOne asks rule i of the set.
func (j *Judge) countOne(i int, r *rule) {
	var set []*member
	for _, m := range j.set {
		if slices.Contains(m.rules, i) {
			set = append(set, m)
		}
	}
	env := reflect.New(setType).Elem()
	list := reflect.MakeSlice(setType.Field(0).Type, len(set), len(set))
	env.Field(0).Set(list)
	for k, m := range set {
		list.Index(k).Set(m.as)
	}
	j.worst = check.Passed
	defer func() { j.out.Tallies[i].Add(j.worst, 1) }()
	holds, err := j.holds(r, r.expr, env.Interface())
	switch {
	case err != nil:
		j.found(i, check.Undecided, nil, nil, fmt.Sprintf("cannot evaluate %s: %v", r.expr.text, err))
		return
	case holds && !slices.ContainsFunc(set, func(m *member) bool { return m.unknown }):
		return
	}
	why := j.doubtSet(r, set, list, env, !holds)
	text := fmt.Sprintf("%s is %v for %s", r.expr.text, holds, text.Plural(uint64(len(set)), "connection", "connections"))
	if why != "" {
		j.found(i, check.Undecided, nil, nil, text+", but "+why)
	} else if !holds {
		j.found(i, check.Failed, nil, nil, text)
	}
}

// maxReadings is how many readings of a set are tried.
const maxReadings = 1000

// doubtSet says why a rule over the set may be answered otherwise; "" if it may
// not. One end after the other is put in every state that it may be in, so that
// a count takes every value that it can.
func (j *Judge) doubtSet(r *rule, set []*member, list, env reflect.Value, bad bool) string {
	var open []int
	tries := 0
	for k, m := range set {
		if n := len(m.others[0]) + len(m.others[1]); n > 0 && (bad || m.unknown) {
			open = append(open, k)
			tries += n
		}
	}
	if tries > maxReadings || tries*len(set) > maxSteps/40 {
		return fmt.Sprintf("the states of %d connections are uncertain, too many to try all combinations", len(open))
	}
	differs := func() bool {
		holds, err := j.holds(r, r.expr, env.Interface())
		return err != nil || holds == bad
	}
	for _, s := range tcp.States() {
		for _, k := range open {
			m := set[k]
			for e, others := range m.others {
				if !slices.Contains(others, s) {
					continue
				}
				other := reflect.New(m.as.Type().Elem())
				other.Elem().Set(list.Index(k).Elem())
				record.SetState(other.Elem(), tcp.Endpoint(e), s)
				list.Index(k).Set(other)
				if differs() {
					return fmt.Sprintf("the %v of connection %d may also be in %v", tcp.Endpoint(e), m.conn(), s)
				}
			}
		}
		for _, k := range open {
			list.Index(k).Set(set[k].as)
		}
	}
	if !bad {
		return ""
	}
	for k, m := range set {
		list.Index(k).Set(m.sure)
	}
	if differs() {
		return "an anomaly is ambiguous"
	}
	for _, m := range set {
		if m.partly != "" && r.expr.counts() {
			return "of a connection " + m.partly
		}
	}
	if j.Truncated {
		return "the capture is cut off"
	}
	return ""
}
