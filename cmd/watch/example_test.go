package watch_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Who is left in TIME_WAIT when the capture ends.
func Example() {
	w, err := watch.Files([]string{"../../pcaps/time-wait.pcap"}, capture.Options{}, tracker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	_, err = w.Run(context.Background(), watch.Sink{Event: func(e *tracker.Event) error {
		if e.Kind != tracker.EventConnection {
			return nil
		}
		for _, end := range e.Record.Ends {
			if end.State == tcp.TimeWait {
				fmt.Println(end.Addr, end.State, "for another", end.Timer.Remaining.Round(time.Second))
			}
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 10.9.0.1:40039 TIME_WAIT for another 1m0s
}

// Every change of a state, of a capture that is read from anywhere, and what is
// odd about it.
func ExampleReader() {
	file, err := os.Open("../../pcaps/refused.pcap")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	w, err := watch.Reader("the capture", file, capture.Options{}, tracker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	sum, err := w.Run(context.Background(), watch.Sink{Event: func(e *tracker.Event) error {
		switch e.Kind {
		case tracker.EventTransition:
			fmt.Printf("#%d %v %v -> %v (%s)\n", e.Packet, e.End, e.From, e.To, e.Inputs)
		case tracker.EventAnomaly:
			fmt.Printf("#%d %v: %s\n", e.Packet, e.Anomaly.Severity, e.Anomaly.Kind)
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.Capture.Segments, "segments,", sum.Tracker.Conns, "connection")
	// Output:
	// #1 client CLOSED -> SYN_SENT (send SYN)
	// #1 server LISTEN -> SYN_RCVD (recv SYN)
	// #2 server SYN_RCVD -> CLOSED (has no connection)
	// #2 client SYN_SENT -> CLOSED (recv RST)
	// #2 warning: connection-refused
	// 2 segments, 1 connection
}

// How things stand at every tenth of a second of the capture, and at its end.
func ExampleSink_tick() {
	w, err := watch.Files([]string{"../../pcaps/simultaneous-close.pcap"}, capture.Options{}, tracker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	_, err = w.Run(context.Background(), watch.Sink{Interval: 100 * time.Millisecond, Tick: func(last bool) error {
		w.Each(func(r *tracker.Record) {
			fmt.Println(w.Now().Sub(r.Start).Round(time.Millisecond), r.Ends[tcp.Client].State, r.Ends[tcp.Server].State)
		})
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 100ms ESTABLISHED ESTABLISHED
	// 200ms ESTABLISHED ESTABLISHED
	// 259ms TIME_WAIT TIME_WAIT
}

// What happens on every interface, until Ctrl-C.
func ExampleLive() {
	w, err := watch.Live(capture.LiveOptions{Interfaces: []string{"any"}}, tracker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	_, err = w.Run(ctx, watch.Sink{Event: func(e *tracker.Event) error {
		if e.Kind == tracker.EventAnomaly {
			fmt.Println(e.Anomaly.Kind, e.Anomaly.Text)
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
}
