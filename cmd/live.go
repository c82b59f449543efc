package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/serve"
	"github.com/tcpwatch/tcpwatch/report/text"
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
	who                bool
	listen, token      string
	tokenFile          string
	tlsCert, tlsKey    string
	metricsBy          string
	rotateSize         string
	rotateEvery        time.Duration
	rotateKeep         int
}

func newLive() *cobra.Command {
	var f liveFlags
	c := &cobra.Command{
		Use:   "live -i IFACE",
		Short: "Watch both ends of every connection on an interface",
		Long: `live captures on interfaces and shows how connections open, stall and close, at
both ends. It can also read a capture while another program writes it: -i -
reads standard input, --follow reads a growing file.

On a terminal it fills the screen; ? lists the keys. In a pipe it writes one
line for every transition and anomaly as it happens, and one for every
connection when it closes (-o jsonl). -o table writes a table every --interval
instead. Ctrl-C stops it and prints a summary of the whole run; a second Ctrl-C
stops it at once. With --listen a browser shows the same, and Prometheus finds
metrics at /metrics.

live needs the right to capture (CAP_NET_RAW, or root). It drops all privileges
as soon as the capture is open. If started as root, it switches to --user.`,
		Example: `  sudo tcpwatch live -i eth0
  sudo tcpwatch live -i any -f 'port 443' -o table --interval 5s | less
  sudo tcpwatch live -i eth0 -w /var/lib/tcpwatch/x.pcapng --rotate-size 100MB --rotate-keep 10
  ssh host sudo tcpdump -U -w - tcp | tcpwatch live -i -
  sudo tcpwatch live -i eth0 -o summary --listen 127.0.0.1:9555`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (f.verify || f.payload) && !c.Flags().Changed("snapshot-length") {
				f.snap = 0 // what these look at lies behind the headers
			} else if f.names && !c.Flags().Changed("snapshot-length") {
				f.snap = namesSnap
			}
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringSliceVarP(&f.interfaces, "interface", "i", nil, "capture on this `interface`; any for all, - for a capture on standard input; can be repeated")
	fl.StringVar(&f.follow, "follow", "", "read a capture `file` that another program is still writing")
	fl.StringVarP(&f.output, "output", "o", "", "output `format`: "+strings.Join(report.Formats(), ", ")+" (default table on a terminal, else jsonl)")
	fl.DurationVar(&f.interval, "interval", time.Second, "how often to write a table or redraw the screen")
	byFlag(c, &f.by)
	f.selectionFlags(c)
	fl.StringVar(&f.on, "on", "", "show what netstat -tan shows on this `host` (an address)")
	fl.BoolVarP(&f.listening, "listening", "l", false, "show the listening sockets that the traffic reveals")
	namesFlag(c, &f.names)
	fl.BoolVarP(&f.who, "processes", "p", false, "ask the kernel of this host for its ends: programs, users, services, containers, pods, and the state of each socket (Linux)")
	fl.IntVarP(&f.snap, "snapshot-length", "s", defaultSnap, "capture the first N `bytes` of each packet (256 covers the headers); 0 captures whole packets, and so do --verify-checksums and --payload")
	fl.StringVarP(&f.buffer, "buffer-size", "B", "32MiB", "`size` of the kernel's buffer; a plain number is KiB, as in tcpdump")
	fl.BoolVar(&f.promisc, "promisc", false, "promiscuous mode: also capture packets to other hosts")
	fl.IntVarP(&f.count, "count", "c", 0, "stop after N packets")
	fl.DurationVar(&f.duration, "duration", 0, "stop after this time")
	fl.StringVarP(&f.write, "write", "w", "", "write the captured packets to this `file` (pcapng)")
	fl.StringVar(&f.rotateSize, "rotate-size", "", "with -w: start a new file when one reaches this `size` (100MB)")
	fl.DurationVar(&f.rotateEvery, "rotate-every", 0, "with -w: start a new file when one covers this time")
	fl.IntVar(&f.rotateKeep, "rotate-keep", 0, "with -w: keep the newest N files; 0 keeps all")
	fl.StringVar(&f.listen, "listen", "", "serve a web page and Prometheus metrics at this `address` (127.0.0.1:9555)")
	fl.StringVar(&f.tokenFile, "token-file", "", "with --listen: require the bearer token in this `file`")
	fl.StringVar(&f.token, "token", "", "with --listen: require this bearer `token`; other users can read it in the list of processes")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "with --listen: serve HTTPS with the certificate in this `file` (PEM)")
	fl.StringVar(&f.metricsBy, "metrics-by", "", "with --listen and -p: metrics also by `program`, or by service")
	complete(c, "metrics-by", serve.MetricsBy())
	fl.StringVar(&f.tlsKey, "tls-key", "", "with --tls-cert: its private key, in this `file` (PEM)")
	fl.StringVar(&f.user, "user", run.DefaultUser, "switch to this `user` once the capture is open, if started as root")
	f.trackingFlags(c)
	fl.StringVar(&f.since, "since", "", "with --hub: begin with what came there in this time before now, such as 10m")
	f.hubFlag(c)
	f.sensorFlags.add(c)
	fl.BoolVar(&f.events, "events", false, "also print every transition and anomaly in json (jsonl always has them)")
	fl.StringVar(&f.sort, "sort", "", "sort tables by this `field` of the records; -field reverses the order")
	f.tableFlags(c)
	fl.StringVar(&f.color, "color", "auto", "auto, always, never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no notices about interfaces that go down and packets that are lost")
	complete(c, "output", report.Formats())
	complete(c, "sort", record.SortFields())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}

