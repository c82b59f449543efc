package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/serve"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Live shows what is captured while it goes on. It is made by NewLive; what is
// not said there is set before Run.
type Live struct {
	Capture   capture.LiveOptions  // its Notice is set by Run
	Hub       *Hub                 // in the place of Capture: what sensors send to a hub; nil: none
	Save      capture.WriteOptions // where packets are kept; without a Path: nowhere
	Tracker   tracker.Config
	Buffer    string        // the size of the kernel's buffer, as it was asked for
	User      string        // who root becomes once the capture is open
	Who       bool          // the kernel is asked for the ends on this host
	Listen    string        // the address at which a page is served; "": none is
	Token     string        // that who asks for it has to know; "": nobody has
	Cert      string        // the file of the certificate by which that is encrypted; "": it is not
	Key       string        // the file of its key
	MetricsBy string        // by what metrics also count ends, see serve.Options
	Interval  time.Duration // between two looks at how things stand
	Duration  time.Duration // after which the run ends; 0: when it is told to
	Quiet     bool          // without notices
	Confine   bool          // once all is open, the process gives up what it does not need
	Stderr    io.Writer

	watch   *watch.Watch
	printer record.Printer // of a stream, or of the summary at the end
	options record.Options // of what is shown

	screen   bool // fills the terminal
	displays []display
	over     []*tracker.Record // since the last Snapshot
	mostOver int               // records of these; 0: any
	ended    *services.Counts  // those before that, those that there was no room for, and what was found over many connections
	found    *findings.Counts  // the anomalies of the same
	later    []string          // notices that wait until the screen is given back
}

// NewLive returns a Live that shows the format on out. With tty, which says that
// out is a terminal that can be filled, a table fills it. Errors are those of
// report.New.
func NewLive(format string, o record.Options, out io.Writer, tty bool) (l *Live, err error) {
	// Events of a selection would have to wait until it is known that their
	// connection is selected, which may be never.
	if format == "jsonl" {
		o.Events = len(o.Filter.States) == 0 && len(o.Filter.Kinds) == 0
	}
	l = &Live{options: o, ended: new(services.Counts), found: new(findings.Counts)}
	if report.Refreshed(format) {
		t, err := report.NewTables(format, out, o)
		if err != nil {
			return nil, err
		}
		if l.screen = tty && format == "table"; !l.screen {
			l.displays = append(l.displays, &printed{t})
		}
		format, o.Sort = "summary", ""
	}
	l.printer, err = report.New(format, out, o)
	return l, err
}

