package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// liveFlags are the flags of live as they were typed.
type liveFlags struct {
	replayFlags
	interfaces         []string
	follow             string
	snap, count        int
	buffer             string
	promisc            bool
	duration, interval time.Duration
	write, user        string
	listen, token      string
	rotateSize         string
	rotateEvery        time.Duration
	rotateKeep         int
}

func newLive() *cobra.Command {
	var f liveFlags
	c := &cobra.Command{
		Use:   "live -i IFACE",
		Short: "Watch both ends of every connection on an interface",
		Long: `live captures on interfaces (or reads a capture as it is written: -i - is standard
input, --follow a file that grows) and shows the connections as they open, stall
and close, at both ends.

On a terminal it fills the screen; ? lists the keys. Piped, it writes a line for
every transition and every anomaly as it happens, and for every connection when it
is over (-o jsonl); -o table writes a table at every --interval instead. Ctrl-C ends
it with a summary of the whole run; a second one ends it at once. With --listen a
browser shows the same, and Prometheus finds metrics at /metrics.

It needs the right to capture (CAP_NET_RAW), which root has, and gives up all
rights as soon as it captures: started as root it becomes --user.`,
		Example: `  sudo tcpwatch live -i eth0
  sudo tcpwatch live -i any -f 'port 443' -o table --interval 5s | less
  sudo tcpwatch live -i eth0 -w /var/lib/tcpwatch/x.pcapng --rotate-size 100MB --rotate-keep 10
  ssh host sudo tcpdump -U -w - tcp | tcpwatch live -i -
  sudo tcpwatch live -i eth0 -o summary --listen 127.0.0.1:9555`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (f.verify || f.payload) && !c.Flags().Changed("snapshot-length") {
				f.snap = 0 // what these look at lies behind the headers
			}
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringSliceVarP(&f.interfaces, "interface", "i", nil, "capture on this `interface`; any for all, - for a capture on standard input; several may be given")
	fl.StringVar(&f.follow, "follow", "", "read a capture `file` that another program still writes")
	fl.StringVarP(&f.output, "output", "o", "", "output `format`: "+strings.Join(report.Formats(), ", ")+" (default table on a terminal, else jsonl)")
	fl.DurationVar(&f.interval, "interval", time.Second, "how often a table is written, or the screen drawn")
	f.selectionFlags(c)
	fl.StringVar(&f.on, "on", "", "what netstat -tan shows on that `host` (an address)")
	fl.BoolVarP(&f.listening, "listening", "l", false, "the listening sockets that the traffic gives away")
	fl.IntVarP(&f.snap, "snapshot-length", "s", defaultSnap, "capture so many `octets` of a packet, which are its headers; 0 is all of it, as it is with --verify-checksums and --payload")
	fl.StringVarP(&f.buffer, "buffer-size", "B", "32MiB", "`size` of the kernel's buffer; a plain number is KiB, as tcpdump has it")
	fl.BoolVar(&f.promisc, "promisc", false, "capture what is sent to other hosts too")
	fl.IntVarP(&f.count, "count", "c", 0, "end after so many packets")
	fl.DurationVar(&f.duration, "duration", 0, "end after that time")
	fl.StringVarP(&f.write, "write", "w", "", "keep what is captured in this `file` (pcapng)")
	fl.StringVar(&f.rotateSize, "rotate-size", "", "with -w: begin another file when one has this `size` (100MB)")
	fl.DurationVar(&f.rotateEvery, "rotate-every", 0, "with -w: begin another file when one covers that time")
	fl.IntVar(&f.rotateKeep, "rotate-keep", 0, "with -w: keep so many files, the newest; 0 is all")
	fl.StringVar(&f.listen, "listen", "", "serve a page, and metrics for Prometheus, at this `address` (127.0.0.1:9555)")
	fl.StringVar(&f.token, "token", "", "with --listen: who asks has to know this `word`")
	fl.StringVar(&f.user, "user", defaultUser, "become this `user` once the capture is open, if started as root")
	f.trackingFlags(c)
	fl.BoolVar(&f.events, "events", false, "every transition and anomaly too, in json (jsonl has them anyway)")
	fl.StringVar(&f.sort, "sort", "", "sort tables by that `field` of the records, -field the other way round")
	fl.BoolVar(&f.noHeader, "no-header", false, "no column titles")
	fl.StringVar(&f.times, "time", "utc", "times in tables: utc, local, relative")
	fl.StringVar(&f.color, "color", "auto", "auto, always, never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no notices of interfaces that go down and of packets that are lost")
	complete(c, "output", report.Formats())
	complete(c, "time", []string{"utc", "local", "relative"})
	complete(c, "sort", record.SortFields())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}

// defaultSnap holds the headers, also of a tunnel.
const defaultSnap = 256

// captureOptions reads the flags that say what is captured.
func (f *liveFlags) captureOptions(notice func(string)) (o capture.LiveOptions, err error) {
	if o.Options, err = f.replayFlags.captureOptions(); err != nil {
		return o, err
	}
	stdin := slices.Contains(f.interfaces, "-")
	switch {
	case len(f.interfaces) == 0 && f.follow == "":
		return o, withHint(errors.New("live needs an interface to capture on"), "tcpwatch live -i any; tcpwatch interfaces lists them")
	case len(f.interfaces) > 0 && f.follow != "":
		return o, errors.New("-i and --follow exclude each other")
	case stdin && len(f.interfaces) > 1:
		return o, errors.New("-i - stands alone")
	case f.snap < 0:
		return o, fmt.Errorf("--snapshot-length %d: there cannot be less than nothing", f.snap)
	case f.count < 0:
		return o, fmt.Errorf("--count %d: there cannot be less than none", f.count)
	case f.duration < 0:
		return o, fmt.Errorf("--duration %v: time does not run back", f.duration)
	case f.interval < 10*time.Millisecond:
		return o, fmt.Errorf("--interval %v is too short: 10ms is the least", f.interval)
	}
	size, err := parseBuffer(f.buffer)
	if err != nil {
		return o, err
	}
	o.Snap, o.Buffer, o.Promisc, o.Count, o.Follow, o.Notice = f.snap, size, f.promisc, f.count, f.follow, notice
	if stdin {
		o.Stream = os.Stdin
	} else {
		o.Interfaces = f.interfaces
	}
	return o, nil
}

// parseBuffer reads the size of the kernel's buffer.
func parseBuffer(text string) (int, error) {
	const least, most = 512 << 10, 1 << 30
	number := text
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		number += "KiB"
	}
	size, err := parseSize(number)
	switch {
	case err != nil:
		return 0, withHint(fmt.Errorf("--buffer-size %q %w", text, err), "-B 64MiB, or -B 65536")
	case size < least, size > most:
		return 0, fmt.Errorf("--buffer-size %s: from %d KiB to %d MiB", text, least>>10, most>>20)
	}
	return int(size), nil
}

