//go:build lab && linux

package lab

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Ctrl-C ends a capture that waits, and one that never had a packet.
func TestLiveIsInterruptedWhileItWaits(t *testing.T) {
	client, _ := joined(t)
	for _, args := range [][]string{{"-i", "veth"}, {"-i", "any"}, {"-i", "veth", "-i", "lo", "-o", "table"}} {
		w := watchIn(t, client, append([]string{"live"}, args...)...)
		began := time.Now()
		out := w.stop(t)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%v: it took %v to end", args, took)
		}
		if !strings.Contains(out, `"packets":0`) && !strings.Contains(out, "Totals: 0 packets") {
			t.Errorf("%v: there is no summary in %q", args, out)
		}
	}
}

// A pipe that closes ends a run quietly.
func TestLiveIntoAPipeThatCloses(t *testing.T) {
	client, server := joined(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"jsonl", "table"} {
		cmd := exec.Command(path, "live", "-i", "veth", "-o", output, "--interval", "100ms")
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		client.must(t, cmd.Start)
		time.Sleep(300 * time.Millisecond)
		dialed(t, client, server, 1)
		if _, err := bufio.NewReader(pipe).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		pipe.Close()
		dialed(t, client, server, 1)
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v, standard error has %q", output, err, stderr.String())
		}
	}
}
