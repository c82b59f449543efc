//go:build lab && linux

package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// A script is a story to be played. The comment at its head says what happens;
// then every line is a step, and begins with who does it:
//
//	sysctl HOST NAME=VALUE          before anything else
//	END listen [backlog=N] [window=N] [defer] [fastopen]
//	END connect [window=N] [iss=N] [timeout=MS]
//	END fastopen OCTETS             connect with data in the SYN
//	END cork                        send nothing but full segments, until the FIN
//	END send OCTETS
//	END shutdown|close              the second leaves the rest to the kernel
//	END follow                      close when the peer has
//	END abort                       close with RST
//	END die                         the process is killed
//	END vanish                      the host forgets the socket, as in a crash
//	END destroy                     the kernel forgets what it has, as by "ss -K"
//	END deaf|hear                   stop reading, read again
//	END keepalive IDLE INTERVAL COUNT
//	END unlisten
//	wire drop|hold|delay|duplicate [every|N|Nth] SEGMENT from END [by TIME] [after SEGMENT from END]
//	wire release                    what is held
//	wire replay [Nth] SEGMENT from END
//	wire inject from END <SEQ=next+1>...
//	wire unreachable to END         by ICMP
//	wire cut [from END], wire mend
//	wire noise loss=P duplicate=P late=P jitter=TIME seed=N
//	try STEP                        and go on if that fails
//	wait TIME
//	quiet [CLIENT-STATE SERVER-STATE]
//	allow END STATE: why            what a bystander may say instead at the last quiet moment
//	expect KIND|KIND [at END]       one of these must be flagged
//	never KIND...
//
// END is client or server; SEGMENT is SYN, SYN,ACK, ACK (with nothing else),
// data, FIN, RST or segment. At a quiet moment, when nothing has moved for 200
// ms, both kernels are asked for their states, which must be those of the line.
type script struct {
	name        string
	description string
	seed        uint64 // of a random one
	steps       []step
}

type step struct {
	line  int
	text  string
	words []string
}

func parseScript(name, text string) *script {
	s := &script{name: name}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch comment, is := strings.CutPrefix(line, "#"); {
		case is && len(s.steps) == 0:
			s.description = strings.TrimSpace(s.description + " " + strings.TrimSpace(comment))
		case is, line == "":
		default:
			s.steps = append(s.steps, step{i + 1, line, strings.Fields(line)})
		}
	}
	return s
}

const (
	quietTime = 200 * time.Millisecond
	patience  = 20 * time.Second // for a moment to become quiet
)

// play plays the steps of a script.
func (c *conversation) play(s *script) error {
	for _, st := range s.steps {
		if err := c.step(st.words, st.text); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.name, st.line, st.text, err)
		}
		c.wait(0)
	}
	return nil
}

var errUsage = errors.New("no such step")

func (c *conversation) step(words []string, text string) error {
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

func sideOf(name string) side {
	if name == "client" {
		return client
	}
	return server
}

// wait lets time pass, in which the processes go on.
func (c *conversation) wait(d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		for _, p := range c.processes {
			p.pump()
		}
		if !time.Now().Before(end) {
			return
		}
	}
}

// options reads arguments such as "window=1000" and "defer", the latter being 1.
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
		found[name] = int(n)
	}
	return found, nil
}

// socketOptions are the options of "listen" and "connect".
var socketOptions = map[string]func(fd, value int) error{
	"backlog":  func(int, int) error { return nil }, // of listen itself
	"window":   func(fd, octets int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, octets) },
	"defer":    func(fd, _ int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 10) },
	"fastopen": func(fd, _ int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 10) },
	"timeout":  func(fd, ms int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms) },
	"iss":      startAt,
}

