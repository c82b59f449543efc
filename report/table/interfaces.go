package table

import (
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// WriteInterfaces lists network interfaces: whether they are up, and their
// addresses.
func WriteInterfaces(w io.Writer, list []net.Interface) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "Interface\tState\tMTU\tAddresses")
	for i := range list {
		n, state := &list[i], "down"
		if n.Flags&net.FlagUp != 0 {
			state = "up"
		}
		fmt.Fprintf(out, "%s\t%s\t%d\t%s\n", text.Escape(n.Name), state, n.MTU, addresses(n))
	}
	return out.Flush()
}

// addresses lists the addresses of an interface.
func addresses(i *net.Interface) string {
	list, err := i.Addrs()
	if err != nil || len(list) == 0 {
		return "-"
	}
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}