// Run captures until ctx, or the capture, is ended.
func (l *Live) Run(ctx context.Context) (err error) {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	defer l.close() // in any case, a panic's too: the terminal may be full screen
	l.Capture.Notice = l.notice
	c := l.Tracker
	c.Segments = l.screen || l.Listen != "" // both draw ladders
	if c.Segments || len(l.displays) > 0 {
		l.share(&c)
	}
	if err := l.open(ctx, c); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.watch.Close()) }()
	if l.Who {
		a, err := startAsking(l.User, l.Stderr)
		if err != nil {
			return err
		}
		defer a.Close()
		l.watch.Ask(a)
	}
	if err := l.listen(); err != nil {
		return err
	}
	if err := dropPrivileges(l.User); err != nil {
		return err
	}
	if l.Save.Path != "" {
		file, err := capture.CreateWriter(l.Save)
		if err != nil {
			return l.writeError(err)
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
	if l.Confine && os.Geteuid() != 0 { // who is to stay root keeps all rights
		if err := confine(l.folderOf(), l.Hub != nil); err != nil {
			return err
		}
	}
	if l.Duration > 0 {
		var ended context.CancelFunc
		ctx, ended = context.WithTimeout(ctx, l.Duration)
		defer ended()
	}
	sum, err := l.watch.Run(ctx, l.sink())
	if err != nil {
		return err
	}
	for _, warning := range sum.Capture.Warnings {
		text.Say(l.Stderr, "%s", warning)
	}
	gaveUp(l.Stderr, sum.Tracker)
	return l.printer.Close(summaryOf(sum))
}

// What there is of memory is shared with the displays: a connection is also in the
// Snapshot that they show, and in the one that is made meanwhile, which have those that are
// over besides. What is left is for the newest segments.
const (
	connsShare   = 6 // the part of all that the connections take
	overShare    = 16
	recentShare  = 4   // with ladder.RecentShare
	recordMemory = 800 // octets of a record
)

// share shares the memory with the displays.
func (l *Live) share(c *tracker.Config) {
	if all := c.MaxMemory + l.options.Memory; c.MaxMemory > 0 {
		c.MaxMemory, l.options.Memory = all/connsShare, all/recentShare
		l.mostOver = int(max(all/overShare/recordMemory, 1))
	}
}

// open begins to capture.
func (l *Live) open(ctx context.Context, c tracker.Config) (err error) {
	c.Cut = l.Hub != nil || len(l.Capture.Interfaces) > 0 // by the length of the snapshots
	if l.Hub != nil {
		l.watch, err = l.Hub.follow(ctx, l.notice, c)
		return err
	}
	if l.watch, err = watch.Live(l.Capture, c); err != nil {
		return l.openError(err)
	}
	return nil
}

// openError adds to an error of opening the capture what can be done about it.
func (l *Live) openError(err error) error {
	switch {
	case errors.Is(err, capture.ErrNotPermitted):
		group := handOver()
		self, e := os.Executable()
		if e != nil {
			self = "tcpwatch"
		}
		once := fmt.Sprintf("sudo setcap cap_net_raw=ep %s, once", self)
		if group != "" {
			once = fmt.Sprintf("sudo usermod -aG %s %s, once, and log in again", group, currentUser())
		}
		return WithHint(fmt.Errorf("%s: %w: it needs CAP_NET_RAW", strings.Join(l.Capture.Interfaces, ", "), err),
			fmt.Sprintf("%s; or sudo %s", once, retyped(os.Args)))
	case errors.Is(err, capture.ErrNoInterface):
		return WithHint(err, "tcpwatch interfaces lists them")
	}
	return err
}

// writeError adds to an error of making a file what can be done about it.
func (l *Live) writeError(err error) error {
	err = fmt.Errorf("-w: %w", err)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	const dir = "/var/lib/tcpwatch"
	me := currentUser()
	return WithHint(fmt.Errorf("%w for user %s, which tcpwatch runs as while it captures", err, me),
		fmt.Sprintf("sudo install -d -o %s %s, then -w %s; or --user with a user that may write there", me, dir, filepath.Join(dir, filepath.Base(l.Save.Path))))
}

// sink returns who is told: the printer, and every display.
func (l *Live) sink() watch.Sink {
	s := watch.Sink{
		Event:   l.event,
		Segment: l.take,
		Tick:    l.refresh,
		Idle:    l.printer.Flush,
		Lost: func(packets int64) {
			l.notice(fmt.Sprintf("%d packets lost so far because the kernel's buffer was full; use -f, a smaller -s, or a -B larger than %s", packets, l.Buffer))
		},
	}
	if len(l.displays) > 0 {
		s.Interval = l.Interval
	}
	return s
}

// event takes what the tracker tells.
func (l *Live) event(e *tracker.Event) error {
	err := l.printer.Event(e)
	for _, d := range l.displays {
		d.Event(e)
	}
	switch {
	case len(l.displays) == 0:
	case e.Kind == tracker.EventConnection:
		if l.mostOver > 0 && len(l.over) >= l.mostOver {
			l.end(e.Record)
			break
		}
		l.over = append(l.over, e.Record.Clone())
	case e.Kind == tracker.EventAnomaly && e.Conn == 0 && l.options.Filter.HasAnomaly(e.Anomaly):
		l.ended.Anomaly(e.Anomaly)
		l.found.Anomaly(e.Anomaly, nil)
	}
	return err
}

// take takes a segment before the tracker does.
func (l *Live) take(s *tcp.Segment) {
	for _, d := range l.displays {
		d.Take(s)
	}
}

// refresh has the displays show how things stand, and closes them after the last
// time.
func (l *Live) refresh(last bool) error {
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
func (l *Live) show() error {
	s := &record.Snapshot{Time: l.watch.Now(), Records: l.over, Over: len(l.over), Summary: summaryOf(l.watch.Summary()), Ended: l.ended.Clone(), Found: l.found.Clone()}
	if s.Time == 0 {
		s.Time = tcp.Time(time.Now().UnixNano()) // no packet has told the time yet
	}
	for _, r := range l.over {
		l.end(r)
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

// end counts a connection that is in no Snapshot any more.
func (l *Live) end(r *tracker.Record) {
	if l.options.Selects(r, false) {
		l.ended.Connection(r)
		l.options.Find(l.found, r)
	}
}

// close closes the displays, and tells what had to wait for that.
func (l *Live) close() error {
	var errs []error
	for _, d := range l.displays {
		errs = append(errs, d.Close())
	}
	l.displays, l.screen = nil, false
	for _, said := range l.later {
		l.notice(said)
	}
	l.later = nil
	return errors.Join(errs...)
}

// listen begins to serve what is seen over HTTP, if that was asked for.
func (l *Live) listen() error {
	if l.Listen == "" {
		return nil
	}
	o := serve.Options{Report: l.options, Token: l.Token, MetricsBy: l.MetricsBy}
	if l.Cert != "" {
		pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
		if err != nil {
			return fmt.Errorf("--tls-cert %s, --tls-key %s: %w", text.Escape(l.Cert), text.Escape(l.Key), err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	p, warning, err := servePage(l.Listen, o)
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
func (l *Live) notice(said string) {
	switch {
	case l.Quiet:
	case l.screen:
		l.later = append(l.later, said)
	default:
		text.Say(l.Stderr, "%s", said)
	}
}
