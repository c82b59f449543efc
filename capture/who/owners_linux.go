package who

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which process has a socket open is not asked but looked for, in the descriptors of all
// processes. That takes milliseconds, of which only so many may be taken.

const (
	mostKnown = 1 << 16                // sockets, users, cgroups and processes that are remembered
	share     = 25                     // of the time one part in so many is for looking
	saved     = 300 * time.Millisecond // and what was not taken of it may be later
	givenUp   = 2 * time.Second        // what was not found is not looked for
	hotFor    = 10 * time.Second       // a process that had a socket may have others
	runsFor   = 100 * time.Millisecond // what is known of a process
	holders   = 8                      // that are remembered of a listening socket
)

// A running is what was learned of a process.
type running struct {
	program string
	place   Place // where its cgroup says that it runs
	at      time.Time
}

// A holder is a process with the socket among its descriptors.
type holder struct{ pid, fd int }

// owners know whose sockets are.
type owners struct {
	held    map[uint32][]holder  // by inode
	missed  map[uint32]time.Time // inodes that were not found, and when
	users   map[uint32]string    // by UID
	groups  map[uint64]string    // paths of cgroups, by ID
	mount   string               // of cgroup v2; "": there is none
	walked  time.Time            // when that was last walked
	places  map[string]Place     // by path of the cgroup; those of Kubernetes with the names of their pods
	running map[int]running      // by process ID
	refused bool                 // there are processes whose descriptors may not be seen

	few, all purse // time for looking at the processes that had sockets before, and at all
}

// A purse is time that may be taken.
type purse struct {
	left  time.Duration
	since time.Time // when it was last filled
}

// open reports whether there is time left.
func (p *purse) open(now time.Time) bool {
	p.left, p.since = min(p.left+now.Sub(p.since)/share, saved), now
	return p.left > 0
}

// pay takes the time since then.
func (p *purse) pay(since time.Time) { p.left -= time.Since(since) }

func newOwners() *owners {
	o := new(owners)
	o.held, o.missed, o.users = make(map[uint32][]holder), make(map[uint32]time.Time), make(map[uint32]string)
	o.running = make(map[int]running)
	o.groups, o.places = make(map[uint64]string), make(map[string]Place)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	o.mount = unifiedMount(string(mounts))
	return o
}

// bound empties a map that has grown too large: what is still asked for is found again.
func bound[K comparable, V any](m map[K]V) {
	if len(m) >= mostKnown {
		clear(m)
	}
}

// unifiedMount reads where cgroup v2 is mounted from /proc/PID/mountinfo; "" if it is not.
func unifiedMount(text string) string {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); kind == "cgroup2" && len(fields) > 4 {
			return strings.ReplaceAll(fields[4], `\040`, " ")
		}
	}
	return ""
}

// processes are the numbers of all, the oldest first: who opened a socket comes before
// those that it passed it on to. The first of all comes last: it opens sockets for others.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before the error
	var list []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	if len(list) > 0 && list[0] == 1 {
		list = append(list[1:], 1)
	}
	return list
}

// A want is a socket whose holders are looked for.
type want struct {
	all  bool // not the first alone
	soon bool // it was asked for before: it is worth more of the time
}

// spare leaves out what was not asked for before where less than half of the time is left,
// and reports whether anything remains to be looked for.
func (p *purse) spare(wanted map[uint32]want) bool {
	open := p.open(time.Now())
	if p.left < saved/2 {
		maps.DeleteFunc(wanted, func(_ uint32, w want) bool { return !w.soon })
	}
	return open && len(wanted) > 0
}

// search looks for the holders of sockets, by their inodes.
func (o *owners) search(wanted map[uint32]want) {
	now := time.Now()
	for inode := range wanted {
		still := slices.DeleteFunc(o.held[inode], func(h holder) bool { return !h.holds(inode) })
		if len(still) > 0 {
			o.held[inode] = still
			delete(wanted, inode)
		} else if now.Sub(o.missed[inode]) < givenUp {
			delete(wanted, inode)
		}
	}
	bound(o.held)
	bound(o.missed)
	for inode := range wanted {
		delete(o.held, inode)
	}
	if o.few.spare(wanted) {
		for pid, r := range o.running {
			if now.Sub(r.at) < hotFor {
				o.searchIn(pid, wanted)
			} else {
				delete(o.running, pid)
			}
		}
		for inode, w := range wanted {
			if !w.all && o.held[inode] != nil {
				delete(wanted, inode)
			}
		}
		o.few.pay(now)
	}
	if now = time.Now(); !o.all.spare(wanted) {
		return
	}
	for inode := range wanted {
		delete(o.held, inode)
	}
	o.refused = false
	for _, pid := range processes() {
		o.searchIn(pid, wanted)
	}
	for inode := range wanted {
		if o.held[inode] == nil {
			o.missed[inode] = now
		} else {
			delete(o.missed, inode)
		}
	}
	o.all.pay(now)
}

