package record

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Expressions see a record as a struct that is made here, at the start, from
// the list in fields.go: its fields bear the names that JSON has, in the tag by
// which expr knows them. A field that a record may lack is a pointer, nil where
// it does. Numbers are int, spans float64 seconds, instants time.Time; states,
// addresses and words are strings.

// envTag is the key of the tag that names a field.
const envTag = "expr"

// An envNode is a field of the struct, or the struct.
type envNode struct {
	name     string
	typ      reflect.Type
	field    *field // of a leaf
	children []*envNode
}

// env is the struct of a connection record.
var env = makeEnv()

// fullPlace is a place that lacks nothing.
var fullPlace = tcp.Place{Tap: "t", Packet: 1, Peer: 1}

// fullAnomaly returns an anomaly that lacks nothing.
func fullAnomaly() anomaly.Anomaly {
	return anomaly.Anomaly{
		Conn: 1, Kind: "k", Cause: "c", Packet: 1, Evidence: []int{1}, Places: []tcp.Place{fullPlace}, Text: "t", Next: "n", RFC: "r", Count: 2, Until: 1,
		Addr: netip.IPv4Unspecified(), Port: 1, Samples: []int{1}, Supersedes: []string{"k"}, Withdrawn: true,
	}
}

// Two records from which the types of the fields are read: one that lacks
// nothing, and one that lacks all that may be lacking.
func fullRecord() *tracker.Record {
	r := bareRecord()
	r.ClosedBy, r.ResetBy, r.HandshakeRTT, r.Anomalies = tcp.ByClient, tcp.ResetByClient, 1, []anomaly.Anomaly{fullAnomaly()}
	for e := range r.Ends {
		x := &r.Ends[e]
		x.Name = "n"
		x.Possible = 1<<tcp.Closed | 1<<tcp.TimeWait
		x.HasISN, x.MSS, x.WindowScale, x.SACK, x.Timestamps = true, 1, 1, true, true
		x.Timer = tracker.Timer{Kind: "fin", Remaining: 1}
		x.StackCertainty, x.OnHost = tcp.StackKnown, true
		x.Socket = &tcp.Socket{State: tcp.Established, HasInfo: true, Differs: true, Owner: tcp.Owner{Source: tcp.FromSocket, PID: 1, Program: "p", User: "u", Unit: "u", Container: "c", Pod: "p"}}
		x.State, x.Since, x.TimeInState = tcp.Established, 1, 1
	}
	return r
}

func bareRecord() *tracker.Record {
	end := tracker.EndRecord{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), 1), WindowScale: -1}
	return &tracker.Record{Conn: 1, Incarnation: 1, Ends: [2]tracker.EndRecord{end, end}}
}

// typeOf returns the type of a field by what a full record holds in it, and by
// whether others may lack it.
func typeOf(path string, full value, lacking bool) reflect.Type {
	var t reflect.Type
	switch full.kind {
	case number:
		t = reflect.TypeFor[int]()
	case truth:
		t = reflect.TypeFor[bool]()
	case seconds:
		t = reflect.TypeFor[float64]()
	case instant:
		t = reflect.TypeFor[time.Time]()
	case name, phrase, state, address:
		t = reflect.TypeFor[string]()
	case states, phrases:
		return reflect.TypeFor[[]string]()
	case numbers:
		return reflect.TypeFor[[]int]()
	case steps:
		return reflect.SliceOf(structOf(placedSteps, tracker.Step{Packet: 1, Place: fullPlace}, tracker.Step{}))
	case places:
		return reflect.SliceOf(structOf(placeFields, fullPlace, tcp.Place{}))
	case anomalies:
		return reflect.SliceOf(structOf(anomalyFields, fullAnomaly(), anomaly.Anomaly{}, anomaly.Anomaly{Conn: 1, Count: 1}))
	default:
		panic(fmt.Sprintf("record: the full record has no %s", path))
	}
	if lacking {
		t = reflect.PointerTo(t)
	}
	return t
}

// structField returns field i of a struct, of the given name in expressions.
func structField(i int, name string, t reflect.Type) reflect.StructField {
	return reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: t, Tag: reflect.StructTag(fmt.Sprintf("%s:%q", envTag, name))}
}

// structOf returns the struct of a sub-record.
func structOf[T any](parts []part[T], full T, bare ...T) reflect.Type {
	var list []reflect.StructField
	for i, p := range parts {
		lacks := func(v T) bool { return p.value(&v).kind == absent }
		list = append(list, structField(i, p.name, typeOf(p.name, p.value(&full), slices.ContainsFunc(bare, lacks))))
	}
	return reflect.StructOf(list)
}

