package cmd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/filter"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// readFlags are the flags, as they were typed, of every command that reads
// captures: how they are read and tracked, and which connections count.
type readFlags struct {
	filter, at, color string
	inner             string
	since, until      string
	states, kinds     []string
	where             string
	selects           *policy.Condition // of where
	stack             string
	twoMSL            time.Duration
	leakAfter         time.Duration
	tapOn             string
	outer, verify     bool
	nullESP           bool
	noReorder         bool
	as                []string
	payload, names    bool
	quiet, noProgress bool
	maxConns          int
	rows              int64 // octets that reports may keep to print them at the end; 0: any
	maxMemory         string
	save              run.Save
	tapFlags
	hub string
	hubFlags
	sensorFlags
}

// filterFlags adds the flags that say which packets count.
func (f *readFlags) filterFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.filter, "filter", "f", "", "tcpdump filter, applied before tracking")
	fl.StringVar(&f.inner, "inner-filter", "", "tcpdump filter for the innermost headers, behind tunnels and on any link type")
}

// selectionFlags adds the flags that say which packets and connections count.
func (f *readFlags) selectionFlags(c *cobra.Command) {
	f.filterFlags(c)
	fl := c.Flags()
	fl.StringSliceVar(&f.states, "state", nil, "only connections with an end in one of these `states` (any usual spelling)")
	fl.StringSliceVar(&f.kinds, "anomaly", nil, "only connections flagged with one of these `kinds`")
	fl.StringVar(&f.where, "where", "", "only connections for which this `expression` over the fields of the jsonl record is true: client.state == TIME_WAIT && duration > 60")
	complete(c, "state", stateNames())
	complete(c, "anomaly", kindNames())
}

// atFlag adds the flag that ends a capture at a moment.
func (f *readFlags) atFlag(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "at", "", "show the connections as they were at this `time`: RFC 3339, +12.5s after the first packet, or #1234 (after that frame)")
}

// windowFlags adds the flags that leave out what lies before, or after, a moment, and
// the one that says in which order a file is read.
func (f *readFlags) windowFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.since, "since", "", "only packets from this `time` on (same notation as --at); older connections are picked up midstream")
	fl.StringVar(&f.until, "until", "", "only packets up to this `time`, as if the capture ended then")
	fl.BoolVar(&f.noReorder, "no-reorder", false, "leave packets that are out of order where they are in their file; by default those that are 5ms to 1s late are put in the order of their timestamps")
}

// saveFlags adds the flags that say where packets are written.
func (f *readFlags) saveFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.save.Path, "write", "w", "", "write the packets of the selected connections to this `file` (pcapng), each with a comment: its state changes and anomalies")
	fl.BoolVar(&f.save.NoComments, "no-comments", false, "with -w: write no comments")
	// The flag exists, so this cannot fail.
	_ = c.MarkFlagFilename("write", "pcapng")
}

// trackingFlags adds the flags that say how the captures are read and tracked.
func (f *readFlags) trackingFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.stack, "stack", "auto", "TCP stack profile of the endpoints: "+strings.Join(tcp.Stacks(), ", "))
	fl.DurationVar(&f.twoMSL, "2msl", 0, "how long TIME_WAIT lasts; 0 uses the value of the stack")
	fl.DurationVar(&f.leakAfter, "leak-after", tracker.DefaultLeakAfter, "report CLOSE_WAIT or FIN_WAIT_2 as stuck after this time")
	fl.StringVar(&f.tapOn, "tap-on", "auto", "the `host` on which the capture was made, where what came in has arrived: its IP address, client, server, none, or auto (recognised where the packets leave no doubt)")
	f.tapFlags.add(c)
	fl.BoolVar(&f.outer, "outer", false, "do not decapsulate tunnels; follow the outermost TCP")
	fl.StringArrayVar(&f.as, "decode-as", nil, "read one protocol as another, as tshark -d has it: udp.port==4790,vxlan; may be repeated")
	fl.BoolVar(&f.nullESP, "null-esp", false, "read ESP that does not encrypt (NULL encryption), where the packet shows it")
	fl.BoolVar(&f.verify, "verify-checksums", false, "check every TCP checksum, not only those of SYN, FIN and RST")
	fl.BoolVar(&f.payload, "payload", false, "keep hashes of the payload in flight, to find bytes that were retransmitted with different content")
	fl.IntVar(&f.maxConns, "max-connections", 0, maxConnsUsage())
	fl.StringVar(&f.maxMemory, "max-memory", "", maxMemoryUsage())
	complete(c, "stack", tcp.Stacks())
	complete(c, "tap-on", []string{"auto", "client", "server", "none"})
}

// displayFlags adds the flags that say how the terminal is used.
func (f *readFlags) displayFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.color, "color", "auto", "auto, always, never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress bar")
	fl.BoolVar(&f.noProgress, "no-progress", false, "no progress bar")
	complete(c, "color", []string{"auto", "always", "never"})
}

// byFlag adds the flag that says what rows of services are of.
func byFlag(c *cobra.Command, by *string) {
	c.Flags().StringVar(by, "by", "server", "group services by `server` (address and port), by client (host), or by process (program, where it is known)")
	complete(c, "by", record.ServiceRows())
}

// namesFlag adds the flag that shows names.
func namesFlag(c *cobra.Command, names *bool) {
	c.Flags().BoolVar(names, "names", false, "show host names next to addresses, from DNS answers, TLS server names and HTTP Host in the capture, and the names that a pcapng file has; nothing is looked up")
}

