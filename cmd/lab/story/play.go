package story

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/oracle"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Conversation is one story as two hosts play it.
type Conversation struct {
	wire      *Wire
	channel   *channel
	processes [2]*process
	marks     []mark
	story     oracle.Story
}

// Converse begins a conversation of two hosts, client and server, at these
// addresses.
func (w *Wire) Converse(hosts [2]Host, addrs [2]netip.AddrPort) *Conversation {
	c := &Conversation{wire: w, channel: w.open(addrs)}
	c.story.ExpectAt = map[string]string{}
	for i, h := range hosts {
		c.processes[i] = &process{host: h, clock: w.clock}
	}
	return c
}

const (
	quietTime = 200 * time.Millisecond
	patience  = 20 * time.Second // for a moment to become quiet
)

// Play plays the steps of a script, and closes what it leaves open.
func (c *Conversation) Play(s *Script) error {
	defer func() {
		for _, p := range c.processes {
			p.end()
		}
	}()
	for _, st := range s.steps {
		if err := c.step(st.words, st.text); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.Name, st.line, st.text, err)
		}
		c.wait(0)
	}
	return nil
}

var errUsage = errors.New("no such step")

func (c *Conversation) step(words []string, text string) error {
	args := words[1:]
	switch words[0] {
	case "try":
		if len(args) > 0 {
			_ = c.step(args, text)
		}
		return nil
	case "client", "server":
		if len(args) == 0 {
			return errUsage
		}
		return c.act(c.processes[sideOf(words[0])], args[0], args[1:])
	case "wire":
		if len(args) == 0 {
			return errUsage
		}
		return c.treat(args[0], args[1:], text)
	case "sysctl":
		return c.sysctl(args)
	case "wait":
		d, err := time.ParseDuration(strings.Join(args, ""))
		c.wait(d)
		return err
	case "quiet":
		return c.quiet(args)
	case "allow":
		return c.allow(text)
	case "expect":
		if len(args) == 0 {
			return errUsage
		}
		c.story.Expect = append(c.story.Expect, strings.Split(args[0], "|"))
		if len(args) == 3 && args[1] == "at" {
			c.story.ExpectAt[args[0]] = args[2] + ".pcap"
		}
		return nil
	case "never":
		c.story.Forbid = append(c.story.Forbid, args...)
		return nil
	}
	return errUsage
}

func sideOf(name string) Side {
	if name == "client" {
		return Client
	}
	return Server
}

// wait lets time pass, in which the processes go on.
func (c *Conversation) wait(d time.Duration) {
	for end := c.wire.clock.Now().Add(d); ; c.wire.clock.Sleep(2 * time.Millisecond) {
		for _, p := range c.processes {
			p.pump()
		}
		if !c.wire.clock.Now().Before(end) {
			return
		}
	}
}

// options reads arguments such as "window=1000" and "md5", the latter being 1.
func options(args []string) (map[string]int, error) {
	found := map[string]int{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			value = "1"
		}
		n, err := strconv.ParseInt(value, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: want a number", a)
		}
		if !slices.Contains(Options, name) {
			return nil, fmt.Errorf("%s: no such option", name)
		}
		found[name] = int(n)
	}
	return found, nil
}

// Options are the names of the options of "listen" and "connect".
var Options = []string{"backlog", "window", "defer", "fastopen", "timeout", "iss", "md5", "mptcp", "noaccept"}

// act has a process do something.
func (c *Conversation) act(p *process, verb string, args []string) error {
	switch verb {
	case "listen", "connect":
		given, err := options(args)
		if err != nil {
			return err
		}
		if verb == "listen" {
			p.busy = given["noaccept"] != 0
			return p.listen(given)
		}
		return p.open(func() (Socket, error) { return p.host.Connect(given) })
	case "fastopen":
		n, err := numbers(args, 1)
		if err != nil {
			return err
		}
		return p.open(func() (Socket, error) { return p.host.FastOpen(n[0]) })
	case "unlisten":
		return p.unlisten()
	case "follow":
		p.follows = true
		return nil
	case "destroy":
		return p.host.Destroy()
	case "accept":
		p.busy = false
		return nil
	case "fill":
		n, err := numbers(args, 1)
		if h, ok := p.host.(Crowded); ok && err == nil {
			return h.Fill(n[0])
		}
		return cmp.Or(err, errors.ErrUnsupported)
	case "filter":
		if h, ok := p.host.(Filtered); ok {
			return h.Filter(strings.Join(args, " "))
		}
		return errors.ErrUnsupported
	case "translate":
		if h, ok := p.host.(Filtered); ok {
			return h.Translate()
		}
		return errors.ErrUnsupported
	case "forget":
		if h, ok := p.host.(Filtered); ok {
			return h.Forget()
		}
		return errors.ErrUnsupported
	}
	if err := p.connected(); err != nil {
		return err
	}
	// shed is done with the socket in some way.
	shed := func(how func() error) error {
		err := how()
		if err == nil {
			p.forget()
		}
		return err
	}
	switch verb {
	case "send":
		n, err := numbers(args, 1)
		if err != nil {
			return err
		}
		p.unsent += n[0]
		return nil
	case "cork":
		return p.socket.Cork()
	case "shutdown":
		return p.socket.Shutdown()
	case "close":
		p.leaving = true
		return nil
	case "abort":
		return shed(p.socket.Abort)
	case "die":
		return shed(p.socket.Die)
	case "vanish":
		return shed(p.socket.Vanish)
	case "deaf", "hear":
		p.deaf = verb == "deaf"
		return nil
	case "keepalive":
		n, err := numbers(args, 3)
		if err != nil {
			return err
		}
		return p.socket.KeepAlive(n[0], n[1], n[2])
	}
	return errUsage
}

