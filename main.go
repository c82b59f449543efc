// Tcpwatch watches TCP from outside: from a capture it works out which state
// both ends of every connection are in, and how sure that is.
package main

import (
	"os"

	"github.com/tcpwatch/tcpwatch/cmd"
)

func main() { os.Exit(cmd.Main()) }
