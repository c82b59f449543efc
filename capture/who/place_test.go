package who

import (
	"strings"
	"testing"
)

// The paths are those that the runtimes and systemd make.
func TestPlaceOf(t *testing.T) {
	const id, uid = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "8f2e4b0c-1f6a-4d0b-9a57-3c1c2c9a7d10"
	other := strings.Repeat("f", 64)
	low := strings.ReplaceAll(uid, "-", "_")
	for _, row := range []struct {
		path string
		want Place
	}{
		{"/", Place{}},
		{"/system.slice/nginx.service", Place{Unit: "nginx.service"}},
		{"/system.slice/nginx.service/sub/group", Place{Unit: "nginx.service"}},
		{"/system.slice/system-getty.slice/getty@tty1.service", Place{Unit: "getty@tty1.service"}},
		{"/system.slice/system-postgresql.slice/postgresql@16-main.service", Place{Unit: "postgresql@16-main.service"}},
		{"/system.slice/_cpu.service", Place{Unit: "cpu.service"}},
		{"/init.scope", Place{Unit: "init.scope"}},
		{"/user.slice/user-1000.slice/session-3.scope", Place{Unit: "session-3.scope"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-4711.scope", Place{Unit: "app-firefox-4711.scope"}},

		{"/system.slice/docker-" + id + ".scope", Place{Container: id, Runtime: "docker"}},
		{"/docker/" + id, Place{Container: id, Runtime: "docker"}},
		{"/system.slice/nerdctl-" + id + ".scope", Place{Container: id, Runtime: "containerd"}},
		{"/default/" + id, Place{Container: id}},
		{"/machine.slice/libpod-" + id + ".scope", Place{Container: id, Runtime: "podman"}},
		{"/machine.slice/libpod-" + id + ".scope/container", Place{Container: id, Runtime: "podman"}},
		{"/machine.slice/libpod-conmon-" + id + ".scope", Place{Unit: "libpod-conmon-" + id + ".scope"}},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container", Place{Container: id, Runtime: "podman"}},
		{"/libpod_parent/libpod-" + id, Place{Container: id, Runtime: "podman"}},
		{"/lxc.payload.web/system.slice/ssh.service", Place{Container: "web", Runtime: "lxc"}},

		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + low + ".slice/cri-containerd-" + id + ".scope", Place{Container: id, Runtime: "containerd", Pod: uid}},
		{"/kubepods.slice/kubepods-pod" + low + ".slice/crio-" + id + ".scope", Place{Container: id, Runtime: "cri-o", Pod: uid}},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + low + ".slice/crio-" + id + ".scope/container", Place{Container: id, Runtime: "cri-o", Pod: uid}},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + low + ".slice/docker-" + id + ".scope", Place{Container: id, Runtime: "docker", Pod: uid}},
		{"/kubepods/burstable/pod" + uid + "/" + id, Place{Container: id, Pod: uid}},
		{"/kubepods/pod" + uid + "/crio-" + id, Place{Container: id, Runtime: "cri-o", Pod: uid}},
		{"/kubepods/burstable/pod" + strings.Repeat("a", 32) + "/" + id, Place{Container: id, Pod: strings.Repeat("a", 32)}},
		{"/docker/" + other + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + low + ".slice/cri-containerd-" + id + ".scope",
			Place{Container: id, Runtime: "containerd", Pod: uid}},
		{"/system.slice/docker-" + id[:63] + ".scope", Place{Unit: "docker-" + id[:63] + ".scope"}},
		{"/system.slice/podman.service", Place{Unit: "podman.service"}},
	} {
		if got := PlaceOf(row.path); got != row.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", row.path, got, row.want)
		}
	}
	groups := "12:memory:/docker/" + id + "\n1:name=systemd:/system.slice/docker.service\n0::/\n"
	if got, want := PlaceOfGroups(groups), (Place{Container: id, Runtime: "docker"}); got != want {
		t.Errorf("of /proc/PID/cgroup: got %+v, want %+v", got, want)
	}
	if got := PlaceOfGroups("1:name=systemd:/system.slice/a.service\n0::/\nx\n"); got != (Place{Unit: "a.service"}) {
		t.Errorf("of the hierarchy of systemd: got %+v", got)
	}
}