// defaultSnap holds the headers, also of a tunnel.
const defaultSnap = 256

// namesSnap holds most of what tells of names: an answer of the DNS, a ClientHello
// up to the name of the server.
const namesSnap = 2048

// captureOptions reads the flags that say what is captured.
func (f *liveFlags) captureOptions() (o capture.LiveOptions, err error) {
	if f.since != "" {
		return o, errors.New("--since needs --hub")
	}
	if o.Options, err = f.replayFlags.captureOptions(); err != nil {
		return o, err
	}
	stdin := slices.Contains(f.interfaces, "-")
	switch {
	case len(f.interfaces) == 0 && f.follow == "":
		return o, run.WithHint(errors.New("live needs an interface to capture on"), "tcpwatch live -i any; tcpwatch interfaces lists them")
	case len(f.interfaces) > 0 && f.follow != "":
		return o, errors.New("-i and --follow cannot be used together")
	case stdin && len(f.interfaces) > 1:
		return o, errors.New("-i - cannot be combined with other interfaces")
	case f.snap < 0:
		return o, fmt.Errorf("--snapshot-length %d: must not be negative", f.snap)
	case f.count < 0:
		return o, fmt.Errorf("--count %d: must not be negative", f.count)
	case f.duration < 0:
		return o, fmt.Errorf("--duration %v: must not be negative", f.duration)
	}
	if err := f.checkInterval(); err != nil {
		return o, err
	}
	size, err := parseBuffer(f.buffer)
	if err != nil {
		return o, err
	}
	o.Snap, o.Buffer, o.Promisc, o.Count, o.Follow = f.snap, size, f.promisc, f.count, f.follow
	if stdin {
		o.Stream = os.Stdin
	} else {
		o.Interfaces = f.interfaces
	}
	return o, nil
}

// checkInterval checks the interval of tables.
func (f *liveFlags) checkInterval() error {
	if f.interval < 10*time.Millisecond {
		return fmt.Errorf("--interval %v: must be at least 10ms", f.interval)
	}
	return nil
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
		return 0, run.WithHint(fmt.Errorf("--buffer-size %q: %w", text, err), "-B 64MiB, or -B 65536")
	case size < least, size > most:
		return 0, fmt.Errorf("--buffer-size %s: must be from %d KiB to %d MiB", text, least>>10, most>>20)
	}
	return int(size), nil
}

