package cmd

import (
	"bufio"
	"fmt"
	"reflect"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/serve"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What tcpwatch help says about a topic is for a terminal of 80 columns, and
// taken from the tables that the program itself runs on, where there is one.

const topicWidth = 80

// topics are in the order in which they are listed.
var topics = []struct {
	name, short string
	text        func() string
}{
	{"states", "The states of TCP, and the transitions between them", statesTopic},
	{"certainty", "How sure a state or an anomaly is, and what ? means", certaintyTopic},
	{"filters", "What -f takes: tcpdump filters", filtersTopic},
	{"expressions", "What --where and the rules of check take", expressionsTopic},
	{"fields", "The fields of records (-o json, jsonl, csv)", fieldsTopic},
	{"limits", "What tcpwatch keeps at most, and what happens beyond", limitsTopic},
	{"exit-status", "What the exit status means", exitTopic},
}

// wrapped writes a paragraph, indented, with what leads it in front.
func wrapped(lead, indent, paragraph string) string {
	lines := text.Lines(func(w *bufio.Writer) { text.WriteWrapped(w, indent, paragraph, topicWidth, text.Plain) })
	first := strings.TrimPrefix(strings.Join(lines, "\n"), indent)
	return fmt.Sprintf("%-*s%s\n", len(indent), lead, first)
}

// definitions writes words with what they mean.
func definitions(words []record.Word) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(wrapped("  "+w.Name, strings.Repeat(" ", 15), w.Means))
	}
	return b.String()
}

func statesTopic() string {
	return `Each end of a connection is in one of the states of RFC 9293. The lines below a
state list its transitions: the event and the next state.

` + catalogue.StatesText(topicWidth) + `
--state takes any usual spelling: TIME_WAIT, time-wait, FIN_WAIT1, ESTAB.
"tcpwatch states" prints every transition with its section of the RFC;
"tcpwatch states --help" is the help for that command.
`
}

func certaintyTopic() string {
	return `A capture shows what was sent, not what arrived. So each end has two states. The
assumed state holds if the captured segments arrived. The proved state is what
the end's own segments show. Tables print the assumed state; records have both
(state and proved_state). How sure the assumed state is (certainty in records):

` + definitions(record.Certainties) + `
A "?" after a state means that it is only assumed: TIME_WAIT?. In records, the
field possible lists every state that the end may be in. ` + tcp.Unknown.String() + ` means that
no packet shows the state.

tcpwatch recognises a TCP stack by its SYN. For an unknown stack it uses the
timers of Linux, and the states that follow from them stay assumed. --stack sets
the stack.

How sure an anomaly is:

` + definitions(record.Confidences) + `
check fails on proved and assumed anomalies. It reports ambiguous ones as
undecided (see check --undecided and --strict).
`
}

// filterExamples are what -f takes, with what each selects.
var filterExamples = []record.Word{
	{Name: "host 10.0.0.1", Means: "from or to that address; also: src host"},
	{Name: "net 10.0.0.0/8", Means: "from or to that network"},
	{Name: "port 443", Means: "from or to that port; also: src port, dst port"},
	{Name: "tcp portrange 8000-8080", Means: "one of these ports"},
	{Name: "ip6 and dst port 80 or 443", Means: "443 alone repeats the words before 80"},
	{Name: "not (port 22 or port 53)", Means: "in a shell, quote the whole filter"},
	{Name: "vlan 5 and host 10.0.0.1", Means: "with that VLAN tag"},
	{Name: "mpls 100 and tcp", Means: "with that MPLS label; also: pppoes 5, geneve 7"},
	{Name: "tcp[tcpflags] & tcp-rst != 0", Means: "RSTs over IPv4"},
	{Name: "tcp.flags & (syn|fin) != 0", Means: "SYNs and FINs over IPv4 and IPv6"},
	{Name: "greater 1000", Means: "packets of 1000 bytes or more; also: less"},
}

func filtersTopic() string {
	var b strings.Builder
	b.WriteString(`-f EXPR keeps only the packets that match, before tracking. It takes the filters
of tcpdump (man 7 pcap-filter):

`)
	for _, e := range filterExamples {
		fmt.Fprintf(&b, "  %-29s %s\n", e.Name, e.Means)
	}
	b.WriteString(`
"and" and "or" have the same precedence and group from the left, as in tcpdump:
"a or b and c" is "(a or b) and c". Names of hosts and networks, gateway,
protochain and broadcast are not supported. Anything else is an error, with a
caret under it.

Keep both directions of a connection: "src host" or "dst port" alone keeps one
direction, which shows little. Connections are numbered after the filter.
--where, --state and --anomaly select whole connections after tracking, and do
not change the numbers.
`)
	return b.String()
}

// whereExamples are expressions over the record.
var whereExamples = []string{
	"client.state == TIME_WAIT && duration > 60",
	"server.state == CLOSE_WAIT && server.time_in_state > 60",
	"server.port in [80, 443] && client.retransmits > 0",
	`closed_by in ["refused", "timeout"]`,
	"(handshake_rtt ?? 0) > 0.1",
	"any(anomalies, .kind == rst_instead_of_ack)",
	`client.addr startsWith "10."`,
}

