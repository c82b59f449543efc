package catalogue

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The picture of the states. Where they stand and how the arrows run is laid
// out by hand, below; which arrows there are and what is written at them comes
// from the transition table. CLOSED is drawn twice, where a connection begins
// and where it ends. The ways in which a connection is cut short are left out,
// as in the Mermaid diagram, and the legend says so.

// A point of the picture, in pixels from its upper left.
type point struct{ x, y int }

// Half the width and height of a state's box.
const (
	boxX = 82
	boxY = 24
)

// places are where the states stand.
var places = map[tcp.State]point{
	tcp.Listen:      {240, 140},
	tcp.Closed:      {820, 140},
	tcp.SynReceived: {240, 300},
	tcp.SynSent:     {820, 300},
	tcp.Established: {530, 430},
	tcp.FinWait1:    {240, 570},
	tcp.CloseWait:   {820, 570},
	tcp.FinWait2:    {240, 710},
	tcp.Closing:     {530, 710},
	tcp.LastAck:     {820, 710},
	tcp.TimeWait:    {530, 850},
}

// closedAgain is where CLOSED stands as the end of a connection.
var closedAgain = point{820, 850}

// A route is how the arrow from one state to another runs, and where what is
// written at it stands.
type route struct {
	from, to point
	text     point
	anchor   string // of the text: start, middle or end
}

type stateMove struct{ from, to tcp.State }

var routes = map[stateMove]route{
	{tcp.Listen, tcp.SynReceived}:      {point{268, 164}, point{268, 276}, point{279, 224}, "start"},
	{tcp.SynReceived, tcp.Listen}:      {point{212, 276}, point{212, 164}, point{201, 233}, "end"},
	{tcp.Closed, tcp.SynSent}:          {point{820, 164}, point{820, 276}, point{831, 224}, "start"},
	{tcp.Listen, tcp.SynSent}:          {point{322, 150}, point{738, 286}, point{420, 168}, "start"},
	{tcp.Closed, tcp.SynReceived}:      {point{738, 150}, point{322, 286}, point{640, 168}, "end"},
	{tcp.SynSent, tcp.SynReceived}:     {point{738, 308}, point{322, 308}, point{530, 299}, "middle"},
	{tcp.SynReceived, tcp.Established}: {point{300, 324}, point{478, 406}, point{402, 361}, "start"},
	{tcp.SynReceived, tcp.FinWait1}:    {point{212, 324}, point{212, 546}, point{201, 440}, "end"},
	{tcp.Established, tcp.FinWait1}:    {point{478, 454}, point{300, 546}, point{380, 492}, "end"},
	{tcp.Established, tcp.CloseWait}:   {point{582, 454}, point{760, 546}, point{682, 492}, "start"},
	{tcp.FinWait1, tcp.FinWait2}:       {point{240, 594}, point{240, 686}, point{229, 645}, "end"},
	{tcp.FinWait1, tcp.Closing}:        {point{306, 594}, point{464, 686}, point{396, 634}, "start"},
	{tcp.CloseWait, tcp.LastAck}:       {point{820, 594}, point{820, 686}, point{831, 645}, "start"},
	{tcp.FinWait2, tcp.TimeWait}:       {point{306, 734}, point{464, 826}, point{374, 794}, "end"},
	{tcp.Closing, tcp.TimeWait}:        {point{530, 734}, point{530, 826}, point{541, 785}, "start"},
	{tcp.LastAck, tcp.Closed}:          {point{820, 734}, point{820, 826}, point{831, 785}, "start"},
	{tcp.TimeWait, tcp.Closed}:         {point{612, 850}, point{738, 850}, point{675, 841}, "middle"},
}

// A shortcut is an arrow of two rows of the table that one segment takes at once.
type shortcut struct {
	from, to tcp.State
	on       tcp.InputSet
	path     string
	text     point
	anchor   string
}

var shortcuts = []shortcut{
	{tcp.SynSent, tcp.Established, tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), "M760 324L582 406", point{684, 374}, "start"},
	{tcp.FinWait1, tcp.TimeWait, tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), "M158 582L60 640L60 780L448 850", point{71, 768}, "start"},
}

// regions are the parts of a connection's life.
var regions = []struct {
	at      point
	w, h    int
	name    string
	caption point
}{
	{point{24, 84}, 972, 256, "opening", point{44, 326}},
	{point{24, 524}, 632, 366, "closes first", point{44, 874}},
	{point{680, 524}, 316, 240, "closes second", point{700, 754}},
}

// inks are the colours of what an end does, what it receives, and its timers.
var inks = []struct{ name, color, legend string }{
	{"send", "#1d4ed8", "it sends"},
	{"recv", "#15803d", "it receives"},
	{"time", "#b45309", "its own timer"},
}

// inkOf returns the class of an arrow.
func inkOf(on tcp.Input) string {
	if word, _, _ := strings.Cut(on.String(), " "); word == "send" || word == "recv" {
		return word
	}
	return "time"
}

// arrowStyle is the style of everything in the picture.
const arrowStyle = `
text { font-family: "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1e293b; }
.title { font-size: 21px; font-weight: 600; }
.sub, .legend { font-size: 13.5px; fill: #475569; }
.region { fill: #f1f5f9; }
.caption { font-size: 12.5px; fill: #64748b; letter-spacing: 0.06em; }
.state { fill: #ffffff; stroke: #334155; stroke-width: 1.6; }
.open { fill: #dcfce7; stroke: #15803d; }
.over { stroke-dasharray: 5 4; }
.name { font-size: 15px; font-weight: 600; text-anchor: middle; }
.arrow { fill: none; stroke-width: 1.7; }
.label { font-size: 13px; paint-order: stroke; stroke-width: 5px; stroke-linejoin: round; }
`

