package record_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// groupOf says which Group the lines of a type are of.
var groupOf = map[string]string{"held": "refused"}

// A described walks through JSON and looks up every field.
type described struct {
	t      testing.TB
	fields map[string]map[string]*record.FieldDoc // by group and name
	seen   map[*record.FieldDoc]bool
}

func newDescribed(t testing.TB) *described {
	d := &described{t: t, fields: map[string]map[string]*record.FieldDoc{}, seen: map[*record.FieldDoc]bool{}}
	for _, g := range record.Groups() {
		d.fields[g.Title] = map[string]*record.FieldDoc{}
		for i := range g.Fields {
			f := &g.Fields[i]
			if d.fields[g.Title][f.Name] != nil {
				t.Errorf("%s has two fields %s", g.Title, f.Name)
			}
			d.fields[g.Title][f.Name] = f
		}
	}
	return d
}

// lines looks up the fields of all lines of jsonl.
func (d *described) lines(text []byte) (n int) {
	for line := range bytes.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			d.t.Fatalf("%v: %s", err, line)
		}
		kind, _ := v["type"].(string)
		if of, ok := groupOf[kind]; ok {
			kind = of
		}
		if kind == "anomaly" {
			delete(v, "type")
			delete(v, "conn")
		}
		d.object(kind, v)
		n++
	}
	return n
}

// object looks up the fields of an object of that group, and asks for those that
// it must have.
func (d *described) object(group string, v map[string]any) {
	have := map[string]bool{}
	d.inside(group, "", v, have)
	for name, f := range d.fields[group] {
		if f.Absent == "" && !have[name] {
			d.t.Errorf("%s without %s, which is never said to be absent: %v", group, name, v)
		}
	}
}

// freely are objects whose keys are not fields.
var freely = map[string]string{"states": "STATE", "anomalies": "KIND", "changes": "WHAT"}

func (d *described) inside(group, path string, v map[string]any, have map[string]bool) {
	for key, value := range v {
		if path != "" {
			key = path + "." + key
		}
		f := d.fields[group][key]
		if object, ok := value.(map[string]any); ok && f == nil {
			if stands := freely[key]; stands != "" {
				for _, item := range object {
					d.inside(group, key, map[string]any{stands: item}, have)
				}
			} else {
				d.inside(group, key, object, have)
			}
			continue
		}
		if f == nil {
			d.t.Errorf("%s has a field %s, of which the table says nothing", group, key)
			continue
		}
		have[key], d.seen[f] = true, true
		d.value(group, f, value)
	}
}

func (d *described) value(group string, f *record.FieldDoc, value any) {
	is := ""
	switch v := value.(type) {
	case nil:
		if strings.Contains(f.More, "null") {
			return
		}
	case string:
		is = "string"
		if f.Words != nil && !slices.ContainsFunc(f.Words, func(w record.Word) bool { return w.Name == v }) {
			d.t.Errorf("%s has %s %q, which is not among its words", group, f.Name, v)
		}
		if _, err := time.Parse(time.RFC3339Nano, v); (err == nil) != (f.Unit == "RFC 3339") {
			d.t.Errorf("%s has %s %q, of unit %q", group, f.Name, v, f.Unit)
		}
	case float64:
		is = "number"
	case bool:
		is = "boolean"
	case []any:
		is = "array"
		for _, item := range v {
			if object, ok := item.(map[string]any); ok {
				d.object(f.Holds, object)
			} else if f.Holds != "" {
				d.t.Errorf("%s has %v in %s, want objects", group, item, f.Name)
			}
		}
	case map[string]any:
		is = "object"
		d.object(f.Holds, v)
	}
	if is != f.Type {
		d.t.Errorf("%s has %s %v, want a %s", group, f.Name, value, f.Type)
	}
}

