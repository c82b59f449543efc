package who

import (
	"path"
	"regexp"
	"strings"
)

// A Place is where a process runs, as the path of its cgroup tells.
type Place struct {
	Unit      string // of systemd, unless it is the scope of a container
	Container string // its whole ID
	Runtime   string // that made it: docker, containerd, podman, cri-o, lxc; "": the path does not tell
	Pod       string // UID of a pod of Kubernetes
}

var (
	containerID = regexp.MustCompile(`^(?:([a-z-]+)-)?([0-9a-f]{64})(?:\.scope)?$`)
	podSlice    = regexp.MustCompile(`^(?:[a-z-]*-)?pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$`)
	unitName    = regexp.MustCompile(`\.(?:service|scope|socket|mount|swap)$`)
)

// runtimes are named by what stands before the ID of a container. conmon watches over
// a container from outside.
var runtimes = map[string]string{
	"docker": "docker", "cri-containerd": "containerd", "nerdctl": "containerd", "crio": "cri-o", "libpod": "podman",
}

// PlaceOf reads the path of a cgroup, v1 or v2, as systemd or the runtime itself makes it.
// The innermost container counts, and outside of any the innermost unit.
func PlaceOf(group string) (p Place) {
	before := ""
	for name := range strings.SplitSeq(strings.Trim(path.Clean(group), "/"), "/") {
		name = strings.TrimPrefix(name, "_") // as systemd writes what the kernel could have a file of
		switch m := containerID.FindStringSubmatch(name); {
		case m != nil && !strings.HasSuffix(m[1], "conmon"):
			p.Unit, p.Container, p.Runtime = "", m[2], runtimes[m[1]]
			if p.Runtime == "" {
				p.Runtime = runtimes[before]
			}
		case strings.HasPrefix(name, "lxc.payload."):
			p.Unit, p.Container, p.Runtime = "", strings.TrimPrefix(name, "lxc.payload."), "lxc"
		case podSlice.MatchString(name):
			p.Pod = strings.ReplaceAll(podSlice.FindStringSubmatch(name)[1], "_", "-")
		case unitName.MatchString(name) && p.Container == "":
			p.Unit = name
		}
		before = name
	}
	return p
}

// PlaceOfGroups reads the text of /proc/PID/cgroup: of the hierarchies the one that tells
// the most.
func PlaceOfGroups(text string) (best Place) {
	most := 0
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) < 3 {
			continue
		}
		p := PlaceOf(part[2])
		tells := 0
		for i, known := range []bool{p.Unit != "", p.Container != "", p.Pod != ""} {
			if known {
				tells += 1 << i
			}
		}
		if tells > most {
			best, most = p, tells
		}
	}
	return best
}

// shortID is the ID of a container as its tools print it.
func shortID(id string) string {
	const digits = 12
	if len(id) == 64 {
		return id[:digits]
	}
	return id
}
