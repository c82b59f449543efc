package between

import (
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// segment names a segment by its control bits and octets.
func segment(s *tcp.Segment) string {
	name := strings.ReplaceAll(s.Flags.String(), ",", "+")
	switch s.Data {
	case 0:
		return name
	case 1:
		return name + ", 1 byte"
	}
	return fmt.Sprintf("%s, %d bytes", name, s.Data)
}

// join writes a list as a sentence has it.
func join(list []string) string {
	last := len(list) - 1
	if last == 0 {
		return list[0]
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}