// Of every field that is written the table says what it is, and every field of
// the table is written. The records are those of the samples, and some that have
// what these lack.
func TestFieldsAreDescribed(t *testing.T) {
	var out bytes.Buffer
	p, err := report.New("jsonl", &out, record.Options{Events: true})
	if err != nil {
		t.Fatal(err)
	}
	c := sample.ClosedByClient()
	c.Ends[tcp.Server].Name, c.Ends[tcp.Server].Stack, c.Ends[tcp.Server].StackCertainty = "www.example.com", tcp.StackLinux, tcp.StackGuessed
	odd := &anomaly.Anomaly{Conn: 1, Kind: "k", Time: sample.At(0), Cause: "c", Next: "n", RFC: "r", Evidence: []int{1}, Count: 2, Until: sample.At(1), Supersedes: []string{"k"}, Withdrawn: true}
	odd.Places = []tcp.Place{{Tap: "client", Packet: 1, Peer: 2}}
	c.Ends[tcp.Client].History[0].Place = odd.Places[0]
	c.Ends[tcp.Client].OnHost = true
	c.Ends[tcp.Client].Certainty = tcp.Kernel
	c.Ends[tcp.Client].Socket = &tcp.Socket{State: tcp.TimeWait, HasInfo: true, Differs: true, Owner: tcp.Owner{Source: tcp.FromSocket, PID: 1, Program: "p", User: "u", Unit: "s", Container: "c", Pod: "d"}}
	leaves := sample.Sending()
	leaves.Ends[tcp.Client].State, leaves.Ends[tcp.Server].State = tcp.TimeWait, tcp.CloseWait
	events := append(sample.Events(),
		tracker.Event{Kind: tracker.EventAnomaly, Conn: 1, Anomaly: odd},
		tracker.Event{Kind: tracker.EventRefused, Time: sample.At(0), Packet: 1, Conn: 1, Skipped: tcp.OldTimestamp},
		tracker.Event{Kind: tracker.EventRefused, Time: sample.At(0), Packet: 1, Conn: 1, Skipped: tcp.Held},
		tracker.Event{Kind: tracker.EventConnection, Conn: 1, Record: &c},
		tracker.Event{Kind: tracker.EventConnection, Conn: 1, Record: &leaves},
	)
	for i := range 1500 { // more services and hosts than have rows
		many := sample.Refused()
		many.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1)
		many.Ends[tcp.Server].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), 80)
		events = append(events, tracker.Event{Kind: tracker.EventConnection, Conn: many.Conn, Record: &many})
	}
	for i := range events {
		if err := p.Event(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(record.Summary{Packets: 1, First: sample.At(0), Last: sample.At(1), Kernel: &record.Compared{Compared: 2, Differed: 1}, Between: printtest.Between(), Passed: []record.Passed{{Header: "GTP-U", Why: "not opened", Packets: 1}}, Limits: []record.Limit{{Name: "hosts", Cut: 1, Text: "1 host no longer watched"}}}); err != nil {
		t.Fatal(err)
	}
	d := newDescribed(t)
	if n := d.lines(out.Bytes()); n < len(events) {
		t.Errorf("%d lines of %d events", n, len(events))
	}
	for group, fields := range d.fields {
		for name, f := range fields {
			if !d.seen[f] {
				t.Errorf("%s: nothing has a field %s", group, name)
			}
			if lacking := f.Is == "" || f.Type == ""; lacking || strings.HasSuffix(f.Is, ".") || f.Holds != "" && d.fields[f.Holds] == nil {
				t.Errorf("%s: %s is described wrongly: %+v", group, name, f)
			}
		}
	}
}

// What the samples are replayed to is described, too: each field is there unless
// the table says when it is not, and has one of its words.
func TestFieldsOfSamplesAreDescribed(t *testing.T) {
	captures, err := filepath.Glob("../../pcaps/*.pcap")
	if err != nil || len(captures) < 15 {
		t.Fatalf("%d captures found: %v", len(captures), err)
	}
	d := newDescribed(t)
	for _, path := range captures {
		w, err := watch.Files([]string{path}, capture.Options{}, tracker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var out bytes.Buffer
		p, err := report.New("jsonl", &out, record.Options{Events: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Run(t.Context(), watch.Sink{Event: p.Event}); err != nil {
			t.Fatal(err)
		}
		st := w.Summary().Capture
		if err := p.Close(record.Summary{Packets: uint64(st.Packets), First: st.First, Last: st.Last}); err != nil {
			t.Fatal(err)
		}
		if n := d.lines(out.Bytes()); n < 3 {
			t.Errorf("%s: %d lines", path, n)
		}
	}
}

// wordsOf returns the words of all values from the first to the last, which is
// the one before that whose String panics.
func wordsOf[T interface {
	~uint8
	fmt.Stringer
}](first T) (words []string) {
	defer func() { _ = recover() }()
	for v := first; ; v++ {
		words = append(words, v.String())
	}
}

// The words of a field are all that it can be.
func TestWordsAreAll(t *testing.T) {
	d := newDescribed(t)
	for path, want := range map[string][]string{
		"connection origin":    wordsOf(tcp.FromSYN),
		"connection closed_by": wordsOf(tcp.ByClient),
		"connection reset_by":  wordsOf(tcp.ResetByClient),
		"end certainty":        wordsOf(tcp.Assumed),
		"end state":            wordsOf(tcp.Unknown),
		"end stack":            tcp.Stacks(),
		"end stack_certainty":  wordsOf(tcp.StackUnknown),
		"history basis":        wordsOf(tcp.BySending),
		"anomaly severity":     wordsOf(anomaly.Info),
		"anomaly certainty":    wordsOf(anomaly.ConfidenceProved),
		"anomaly endpoint":     wordsOf(tcp.Client),
	} {
		group, name, _ := strings.Cut(path, " ")
		var got []string
		for _, w := range d.fields[group][name].Words {
			got = append(got, w.Name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(want) < 2 {
			t.Errorf("%s can be %q, but the table has %q", path, want, got)
		}
	}
}

// The short form fits a terminal, and has each field of what it is about.
func TestFieldsText(t *testing.T) {
	text := record.FieldsText()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns, want at most 80: %s", n, line)
		}
	}
	for _, name := range []string{"closed_by", "timer.remaining", "basis", "withdrawn", "rfc"} {
		if !strings.Contains(text, "\n  "+name+" ") {
			t.Errorf("it says nothing of %s", name)
		}
	}
}
