//go:build (libpcap && cgo) || (windows && (amd64 || 386))

package live

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	libpcap "github.com/google/gopacket/pcap"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// By names how this build captures on interfaces.
const By = "libpcap"

// Live capture through libpcap or, on Windows, the wpcap.dll of Npcap. Every
// interface is read by a goroutine. The filter is not given to libpcap, which
// does not agree with us about VLAN tags.

const (
	// pcapPatience is how long libpcap keeps packets back, and how long it takes
	// to end it.
	pcapPatience = 20 * time.Millisecond
	pcapLag      = 10 * pcapPatience

	// pcapCounts is after how many packets it is asked for what it lost, if it is
	// never quiet.
	pcapCounts = 1 << 14
)

// Open begins to capture on interfaces, by libpcap or, on Windows, wpcap.dll.
func Open(o Options) (Tap, error) {
	var handles []*libpcap.Handle
	var readers sync.WaitGroup
	s := newStream(strings.Join(o.Interfaces, ", "), pcapLag, func() {
		readers.Wait()
		for _, h := range handles {
			h.Close()
		}
	})
	for _, name := range o.Interfaces {
		h, err := openPcap(name, o)
		if err != nil {
			s.Close()
			return nil, err
		}
		handles = append(handles, h)
	}
	readers.Add(len(handles))
	ended := make(chan error, len(handles))
	for i, h := range handles {
		go func() {
			defer readers.Done()
			ended <- s.readPcap(h, i)
		}()
	}
	go func() {
		s.err = <-ended // one that fails ends the capture
		close(s.failed)
	}()
	return s, nil
}

func openPcap(name string, o Options) (*libpcap.Handle, error) {
	h, err := libpcap.NewInactiveHandle(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer h.CleanUp()
	err = errors.Join(h.SetSnapLen(o.Snap), h.SetPromisc(o.Promisc), h.SetTimeout(pcapPatience), h.SetBufferSize(o.Buffer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	active, err := h.Activate()
	switch {
	case err == nil:
		return active, nil
	case strings.Contains(strings.ToLower(err.Error()), "permi"):
		return nil, ErrNotPermitted
	case strings.Contains(err.Error(), "No such device"):
		return nil, fmt.Errorf("%s: %w", name, ErrNoInterface)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// readPcap reads one interface until the stream is closed.
func (s *stream) readPcap(h *libpcap.Handle, device int) error {
	link, lost := pcap.LinkType(h.LinkType()), int64(0)
	for n := 0; ; n++ {
		data, info, err := h.ReadPacketData()
		if n%pcapCounts == 0 || err == libpcap.NextErrorTimeoutExpired {
			if stats, err := h.Stats(); err == nil {
				now := int64(stats.PacketsDropped) + int64(stats.PacketsIfDropped)
				s.lost.Add(now - lost)
				lost = now
			}
		}
		var r pcap.Record
		switch err {
		case nil:
			r = pcap.Record{Data: data, Wire: info.Length, Time: tcp.Time(info.Timestamp.UnixNano()), Link: link, Device: device}
		case libpcap.NextErrorTimeoutExpired:
			select {
			case <-s.stop:
				return nil
			default:
				continue
			}
		default:
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if !s.put(r) {
			return nil
		}
	}
}
