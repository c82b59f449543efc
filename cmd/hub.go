package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// serveFlags are the flags of hub as they were typed.
type serveFlags struct {
	hubFlags
	store, listen, keys  string
	keep                 time.Duration
	bytes, nats          string
	partitions, replicas int
}

func newHub() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "hub",
		Short: "Collect what many sensors capture, and answer as if one had seen it all",
		Long: `hub stores the headers of the segments that sensors send to it (replay and live
with --sensor), and gives them to those who read it (replay, explain and check
with --hub). The answers are those of one capture of all the packets.

It has a NATS server with JetStream in it, so nothing else needs to be installed;
--nats uses one that is there. Ctrl-C ends it. What is stored stays, and sensors
keep what they could not send yet.`,
		Example: `  tcpwatch hub --store /var/lib/tcpwatch/hub
  tcpwatch replay a.pcap --sensor nats://127.0.0.1:4222 --sensor-name a
  tcpwatch replay --hub nats://127.0.0.1:4222
  tcpwatch hub --nats nats://n1:4222,nats://n2:4222 --replicas 3 --hub-key ops.creds`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.store, "store", "", "the `folder` where segments are stored")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:4222", "the `address` for sensors and readers")
	fl.DurationVar(&f.keep, "keep", 24*time.Hour, "how long segments are kept; 0 is for ever")
	fl.StringVar(&f.bytes, "keep-bytes", "16GiB", "what is stored at most, the oldest goes first; 0 is no limit")
	fl.IntVar(&f.partitions, "partitions", 4, "in how many parts connections are divided; a hub that has stored something keeps its own")
	fl.StringVar(&f.keys, "keys", "", "the `folder` of tcpwatch hub keys: only who has one of these keys may connect, and all is encrypted")
	fl.StringVar(&f.nats, "nats", "", "use the NATS servers at this `URL`, with JetStream, instead of starting one")
	fl.IntVar(&f.replicas, "replicas", 1, "with --nats: how many servers store each segment")
	f.hubFlags.add(c)
	c.AddCommand(newHubKeys())
	return c
}

func newHubKeys() *cobra.Command {
	var sensors, readers []string
	c := &cobra.Command{
		Use:   "keys DIR",
		Short: "Make keys for the sensors and readers of a hub",
		Long: `keys makes a key file for each sensor and reader, and what the hub itself needs,
in a folder that is given to tcpwatch hub --keys. Give each file to its owner and
to nobody else: a sensor can then send under its own name, a reader can read.
All connections are encrypted, and the hub is known by its certificate, which is
in each file.

Keys that are there stay, so more can be added later. To withdraw one, delete its
line from the file users. The hub reads that file when it is started.`,
		Example: `  tcpwatch hub keys /etc/tcpwatch/keys --sensor edge1 --sensor edge2 --reader me
  tcpwatch hub --store /var/lib/tcpwatch/hub --listen 0.0.0.0:4222 --keys /etc/tcpwatch/keys
  tcpwatch replay a.pcap --sensor tls://hub:4222 --sensor-name edge1 --hub-key sensor-edge1.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := hub.MakeKeys(args[0], sensors, readers)
			for _, file := range files {
				fmt.Fprintln(c.OutOrStdout(), file)
			}
			return err
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringSliceVar(&sensors, "sensor", nil, "make a key for a sensor of this `name`")
	fl.StringSliceVar(&readers, "reader", nil, "make a key for a reader of this `name`")
	return c
}

// options reads the flags.
func (f *serveFlags) options() (h run.Serve, err error) {
	size := int64(0)
	if f.bytes != "0" {
		if size, err = parseSize(f.bytes); err != nil || size < 1<<20 {
			return h, run.WithHint(fmt.Errorf("--keep-bytes %q: not a valid size of at least 1MiB", f.bytes), "--keep-bytes 16GiB")
		}
	}
	switch {
	case f.keep < 0:
		return h, fmt.Errorf("--keep %v: must not be negative", f.keep)
	case f.partitions < 1 || f.partitions > hub.MaxPartitions:
		return h, fmt.Errorf("--partitions %d: must be 1 to %d", f.partitions, hub.MaxPartitions)
	case f.replicas < 1 || f.replicas > 5:
		return h, fmt.Errorf("--replicas %d: must be 1 to 5", f.replicas)
	case f.nats != "" && (f.store != "" || f.keys != ""):
		return h, errors.New("--nats cannot be used with --store or --keys: those servers have their own")
	case f.nats == "" && f.store == "":
		return h, run.WithHint(errors.New("hub needs a folder where it stores segments"), "tcpwatch hub --store /var/lib/tcpwatch/hub")
	case f.nats == "" && f.replicas > 1:
		return h, errors.New("--replicas needs --nats, with a cluster")
	}
	keep := hub.Keep{For: f.keep, Bytes: size, Partitions: f.partitions, Replicas: f.replicas}
	h.Outside = f.hubFlags.options(f.nats)
	h.Own = hub.ServeOptions{Store: f.store, Listen: f.listen, Keys: f.keys, Insecure: f.insecure, Keep: keep}
	return h, nil
}

// run runs the hub until it is ended.
func (f *serveFlags) run(ctx context.Context, stderr io.Writer) error {
	h, err := f.options()
	if err != nil {
		return err
	}
	h.Stderr = stderr
	return h.Run(ctx)
}
