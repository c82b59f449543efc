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
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/tracker"
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
	complete(c, "sort", report.SortFields())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}

const (
	// defaultSnap holds the headers, also of a tunnel.
	defaultSnap = 256

	// timersEvery is how often timers are looked at while nothing comes.
	timersEvery = 100 * time.Millisecond

	// lastCall is how long the packets are waited for that were on their way to us
	// when the run was ended.
	lastCall = 50 * time.Millisecond

	// longCall is how much longer it may take to work off those that had come.
	longCall = 2 * time.Second

	// lossEvery is how often it is told, at most, that packets were lost.
	lossEvery = 10 * time.Second
)

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
	w := &watch{flags: f, stderr: stderr}
	if err := w.prepare(stdout); err != nil {
		return err
	}
	defer w.close() // in any case, a panic's too: the terminal may be full screen
	co, err := f.captureOptions(w.notice)
	if err != nil {
		return err
	}
	wo, writes, err := f.writeOptions()
	if err != nil {
		return err
	}
	if w.src, err = capture.OpenLive(co); err != nil {
		return f.openError(err)
	}
	defer func() { err = errors.Join(err, w.src.Close()) }()
	if err := w.listen(); err != nil {
		return err
	}
	if err := dropPrivileges(f.user); errors.Is(err, errKeepsRights) {
		w.notice(err.Error())
	} else if err != nil {
		return err
	}
	if writes {
		file, err := capture.CreateWriter(wo)
		if err != nil {
			return f.writeError(err)
		}
		w.src.Save(file)
	}
	defer context.AfterFunc(ctx, w.src.Wake)()
	if w.screen {
		d, err := openScreen(ctx, w.options, quit)
		if err != nil {
			return err
		}
		w.displays = append(w.displays, d)
	}
	if err := w.loop(ctx); err != nil {
		return err
	}
	return w.end()
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

// A watch is one live run.
type watch struct {
	flags  *liveFlags
	stderr io.Writer

	src     *capture.Live
	tk      *tracker.Tracker
	crowd   *tracker.Crowd
	printer report.Printer // of a stream, or of the summary at the end
	options report.Options // of what is shown

	screen   bool // fills the terminal
	displays []display
	over     []*tracker.Record // since the last Snapshot
	later    []string          // notices that wait until the screen is given back

	failed error         // of the printer
	lost   int64         // packets, as far as told
	lostAt time.Time     // when it was told
	ahead  time.Duration // of the clock, as far as told
}

// prepare makes what the packets will go through.
func (w *watch) prepare(stdout io.Writer) (err error) {
	f := w.flags
	_, tty := terminal(stdout)
	if f.output == "" {
		f.output = "jsonl"
		if tty || f.on != "" || f.listening {
			f.output = "table"
		}
	}
	o, err := f.reportOptions(stdout)
	if err != nil {
		return err
	}
	// Events of a selection would have to wait until it is known that their
	// connection is selected, which may be never.
	if f.output == "jsonl" {
		o.Events = len(f.states) == 0 && len(f.kinds) == 0
	}
	format := f.output
	w.options = o
	if refreshed(format) {
		if _, err := report.New(format, io.Discard, o); err != nil {
			return err
		}
		if w.screen = tty && format == "table" && os.Getenv("TERM") != "dumb"; !w.screen {
			w.displays = append(w.displays, &tables{out: stdout, format: format, options: o})
		}
		format, o.Sort = "summary", ""
	}
	if w.printer, err = report.New(format, stdout, o); err != nil {
		return err
	}
	w.crowd = tracker.NewCrowd(w.event)
	c, err := f.config()
	if err != nil {
		return err
	}
	c.Seen = w.screen
	c.Cut = f.follow == "" && !slices.Contains(f.interfaces, "-") // by -s
	w.tk, err = tracker.New(c, w.crowd.Event)
	return err
}

// refreshed reports whether a format shows how things stand, over and over.
func refreshed(format string) bool {
	return format == "table" || format == "wide" || format == "markdown"
}

// event takes what the tracker tells.
func (w *watch) event(e *tracker.Event) {
	if w.failed == nil {
		w.failed = w.printer.Event(e)
	}
	for _, d := range w.displays {
		d.Event(e)
	}
	if e.Kind == tracker.Over && len(w.displays) > 0 {
		w.over = append(w.over, e.Over.Clone())
	}
}