// searchIn looks among the descriptors of a process.
func (o *owners) searchIn(pid int, wanted map[uint32]want) {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		o.refused = o.refused || errors.Is(err, fs.ErrPermission)
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before the error
	for _, name := range names {
		inode, err := socketAt(int(dir.Fd()), name)
		if err != nil {
			o.refused = o.refused || errors.Is(err, fs.ErrPermission)
			continue
		}
		if fd, err := strconv.Atoi(name); err == nil && isWanted(wanted, inode) && len(o.held[inode]) < holders {
			o.held[inode] = append(o.held[inode], holder{pid, fd})
		}
	}
}

func isWanted(wanted map[uint32]want, inode uint32) bool {
	_, is := wanted[inode]
	return is
}

// socketAt reads which socket a descriptor is, by its name in a directory; 0 if it is
// none.
func socketAt(dir int, name string) (uint32, error) {
	var buf [64]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil {
		return 0, err
	}
	text, isSocket := bytes.CutPrefix(buf[:n], []byte("socket:["))
	if !isSocket {
		return 0, nil
	}
	inode, err := strconv.ParseUint(string(bytes.TrimSuffix(text, []byte("]"))), 10, 32)
	if err != nil {
		return 0, nil // larger than sock_diag tells
	}
	return uint32(inode), nil
}

// holds reports whether the process still has the socket there.
func (h holder) holds(inode uint32) bool {
	now, err := socketAt(unix.AT_FDCWD, "/proc/"+strconv.Itoa(h.pid)+"/fd/"+strconv.Itoa(h.fd))
	return err == nil && now == inode
}

// of tells whose a socket is, after search.
func (o *owners) of(s *socket) (w tcp.Owner) {
	if !s.whole() {
		return w
	}
	w.User = o.user(s.uid)
	held := o.held[s.inode]
	if s.inode == 0 {
		held = nil
	}
	if len(held) > 0 {
		w.PID, w.Program = held[0].pid, o.process(held[0].pid).program
		w.Source = tcp.FromSocket
	}
	if s.State == tcp.Listen {
		w.Source = tcp.FromListener
		for _, h := range held {
			if h.pid != held[0].pid { // any of them may have accepted the connection
				w.PID = 0
				if o.process(h.pid).program != w.Program {
					w.Program = ""
				}
			}
		}
	}
	if w.Program == "" {
		w.Source, w.PID = tcp.NoOwner, 0
	}
	p := o.placeOf(o.path(s.group))
	if p == (Place{}) && len(held) > 0 {
		p = o.process(held[0].pid).place
	}
	w.Unit, w.Container, w.Pod = p.Unit, shortID(p.Container), p.Pod
	return w
}

// process tells of a process that has a socket; of one that is gone nothing.
func (o *owners) process(pid int) running {
	r, known := o.running[pid]
	if known && time.Since(r.at) < runsFor {
		return r
	}
	bound(o.running)
	dir := "/proc/" + strconv.Itoa(pid)
	name, _ := os.ReadFile(dir + "/comm")
	groups, _ := os.ReadFile(dir + "/cgroup")
	r = running{strings.TrimSuffix(string(name), "\n"), PlaceOfGroups(string(groups)), time.Now()}
	r.place.Pod = podName(r.place.Pod)
	o.running[pid] = r
	return r
}

// user is the name of a user, or the number of one without a name.
func (o *owners) user(uid uint32) string {
	name, known := o.users[uid]
	if !known {
		bound(o.users)
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		o.users[uid] = name
	}
	return name
}

// path returns the path of a cgroup, whose ID is the inode of its directory; "" if it is
// not known.
func (o *owners) path(id uint64) string {
	if id == 0 || o.mount == "" {
		return ""
	}
	path, known := o.groups[id]
	if !known && time.Since(o.walked) > looksEvery {
		o.walk()
		path = o.groups[id]
	}
	return path
}

// walk learns all cgroups.
func (o *owners) walk() {
	o.walked = time.Now()
	bound(o.groups)
	_ = filepath.WalkDir(o.mount, func(path string, d fs.DirEntry, err error) error { // what cannot be read is left out
		var st unix.Stat_t
		if err == nil && d.IsDir() && len(o.groups) < mostKnown && unix.Stat(path, &st) == nil {
			o.groups[st.Ino] = strings.TrimPrefix(path, o.mount)
		}
		return nil
	})
}

// placeOf is PlaceOf, remembered, with the name of the pod.
func (o *owners) placeOf(path string) Place {
	if path == "" {
		return Place{}
	}
	p, known := o.places[path]
	if !known {
		bound(o.places)
		p = PlaceOf(path)
		p.Pod = podName(p.Pod)
		o.places[path] = p
	}
	return p
}

// podLogs is where the kubelet has a directory for each pod: NAMESPACE_NAME_UID.
var podLogs = "/var/log/pods"

// podName names a pod by its namespace and name, if the kubelet's directories tell them,
// else by its UID.
func podName(uid string) string {
	if uid == "" {
		return ""
	}
	found, _ := filepath.Glob(podLogs + "/*_" + uid) // the pattern is right: a UID has no more than digits
	for _, path := range found {
		if part := strings.Split(filepath.Base(path), "_"); len(part) == 3 {
			return part[0] + "/" + part[1]
		}
	}
	return uid
}