// writeOptions reads the flags that say where packets are kept. It is not ok if
// they are not.
func (f *liveFlags) writeOptions() (o capture.WriteOptions, ok bool, err error) {
	rotates := f.rotateSize != "" || f.rotateEvery != 0
	switch {
	case f.write == "" && (rotates || f.rotateKeep != 0):
		return o, false, errors.New("--rotate-size, --rotate-every and --rotate-keep need -w")
	case f.write == "-":
		return o, false, errors.New("-w needs a file: standard output is taken")
	case f.rotateKeep != 0 && !rotates:
		return o, false, errors.New("--rotate-keep needs --rotate-size or --rotate-every")
	case f.rotateKeep < 0, f.rotateEvery < 0:
		return o, false, errors.New("--rotate-keep and --rotate-every cannot be less than nothing")
	}
	o = capture.WriteOptions{Path: f.write, Every: f.rotateEvery, Keep: f.rotateKeep}
	if f.rotateSize != "" {
		if o.Size, err = parseSize(f.rotateSize); err != nil || o.Size < 4096 {
			return o, false, withHint(fmt.Errorf("--rotate-size %q is no size, or too small", f.rotateSize), "--rotate-size 100MB")
		}
	}
	return o, f.write != "", nil
}

// run captures until it is ended.
func (f *liveFlags) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	l := &liveRun{flags: f, stderr: stderr}
	config, err := l.prepare(stdout)
	if err != nil {
		return err
	}
	defer l.close() // in any case, a panic's too: the terminal may be full screen
	co, err := f.captureOptions(l.notice)
	if err != nil {
		return err
	}
	wo, writes, err := f.writeOptions()
	if err != nil {
		return err
	}
	if l.watch, err = watch.Live(co, config); err != nil {
		return f.openError(err)
	}
	defer func() { err = errors.Join(err, l.watch.Close()) }()
	if err := l.listen(); err != nil {
		return err
	}
	if err := dropPrivileges(f.user); errors.Is(err, errKeepsRights) {
		l.notice(err.Error())
	} else if err != nil {
		return err
	}
	if writes {
		file, err := capture.CreateWriter(wo)
		if err != nil {
			return f.writeError(err)
		}
		l.watch.Save(file)
	}
	if l.screen {
		d, err := openScreen(ctx, l.options, quit)
		if err != nil {
			return err
		}
		l.displays = append(l.displays, d)
	}
	if f.duration > 0 {
		var ended context.CancelFunc
		ctx, ended = context.WithTimeout(ctx, f.duration)
		defer ended()
	}
	sum, err := l.watch.Run(ctx, l.sink())
	if err != nil {
		return err
	}
	for _, text := range sum.Capture.Warnings {
		fmt.Fprintf(stderr, "tcpwatch: %s\n", text)
	}
	f.gaveUp(stderr, sum.Tracker.Evicted)
	return l.printer.Close(summary(sum))
}

