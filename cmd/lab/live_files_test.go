//go:build lab && linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What -w kept replays to what the live run printed, where it is said on which host that
// was: of a host that answers late the file alone does not tell.
func TestLiveIsReplayed(t *testing.T) {
	client, server := joined(t)
	dir := openDir(t)
	for i, rotate := range [][]string{nil, {"--rotate-size", "8KB"}, {"--rotate-every", "1ms"}} {
		base := filepath.Join(dir, fmt.Sprintf("x%d.pcapng", i))
		w := watchIn(t, client, append([]string{"live", "-i", "veth", "-w", base, "--2msl", "300ms"}, rotate...)...)
		dialed(t, client, server, 30)
		time.Sleep(time.Second) // TIME_WAIT ends, and nothing is there to show it
		live := lines(w.stop(t))
		files, err := filepath.Glob(strings.TrimSuffix(base, ".pcapng") + "*.pcapng")
		if err != nil || len(files) == 0 || (len(files) == 1) != (rotate == nil) {
			t.Fatalf("%v: there are the files %v, %v", rotate, files, err)
		}
		path, _ := program()
		out, err := exec.Command(path, append([]string{"replay", "-o", "jsonl", "--events", "--2msl", "300ms", "--tap-on", "10.77.0.1"}, files...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		again := lines(string(out))
		if !slices.Equal(live, again) {
			for i := range min(len(live), len(again)) {
				if live[i] != again[i] {
					t.Errorf("line %d\nlive   %s\nreplay %s", i+1, live[i], again[i])
					break
				}
			}
			t.Errorf("%v: live has %d lines, the replay %d", rotate, len(live), len(again))
		}
		if n := strings.Count(string(out), "2MSL over"); n < 30 {
			t.Errorf("%v: %d of 30 TIME_WAITs ended", rotate, n)
		}
		t.Logf("%v: %d lines alike, in %d files", rotate, len(live), len(files))
	}
}

// A growing file is followed.
func TestLiveFollowsAFile(t *testing.T) {
	client, server := joined(t)
	file := filepath.Join(openDir(t), "x.pcapng")
	w := watchIn(t, client, "live", "-i", "veth", "-w", file)
	eventually(t, func() bool { _, err := os.Stat(file); return err == nil })
	f := watchIn(t, client, "live", "--follow", file)
	dialed(t, client, server, 3)
	eventually(t, func() bool { return strings.Count(f.stdout.String(), `"to":"TIME_WAIT"`) == 3 })
	w.stop(t)
	f.stop(t)
}