// makeEnv makes the struct of a connection record.
func makeEnv() *envNode {
	full, bare := fullRecord(), bareRecord()
	root := new(envNode)
	for i := range fields {
		f := &fields[i]
		if f.derived {
			continue
		}
		at := root
		for _, parent := range f.parents {
			at = at.child(parent)
		}
		leaf := at.child(f.leaf)
		leaf.field, leaf.typ = f, typeOf(f.path, f.value(full), f.value(bare).kind == absent)
	}
	root.close()
	return root
}

// child returns the child of that name, made if need be.
func (n *envNode) child(name string) *envNode {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &envNode{name: name}
	n.children = append(n.children, c)
	return c
}

// close makes the struct types, from the leaves up.
func (n *envNode) close() {
	if n.field != nil {
		return
	}
	var list []reflect.StructField
	for i, c := range n.children {
		c.close()
		list = append(list, structField(i, c.name, c.typ))
	}
	n.typ = reflect.StructOf(list)
}

// fill sets v, a struct of the node's type, to what the record holds.
func (n *envNode) fill(v reflect.Value, r *tracker.Record) {
	for i, c := range n.children {
		if c.field == nil {
			c.fill(v.Field(i), r)
		} else {
			setValue(v.Field(i), c.field.value(r))
		}
	}
}

// setValue sets a field of the struct.
func setValue(to reflect.Value, v value) {
	if v.kind == absent {
		return
	}
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	switch v.kind {
	case number:
		to.SetInt(v.num)
	case truth:
		to.SetBool(v.num != 0)
	case seconds:
		to.SetFloat(time.Duration(v.num).Seconds())
	case instant:
		to.Set(reflect.ValueOf(time.Unix(0, v.num).UTC()))
	case name, phrase:
		to.SetString(v.text)
	case phrases:
		to.Set(reflect.ValueOf(*v.words))
	case numbers:
		to.Set(reflect.ValueOf(append([]int{}, *v.ints...)))
	case states:
		to.Set(reflect.ValueOf(strings.Fields(string(v.appendText(nil)))))
	case steps:
		setList(to, placedSteps, *v.steps)
	case places:
		setList(to, placeFields, *v.where)
	case anomalies:
		setList(to, anomalyFields, *v.odd)
	default:
		to.SetString(string(v.appendText(nil)))
	}
}

// setList sets a list of sub-records.
func setList[T any](to reflect.Value, parts []part[T], list []T) {
	made := reflect.MakeSlice(to.Type(), len(list), len(list))
	for i := range list {
		for j := range parts {
			setValue(made.Index(i).Field(j), parts[j].value(&list[i]))
		}
	}
	to.Set(made)
}

// EnvType is the type of what EnvOf returns.
func EnvType() reflect.Type { return env.typ }

// EnvOf returns the record as expressions see it.
func EnvOf(r *tracker.Record) reflect.Value {
	v := reflect.New(env.typ).Elem()
	env.fill(v, r)
	return v
}

// WholeFields returns the names of the fields that tell of a connection only
// where all of it was captured.
func WholeFields() []string {
	var names []string
	for i := range fields {
		if f := &fields[i]; f.whole && !slices.Contains(names, f.leaf) {
			names = append(names, f.leaf)
		}
	}
	return names
}

// EnvNames returns the names of a struct of an environment's, in their order;
// none of any other type.
func EnvNames(t reflect.Type) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get(envTag); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// FieldText returns what the record holds in the field of that path; ok is
// false if there is no such field, or it is a list.
func FieldText(r *tracker.Record, path string) (text string, ok bool) {
	f := fieldAt(path)
	if f == nil || f.derived {
		return "", false
	}
	switch v := f.value(r); v.kind {
	case absent:
		return "absent", true
	case steps, anomalies, places:
		return "", false
	default:
		return string(v.appendText(nil)), true
	}
}

// ConnOf returns the number of the connection of an environment.
func ConnOf(v reflect.Value) int { return int(leafOf(v, "conn").Int()) }

// SetState puts an end of an environment in another state.
func SetState(v reflect.Value, e tcp.Endpoint, s tcp.State) {
	leafOf(leafOf(v, e.String()), "state").SetString(s.String())
}

// leafOf returns the field of that name.
func leafOf(v reflect.Value, name string) reflect.Value {
	return v.Field(slices.Index(EnvNames(v.Type()), name))
}
