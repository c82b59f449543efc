package cmd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tcpwatch": func() { os.Exit(Main()) },
	})
}

// The scripts in testdata/script are what users type and what comes back.
// UPDATE=1 rewrites what they compare with.
func TestScripts(t *testing.T) {
	pcaps, err := filepath.Abs("../pcaps")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PCAPS", pcaps)
			env.Setenv("ME", strconv.Itoa(os.Geteuid())) // who stays who he is
			return writeLate(filepath.Join(env.WorkDir, "late.pcap"), filepath.Join(pcaps, "normal-close.pcap"))
		},
	})
}

// writeLate writes a capture whose first packet is late: it is behind the third.
func writeLate(path, of string) error {
	b, err := os.ReadFile(of)
	if err != nil {
		return err
	}
	const header, recordHeader = 24, 16
	at := []int{header}
	for range 3 {
		n := at[len(at)-1]
		at = append(at, n+recordHeader+int(binary.LittleEndian.Uint32(b[n+8:])))
	}
	late := slices.Concat(b[:at[0]], b[at[1]:at[3]], b[at[0]:at[1]], b[at[3]:])
	return os.WriteFile(path, late, 0o666)
}