// openError adds to an error of opening the capture what can be done about it.
func (f *liveFlags) openError(err error) error {
	switch {
	case errors.Is(err, capture.ErrNotPermitted):
		self, e := os.Executable()
		if e != nil {
			self = "tcpwatch"
		}
		return withHint(fmt.Errorf("%s: %w: that takes CAP_NET_RAW", strings.Join(f.interfaces, ", "), err),
			fmt.Sprintf("sudo setcap cap_net_raw=ep %s, once; or sudo %s", self, strings.Join(os.Args, " ")))
	case errors.Is(err, capture.ErrNoInterface):
		return withHint(err, "tcpwatch interfaces lists them")
	}
	return err
}

// writeError adds to an error of making a file what can be done about it.
func (f *liveFlags) writeError(err error) error {
	err = fmt.Errorf("-w: %w", err)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	const dir = "/var/lib/tcpwatch"
	me := currentUser()
	return withHint(fmt.Errorf("%w, to the user %s, as whom tcpwatch captures", err, me),
		fmt.Sprintf("sudo install -d -o %s %s, and -w %s; or --user and the name of who may write there", me, dir, filepath.Join(dir, filepath.Base(f.write))))
}

// A liveRun is one run of live.
type liveRun struct {
	flags  *liveFlags
	stderr io.Writer

	watch   *watch.Watch
	printer record.Printer // of a stream, or of the summary at the end
	options record.Options // of what is shown

	screen   bool // fills the terminal
	displays []display
	over     []*tracker.Record // since the last Snapshot
	later    []string          // notices that wait until the screen is given back
}

