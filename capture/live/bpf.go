//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !libpcap

package live

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/gopacket/bsdbpf"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// By names how this build captures on interfaces.
const By = "/dev/bpf"

// Live capture by /dev/bpf. It knows neither how long a packet was before it
// was cut, so none is, nor what was lost; a build with -tags libpcap does.

const (
	bpfPatience = 100 * time.Millisecond
	bpfLag      = 5 * bpfPatience
	bpfBuffer   = 512 << 10
)

// Open begins to capture on interfaces, by a bpf device for each.
func Open(o Options) (Tap, error) {
	var sniffers []*bsdbpf.BPFSniffer
	var readers sync.WaitGroup
	s := newStream(strings.Join(o.Interfaces, ", "), bpfLag, func() {
		readers.Wait()
		for _, b := range sniffers {
			b.Close()
		}
	})
	var links []pcap.LinkType
	for _, name := range o.Interfaces {
		if name == anyInterface {
			s.Close()
			return nil, errors.New("any: this system captures on one interface at a time; name each with -i")
		}
		found, err := net.InterfaceByName(name)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", name, ErrNoInterface)
		}
		b, err := openBPF(name, o)
		if err != nil {
			s.Close()
			return nil, err
		}
		link := pcap.LinkEthernet
		if found.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			link = pcap.LinkNull
		}
		sniffers, links = append(sniffers, b), append(links, link)
	}
	readers.Add(len(sniffers))
	for i, b := range sniffers {
		go func() {
			defer readers.Done()
			s.readBPF(b, links[i], i)
		}()
	}
	return s, nil
}

// openBPF opens the first device that is free. The package panics where there
// is none.
func openBPF(name string, o Options) (b *bsdbpf.BPFSniffer, err error) {
	defer func() {
		if recover() != nil {
			b, err = nil, fmt.Errorf("%s: no /dev/bpf is available", name)
			if f, e := os.OpenFile("/dev/bpf0", os.O_RDWR, 0); errors.Is(e, fs.ErrPermission) {
				err = ErrNotPermitted
			} else if e == nil {
				f.Close()
			}
		}
	}()
	patience := syscall.NsecToTimeval(int64(bpfPatience))
	b, err = bsdbpf.NewBPFSniffer(name, &bsdbpf.Options{
		ReadBufLen: min(o.Buffer, bpfBuffer), Timeout: &patience, Promisc: o.Promisc, Immediate: true, PreserveLinkAddr: true,
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return b, err
}

// readBPF reads one interface until the stream is closed.
func (s *stream) readBPF(b *bsdbpf.BPFSniffer, link pcap.LinkType, device int) {
	for {
		data, info, err := b.ReadPacketData()
		select {
		case <-s.stop:
			return
		default:
		}
		if err != nil || len(data) == 0 {
			time.Sleep(bpfPatience / 10) // nothing came in time, or the interface is down
			continue
		}
		r := pcap.Record{Data: data, Wire: info.Length, Time: tcp.Time(info.Timestamp.UnixNano()), Link: link, Device: device}
		if !s.put(r) {
			return
		}
	}
}