func expressionsTopic() string {
	var b strings.Builder
	b.WriteString(`--where EXPR selects the connections for which an expression over the fields of
their records is true. The rules of check (--require, --forbid, policies) take
the same expressions. The language is that of github.com/expr-lang/expr:

`)
	for _, e := range whereExamples {
		fmt.Fprintf(&b, "  --where '%s'\n", e)
	}
	b.WriteString("\nFields (tcpwatch help fields explains them):\n\n")
	b.WriteString(fieldNames("connection", record.EnvType()))
	b.WriteString(`
A field that a record lacks is nil; ?? gives it a value. States (TIME_WAIT) and
kinds of anomalies, written with underscores (rst_instead_of_ack), are
constants. Durations are in seconds. A misspelt field, state or kind is an
error, with a caret under it.

Functions:

`)
	b.WriteString(wrapped("", "  ", strings.Join(policy.Functions(), ", ")))
	return b.String()
}

// fieldNames writes the names of the fields of a struct of expressions, and of the
// structs in it. Both ends have the same.
func fieldNames(of string, t reflect.Type) string {
	names := record.EnvNames(t)
	inside := ""
	for i, name := range names {
		field := t.Field(i).Type
		if field.Kind() == reflect.Slice {
			field = field.Elem()
		}
		if len(record.EnvNames(field)) == 0 || name == tcp.Client.String() {
			continue
		}
		if name == tcp.Server.String() {
			name = "client, server"
		}
		inside += fieldNames(name, field)
	}
	return wrapped("  "+of, strings.Repeat(" ", 18), strings.Join(names, ", ")) + inside
}

func fieldsTopic() string {
	return `The fields of records, one group for each type of object. client and server are
ends; history and anomalies are lists of those objects. With --events,
transitions, anomalies and refused segments are records too. Times are RFC 3339
in UTC.

` + record.FieldsText() + `
A field without a value is omitted. csv names the fields of connections by their
paths (client.state); --sort and --where take the same names. report/README.md
lists all units and values, and when a field is absent.
`
}

// otherLimits are those of which nothing is counted: what they leave out is said where it
// would be, or is an error.
func otherLimits() []record.Word {
	number := func(n int) string { return text.Thousands(uint64(n)) }
	return []record.Word{
		{Name: "-B", Means: "buffer of live: packets that do not fit are lost, and counted (dropped)"},
		{Name: "tunnels", Means: number(capture.MaxDepth) + " IP headers in a packet: deeper ones are not decoded, and counted (undecodable)"},
		{Name: "-o html", Means: fmt.Sprintf("%s connections, %s segments drawn: the page says how many more there are", number(html.MostRows), number(html.MostSegments))},
		{Name: "--listen", Means: fmt.Sprintf("%d connections, %d open pages: others wait, or are refused", serve.DefaultConns, serve.MaxClients)},
		{Name: "page of live", Means: fmt.Sprintf("the newest %d segments of %s connections: of others it shows the history", ladder.RecentRungs, number(ladder.RecentConns))},
		{Name: "--policy", Means: fmt.Sprintf("%d KiB, %s rules, %d regular expressions; time and memory of the expressions: an error that names the rule", policy.MaxSize>>10, number(policy.MaxRules), policy.MaxPatterns)},
		{Name: "count", Means: number(policy.MaxSet) + " connections, and a quarter of the memory, for rules that count: an error that names the rule"},
	}
}

func limitsTopic() string {
	var b strings.Builder
	b.WriteString(`tcpwatch limits what it keeps, so that no traffic takes all memory of the host.
What is left out is counted: in the line "Totals", in the field limits of the
summary (-o json, jsonl), and in the metric tcpwatch_limited_total.

`)
	list := func(words []record.Word) {
		for _, w := range words {
			b.WriteString(wrapped("  "+w.Name, strings.Repeat(" ", 21), w.Means))
		}
	}
	var words []record.Word
	for _, l := range run.Limits() {
		words = append(words, record.Word{Name: l.Name, Means: l.Most + ": " + l.Beyond})
	}
	list(words)
	b.WriteString(`
Other limits say it where they leave something out:

`)
	list(otherLimits())
	return b.String()
}

// exitStatuses are what Main returns.
var exitStatuses = []record.Word{
	{Name: fmt.Sprint(exitDone), Means: "Done. Also after Ctrl-C, after the reader of a pipe exits, for a capture without packets, and for one that is cut off (with a warning)."},
	{Name: fmt.Sprint(exitViolation), Means: "check found a violation: a capture breaks a rule. Only check returns it."},
	{Name: fmt.Sprint(exitUsage), Means: "Wrong usage, or a file that cannot be read, is not a capture, is shorter than its header, or has only unknown link types. With --strict, also a capture that is cut off. check returns it if any file cannot be read, whatever the others show."},
}

func exitTopic() string {
	var b strings.Builder
	for _, s := range exitStatuses {
		b.WriteString(wrapped(s.Name, "   ", s.Means))
	}
	b.WriteString(`
Undecided rules of check do not change the exit status, except with
--undecided=fail. Errors, hints and warnings go to standard error; only data
goes to standard output.
`)
	return b.String()
}
