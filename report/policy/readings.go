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

// A capture can often be read in more than one way, and a rule fails only if
// every reading breaks it:
//
//   - The state of an end that is only assumed may be another. So may one that
//     no packet tells, or of which several remain possible: there the rule is
//     not held to be kept either, if a reading breaks it.
//   - An anomaly that is only assumed, or ambiguous, may not have been.
//   - What counts octets and packets, or dates them, tells nothing of a
//     connection that was captured in part.
//
// With Options.Strict what is assumed is taken as it stands.

// judge asks rule i, which requires or forbids an expression, of a connection.
func (j *Judge) judge(i int, r *rule, c *tracker.Record) {
	bad, err := r.breaks(j.envOf(c))
	if err != nil {
		j.failing(r, err)
		j.found(i, check.Undecided, c, nil, fmt.Sprintf("%s cannot be said: %v", r.expr.text, err))
		return
	}
	why := j.doubt(r, c, bad)
	if !bad && why == "" {
		return
	}
	verdict, text := check.Failed, r.expr.text+" is "+map[ask]string{askRequire: "false", askForbid: "true"}[r.ask]
	if !bad {
		text = r.expr.text + " is " + map[ask]string{askRequire: "true", askForbid: "false"}[r.ask]
	}
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
func (r *rule) breaks(env any) (bool, error) {
	holds, err := r.expr.holds(env)
	return holds == (r.ask == askForbid), err
}

// values tells what the connection has in the fields that the expression names.
func (x *Expr) values(c *tracker.Record) string {
	var parts []string
	for _, path := range x.paths {
		if text, ok := record.FieldText(c, path); ok {
			parts = append(parts, path+" is "+text)
		}
	}
	return strings.Join(parts, ", ")
}

// doubt says why the answer to a rule may be another; "" if it may not.
func (j *Judge) doubt(r *rule, c *tracker.Record, bad bool) string {
	var states [2][]tcp.State
	var whys [2]string
	for e := range c.Ends {
		x := &c.Ends[e]
		states[e], whys[e] = j.otherStates(x, bad)
		as := c.Ends[1-e].State
		if states[e] != nil && j.otherwise(r, c, bad, e, states[e], []tcp.State{as}) {
			return fmt.Sprintf("the state of the %s is %s", tcp.Endpoint(e), whys[e])
		}
	}
	if states[0] != nil && states[1] != nil && j.otherwise(r, c, bad, 0, states[0], states[1]) {
		return fmt.Sprintf("the state of the client is %s, and of the server %s", whys[0], whys[1])
	}
	if !bad {
		return ""
	}
	if sure, dropped := j.sureOf(c); dropped {
		if still, err := r.breaks(record.EnvOf(sure).Interface()); err != nil || !still {
			return "an anomaly is not proved"
		}
	}
	if why := partly(c); why != "" && r.expr.counts() {
		return why
	}
	if j.cut(c) {
		return "the capture is cut off"
	}
	return ""
}

// otherStates returns the states that an end may be in besides, and why; nil if
// there is no other.
func (j *Judge) otherStates(x *tracker.EndRecord, bad bool) (states []tcp.State, why string) {
	switch {
	case x.State == tcp.Unknown:
		return tcp.States(), "not known"
	case j.o.Strict:
		return nil, ""
	case x.Possible.Len() > 1:
		return x.Possible.List(), "one of several"
	case bad && x.Certainty == tcp.Assumed:
		return tcp.States(), "only assumed"
	}
	return nil, ""
}

// otherwise reports whether the answer is another in one of the states of end
// e, with the other end in one of its own.
func (j *Judge) otherwise(r *rule, c *tracker.Record, bad bool, e int, states, peers []tcp.State) bool {
	other := *c
	for _, peer := range peers {
		other.Ends[1-e].State = peer
		for _, s := range states {
			other.Ends[e].State = s
			if now, err := r.breaks(record.EnvOf(&other).Interface()); err != nil || now != bad {
				return true
			}
		}
	}
	return false
}

// sureOf returns the connection with only the anomalies that are sure; dropped
// tells that there were others.
func (j *Judge) sureOf(c *tracker.Record) (sure *tracker.Record, dropped bool) {
	other := *c
	other.Anomalies = nil
	for i := range c.Anomalies {
		if j.counts(&c.Anomalies[i]) {
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
	ends    []tcp.Endpoint // whose state may be another
	unknown bool           // of one of them nothing is known
	partly  string
}

// keep adds a connection to the set that rule i counts over.
func (j *Judge) keep(i int, c *tracker.Record) {
	if n := len(j.set); n > 0 && j.set[n-1].conn() == c.Conn {
		j.set[n-1].rules = append(j.set[n-1].rules, i)
		return
	}
	if len(j.set) == maxSet {
		j.err = j.p.rules[i].fault(fmt.Errorf("%s has more than %d connections to count over", text.Escape(j.out.Path), maxSet))
		return
	}
	// What the environment lists must outlast the record, which is lent.
	m := &member{rules: []int{i}, as: record.EnvOf(c.Clone()).Addr(), partly: partly(c)}
	m.sure = m.as
	if sure, dropped := j.sureOf(c.Clone()); dropped {
		m.sure = record.EnvOf(sure).Addr()
	}
	for e := range c.Ends {
		if states, _ := j.otherStates(&c.Ends[e], true); states != nil {
			m.ends = append(m.ends, tcp.Endpoint(e))
			m.unknown = m.unknown || c.Ends[e].State == tcp.Unknown
		}
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
	j.out.Asked[i] = true
	holds, err := r.expr.holds(env.Interface())
	switch {
	case err != nil:
		j.failing(r, err)
		j.found(i, check.Undecided, nil, nil, fmt.Sprintf("%s cannot be said: %v", r.expr.text, err))
		return
	case holds && !slices.ContainsFunc(set, func(m *member) bool { return m.unknown }):
		return
	}
	why := j.doubtSet(r, set, list, env, !holds)
	text := fmt.Sprintf("%s is %v of %d connections", r.expr.text, holds, len(set))
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
	ends := 0
	for k, m := range set {
		if len(m.ends) > 0 && (bad || m.unknown) {
			open = append(open, k)
			ends += len(m.ends)
		}
	}
	states := tcp.States()
	if ends*len(states) > maxReadings || ends*len(states)*len(set) > maxSteps/10 {
		return fmt.Sprintf("the states of %d ends are not sure, too many to try", ends)
	}
	differs := func() bool {
		holds, err := r.expr.holds(env.Interface())
		return err != nil || holds == bad
	}
	for _, s := range states {
		for _, k := range open {
			m := set[k]
			for _, e := range m.ends {
				other := reflect.New(m.as.Type().Elem())
				other.Elem().Set(list.Index(k).Elem())
				record.SetState(other.Elem(), e, s)
				list.Index(k).Set(other)
				if differs() {
					return "states are only assumed, or not known"
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
		return "anomalies are not proved"
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
