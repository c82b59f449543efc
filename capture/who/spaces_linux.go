package who

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostSpaces = 1024        // namespaces, of which each takes a descriptor
	looksEvery = time.Second // at the namespaces, at most
)

// A space is a network namespace.
type space struct {
	*diag
	inode uint32
	addrs map[netip.Addr]bool
	there bool // at the last look
}

// spaces are the network namespaces that may be entered. The own one comes first.
type spaces struct {
	own     *space
	others  map[uint64]*space // by inode
	refused bool              // there are others, which may not be entered
	looked  time.Time
}

func newSpaces() (*spaces, error) {
	d, err := newDiag()
	if err != nil {
		return nil, err
	}
	s := &spaces{own: &space{diag: d, addrs: addresses()}, others: make(map[uint64]*space)}
	s.look()
	return s, nil
}

func (s *spaces) close() {
	s.own.close()
	for _, o := range s.others {
		o.close()
	}
}

// of returns the namespaces that have an address. Loopback is that of the capture.
func (s *spaces) of(a netip.Addr) []*space {
	list := s.known(a)
	if len(list) == 0 && time.Since(s.looked) > looksEvery {
		s.look()
		list = s.known(a)
	}
	return list
}

func (s *spaces) known(a netip.Addr) (list []*space) {
	if a.IsLoopback() || s.own.addrs[a] {
		return []*space{s.own}
	}
	for _, o := range s.others {
		if o.addrs[a] {
			list = append(list, o)
		}
	}
	return list
}

// look looks for namespaces, and for the addresses in them. One that is gone is closed,
// or it would be kept by this.
func (s *spaces) look() {
	s.looked, s.refused = time.Now(), false
	s.own.addrs = addresses()
	var mine unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &mine) != nil {
		return
	}
	s.own.inode = uint32(mine.Ino)
	for _, o := range s.others {
		o.there = false
	}
	for _, path := range namespaceFiles() {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			s.refused = s.refused || errors.Is(err, fs.ErrPermission)
			continue
		}
		o := s.others[st.Ino]
		if st.Ino == mine.Ino || o != nil && o.there || o == nil && len(s.others) >= mostSpaces {
			continue
		}
		entered, err := enter(path, o)
		if err != nil {
			s.refused = s.refused || errors.Is(err, fs.ErrPermission)
			continue
		}
		entered.there, entered.inode = true, uint32(st.Ino)
		s.others[st.Ino] = entered
	}
	for ino, o := range s.others {
		if !o.there {
			o.close()
			delete(s.others, ino)
		}
	}
}

// namespaceFiles are where network namespaces can be entered: those of processes, and
// those that have names.
func namespaceFiles() []string {
	var list []string
	for _, pid := range processes() {
		list = append(list, "/proc/"+strconv.Itoa(pid)+"/ns/net")
	}
	for _, dir := range []string{"/run/netns", "/run/docker/netns"} {
		named, _ := filepath.Glob(dir + "/*") // the pattern is right
		list = append(list, named...)
	}
	return list
}

// enter reads the addresses in a namespace, and makes it known unless it is.
func enter(path string, known *space) (s *space, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		if s = known; s == nil {
			s = new(space)
			if s.diag, err = newDiag(); err != nil {
				return
			}
		}
		s.addrs = addresses()
	}()
	<-done
	return s, err
}

// addresses are those in the network namespace of the thread; what cannot be learned of
// them is left out.
func addresses() map[netip.Addr]bool {
	list, _ := net.InterfaceAddrs()
	found := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			found[p.Addr().Unmap()] = true
		}
	}
	return found
}