// loop captures until there is no more, or the run is ended.
func (w *watch) loop(ctx context.Context) error {
	began := time.Now()
	refresh, looked := began.Add(w.flags.interval), began
	var stop time.Time // when the last packets are to be in; zero: not yet
	if w.flags.duration > 0 {
		stop = began.Add(w.flags.duration)
	}
	interrupted := false
	var deadline time.Time
	for {
		s, err := w.src.Next(deadline)
		if s != nil {
			for _, d := range w.displays {
				d.Take(s)
			}
			w.tk.Observe(s)
			if w.failed != nil {
				return w.failed
			}
			continue
		}
		w.heedLoss()
		w.tk.Advance(w.src.Now())
		if w.failed == nil {
			w.failed = w.printer.Flush()
		}
		if err == nil {
			err = w.failed
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if !interrupted && ctx.Err() != nil {
			interrupted, stop = true, now.Add(lastCall)
		}
		if !stop.IsZero() && !now.Before(stop) && (w.src.Idle() || now.Sub(stop) > longCall) {
			return nil
		}
		if now.Sub(looked) >= time.Second {
			looked = now
			w.tellLoss(now)
			w.tellClock()
		}
		if len(w.displays) > 0 && !now.Before(refresh) {
			if err := w.refresh(); err != nil {
				return err
			}
			for !now.Before(refresh) {
				refresh = refresh.Add(w.flags.interval)
			}
		}
		deadline = now.Add(timersEvery)
		if len(w.displays) > 0 && refresh.Before(deadline) {
			deadline = refresh
		}
		if !stop.IsZero() && stop.Before(deadline) {
			deadline = stop
		}
	}
}

// refresh has the displays show how things stand.
func (w *watch) refresh() error {
	s := &report.Snapshot{Time: w.tk.Now(), Records: w.over, Summary: w.summary()}
	if s.Time == 0 {
		s.Time = tracker.Time(time.Now().UnixNano()) // no packet has told the time yet
	}
	w.over = nil
	w.tk.Each(func(r *tracker.Record) { s.Records = append(s.Records, r.Clone()) })
	for _, d := range w.displays {
		if err := d.Refresh(s); err != nil {
			return err
		}
	}
	return nil
}

// close closes the displays, and tells what had to wait for that.
func (w *watch) close() error {
	var errs []error
	for _, d := range w.displays {
		errs = append(errs, d.Close())
	}
	w.displays, w.screen = nil, false
	for _, text := range w.later {
		w.notice(text)
	}
	w.later = nil
	return errors.Join(errs...)
}

// listen begins to serve what is seen over HTTP, if that was asked for.
func (w *watch) listen() error {
	f := w.flags
	if f.listen == "" {
		if f.token != "" {
			return errors.New("--token needs --listen")
		}
		return nil
	}
	p, warning, err := servePage(f.listen, f.token, w.options)
	if err != nil {
		return err
	}
	if warning != "" {
		w.notice(warning)
	}
	w.displays = append(w.displays, p)
	return nil
}

func (w *watch) summary() report.Summary { return summary(w.src.Stats(), w.tk.Stats()) }

// end ends the run: with the records of the connections that are left, or with
// a last table, and with the summary of the whole.
func (w *watch) end() error {
	w.src.Stop()
	stats := w.src.Stats()
	w.heedLoss()
	w.tk.Advance(stats.Until)
	w.tellLoss(time.Time{})
	w.tellClock()
	if len(w.displays) > 0 {
		if err := errors.Join(w.refresh(), w.close()); err != nil {
			return err
		}
	}
	w.tk.Close()
	w.crowd.Close()
	if w.failed != nil {
		return w.failed
	}
	for _, text := range stats.Warnings {
		fmt.Fprintf(w.stderr, "tcpwatch: %s\n", text)
	}
	w.flags.gaveUp(w.stderr, w.tk.Stats().Evicted)
	return w.printer.Close(summary(stats, w.tk.Stats()))
}

// heedLoss has the tracker know of packets that were lost.
func (w *watch) heedLoss() {
	if s := w.src.Stats(); s.Dropped > 0 {
		w.tk.Lost(s.DroppedBy)
	}
}

// tellLoss tells of packets that were lost since it last did; at the end, when
// now is zero, also if that was a moment ago.
func (w *watch) tellLoss(now time.Time) {
	lost := w.src.Stats().Dropped
	if lost == w.lost || !now.IsZero() && !w.lostAt.IsZero() && now.Sub(w.lostAt) < lossEvery {
		return
	}
	w.found("capture-gap", tracker.Anomaly{
		Cause: "dropped", Certain: tracker.ConfidenceProved, Count: int(lost - w.lost),
		Text: fmt.Sprintf("The kernel had no room for %d packets (%d in all), which may be of any connection: what seems to be missing, or sent again, may only not have been captured.",
			lost-w.lost, lost),
	})
	w.lost, w.lostAt = lost, now
	w.notice(fmt.Sprintf("%d packets were lost so far for want of room: -f, a smaller -s, or a larger -B than %s helps", lost, w.flags.buffer))
}

// found tells of an anomaly of the capture itself, of a kind in the catalogue.
func (w *watch) found(kind string, a tracker.Anomaly) {
	k, err := tracker.ParseKind(kind)
	if err != nil {
		panic(err) // a mistake of this program
	}
	a.Kind, a.Severity, a.RFC, a.Time = k.Name, k.Severity, k.RFC, w.tk.Now()
	w.event(&tracker.Event{Kind: tracker.Odd, Time: a.Time, Anomaly: &a})
}

// tellClock tells that the clock was set since it last did. That the clock of
// another host was set forward the tracker finds out.
func (w *watch) tellClock() {
	ahead := w.src.Stats().Ahead
	by := ahead - w.ahead
	if by == 0 {
		return
	}
	w.ahead = ahead
	cause, set, are := "backward", "back", "ahead of"
	if by < 0 {
		cause, set = "forward", "forward"
	}
	if ahead < 0 {
		are = "behind"
	}
	text := fmt.Sprintf("the clock that stamps the packets was set %s by %v: times go on as before, and are %v %s it", set, by.Abs().Round(time.Millisecond), ahead.Abs().Round(time.Millisecond), are)
	w.found("clock-step", tracker.Anomaly{Cause: cause, Certain: tracker.ConfidenceAssumed, Count: 1, Text: "T" + text[1:] + ". The timers of the connections are right."})
	w.notice(text)
}

// notice tells what the user may want to know while the run goes on.
func (w *watch) notice(text string) {
	switch {
	case w.flags.quiet:
	case w.screen:
		w.later = append(w.later, text)
	default:
		fmt.Fprintf(w.stderr, "tcpwatch: %s\n", text)
	}
}