// StatesSVG draws the transition table as a picture that needs nothing else.
func StatesSVG() []byte {
	style := arrowStyle
	for _, ink := range inks {
		style += fmt.Sprintf(".%s { stroke: %s; } .label.%s { fill: %s; stroke: #f8fafc; }\n", ink.name, ink.color, ink.name, ink.color)
	}
	return Machine("<style>"+style+"</style>\n", false, func(_ tcp.State, on tcp.InputSet, _ tcp.State) string { return on.String() })
}

// A Label tells what is written at an arrow.
type Label func(from tcp.State, on tcp.InputSet, to tcp.State) string

// Machine draws the picture; style comes first in it. With atOnce it also has arrows
// of its own for segments that take two rows of the table at once.
func Machine(style string, atOnce bool, label Label) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1020 990" width="1020" height="990" role="img" aria-labelledby="title">`)
	line(`<title id="title">The states of a TCP connection, RFC 9293, as tcpwatch runs them</title>`)
	b.WriteString(style + "<defs>\n")
	for _, ink := range inks {
		line(`<marker id="%s" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0.8 10 5 0 9.2Z" fill="%s"/></marker>`, ink.name, ink.color)
	}
	line(`</defs>`)
	line(`<rect width="1020" height="990" rx="14" fill="#ffffff"/>`)
	line(`<text class="title" x="24" y="40">The states of a TCP connection</text>`)
	line(`<text class="sub" x="24" y="64">RFC 9293, as far as packets show them: the table that tcpwatch uses, for one end</text>`)
	for _, r := range regions {
		line(`<rect class="region" x="%d" y="%d" width="%d" height="%d" rx="16"/>`, r.at.x, r.at.y, r.w, r.h)
		line(`<text class="caption" x="%d" y="%d">%s</text>`, r.caption.x, r.caption.y, r.name)
	}
	drawArrows(line, label)
	if atOnce {
		for _, s := range shortcuts {
			line(`<path class="arrow recv" d="%s" marker-end="url(#recv)"/>`, s.path)
			line(`<text class="label recv" x="%d" y="%d" text-anchor="%s">%s</text>`, s.text.x, s.text.y, s.anchor, label(s.from, s.on, s.to))
		}
	}
	for _, s := range tcp.States() {
		class := "state"
		if s == tcp.Established {
			class += " open"
		}
		drawState(line, places[s], class, s)
	}
	drawState(line, closedAgain, "state over", tcp.Closed)
	drawLegend(line)
	line(`</svg>`)
	return b.Bytes()
}

// drawState draws the box of a state.
func drawState(line func(string, ...any), at point, class string, s tcp.State) {
	line(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="12"/>`, class, at.x-boxX, at.y-boxY, 2*boxX, 2*boxY)
	line(`<text class="name" x="%d" y="%d">%v</text>`, at.x, at.y+5, s)
}

// drawArrows draws an arrow for every two states between which the table has
// an orderly row, and writes what all these rows are on.
func drawArrows(line func(string, ...any), label Label) {
	drawn := make(map[stateMove]bool)
	var labels []func()
	for _, row := range tcp.Transitions() {
		m := stateMove{row.From, row.To}
		if !orderly(row) || drawn[m] {
			continue
		}
		drawn[m] = true
		r, ok := routes[m]
		if !ok {
			r = straight(places[row.From], places[row.To])
		}
		ink := inkOf(row.On)
		line(`<path class="arrow %s" d="M%d %dL%d %d" marker-end="url(#%s)"/>`, ink, r.from.x, r.from.y, r.to.x, r.to.y, ink)
		labels = append(labels, func() {
			y := r.text.y
			for _, other := range tcp.Transitions() {
				if (stateMove{other.From, other.To}) == m && orderly(other) {
					line(`<text class="label %s" x="%d" y="%d" text-anchor="%s">%s</text>`, inkOf(other.On), r.text.x, y, r.anchor, label(other.From, other.On.Set(), other.To))
					y -= 18
				}
			}
		})
	}
	for _, write := range labels {
		write()
	}
}

// straight is the route of an arrow that nobody has laid out.
func straight(a, b point) route {
	return route{from: a, to: b, text: point{(a.x + b.x) / 2, (a.y + b.y) / 2}, anchor: "middle"}
}

// drawLegend says what the colours are, and what is left out.
func drawLegend(line func(string, ...any)) {
	x := 24
	for _, ink := range inks {
		line(`<path class="arrow %s" d="M%d 922L%d 922" marker-end="url(#%s)"/>`, ink.name, x, x+34, ink.name)
		line(`<text class="legend" x="%d" y="927">%s</text>`, x+44, ink.legend)
		x += 70 + 8*len(ink.legend)
	}
	line(`<text class="legend" x="24" y="952">Not shown: aborts, from nearly every state to CLOSED. The end sends or receives a RST, gives up, or turns out</text>`)
	line(`<text class="legend" x="24" y="972">to have no such connection. “tcpwatch states” lists these rows too.</text>`)
}