// numbers reads so many arguments.
func numbers(args []string, want int) (list []int, err error) {
	for _, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil {
			return nil, fmt.Errorf("%s: want a number", a)
		}
		list = append(list, n)
	}
	if len(list) != want {
		return nil, fmt.Errorf("want %d numbers", want)
	}
	return list, nil
}

// treat tells the wire what to do.
func (c *Conversation) treat(verb string, args []string, text string) error {
	w := c.wire
	from := func() (Side, error) {
		if len(args) < 2 || args[0] != "from" && args[0] != "to" || args[1] != "client" && args[1] != "server" {
			return 0, errUsage
		}
		return sideOf(args[1]), nil
	}
	switch verb {
	case "release":
		w.release(c.channel)
		return nil
	case "mend", "cut":
		cut := [2]bool{verb == "cut", verb == "cut"}
		if len(args) > 0 {
			only, err := from()
			if err != nil {
				return err
			}
			cut[only.Peer()] = false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		c.channel.cut = cut
		return nil
	case "unreachable":
		to, err := from()
		if err != nil {
			return err
		}
		return w.unreachable(c.channel, to)
	case "inject":
		sender, err := from()
		if err != nil {
			return err
		}
		return w.inject(c.channel, sender, text[strings.Index(text, "<"):])
	case "noise":
		n, err := parseNoise(args)
		w.mu.Lock()
		defer w.mu.Unlock()
		c.channel.noise = n
		return err
	case "replay":
		r, err := parseRule(verb, args)
		if err != nil {
			return err
		}
		return w.replay(c.channel, r.from, r.what, r.skip+1)
	case "drop", "hold", "delay", "duplicate":
		r, err := parseRule(verb, args)
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		c.channel.rules = append(c.channel.rules, r)
		return nil
	}
	return errUsage
}

// sysctl sets what "sysctl HOST NAME=VALUE" says.
func (c *Conversation) sysctl(args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	name, value, _ := strings.Cut(args[1], "=")
	return c.processes[sideOf(args[0])].host.Sysctl(name, value)
}

// allow notes what "allow END STATE: why" says.
func (c *Conversation) allow(text string) error {
	what, why, ok := strings.Cut(text, ":")
	words := strings.Fields(what)
	if !ok || strings.TrimSpace(why) == "" || len(words) != 3 || len(c.marks) == 0 {
		return errUsage
	}
	if _, err := tcp.ParseState(words[2]); err != nil {
		return err
	}
	m := &c.marks[len(c.marks)-1]
	m.accept[words[1]] = append(m.accept[words[1]], words[2])
	return nil
}

// quiet waits until nothing has moved for a while, and asks both hosts for
// their states.
func (c *Conversation) quiet(want []string) error {
	clock := c.wire.clock
	began := clock.Now() // what the step before causes may not be on the wire yet
	for end := began.Add(patience); clock.Now().Before(end); c.wait(5 * time.Millisecond) {
		since, ok := c.wire.quietSince(c.channel)
		if !ok || clock.Now().Sub(since) < quietTime || clock.Now().Sub(began) < quietTime {
			continue
		}
		m := mark{at: clock.Now(), want: want, accept: map[string][]string{}}
		for i, p := range c.processes {
			var err error
			if m.state[i], m.listening[i], err = p.host.State(); err != nil {
				return err
			}
		}
		if still, _ := c.wire.quietSince(c.channel); still != since {
			continue // something moved meanwhile
		}
		c.marks = append(c.marks, m)
		c.wait(time.Millisecond) // the next step is later, even where steps take no time
		return nil
	}
	return fmt.Errorf("no moment was quiet for %v", patience)
}

// A mark is a quiet moment.
type mark struct {
	at        time.Time
	state     [2]string // "": no socket
	listening [2]bool
	want      []string
	accept    map[string][]string
}

// NotAsTold is the error of a quiet moment at which the hosts were not in the
// states that the story tells.
type NotAsTold struct {
	Story      string
	Moment     int // the first is 1
	Told, Were []string
}

func (e *NotAsTold) Error() string {
	return fmt.Sprintf("%s: quiet moment %d did not go as told: it tells %v, the hosts are in %v", e.Story, e.Moment, e.Told, e.Were)
}