// writeOptions reads the flags that say where packets are kept.
func (f *liveFlags) writeOptions() (o capture.WriteOptions, err error) {
	rotates := f.rotateSize != "" || f.rotateEvery != 0
	switch {
	case f.write == "" && (rotates || f.rotateKeep != 0):
		return o, errors.New("--rotate-size, --rotate-every and --rotate-keep need -w")
	case f.write == "-":
		return o, errors.New("-w needs a file; standard output is already in use")
	case f.rotateKeep != 0 && !rotates:
		return o, errors.New("--rotate-keep needs --rotate-size or --rotate-every")
	case f.rotateKeep < 0, f.rotateEvery < 0:
		return o, errors.New("--rotate-keep and --rotate-every must not be negative")
	}
	o = capture.WriteOptions{Path: f.write, Every: f.rotateEvery, Keep: f.rotateKeep}
	if f.rotateSize != "" {
		if o.Size, err = parseSize(f.rotateSize); err != nil || o.Size < 4096 {
			return o, run.WithHint(fmt.Errorf("--rotate-size %q: not a valid size of at least 4KiB", f.rotateSize), "--rotate-size 100MB")
		}
	}
	return o, nil
}

// listenOptions reads the flags that say who sees the page of l, and how.
func (f *liveFlags) listenOptions(l *run.Live) (err error) {
	for _, needs := range []struct{ flag, value string }{
		{"--token", f.token}, {"--token-file", f.tokenFile}, {"--tls-cert", f.tlsCert}, {"--tls-key", f.tlsKey}, {"--metrics-by", f.metricsBy},
	} {
		if needs.value != "" && f.listen == "" {
			return errors.New(needs.flag + " needs --listen")
		}
	}
	switch {
	case f.token != "" && f.tokenFile != "":
		return errors.New("--token and --token-file cannot be used together")
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	}
	l.Listen, l.Token, l.Cert, l.Key, l.MetricsBy = f.listen, f.token, f.tlsCert, f.tlsKey, f.metricsBy
	if f.tokenFile != "" {
		if l.Token, err = readToken(f.tokenFile); err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
	}
	return nil
}

// readToken reads a token from a file, of which no error tells anything.
func readToken(path string) (string, error) {
	const most = 4096
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	token := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		return "", err
	case token == "", len(data) > most, strings.ContainsFunc(token, unicode.IsControl):
		return "", fmt.Errorf("%s: must have one line with a token of at most %d bytes", text.Escape(path), most)
	}
	return token, nil
}

// send captures until it is ended, and sends that to a hub.
func (f *liveFlags) send(ctx context.Context, s *run.Sensor) error {
	if f.write != "" || f.listen != "" {
		return errors.New("-w and --listen cannot be used with --sensor: it sends all, and shows nothing")
	}
	o, err := f.captureOptions()
	if err != nil {
		return err
	}
	l := run.LiveSensor{Sensor: *s, Capture: o, User: f.user, Duration: f.duration, Confine: confined}
	return l.Run(ctx)
}

// run captures until it is ended.
func (f *liveFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if s, err := f.sends(stderr); s != nil || err != nil {
		if err != nil {
			return err
		}
		return f.send(ctx, s)
	}
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
	config, err := f.config()
	if err != nil {
		return err
	}
	o.Memory = f.rows
	l, err := run.NewLive(f.output, o, stdout, tty && os.Getenv("TERM") != "dumb")
	if err != nil {
		return err
	}
	l.Tracker = config
	if l.Hub, err = f.hubReading(); err != nil {
		return err
	}
	if l.Hub == nil {
		l.Capture, err = f.captureOptions()
	} else {
		err = errors.Join(f.checkInterval(), apart("--hub", []barred{
			{"-i", len(f.interfaces) > 0, "sensors capture: live -i IFACE --sensor URL"},
			{"--follow", f.follow != "", "sensors read files: live --follow FILE --sensor URL"},
			{"-w", f.write != "", "sensors send no packets"},
			{"-c", f.count != 0, "--duration ends it"},
			{"--tap", len(f.taps) > 0, "replay --hub URL --tap NAME follows sensors of one path"},
		}))
	}
	if err != nil {
		return err
	}
	if l.Save, err = f.writeOptions(); err != nil {
		return err
	}
	l.Buffer, l.Quiet, l.Stderr = f.buffer, f.quiet, stderr
	if f.who && len(l.Capture.Interfaces) == 0 {
		return errors.New("--processes needs -i with an interface: a capture that another program makes may be of another host")
	}
	l.Who, l.User, l.Confine = f.who, f.user, confined
	if err := f.listenOptions(l); err != nil {
		return err
	}
	l.Interval, l.Duration = f.interval, f.duration
	return f.done(l.Run(ctx))
}