// prepare makes what shows the run, and says how it is tracked.
func (l *liveRun) prepare(stdout io.Writer) (c tracker.Config, err error) {
	f := l.flags
	_, tty := terminal(stdout)
	if f.output == "" {
		f.output = "jsonl"
		if tty || f.on != "" || f.listening {
			f.output = "table"
		}
	}
	o, err := f.reportOptions(stdout)
	if err != nil {
		return c, err
	}
	// Events of a selection would have to wait until it is known that their
	// connection is selected, which may be never.
	if f.output == "jsonl" {
		o.Events = len(f.states) == 0 && len(f.kinds) == 0
	}
	format := f.output
	l.options = o
	if refreshed(format) {
		if _, err := report.New(format, io.Discard, o); err != nil {
			return c, err
		}
		if l.screen = tty && format == "table" && os.Getenv("TERM") != "dumb"; !l.screen {
			l.displays = append(l.displays, &tables{out: stdout, format: format, options: o})
		}
		format, o.Sort = "summary", ""
	}
	if l.printer, err = report.New(format, stdout, o); err != nil {
		return c, err
	}
	if c, err = f.config(); err != nil {
		return c, err
	}
	c.Segments = l.screen
	c.Cut = f.follow == "" && !slices.Contains(f.interfaces, "-") // by -s
	return c, nil
}

// refreshed reports whether a format shows how things stand, over and over.
func refreshed(format string) bool {
	return format == "table" || format == "wide" || format == "markdown"
}

// sink returns who is told: the printer, and every display.
func (l *liveRun) sink() watch.Sink {
	s := watch.Sink{
		Event:   l.event,
		Segment: l.take,
		Tick:    l.refresh,
		Idle:    l.printer.Flush,
		Lost: func(packets int64) {
			l.notice(fmt.Sprintf("%d packets were lost so far for want of room: -f, a smaller -s, or a larger -B than %s helps", packets, l.flags.buffer))
		},
	}
	if len(l.displays) > 0 {
		s.Interval = l.flags.interval
	}
	return s
}

// event takes what the tracker tells.
func (l *liveRun) event(e *tracker.Event) error {
	err := l.printer.Event(e)
	for _, d := range l.displays {
		d.Event(e)
	}
	if e.Kind == tracker.EventConnection && len(l.displays) > 0 {
		l.over = append(l.over, e.Record.Clone())
	}
	return err
}

// take takes a segment before the tracker does.
func (l *liveRun) take(s *tcp.Segment) {
	for _, d := range l.displays {
		d.Take(s)
	}
}

// refresh has the displays show how things stand, and closes them after the last
// time.
func (l *liveRun) refresh(last bool) error {
	if len(l.displays) == 0 {
		return nil
	}
	err := l.show()
	if last {
		err = errors.Join(err, l.close())
	}
	return err
}

// show has the displays show how things stand.
func (l *liveRun) show() error {
	s := &record.Snapshot{Time: l.watch.Now(), Records: l.over, Summary: summary(l.watch.Summary())}
	if s.Time == 0 {
		s.Time = tcp.Time(time.Now().UnixNano()) // no packet has told the time yet
	}
	l.over = nil
	l.watch.Each(func(r *tracker.Record) { s.Records = append(s.Records, r.Clone()) })
	for _, d := range l.displays {
		if err := d.Refresh(s); err != nil {
			return err
		}
	}
	return nil
}

// close closes the displays, and tells what had to wait for that.
func (l *liveRun) close() error {
	var errs []error
	for _, d := range l.displays {
		errs = append(errs, d.Close())
	}
	l.displays, l.screen = nil, false
	for _, text := range l.later {
		l.notice(text)
	}
	l.later = nil
	return errors.Join(errs...)
}

// listen begins to serve what is seen over HTTP, if that was asked for.
func (l *liveRun) listen() error {
	f := l.flags
	if f.listen == "" {
		if f.token != "" {
			return errors.New("--token needs --listen")
		}
		return nil
	}
	p, warning, err := servePage(f.listen, f.token, l.options)
	if err != nil {
		return err
	}
	if warning != "" {
		l.notice(warning)
	}
	l.displays = append(l.displays, p)
	return nil
}

// notice tells what the user may want to know while the run goes on.
func (l *liveRun) notice(text string) {
	switch {
	case l.flags.quiet:
	case l.screen:
		l.later = append(l.later, text)
	default:
		fmt.Fprintf(l.stderr, "tcpwatch: %s\n", text)
	}
}