// complete completes a flag with fixed words, and has those that are like one of
// them understood as misspelt.
func complete(c *cobra.Command, flag string, words []string) {
	// The flag exists, so these cannot fail.
	_ = c.Flags().SetAnnotation(flag, wordsKey, words)
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func stateNames() (names []string) {
	for _, s := range tcp.States() {
		names = append(names, s.String())
	}
	return names
}

func kindNames() (names []string) {
	for _, k := range kinds.All() {
		names = append(names, k.Name)
	}
	return names
}

// selection reads the flags that say which connections count.
func (f *readFlags) selection() (s record.Selection, err error) {
	for _, name := range f.states {
		state, err := tcp.ParseState(name)
		if err != nil {
			return s, fmt.Errorf("--state: %w", err)
		}
		s.States = append(s.States, state)
	}
	for _, name := range f.kinds {
		if _, err := parseKind(name); err != nil {
			return s, fmt.Errorf("--anomaly: %w", err)
		}
		s.Kinds = append(s.Kinds, name)
	}
	return s, nil
}

// condition compiles --where; nil, if there is none.
func (f *readFlags) condition() (holds func(*tracker.Record) bool, err error) {
	if f.selects, err = f.newCondition(); f.selects == nil {
		return nil, err
	}
	return f.selects.Holds, nil
}

// newCondition compiles --where; nil, if there is none.
func (f *readFlags) newCondition() (*policy.Condition, error) {
	if f.where == "" {
		return nil, nil
	}
	where, err := policy.Where(f.where)
	if err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	return where, nil
}

// done adds to what came of a run that --where could not be asked of all.
func (f *readFlags) done(err error) error {
	if f.selects == nil || f.selects.Err() == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("--where: %w", f.selects.Err()))
}

// captureOptions reads the flags that say how the captures are read.
func (f *readFlags) captureOptions() (o capture.Options, err error) {
	if f.inner != "" {
		if o.Inner, err = filter.Parse(f.inner); err != nil {
			return o, err
		}
	}
	if f.filter != "" {
		if o.Filter, err = filter.Parse(f.filter); err != nil {
			return o, err
		}
	}
	since := f.since
	if f.hub != "" {
		since = "" // hubReading reads it
	}
	if o.Since, err = parseMoment("since", since); err != nil {
		return o, err
	}
	switch {
	case f.at != "" && f.until != "":
		return o, errors.New("--at and --until cannot be used together")
	case f.until != "":
		o.Until, err = parseMoment("until", f.until)
		o.Ends = true
	default:
		o.Until, err = parseMoment("at", f.at)
	}
	if err != nil {
		return o, err
	}
	for _, text := range f.as {
		as, err := capture.ParseAs(text)
		if err != nil {
			return o, fmt.Errorf("--decode-as: %w", err)
		}
		o.As = append(o.As, as)
	}
	o.NullESP, o.AsTheyAre = f.nullESP, f.noReorder
	o.Outer, o.VerifyChecksums, o.Payload = f.outer, f.verify, f.payload
	return o, nil
}

// config reads the flags that say how the tracker works. It is called once a
// run: it bounds the memory of the process.
func (f *readFlags) config() (c tracker.Config, err error) {
	if f.twoMSL < 0 {
		return c, fmt.Errorf("--2msl %v: must not be negative", f.twoMSL)
	}
	if f.leakAfter <= 0 {
		return c, fmt.Errorf("--leak-after %v: must be greater than 0, such as 30s", f.leakAfter)
	}
	if f.stack != "" {
		if _, err := tcp.ParseStack(f.stack); err != nil {
			return c, fmt.Errorf("--stack: %w", err)
		}
	}
	if c.TapOn, err = tcp.ParseTapOn(f.tapOn); err != nil {
		return c, fmt.Errorf("--tap-on: %w", err)
	}
	c.Stack, c.TwoMSL, c.LeakAfter = f.stack, f.twoMSL, f.leakAfter
	m, err := f.boundMemory()
	c.MaxConns, c.MaxMemory, f.rows = f.maxConns, m.Conns, m.Rows
	return c, err
}

// reading reads the flags that say how the captures are tracked, and what is told
// beside the output.
func (f *readFlags) reading(files []string, co capture.Options, stderr io.Writer) (r run.Reading, err error) {
	switch {
	case f.save.Path == "-":
		return r, errors.New("-w needs a file; standard output is already in use")
	case f.save.Path == "" && f.save.NoComments:
		return r, errors.New("--no-comments needs -w")
	}
	r = run.Reading{Files: files, AtEnds: f.atEnds, Capture: co, Save: f.save, Stderr: stderr}
	if r.Hub, err = f.hubReading(); err != nil {
		return r, err
	}
	var called string
	if r.Taps, called, err = f.tapList(); err != nil {
		return r, err
	}
	if len(r.Taps) > 0 {
		r.Files = []string{called}
		if f.save.Path != "" {
			return r, run.WithHint(errors.New("-w writes the packets of one capture, not those of --tap"), "mergecap -w all.pcapng A B puts them into one file")
		}
	}
	if r.Hub != nil {
		r.Files = []string{f.hub}
	}
	if _, tty := terminal(stderr); tty && !f.quiet && !f.noProgress {
		r.Bar = stderr
	}
	r.Tracker, err = f.config()
	return r, err
}
