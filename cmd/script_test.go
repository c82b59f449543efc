package cmd

import (
	"os"
	"path/filepath"
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
			return nil
		},
	})
}