// act has a process do something.
func (c *conversation) act(p *process, verb string, args []string) error {
	switch verb {
	case "listen", "connect":
		given, err := options(args)
		if err != nil {
			return err
		}
		set := func(fd int) error {
			for name, value := range given {
				option, ok := socketOptions[name]
				if !ok {
					return fmt.Errorf("%s: no such option", name)
				}
				if err := option(fd, value); err != nil {
					return err
				}
			}
			return nil
		}
		if verb == "connect" {
			return p.connect(set)
		}
		backlog, ok := given["backlog"]
		if !ok {
			backlog = 16
		}
		return p.listen(backlog, set)
	case "fastopen":
		n, err := numbers(args, 1)
		if err != nil {
			return err
		}
		return p.fastOpen(n[0])
	case "unlisten":
		return p.unlisten()
	case "follow":
		p.follows = true
		return nil
	case "destroy":
		return p.destroy()
	}
	if err := p.connected(); err != nil {
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
		return unix.SetsockoptInt(p.socket, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
	case "shutdown":
		if err := unix.Shutdown(p.socket, unix.SHUT_WR); err != unix.ENOTCONN { // by a reset
			return err
		}
		return nil
	case "close":
		p.leaving = true
		return nil
	case "abort":
		return p.abort()
	case "die":
		return p.die()
	case "vanish":
		return p.vanish()
	case "deaf", "hear":
		p.deaf = verb == "deaf"
		return nil
	case "keepalive":
		n, err := numbers(args, 3)
		if err != nil {
			return err
		}
		return p.keepAlive(n[0], n[1], n[2])
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
func (c *conversation) treat(verb string, args []string, text string) error {
	w := c.world.wire
	from := func() (side, error) {
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
			cut[only.peer()] = false
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
		return w.inject(c.channel, sender, text[strings.Index(text, "<"):], c)
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

// parseRule reads what stands behind the verb of a rule.
func parseRule(verb string, words []string) (*rule, error) {
	r := &rule{action: verb, left: 1}
	next := func() (word string) {
		if len(words) > 0 {
			word, words = words[0], words[1:]
		}
		return word
	}
	segment := func(word string) (what matcher, from side, err error) {
		what = matchers[word]
		if is, end := next(), next(); what == nil || is != "from" || end != "client" && end != "server" {
			return nil, 0, errUsage
		} else {
			from = sideOf(end)
		}
		return what, from, nil
	}
	word := next()
	if nth, err := strconv.Atoi(strings.TrimRight(word, "stndrh")); err == nil {
		if strings.Trim(word, "0123456789") == "" {
			r.left = nth
		} else {
			r.skip = nth - 1
		}
		word = next()
	} else if word == "every" {
		r.left, word = -1, next()
	}
	var err error
	if r.what, r.from, err = segment(word); err != nil {
		return nil, err
	}
	for len(words) > 0 {
		switch next() {
		case "by":
			if r.by, err = time.ParseDuration(next()); err != nil {
				return nil, err
			}
		case "after":
			r.after = new(trigger)
			if r.after.what, r.after.from, err = segment(next()); err != nil {
				return nil, err
			}
		default:
			return nil, errUsage
		}
	}
	return r, nil
}

// parseNoise reads the arguments of "wire noise".
func parseNoise(args []string) (n noise, err error) {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "loss":
			n.loss, err = strconv.ParseFloat(value, 64)
		case "duplicate":
			n.duplicate, err = strconv.ParseFloat(value, 64)
		case "late":
			n.late, err = strconv.ParseFloat(value, 64)
		case "jitter":
			n.jitter, err = time.ParseDuration(value)
		case "seed":
			var seed uint64
			seed, err = strconv.ParseUint(value, 10, 64)
			n.rnd = rand.New(rand.NewPCG(seed, 0))
		default:
			err = errUsage
		}
		if err != nil {
			return noise{}, err
		}
	}
	if n.rnd == nil {
		return noise{}, errors.New("want a seed")
	}
	return n, nil
}

// sysctl sets what "sysctl HOST NAME=VALUE" says.
func (c *conversation) sysctl(args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	name, value, _ := strings.Cut(args[1], "=")
	if name == "net.ipv4.tcp_syncookies" && value == "2" {
		c.cookies = true
	}
	return c.world.hosts[sideOf(args[0])].do(func() error { return setSysctl(name, value) })
}

// allow notes what "allow END STATE: why" says.
func (c *conversation) allow(text string) error {
	what, why, ok := strings.Cut(text, ":")
	words := strings.Fields(what)
	if !ok || strings.TrimSpace(why) == "" || len(words) != 3 || len(c.marks) == 0 {
		return errUsage
	}
	if _, err := tracker.ParseState(words[2]); err != nil {
		return err
	}
	m := &c.marks[len(c.marks)-1]
	m.accept[words[1]] = append(m.accept[words[1]], words[2])
	return nil
}

// quiet waits until nothing has moved for a while, and asks both kernels for
// their states.
func (c *conversation) quiet(want []string) error {
	began := time.Now() // what the step before causes may not be on the wire yet
	for end := began.Add(patience); time.Now().Before(end); c.wait(5 * time.Millisecond) {
		since, ok := c.world.wire.quietSince(c.channel)
		if !ok || time.Since(since) < quietTime || time.Since(began) < quietTime {
			continue
		}
		m := mark{at: time.Now(), want: want, accept: map[string][]string{}}
		for i, p := range c.processes {
			all, err := p.host.sockets()
			if err != nil {
				return err
			}
			m.state[i] = all[tuple{p.addr(), p.peer}]
			_, m.listening[i] = all[tuple{local: p.addr()}]
		}
		if still, _ := c.world.wire.quietSince(c.channel); still != since {
			continue // something moved meanwhile
		}
		c.marks = append(c.marks, m)
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

var errNotAsTold = errors.New("the story did not go as told")

// played complains about a mark at which the kernels were not in the states
// that the script tells.
func (m *mark) played(states []string) error {
	if len(m.want) == 0 || slices.Equal(m.want, states) {
		return nil
	}
	return fmt.Errorf("%w: it tells %v, the kernels are in %v", errNotAsTold, m.want, states)
}
