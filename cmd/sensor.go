package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// hubFlags are the flags that say how a hub is reached, as they were typed.
type hubFlags struct {
	key      string
	insecure bool
}

// add adds the flags.
func (f *hubFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.key, "hub-key", "", "the `file` with the key for the hub, of tcpwatch hub keys; or credentials of NATS")
	fl.BoolVar(&f.insecure, "insecure", false, "connect to the hub without encryption, also where others can listen")
}

// options returns how the hub at a URL is reached.
func (f *hubFlags) options(url string) hub.Options {
	return hub.Options{URL: url, Key: f.key, Insecure: f.insecure}
}

// hubKey is the name of the flag --hub.
const hubKey = "hub"

// hubFlag adds the flag that reads a hub in place of files.
func (f *readFlags) hubFlag(c *cobra.Command) {
	c.Flags().StringVar(&f.hub, hubKey, "", "instead of FILE: what sensors have sent to the hub at this `URL`; --since 10m reads what came there in the last 10 minutes")
	f.hubFlags.add(c)
}

// A barred is a flag that cannot be used with another, and what to do instead.
type barred struct {
	flag string
	set  bool
	why  string
}

// apart reports which of the flags was used with another, if any was.
func apart(from string, list []barred) error {
	for _, b := range list {
		if b.set {
			return run.WithHint(fmt.Errorf("%s and %s cannot be used together", b.flag, from), b.why)
		}
	}
	return nil
}

// hubReading reads the flags of what is read of a hub; nil: there is none.
func (f *readFlags) hubReading() (*run.Hub, error) {
	switch {
	case f.hub == "" && (f.key != "" || f.insecure) && f.sensor == "":
		return nil, errors.New("--hub-key and --insecure need --hub or --sensor")
	case f.hub == "":
		return nil, nil
	}
	const where, sensors = "give it to the sensor, or use --where", "give it to the sensor, which reads the packets"
	if err := apart("--hub", []barred{
		{"-f", f.filter != "", where},
		{"--inner-filter", f.inner != "", where},
		{"-w", f.save.Path != "", "sensors send no packets"},
		{"--names", f.names, "sensors send headers only, and names are behind them"},
		{"--at", f.at != "", "it needs a capture"},
		{"--until", f.until != "", "it needs a capture"},
		{"--verify-checksums", f.verify, sensors},
		{"--payload", f.payload, sensors},
		{"--outer", f.outer, sensors},
		{"--decode-as", len(f.as) > 0, sensors},
		{"--null-esp", f.nullESP, sensors},
		{"--no-reorder", f.noReorder, sensors},
	}); err != nil {
		return nil, err
	}
	h := &run.Hub{Options: f.hubFlags.options(f.hub)}
	if f.since != "" {
		d, err := time.ParseDuration(f.since)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("--since %q: with --hub it must be a time such as 10m, back from now", f.since)
		}
		h.Since = d
	}
	return h, nil
}

// sensorFlags are the flags of what is sent to a hub, as they were typed.
type sensorFlags struct {
	sensor, name string
	room         string
}

// add adds the flags.
func (f *sensorFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.sensor, "sensor", "", "print nothing, and send the headers of all segments to the hub at this `URL`")
	fl.StringVar(&f.name, "sensor-name", "", "with --sensor: the `name` of this sensor (default the name of the host)")
	fl.StringVar(&f.room, "sensor-buffer", "64MiB", "with --sensor: how much waits in memory while the hub cannot be reached; live drops and counts what is beyond that")
}

// sends reads the flags of what is sent; nil: nothing is.
func (f *readFlags) sends(stderr io.Writer) (*run.Sensor, error) {
	if f.sensor == "" {
		if f.name != "" {
			return nil, errors.New("--sensor-name needs --sensor")
		}
		return nil, nil
	}
	if err := apart("--sensor", []barred{
		{"--hub", f.hub != "", "start one program for each"},
		{"--tap", len(f.taps) > 0, "start one sensor for each place"},
		{"-w", f.save.Path != "", "a sensor sends all, and keeps nothing"},
		{"--names", f.names, "sensors send headers only, and names are behind them"},
	}); err != nil {
		return nil, err
	}
	s := &run.Sensor{Hub: f.hubFlags.options(f.sensor), Name: f.name, Version: version(), Stderr: stderr}
	if s.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, run.WithHint(err, "--sensor-name NAME")
		}
		s.Name = strings.ReplaceAll(host, ".", "_")
	}
	if err := hub.CheckName(s.Name); err != nil {
		return nil, fmt.Errorf("--sensor-name %w", err)
	}
	room, err := parseSize(f.room)
	if err != nil || room < 1<<20 {
		return nil, run.WithHint(fmt.Errorf("--sensor-buffer %q: not a valid size of at least 1MiB", f.room), "--sensor-buffer 64MiB")
	}
	s.Room = int64(room)
	return s, nil
}

// send sends captures to a hub.
func (f *readFlags) send(ctx context.Context, s *run.Sensor, files []string) error {
	if slices.Contains(files, "-") && len(files) > 1 {
		return errors.New("- cannot be sent together with files")
	}
	o, err := f.captureOptions()
	if err != nil {
		return err
	}
	return s.Files(ctx, files, o)
}
